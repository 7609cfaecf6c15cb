"""The record on SQLite: whole transactions whatever becomes of their callers, and queries that use their index."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from greenroom.errors import RecordUnavailable
from greenroom_platform.models import Snippet
from greenroom_platform.storage import SqliteRecords
from greenroom_platform.storage.sqlite import database, rows
from greenroom_platform.storage.sqlite import records as records_module
from greenroom_platform.testing.records_changes import NOON, about, fill, ids, snippet, topic, wording


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "record.sqlite3"


@pytest.fixture
async def records(path: Path) -> AsyncIterator[SqliteRecords]:
    records = await SqliteRecords.open(path)
    yield records
    await records.close()


# Transactions ----------------------------------------------------------------------------------------


async def test_an_error_inside_a_transaction_undoes_it_and_is_passed_on(
    records: SqliteRecords, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("a bug")

    with monkeypatch.context() as patch:
        patch.setattr(records_module, "record_change", broken)
        with pytest.raises(RuntimeError, match="a bug"):
            await records.put_topic("a", about("A"), NOON)
    assert await records.topics() == ()
    await records.put_topic("b", about("B"), NOON)


async def test_a_commit_that_fails_leaves_no_transaction_open(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    connected = database._connected

    def strict(where: Path) -> sqlite3.Connection:
        connection = connected(where)
        connection.execute("PRAGMA foreign_keys = ON")
        return connection

    monkeypatch.setattr(database, "_connected", strict)
    opened = await database.Database.open(path)
    try:
        deferred = "CREATE TABLE child (topic TEXT REFERENCES topics DEFERRABLE INITIALLY DEFERRED)"
        await opened.write(lambda connection: connection.execute(deferred).fetchall())
        with pytest.raises(RecordUnavailable, match="FOREIGN KEY"):
            await opened.write(lambda connection: connection.execute("INSERT INTO child VALUES ('none')").fetchall())
        count = await opened.write(lambda connection: connection.execute("SELECT count(*) FROM child").fetchone())
        assert count == (0,)
    finally:
        await opened.close()


class Held:
    """Stops each write of a topic within its transaction until `go` is set."""

    def __init__(self, work: Callable[..., None]) -> None:
        self._work = work
        self.started = threading.Event()
        self.go = threading.Event()

    def __call__(self, *arguments: Any) -> None:
        self.started.set()
        assert self.go.wait(30)
        self._work(*arguments)


async def test_a_caller_cancelled_while_its_write_is_under_way_leaves_it_whole(
    records: SqliteRecords, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = Held(rows.write_topic)
    monkeypatch.setattr(records_module, "write_topic", held)
    under_way = asyncio.create_task(records.put_topic("a", about("A"), NOON))
    assert await asyncio.to_thread(held.started.wait, 30)
    in_the_queue = asyncio.create_task(records.put_topic("b", about("B"), NOON))
    await asyncio.sleep(0)
    under_way.cancel()
    in_the_queue.cancel()
    await asyncio.wait([under_way, in_the_queue])
    assert under_way.cancelled()
    held.go.set()
    await records.put_topic("c", about("C"), NOON)
    assert [one.topic_id for one in await records.topics()] == ["a", "c"]
    assert [change.topics for change in await records.pending()] == [("a",), ("c",)]


async def test_closing_finishes_the_write_under_way(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    records = await SqliteRecords.open(path)
    held = Held(rows.write_topic)
    monkeypatch.setattr(records_module, "write_topic", held)
    write = asyncio.create_task(records.put_topic("a", about("A"), NOON))
    assert await asyncio.to_thread(held.started.wait, 30)
    closing = asyncio.create_task(records.close())
    await asyncio.sleep(0)
    held.go.set()
    await closing
    assert (await write).created


async def test_a_write_that_waits_too_long_is_refused_and_reads_go_on(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "BUSY_DEADLINE", 0.05)
    records = await SqliteRecords.open(path)
    other = sqlite3.connect(path, isolation_level=None)
    try:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(RecordUnavailable):
            await records.put_topic("a", about("A"), NOON)
        assert await records.topics() == ()
        other.execute("ROLLBACK")
        await records.put_topic("a", about("A"), NOON)
    finally:
        other.close()
        await records.close()


async def test_what_was_answered_as_stored_is_on_the_disk(path: Path) -> None:
    opened = await database.Database.open(path)
    try:
        for run_on in (opened.read, opened.write):
            assert await run_on(lambda connection: connection.execute("PRAGMA synchronous").fetchone()) == (2,)
            assert await run_on(lambda connection: connection.execute("PRAGMA journal_mode").fetchone()) == ("wal",)
    finally:
        await opened.close()


async def test_a_change_from_before_the_clock_was_set_back_is_old_enough(path: Path, records: SqliteRecords) -> None:
    change = (await records.put_topic("a", about("A"), NOON)).change
    connection = sqlite3.connect(path)
    connection.execute("UPDATE outbox SET committed = committed + 3600")
    connection.commit()
    connection.close()
    assert await records.pending() == await records.pending(older_than=60) == (change,)


# Queries ---------------------------------------------------------------------------------------------


async def test_pages_and_lists_are_read_from_an_index_in_their_order(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    statements: list[str] = []
    connected = database._connected

    def traced(where: Path) -> sqlite3.Connection:
        connection = connected(where)
        connection.set_trace_callback(statements.append)
        return connection

    records = await SqliteRecords.open(path)
    monkeypatch.setattr(database, "_connected", traced)
    look = connected(path)
    try:
        for index, read in (
            ("snippets_by_topic", records.page("a", 3)),
            ("snippets_by_time", records.newest(20)),
            ("topics_by_name", records.topics()),
        ):
            statements.clear()
            await read
            (statement,) = (one for one in statements if one.startswith("SELECT"))
            plan = " ".join(str(row[3]) for row in look.execute(f"EXPLAIN QUERY PLAN {statement}"))
            assert f"USING INDEX {index}" in plan
            assert "TEMP B-TREE" not in plan
    finally:
        look.close()
        await records.close()


async def test_no_page_beyond_the_last_number_that_a_key_can_hold_is_named(path: Path, records: SqliteRecords) -> None:
    await fill(records, "a", 1)
    await records.store([topic("b")], [])
    connection = sqlite3.connect(path)
    connection.execute(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200001) "
        "INSERT INTO snippets SELECT 'n' || i, 'a', i,"
        " json_set((SELECT document FROM snippets), '$.snippet_id', 'n' || i) FROM n"
    )
    connection.commit()
    connection.close()
    assert len(await records.page("a", 10_000)) == 20
    written = await records.put_snippet("a000", wording("b"))
    assert written is not None
    assert dict(written.change.pages) == {"a": 10_000, "b": 2}


async def test_equal_moments_written_with_different_digits_are_equal(records: SqliteRecords) -> None:
    written = {
        "b": "2026-01-02T12:00:00.5Z",
        "a": "2026-01-02T12:00:00.500000Z",
        "d": "2026-01-02T14:00:00.500+02:00",
        "c": "2026-01-02T12:00:00.50Z",
        "e": "2026-01-02T12:00:00Z",
        "f": "2026-01-02T12:00:00.000Z",
    }
    template = msgspec.to_builtins(snippet("s", "a", NOON))
    lines = [{**template, "snippet_id": one, "generation_timestamp": text} for one, text in written.items()]
    await records.store([topic("a")], msgspec.convert(lines, list[Snippet]))
    assert ids(await records.page("a", 1)) == ["a", "b", "c", "d", "e", "f"]
