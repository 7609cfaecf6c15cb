"""Where the platform's servers and its record are, for the library's commands that look; from its settings."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import fields
from functools import partial
from pathlib import Path
from urllib.parse import quote

from greenroom.deployment import Deployment, Flags, LoadedRecord, RecordReader, Setting
from greenroom.engine.embedded import SOCKET
from greenroom.errors import RecordUnavailable
from greenroom.findings import NotChecked
from greenroom_platform.cli.checks import checks
from greenroom_platform.cli.options import read_settings
from greenroom_platform.domain.record_loaders import record_loaders
from greenroom_platform.http.editor_token import NAME as TOKEN_FILE
from greenroom_platform.http.settings import ENV_PREFIX, Settings
from greenroom_platform.platform import DATABASE_FILE
from greenroom_platform.storage import open_records
from greenroom_platform.storage.looking import look_at_record

_TAKEN = ("data_dir", "database_url", "recordings_url", "host", "port", "workers")
_KNOWN = frozenset(one.name for one in fields(Settings))
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}

SETTINGS = tuple(
    Setting(one.name, one.metadata["form"], f"{one.metadata['help']} [{ENV_PREFIX}{one.name.upper()}]")
    for one in fields(Settings)
    if one.name in _TAKEN
)
"""The flags that the library's commands take of the platform, besides those of the servers."""


def deploy(flags: Flags) -> Deployment:
    """The deployment that the platform's settings describe: flags, then environment, then defaults.

    Raises:
        InvalidInput: for a setting that is wrong.
    """
    settings = read_settings({name: text for name, text in flags.items() if name in _KNOWN})
    database = settings.database_url or settings.data_dir / DATABASE_FILE
    return Deployment(
        caches=settings.cache_address or _embedded(settings.data_dir),
        sessions=settings.session_address or _embedded(settings.data_dir),
        processes=settings.workers,
        record=partial(_record, database),
        checks=partial(checks, settings, database),
        service=_service(settings),
        token=settings.editor_token or _made_token(settings.data_dir),
    )


def _embedded(data_dir: Path) -> str | None:
    """The address of the embedded server, whether or not it runs; None where there is no such directory."""
    return f"unix://{quote(os.fsencode((data_dir / SOCKET).absolute()))}" if data_dir.is_dir() else None


@asynccontextmanager
async def _record(database: str | Path) -> AsyncIterator[RecordReader]:
    try:
        found = await look_at_record(database)
    except NotChecked as why:
        raise RecordUnavailable(str(why)) from None
    for one in found:
        if one.severity == "error":
            raise RecordUnavailable(one.what)
    records = await open_records(database)
    try:
        yield LoadedRecord({one.pattern.text: load for one, load in record_loaders(records).items()})
    finally:
        await records.close()


def _service(settings: Settings) -> str:
    host = _EVERYWHERE.get(settings.host, settings.host)
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.port}"


def _made_token(data_dir: Path) -> str | None:
    try:
        return (data_dir / TOKEN_FILE).read_text("ascii").strip() or None
    except (OSError, UnicodeDecodeError):
        return None
