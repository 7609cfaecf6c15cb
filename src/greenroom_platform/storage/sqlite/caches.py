"""Which caches the changes of the record are sent to, on SQLite."""

from __future__ import annotations

import sqlite3

import msgspec

from greenroom_platform.domain.known_caches import KnownCaches
from greenroom_platform.storage.sqlite.database import Database


class SqliteCaches:
    """`CachesRecords` in the file of a `SqliteRecords`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def known(self) -> KnownCaches | None:
        return await self._database.read(_read)

    async def replace(self, expected: KnownCaches | None, new: KnownCaches) -> bool:
        def work(connection: sqlite3.Connection) -> bool:
            if _read(connection) != expected:
                return False
            row = (msgspec.json.encode(new).decode(),)
            connection.execute("INSERT OR REPLACE INTO caches (one, document) VALUES (1, ?)", row)
            return True

        return await self._database.write(work)


def _read(connection: sqlite3.Connection) -> KnownCaches | None:
    # As bytes: text that is no UTF-8 would make the query fail.
    row = connection.execute("SELECT CAST(document AS BLOB) FROM caches").fetchone()
    try:
        return None if row is None else msgspec.json.decode(row[0], type=KnownCaches)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
