"""From the text of a setting to an open record."""

from __future__ import annotations

from pathlib import Path

from greenroom.errors import InvalidInput
from greenroom.extras import needs_extra
from greenroom_platform.domain.records import Records
from greenroom_platform.storage.mongodb.address import is_mongodb, mongodb_name, without_password
from greenroom_platform.storage.sqlite.records import SqliteRecords

_REMEDY = "write it like sqlite:/var/lib/greenroom/record.sqlite3 or mongodb://host1,host2/greenroom?replicaSet=rs0"


async def open_records(database: str | Path) -> Records:
    """Open a record.

    Arguments:
        database: a path, `sqlite:PATH` or `mongodb://…/NAME`.

    Raises:
        InvalidInput: when it names no database that can be.
        MissingExtra: when the database's driver is not installed.
        RecordUnavailable: when the database is busy, or cannot be reached.
    """
    if not isinstance(database, Path) and is_mongodb(database):
        with needs_extra("mongodb", "the record on MongoDB"):
            from greenroom_platform.storage.mongodb.records import MongoRecords
        return await MongoRecords.open(database)
    return await SqliteRecords.open(database if isinstance(database, Path) else sqlite_path(database))


def check_database(url: str, *, field: str = "database") -> None:
    """Return if a text is the address of a record; nothing is opened.

    Raises:
        InvalidInput: otherwise.
    """
    if is_mongodb(url):
        mongodb_name(url, field=field)
    else:
        sqlite_path(url, field=field)


def shown_database(url: str) -> str:
    """The address as it may be shown, without a password."""
    return without_password(url) if is_mongodb(url) else url


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
