"""Records for contract suites: `class TestSqliteRecords(OnSqlite, RecordsContract)`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from greenroom_platform.storage import SqliteRecords
from greenroom_platform.storage.mongodb.records import MongoRecords


class OnSqlite:
    """An empty record in a file, and the same one opened once more."""

    @pytest.fixture
    async def records(self, tmp_path: Path) -> AsyncIterator[SqliteRecords]:
        records = await SqliteRecords.open(tmp_path / "record.sqlite3")
        yield records
        await records.close()

    @pytest.fixture
    async def another(self, records: SqliteRecords, tmp_path: Path) -> AsyncIterator[SqliteRecords]:
        another = await SqliteRecords.open(tmp_path / "record.sqlite3")
        yield another
        await another.close()


class OnMongo:
    """An empty database, and the same one opened once more."""

    @pytest.fixture
    def records(self, mongo_records: MongoRecords) -> MongoRecords:
        return mongo_records

    @pytest.fixture
    async def another(self, records: MongoRecords, mongo_url: str) -> AsyncIterator[MongoRecords]:
        another = await MongoRecords.open(mongo_url)
        yield another
        await another.close()
