"""The contract of the record, held by SQLite and by MongoDB."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from greenroom_platform.domain.records import Records
from greenroom_platform.storage.mongodb import database as mongodb_database
from greenroom_platform.storage.mongodb import records as mongodb_records
from greenroom_platform.storage.mongodb.records import MongoRecords
from greenroom_platform.storage.sqlite import database
from greenroom_platform.testing import RecordsContract, TasksContract
from greenroom_platform.testing.records_elsewhere import Cut, Cuts
from tests.support.mongo_proxy import MongoProxy
from tests.support.mongo_server import MongoServer
from tests.support.record_fixtures import OnMongo, OnSqlite


class TestSqliteRecords(OnSqlite, RecordsContract):
    @pytest.fixture
    def cuts(self, records: Records, monkeypatch: pytest.MonkeyPatch) -> Cuts:
        """A statement fails, as on a disk that does not answer; a process that is killed is in tests/crash."""
        under_way, left = SimpleNamespace(reached=False), list[int]()

        class Failing(sqlite3.Connection):
            def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
                if left and self.in_transaction != sql.startswith("BEGIN") and sql != "ROLLBACK":
                    left[0] -= 1
                    if left[0] < 0:
                        under_way.reached = True
                        raise sqlite3.OperationalError("disk I/O error")
                return super().execute(sql, *parameters)

        def connected(path: Path) -> sqlite3.Connection:
            return sqlite3.connect(path, isolation_level=None, check_same_thread=False, factory=Failing)

        @contextmanager
        def cut(step: int) -> Iterator[SimpleNamespace]:
            under_way.reached = False
            left.append(step)
            try:
                yield under_way
            finally:
                left.clear()

        monkeypatch.setattr(database, "_connected", connected)
        return [cut]


class TestMongoRecords(OnMongo, RecordsContract):
    @pytest.fixture
    async def proxy(self, mongo_shared: MongoServer) -> AsyncIterator[MongoProxy]:
        async with MongoProxy(mongo_shared).serving() as proxy:
            yield proxy

    @pytest.fixture
    async def records(self, proxy: MongoProxy, mongo_url: str) -> AsyncIterator[MongoRecords]:
        records = await MongoRecords.open(proxy.url(mongo_url.rpartition("/")[2]), write_deadline=60.0)
        yield records
        await records.close()

    @pytest.fixture
    def cuts(self, records: MongoRecords, proxy: MongoProxy, monkeypatch: pytest.MonkeyPatch) -> Cuts:
        @contextmanager
        def hurried(lose: Callable[[int], AbstractContextManager[Cut]], step: int) -> Iterator[Cut]:
            with monkeypatch.context() as patched:
                # What is lost stays lost until the end of the block: longer than this nobody need wait for it. What is
                # not cut off has all its time: a busy machine may need it.
                patched.setattr(records._database, "_write_deadline", 0.2)
                patched.setattr(mongodb_records, "STORING", 0.2)
                patched.setattr(mongodb_database, "_ABORT", 0.02)
                with lose(step) as under_way:
                    yield under_way

        return [partial(hurried, proxy.lose_commands), partial(hurried, proxy.lose_replies)]


class TestMongoTasks(OnMongo, TasksContract):
    """On a database of its own."""
