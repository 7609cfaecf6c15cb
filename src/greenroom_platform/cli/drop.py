"""`greenroom drop`: every value of a keyspace at once, for when nobody can say which are stale."""

from __future__ import annotations

import asyncio
from typing import Any

import rich_click as click

from greenroom.client import Greenroom
from greenroom.errors import EngineError, GreenroomError, InvalidInput
from greenroom.keyspace import Keyspace
from greenroom_platform.cli.options import make_directory, names_directory, read_settings, settings_options, unnamed
from greenroom_platform.definitions import DEFINITIONS, OURS, SESSIONS
from greenroom_platform.http import logs
from greenroom_platform.http.settings import Settings

KEYSPACES: dict[str, Keyspace[Any]] = {one.name: one for one in (*DEFINITIONS, *OURS) if one is not SESSIONS}


@click.command()
@settings_options(["data_dir", "valkey_url", "cache_url", "key_prefix", "log_format", "log_level"])
@click.option(
    "--viewer-url",
    metavar="ADDRESS",
    help="The server of the caches with a user of the role viewer, who may look for keys. Default: the same address.",
)
@click.option("--keep", is_flag=True, help="Delete nothing: services in other languages then see what they saw before.")
@click.argument("keyspaces", nargs=-1, required=True, metavar="KEYSPACE...", type=click.Choice([*KEYSPACES, "all"]))
def drop(keyspaces: tuple[str, ...], viewer_url: str | None, keep: bool, **flags: str | None) -> None:
    """Drop every cached value of a keyspace: after the record was restored, or changed without a watcher.

    From the moment this ends every process loads again; no restart is needed. Then the keys are found and deleted, for
    services in other languages. The names are those of `greenroom definitions`; `all` stands for all of them, and never
    for the sessions.
    """
    settings = read_settings(flags)
    if settings.cache_address is None and not names_directory(flags, settings):
        raise unnamed(
            settings, "name the data directory of the service with --data-dir, or the server with --valkey-url"
        )
    logs.configure(format_=settings.log_format, level=settings.log_level)
    names = list(KEYSPACES) if "all" in keyspaces else list(dict.fromkeys(keyspaces))
    asyncio.run(_drop(settings, names, viewer_url, keep=keep))


async def _drop(settings: Settings, names: list[str], viewer: str | None, *, keep: bool) -> None:
    if settings.cache_address is None:
        make_directory(settings.data_dir)
    async with Greenroom(
        settings.cache_address, sessions=False, data_dir=settings.data_dir, prefix=settings.key_prefix
    ) as room:
        for name in names:
            try:
                await room.drop_keyspace(KEYSPACES[name])
            except EngineError as error:
                raise GreenroomError(f"{name} is not dropped everywhere: {error}; run this again") from None
            click.echo(f"Dropped {name}.", err=True)
        for name in () if keep else names:
            try:
                number = await room.delete_keyspace(KEYSPACES[name], viewer=viewer)
            except EngineError as error:
                remedy = "name a user who may with --viewer-url, or leave it with --keep"
                raise InvalidInput("--viewer-url", f"the keys of {name} are not deleted: {error}", remedy) from None
            click.echo(f"Deleted {number} keys of {name}.", err=True)
