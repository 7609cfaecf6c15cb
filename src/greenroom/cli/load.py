"""`greenroom load`: topics and snippets from NDJSON into the record."""

from __future__ import annotations

import asyncio
import sys
from contextlib import ExitStack
from typing import BinaryIO

import rich_click as click

from greenroom.cli.options import make_directory, read_settings, settings_options
from greenroom.errors import InvalidInput
from greenroom.origin import Loaded
from greenroom.origin import load as load_lines
from greenroom.printable import printable
from greenroom.room import Greenroom
from greenroom.service import logs
from greenroom.service.settings import Settings


@click.command()
@settings_options(["data_dir", "valkey_url", "cache_url", "database_url", "key_prefix", "log_format", "log_level"])
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
def load(files: tuple[str, ...], **flags: str | None) -> None:
    """Load NDJSON into the record: a line with snippet_id is a snippet, any other a topic; - is standard input.

    Bad lines are reported by number and do not stop the good ones; the exit status is then 1.
    """
    settings = read_settings(flags)
    logs.configure(format_=settings.log_format, level=settings.log_level)
    with ExitStack() as stack:
        sources = [(name, _opened(name, stack)) for name in files]
        loaded = asyncio.run(_load(settings, sources))
    for bad in loaded.bad:
        click.echo(printable(str(bad)), err=True)
    click.echo(
        f"{loaded.topics} topics and {loaded.snippets} snippets read well, {len(loaded.bad)} bad lines", err=True
    )
    sys.exit(1 if loaded.bad else 0)


async def _load(settings: Settings, sources: list[tuple[str, BinaryIO]]) -> Loaded:
    if settings.cache_address is None or settings.database_url is None:
        make_directory(settings.data_dir)
    async with Greenroom.open(
        settings.cache_address,
        keeps_sessions=False,
        database=settings.database_url,
        data_dir=settings.data_dir,
        prefix=settings.key_prefix,
    ) as room:
        loaded = await load_lines(room.records, sources, on_progress=_progress)
        for change in loaded.changes:
            await room.changes.send(change)
        if sys.stderr.isatty():
            click.echo(err=True)
        if room.engine_trouble is not None:
            click.echo("the caches could not be reached: what changed is dropped from them within seconds of", err=True)
            click.echo("their return, by any greenroom process that has this record open", err=True)
        return loaded


def _progress(loaded: Loaded) -> None:
    if sys.stderr.isatty():
        click.echo(f"\r{loaded.lines:,} lines, {len(loaded.bad):,} of them bad", nl=False, err=True)


def _opened(name: str, stack: ExitStack) -> BinaryIO:
    if name == "-":
        return sys.stdin.buffer
    try:
        return stack.enter_context(open(name, "rb"))
    except OSError as error:
        raise InvalidInput("FILE", f"{name} cannot be read: {error.strerror}", "name a file of NDJSON, or -") from None
