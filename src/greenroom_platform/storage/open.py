"""From the text of a setting to an open record."""

from __future__ import annotations

from pathlib import Path

from greenroom.errors import InvalidInput
from greenroom_platform.domain.records import Records
from greenroom_platform.storage.sqlite.records import SqliteRecords

_REMEDY = "write it like sqlite:greenroom.sqlite3 or sqlite:/var/lib/greenroom/record.sqlite3"


async def open_records(database: str | Path) -> Records:
    """Open a record.

    Arguments:
        database: a path, or `sqlite:PATH`.

    Raises:
        InvalidInput: when it names no database that can be.
        RecordUnavailable: when the database is busy.
    """
    return await SqliteRecords.open(database if isinstance(database, Path) else sqlite_path(database))


def sqlite_path(url: str, *, field: str = "database") -> Path:
    """The path of `sqlite:PATH`.

    Raises:
        InvalidInput: for any other form.
    """
    scheme, colon, path = url.partition(":")
    if not colon or scheme != "sqlite":
        raise InvalidInput(field, f"{scheme}: is not known" if colon else "it has no scheme", _REMEDY)
    if not path or path.startswith("//") or path == ":memory:":
        raise InvalidInput(field, f"{path!r} is not the path of a file", _REMEDY)
    return Path(path)
