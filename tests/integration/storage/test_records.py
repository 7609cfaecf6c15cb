"""The contract of the record, held by SQLite."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from greenroom_platform.domain.records import Records
from greenroom_platform.storage import SqliteRecords
from greenroom_platform.testing import RecordsContract


class TestSqliteRecords(RecordsContract):
    @pytest.fixture
    async def records(self, tmp_path: Path) -> AsyncIterator[Records]:
        records = await SqliteRecords.open(tmp_path / "record.sqlite3")
        yield records
        await records.close()
