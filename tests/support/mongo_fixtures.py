"""Fixtures of the record on MongoDB: one server for all tests of a process that do not hurt it, a database for each."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from greenroom_platform.storage.mongodb.records import MongoRecords
from tests.support.mongo_server import MongoServer, mongo_binary


@pytest.fixture(params=["sqlite", "mongodb"])
def record_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of an empty record, on each database."""
    if request.param == "sqlite":
        return f"sqlite:{tmp_path / 'record.sqlite3'}"
    return str(request.getfixturevalue("mongo_url"))


@pytest.fixture(scope="session")
def mongo_shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MongoServer]:
    """A server that no test ends; what it keeps goes with it."""
    if mongo_binary() is None:
        pytest.skip("SecantusDB has no wheel for this Python or platform")
    server = MongoServer(None, tmp_path_factory.mktemp("mongo") / "log")
    server.start()
    yield server
    server.kill()


@pytest.fixture
def mongo(tmp_path: Path) -> Iterator[MongoServer]:
    """A server of its own for one test, which keeps on the disk what it acknowledges."""
    if mongo_binary() is None:
        pytest.skip("SecantusDB has no wheel for this Python or platform")
    server = MongoServer(tmp_path / "mongo", tmp_path / "mongo.log")
    server.start()
    yield server
    server.kill()


@pytest.fixture
def mongo_url(mongo_shared: MongoServer) -> str:
    """The address of an empty database."""
    return mongo_shared.url(f"t{secrets.token_hex(6)}")


@pytest.fixture
async def mongo_records(mongo_url: str) -> AsyncIterator[MongoRecords]:
    """An empty record on MongoDB."""
    records = await MongoRecords.open(mongo_url)
    yield records
    await records.close()
