"""`greenroom load`: topics and snippets from NDJSON into the record."""

from __future__ import annotations

import asyncio
import os
import stat
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack, asynccontextmanager, suppress
from time import monotonic
from typing import BinaryIO

import rich_click as click

from greenroom.errors import InvalidInput, RecordError, RecordUnavailable
from greenroom.printable import printable
from greenroom_platform.cli.options import (
    make_directory,
    names_directory,
    read_settings,
    settings_options,
    unnamed,
    write_trouble,
)
from greenroom_platform.domain.records import Records
from greenroom_platform.http import logs
from greenroom_platform.http.settings import Settings
from greenroom_platform.platform import DATABASE_FILE, open_platform
from greenroom_platform.storage import BadLine, LoadSummary, open_records, shown_database
from greenroom_platform.storage import load as load_lines

SAID = 100
"""Bad lines that are written; a file of the wrong kind has as many as it has lines."""
_BAR = 30
"""Characters of the bar that says how much of the input is read."""
CLEAR = "\r\x1b[K"
"""Clears the line of a terminal that says how far it is."""


@click.command()
@settings_options(["data_dir", "valkey_url", "cache_url", "database_url", "key_prefix", "log_format", "log_level"])
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
def load(files: tuple[str, ...], **flags: str | None) -> None:
    """Load NDJSON into the record: one JSON object a line; - is standard input.

    A line with snippet_id is a snippet, any other a topic:

    \b
    {"topic_id": "t", "display_name": "T", "description": "", "keywords": ["k"]}
    {"snippet_id": "s", "topic_id": "t", "title": "S", "text_content": "Text."}

    A snippet may also have cover_art_prompt and image_url. Times are kept where a line has them: created_at and
    updated_at of a topic, generation_timestamp of a snippet, as 2026-01-31T12:00:00Z. Others are made: now, or as the
    record has them already; updated_at is new where the topic changes.

    Bad lines are reported by number as they are found, the first 100 of them, and do not stop the good ones; the exit
    status is then 1.
    """
    settings = read_settings(flags)
    has_directory = names_directory(flags, settings)
    if not has_directory and settings.database_url is None:
        raise unnamed(settings, "name the data directory of the service with --data-dir or --database-url")
    logs.configure(format_=settings.log_format, level=settings.log_level)
    with ExitStack() as stack:
        sources = [(name, _opened(name, stack)) for name in files]
        begun = monotonic()
        loaded = asyncio.run(_load(settings, sources, has_directory=has_directory))
    if rows := loaded.topics + loaded.snippets:
        took = monotonic() - begun
        click.echo(f"stored {_number(rows, 'row')} in {took:.1f} s, {rows / took:,.0f} a second", err=True)
    objects = f"{_number(loaded.topics, 'topic')} and {_number(loaded.snippets, 'snippet')}"
    place, rejected = printable(_place(settings)), _number(loaded.bad, "line")
    click.echo(f"Loaded {objects} into {place}; {rejected} rejected.", err=True)
    sys.exit(1 if loaded.bad else 0)


async def _load(settings: Settings, sources: list[tuple[str, BinaryIO]], *, has_directory: bool) -> LoadSummary:
    if settings.cache_address is None and not has_directory:
        async with _record_alone(settings) as records:
            loaded = await _fill(settings, records, sources)
        click.echo(
            "no server of the caches is named: what changed is dropped from them within seconds by any", err=True
        )
        click.echo("greenroom process that has this record open, or the next one that opens it", err=True)
        return loaded
    if settings.cache_address is None or settings.database_url is None:
        make_directory(settings.data_dir)
    async with open_platform(
        settings.cache_address,
        sessions=False,
        database=settings.database_url,
        data_dir=settings.data_dir,
        prefix=settings.key_prefix,
    ) as platform:
        loaded = await _fill(settings, platform.records, sources)
        # By the outbox, and not change by change: 1,000 changes of one topic name the same pages.
        with suppress(RecordError):  # all is stored, and what is left in the outbox is any process's to send
            await platform.outbox.send_pending()
        if platform.room.unavailable is not None or platform.outbox.unsent:
            click.echo("the caches could not be reached: what changed is dropped from them within seconds of", err=True)
            click.echo("their return, by any greenroom process that has this record open", err=True)
        return loaded


@asynccontextmanager
async def _record_alone(settings: Settings) -> AsyncIterator[Records]:
    """The record without caches: its outbox is left to whoever knows their server.

    Prevents: a load starts a server of its own, tells it of the outbox and clears it · a service that runs on the same
    record serves what it has cached.
    """
    assert settings.database_url is not None
    records = await open_records(settings.database_url)
    try:
        yield records
    finally:
        await records.close()


async def _fill(settings: Settings, records: Records, sources: list[tuple[str, BinaryIO]]) -> LoadSummary:
    if (trouble := write_trouble(records)) is not None:
        raise RecordUnavailable(trouble)
    click.echo(f"loading into {printable(_place(settings))}", err=True)
    report = _Report(_size(sources))
    loaded = await load_lines(records, sources, on_progress=report.progress, on_bad=report.bad)
    report.end()
    return loaded


def _place(settings: Settings) -> str:
    return shown_database(settings.database_url) if settings.database_url else str(settings.data_dir / DATABASE_FILE)


def _number(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


class _Report:
    """What is said while it loads: bad lines as they are found, and on a terminal how far it is."""

    def __init__(self, size: int | None) -> None:
        self._terminal = sys.stderr.isatty()
        self._said = 0
        self._size = size
        self._begun = monotonic()

    def bad(self, bad: BadLine) -> None:
        """Say a line of input that is bad, unless enough were said."""
        self._said += 1
        if self._said > SAID:
            return
        click.echo(f"{CLEAR if self._terminal else ''}{printable(str(bad))}", err=True)
        if self._said == SAID:
            click.echo(f"{SAID} bad lines were written; further ones are only counted", err=True)

    def progress(self, loaded: LoadSummary) -> None:
        """Say how far it is, on a terminal."""
        if self._terminal:
            rate = loaded.lines / max(0.001, monotonic() - self._begun)
            text = f"{loaded.lines:,} lines, {loaded.bad:,} of them bad, {rate:,.0f} a second"
            click.echo(f"{CLEAR}{bar(loaded.read, self._size)}{text}", nl=False, err=True)

    def end(self) -> None:
        """End the line that says how far it is."""
        if self._terminal:
            click.echo(err=True)


def bar(done: int, size: int | None) -> str:
    """How much of the input is read, as a bar; empty where its size is not known."""
    if not size:
        return ""
    share = min(1.0, done / size)
    filled = int(share * _BAR)
    return f"[{'#' * filled}{'.' * (_BAR - filled)}] {share:4.0%}  "


def _size(sources: Sequence[tuple[str, BinaryIO]]) -> int | None:
    """Bytes of all files; None where one of them is none, as a pipe."""
    kinds = [os.fstat(file.fileno()) for _, file in sources]
    return sum(one.st_size for one in kinds) if all(stat.S_ISREG(one.st_mode) for one in kinds) else None


def _opened(name: str, stack: ExitStack) -> BinaryIO:
    if name == "-":
        return sys.stdin.buffer
    try:
        return stack.enter_context(open(name, "rb"))
    except OSError as error:
        raise InvalidInput("FILE", f"{name} cannot be read: {error.strerror}", "name a file of NDJSON, or -") from None
