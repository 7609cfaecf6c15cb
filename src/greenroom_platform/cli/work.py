"""`greenroom work`: a worker of its own, beside any number of services on the same record."""

from __future__ import annotations

import asyncio
import logging
import signal

import rich_click as click

from greenroom_platform.cli.options import (
    check_recordings,
    make_directory,
    names_directory,
    read_settings,
    recordings_apart,
    settings_options,
    unnamed,
    write_trouble,
)
from greenroom_platform.http import logs
from greenroom_platform.http.settings import Settings
from greenroom_platform.platform import open_platform
from greenroom_platform.studio.voice import check_voices

log = logging.getLogger("greenroom.studio")


@click.command()
@settings_options(
    [
        *("data_dir", "valkey_url", "cache_url", "database_url", "recordings_url"),
        *("key_prefix", "log_format", "log_level"),
    ]
)
def work(**flags: str | None) -> None:
    """Make requested podcasts until SIGINT or SIGTERM; `serve` has a worker of its own too.

    The recordings go to the data directory, or to the place in --recordings-url; the services that stream them must use
    the same place.
    """
    settings = read_settings(flags)
    if _needs_directory(settings) and not names_directory(flags, settings):
        raise unnamed(settings, "name the data directory of the service with --data-dir: the recordings go there")
    logs.configure(format_=settings.log_format, level=settings.log_level)
    check_voices()
    asyncio.run(_work(settings))


def _needs_directory(settings: Settings) -> bool:
    return None in (settings.cache_address, settings.database_url, settings.recordings_url)


async def _work(settings: Settings) -> None:
    working = asyncio.create_task(_worker(settings))
    # Before anything is opened: a signal that comes then closes what is there so far.
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, working.cancel)
    await asyncio.wait([working])
    if not working.cancelled():
        working.result()


async def _worker(settings: Settings) -> None:
    if settings.recordings_url is not None:
        await check_recordings(settings.recordings_url)
    if _needs_directory(settings):
        make_directory(settings.data_dir)
    async with open_platform(
        settings.cache_address,
        sessions=False,
        database=settings.database_url,
        data_dir=settings.data_dir if _needs_directory(settings) else None,
        recordings_url=settings.recordings_url,
        prefix=settings.key_prefix,
    ) as platform:
        if (trouble := write_trouble(platform.records)) is not None:
            log.warning("no podcast can be made until this is fixed: %s", trouble)
        if (apart := recordings_apart(settings)) is not None:
            log.warning("%s", apart)
        click.echo("working; end it with Ctrl-C", err=True)
        async with platform.watching(), platform.heartbeats.beating(["work"]):
            await platform.worker().run()
