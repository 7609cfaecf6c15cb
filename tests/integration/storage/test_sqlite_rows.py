"""Rows of other programs on SQLite: told of by their id, left out of lists, never overwritten unread."""

from __future__ import annotations

import io
import json
import logging
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from greenroom.errors import BrokenDocument
from greenroom_platform.domain.known_caches import KnownCaches
from greenroom_platform.domain.task_records import IdempotencyKey
from greenroom_platform.models import User
from greenroom_platform.storage import BadLine, SqliteRecords, load
from greenroom_platform.testing.records_changes import NOON, about, fill, ids, wording
from tests.support.followed_pages import ids_by_pages

MOMENT = "2026-01-02T12:00:00.123456Z"
TOPIC = {
    "topic_id": "x",
    "display_name": "Name",
    "description": "",
    "keywords": [],
    "created_at": MOMENT,
    "updated_at": MOMENT,
}
NO_TEXT = json.dumps(TOPIC).encode().replace(b"Name", b"\xff\xfe")


@pytest.fixture
async def records(tmp_path: Path) -> AsyncIterator[SqliteRecords]:
    records = await SqliteRecords.open(tmp_path / "record.sqlite3")
    yield records
    await records.close()


@pytest.fixture
def outside(tmp_path: Path, records: SqliteRecords) -> Iterator[sqlite3.Connection]:
    """Another program; each statement is a transaction."""
    with closing(sqlite3.connect(tmp_path / "record.sqlite3", timeout=10, isolation_level=None)) as connection:
        yield connection


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ("{", "truncated"),
        ("", "truncated"),
        ("{}", "missing required field"),
        (json.dumps(TOPIC | {"display_name": 7}), "Expected `str`, got `int`"),
        (json.dumps(TOPIC | {"keywords": "one, two"}), "Expected `array`"),
        (json.dumps(TOPIC | {"created_at": "yesterday"}), "RFC3339"),
        (json.dumps(TOPIC | {"topic_id": "another"}), "its topic_id is not that of its row"),
        ("[" * 100_000, "fit its type"),
        (7, "got `int`"),
        (b"\x00\x01", "malformed"),
        (NO_TEXT, "fit its type"),
    ],
)
@pytest.mark.parametrize("kind", ["TEXT", "BLOB"])
async def test_a_row_that_does_not_fit_is_left_out_of_lists_and_told_once(
    records: SqliteRecords,
    outside: sqlite3.Connection,
    document: object,
    kind: str,
    reason: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    await records.put_topic("a", about("A"), NOON)
    outside.execute(f"INSERT INTO topics VALUES ('x', 'Name', CAST(? AS {kind}))", (document,))  # noqa: S608
    (stored,) = outside.execute("SELECT CAST(document AS BLOB) FROM topics WHERE topic_id = 'x'").fetchone()
    with caplog.at_level(logging.ERROR, "greenroom.storage"):
        for _ in range(3):
            assert [one.topic_id for one in await records.topics()] == ["a"]
    assert records.broken_documents["topic",] == records.broken.count == 3
    (line,) = caplog.messages
    assert line.startswith("left out: the topic 'x' does not fit its type")
    assert reason in line
    for ask in (records.topic("x"), records.put_topic("x", about("Ours"), NOON), records.delete_topic("x")):
        with pytest.raises(BrokenDocument, match="the topic 'x' does not fit"):
            await ask
    assert outside.execute("SELECT CAST(document AS BLOB) FROM topics WHERE topic_id = 'x'").fetchone() == (stored,)


async def test_an_id_that_is_no_text_takes_no_list_with_it(records: SqliteRecords, outside: sqlite3.Connection) -> None:
    await fill(records, "a", 1)
    outside.execute("INSERT INTO topics VALUES (CAST(x'ff' AS TEXT), 'Name', ?)", (json.dumps(TOPIC),))
    outside.execute("INSERT INTO snippets VALUES (x'ff', 'a', 1, '{}')")
    assert [one.topic_id for one in await records.topics()] == ["a"]
    assert ids(await records.page("a", 1)) == ["a000"]


async def test_a_topic_that_does_not_fit_still_takes_snippets(
    records: SqliteRecords, outside: sqlite3.Connection
) -> None:
    outside.execute("INSERT INTO topics VALUES ('x', 'Name', '{}')")
    await records.add_snippet("new", wording("x"), NOON)
    assert ids(await records.page("x", 1)) == ["new"]


@pytest.mark.parametrize("broken", [[0], [0, 21, 44], list(range(45)), [*range(5, 40)]])
async def test_a_page_is_full_whatever_is_left_out_of_it(
    records: SqliteRecords, outside: sqlite3.Connection, broken: list[int]
) -> None:
    every = await fill(records, "a", 45)
    gone = {every[number] for number in broken}
    for one in gone:
        outside.execute("UPDATE snippets SET document = '{' WHERE snippet_id = ?", (one,))
    seen = await ids_by_pages(records)
    assert seen == set(every) - gone
    assert len(await records.newest(7)) == min(7, len(seen))


async def test_a_snippet_that_was_moved_in_its_column_alone_is_broken(
    records: SqliteRecords, outside: sqlite3.Connection
) -> None:
    """Prevents: an editor changes it · the pages of the topic that it is on are not dropped."""
    await fill(records, "a", 1)
    await fill(records, "b", 1)
    outside.execute("UPDATE snippets SET topic_id = 'b' WHERE snippet_id = 'a000'")
    with pytest.raises(BrokenDocument, match="its topic_id is not that of its row"):
        await records.put_snippet("a000", wording("a"))
    assert ids(await records.page("b", 1)) == ["b000"]


async def test_a_user_that_does_not_fit_is_told_as_such(records: SqliteRecords, outside: sqlite3.Connection) -> None:
    await records.users.add_user(User(user_id="u", username="ada", password_hash="x", created_at=NOON))
    outside.execute("UPDATE users SET document = '{}'")
    for ask in (records.users.user("u"), records.users.user_by_name("ada"), records.users.replace_hash("u", "x", "y")):
        with pytest.raises(BrokenDocument, match="the user 'u' does not fit"):
            await ask


async def with_tasks(records: SqliteRecords, *names: str) -> None:
    await records.put_topic("a", about("A"), NOON)
    for number, name in enumerate(names):
        await records.tasks.add_task(name, "a", NOON + timedelta(seconds=number), max_unfinished=9)


def spoil(outside: sqlite3.Connection, how: str) -> None:
    """Let task `p1` not fit."""
    (document,) = outside.execute("SELECT document FROM tasks WHERE podcast_id = 'p1'").fetchone()
    spoilt = {
        "bad JSON": "{",
        "a status of theirs": document.replace('"queued"', '"sleeping"'),
        "a number": document.replace('"topic_id":"a"', '"topic_id":7'),
    }[how]
    assert spoilt != document
    outside.execute("UPDATE tasks SET document = ? WHERE podcast_id = 'p1'", (spoilt,))


@pytest.mark.parametrize("how", ["bad JSON", "a status of theirs", "a number"])
async def test_a_task_that_does_not_fit_keeps_no_worker_from_the_next(
    records: SqliteRecords, outside: sqlite3.Connection, how: str
) -> None:
    await with_tasks(records, "p1", "p2", "p3")
    spoil(outside, how)
    with pytest.raises(BrokenDocument, match="the podcasttask 'p1' does not fit"):
        await records.tasks.task("p1")
    queue = await records.tasks.queue()
    assert (queue.length, queue.oldest) == (3, NOON + timedelta(seconds=1))
    claim = await records.tasks.claim("w", 30, NOON, attempts=3)
    assert claim is not None
    assert claim.podcast_id == "p2"
    assert records.broken_documents["podcasttask",] > 0


async def test_tasks_are_failed_beside_one_that_does_not_fit(
    records: SqliteRecords, outside: sqlite3.Connection
) -> None:
    await with_tasks(records, "p1", "p2")
    spoil(outside, "bad JSON")
    failed = await records.tasks.fail_exhausted("No.", NOON, attempts=0)
    assert [one.statuses for one in failed] == [("p2",)]


async def test_a_recording_that_does_not_fit_is_told_and_left_out(
    records: SqliteRecords, outside: sqlite3.Connection
) -> None:
    await with_tasks(records, "p1")
    claim = await records.tasks.claim("w", 30, NOON, attempts=3)
    assert claim is not None
    await records.tasks.fail(claim, "No.", NOON)
    outside.execute("INSERT INTO recordings VALUES ('p', 0, '{\"claim\": 1}')")
    assert [one.podcast_id for one in await records.tasks.all_stored()] == ["p1"]
    assert records.broken_documents["storedrecording",] == 1
    with pytest.raises(BrokenDocument, match="the storedrecording 'p' does not fit"):
        await records.tasks.stored("p")


async def test_a_load_tells_of_what_it_cannot_replace_and_stores_the_rest(
    records: SqliteRecords, outside: sqlite3.Connection
) -> None:
    await fill(records, "a", 2)
    outside.execute("INSERT INTO topics VALUES ('x', 'Name', '{}')")
    outside.execute("UPDATE snippets SET document = '{}' WHERE snippet_id = 'a000'")
    members = '"title": "New", "text_content": "Text."'
    lines = ['{"topic_id": "x", "display_name": "X", "description": "", "keywords": []}']
    lines += [f'{{"snippet_id": "{one}", "topic_id": "a", {members}}}' for one in ("a000", "a001", "new")]
    lines += [f'{{"snippet_id": "nx", "topic_id": "x", {members}}}']
    bad: list[BadLine] = []
    loaded = await load(records, [("file", io.BytesIO("\n".join(lines).encode()))], on_bad=bad.append)
    assert [(one.number, one.field) for one in bad] == [(1, "topic_id"), (2, "snippet_id")]
    assert all("does not fit" in one.reason and "in the database" in one.remedy for one in bad)
    assert (loaded.topics, loaded.snippets, loaded.bad) == (0, 3, 2)
    found: Any = await records.snippet("a001")
    assert found.title == "New"


async def test_a_column_that_another_program_adds_stops_no_change_and_stays(
    records: SqliteRecords, outside: sqlite3.Connection
) -> None:
    await fill(records, "a", 1)
    for table in ("topics", "snippets", "users", "tasks", "task_keys", "recordings", "caches", "outbox"):
        outside.execute(f"ALTER TABLE {table} ADD COLUMN region TEXT")
        outside.execute(f"UPDATE {table} SET region = 'north'")  # noqa: S608
    await records.put_topic("a", about("New"), NOON)
    await records.put_snippet("a000", wording("a"))
    for table in ("topics", "snippets"):
        assert outside.execute(f"SELECT region FROM {table}").fetchall() == [("north",)]  # noqa: S608
    await records.add_snippet("new", wording("a"), NOON)
    await records.users.add_user(User(user_id="u", username="ada", password_hash="x", created_at=NOON))
    assert await records.caches.replace(None, KnownCaches(identity="i", address="here"))
    key = IdempotencyKey("u", "k")
    await records.tasks.add_task("p1", "a", NOON, max_unfinished=9, key=key)
    claim = await records.tasks.claim("w", 30, NOON, attempts=3)
    assert claim is not None
    await records.tasks.fail(claim, "No.", NOON)
    assert await records.tasks.stored("p1") is not None
