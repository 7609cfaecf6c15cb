"""Changes made outside on SQLite: whoever writes to the file, however, the record tells what became stale."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from greenroom.errors import RecordUnavailable
from greenroom_platform.domain.foreign_changes import EVERYTHING, ForeignChanges, TellsForeignChanges
from greenroom_platform.domain.task_records import TaskRecords
from greenroom_platform.storage import SqliteRecords
from greenroom_platform.storage.sqlite import foreign
from greenroom_platform.testing.records_changes import NOON, about, fill, snippet, topic, wording


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "record.sqlite3"


@pytest.fixture
async def records(path: Path) -> AsyncIterator[SqliteRecords]:
    """Topic a with 21 snippets, b with 40, c without any; and two tasks."""
    records = await SqliteRecords.open(path)
    await fill(records, "a", 21)
    await fill(records, "b", 40)
    await records.store([topic("c")], [])
    tasks: TaskRecords = records.tasks
    for name in ("p1", "p2"):
        await tasks.add_task(name, "a", NOON, max_unfinished=10)
    yield records
    await records.close()


@pytest.fixture
def outside(path: Path, records: SqliteRecords) -> Iterator[sqlite3.Connection]:
    """Another program; each statement is a transaction."""
    with closing(sqlite3.connect(path, timeout=10, isolation_level=None)) as connection:
        yield connection


async def told(records: SqliteRecords) -> ForeignChanges[int]:
    """What is told next; it is acknowledged."""
    async with asyncio.timeout(20):
        changes = records.foreign_changes.changes()
        found = await anext(changes)
        await changes.aclose()
    await records.foreign_changes.acknowledge(found.position)
    return found


def rows(outside: sqlite3.Connection) -> int:
    """How many rows wait."""
    (count,) = outside.execute("SELECT count(*) FROM foreign_changes").fetchone()
    return int(count)


WRITES: dict[str, tuple[str, dict[str, Any]]] = {
    "a snippet updated": (
        "UPDATE snippets SET document = '{}' WHERE snippet_id = 'a000'",
        {"snippets": ("a000",), "pages": (("a", 3),)},
    ),
    "a snippet inserted": (
        "INSERT INTO snippets VALUES ('new', 'b', 1, '{}')",
        {"snippets": ("new",), "pages": (("b", 4),)},
    ),
    "a snippet deleted": (
        "DELETE FROM snippets WHERE snippet_id = 'a000'",
        {"snippets": ("a000",), "pages": (("a", 3),)},
    ),
    "a snippet moved": (
        "UPDATE snippets SET topic_id = 'b' WHERE snippet_id = 'a000'",
        {"snippets": ("a000",), "pages": (("a", 3), ("b", 4))},
    ),
    "a snippet replaced": (
        "REPLACE INTO snippets VALUES ('a000', 'a', 1, '{}')",
        {"snippets": ("a000",), "pages": (("a", 3),)},
    ),
    "a snippet replaced by one of another topic": (
        "INSERT OR REPLACE INTO snippets VALUES ('a000', 'b', 1, '{}')",
        {"snippets": ("a000",), "pages": (("a", 3), ("b", 4))},
    ),
    "a snippet inserted or else moved": (
        "INSERT INTO snippets VALUES ('a000', 'b', 1, '{}') ON CONFLICT DO UPDATE SET topic_id = 'b'",
        {"snippets": ("a000",), "pages": (("a", 3), ("b", 4))},
    ),
    "a snippet with another id": (
        "UPDATE snippets SET snippet_id = 'z' WHERE snippet_id = 'a000'",
        {"snippets": ("a000", "z"), "pages": (("a", 3),)},
    ),
    "a snippet that takes another's id": (
        "UPDATE OR REPLACE snippets SET snippet_id = 'b000' WHERE snippet_id = 'a000'",
        {"snippets": ("a000", "b000"), "pages": (("a", 3), ("b", 3))},
    ),
    "all snippets of a topic deleted": (
        "DELETE FROM snippets WHERE topic_id = 'b'",
        {"snippets": tuple(f"b{n:03}" for n in range(40)), "pages": (("b", 3),)},
    ),
    "a topic updated": ("UPDATE topics SET document = '{}' WHERE topic_id = 'a'", {"topics": ("a",)}),
    "a topic inserted": ("INSERT INTO topics VALUES ('d', 'D', '{}')", {"topics": ("d",), "pages": (("d", 2),)}),
    "a topic replaced": ("REPLACE INTO topics VALUES ('a', 'A', '{}')", {"topics": ("a",), "pages": (("a", 3),)}),
    "a topic deleted": ("DELETE FROM topics WHERE topic_id = 'b'", {"topics": ("b",), "pages": (("b", 4),)}),
    "a topic with another id": (
        "UPDATE topics SET topic_id = 'd' WHERE topic_id = 'c'",
        {"topics": ("c", "d"), "pages": (("c", 2),)},
    ),
    "a task updated": ("UPDATE tasks SET document = '{}' WHERE podcast_id = 'p1'", {"statuses": ("p1",)}),
    "a task inserted": ("INSERT INTO tasks VALUES (9, 'p9', 0, 0, NULL, '{}')", {"statuses": ("p9",)}),
    "a task deleted": ("DELETE FROM tasks WHERE podcast_id = 'p1'", {"statuses": ("p1",)}),
    "a task replaced by its number": (
        "REPLACE INTO tasks VALUES (1, 'p9', 0, 0, NULL, '{}')",
        {"statuses": ("p1", "p9")},
    ),
    "a task with another id": (
        "UPDATE tasks SET podcast_id = 'p9' WHERE podcast_id = 'p1'",
        {"statuses": ("p1", "p9")},
    ),
    "a task that takes another's number": (
        "UPDATE OR REPLACE tasks SET number = 2 WHERE podcast_id = 'p1'",
        {"statuses": ("p1", "p2")},
    ),
    "a task that takes another's id": (
        "UPDATE OR REPLACE tasks SET podcast_id = 'p2' WHERE podcast_id = 'p1'",
        {"statuses": ("p1", "p2")},
    ),
}


@pytest.mark.parametrize("recursive", [False, True], ids=["as usual", "recursive triggers"])
@pytest.mark.parametrize("write", WRITES)
async def test_a_write_by_another_program_tells_exactly_what_it_made_stale(
    records: SqliteRecords, outside: sqlite3.Connection, write: str, recursive: bool
) -> None:
    statement, expected = WRITES[write]
    outside.execute(f"PRAGMA recursive_triggers = {int(recursive)}")
    outside.execute(statement)
    found = await told(records)
    members = {name: getattr(found, name) for name in ("topics", "snippets", "pages", "statuses")}
    ends = dict(expected.get("pages", ()))
    assert {topic_id for topic_id, _ in members.pop("pages")} == set(ends)
    assert all(last >= ends[topic_id] for topic_id, last in found.pages)
    assert members == {name: expected.get(name, ()) for name in members}
    assert found.events >= 1
    assert found.lost == ()
    assert rows(outside) == 0


async def test_what_is_undone_by_another_program_tells_nothing(
    records: SqliteRecords, outside: sqlite3.Connection
) -> None:
    outside.execute("BEGIN")
    outside.execute("DELETE FROM snippets")
    outside.execute("ROLLBACK")
    assert rows(outside) == 0


async def test_the_records_own_changes_are_not_told_a_second_time(
    records: SqliteRecords, outside: sqlite3.Connection
) -> None:
    outside.execute("UPDATE topics SET document = '{}' WHERE topic_id = 'c'")
    await records.put_topic("a", about("After"), NOON)
    await records.add_snippet("new", wording("a"), NOON)
    await records.put_snippet("a000", wording("b"))
    await records.delete_snippet("b000")
    await records.store([topic("d")], [snippet("d000", "d", NOON)])
    claim = await records.tasks.claim("w", 30, NOON, attempts=3)
    assert claim is not None
    await records.tasks.renew(claim, 30, NOON)
    await records.tasks.fail(claim, "no voice", NOON)
    assert rows(outside) == 1
    assert (await told(records)).topics == ("c",)


async def test_a_change_of_ours_that_fails_undoes_its_rows_and_keeps_others(
    records: SqliteRecords, outside: sqlite3.Connection
) -> None:
    outside.execute("UPDATE topics SET document = '{}' WHERE topic_id = 'c'")
    with pytest.raises(Exception, match="nowhere"):
        await records.add_snippet("new", wording("nowhere"), NOON)
    assert rows(outside) == 1


async def test_what_was_not_acknowledged_is_told_again_and_later_rows_too(
    records: SqliteRecords, outside: sqlite3.Connection
) -> None:
    outside.execute("UPDATE topics SET document = '{}' WHERE topic_id = 'a'")
    changes = records.foreign_changes.changes()
    first = await anext(changes)
    outside.execute("UPDATE topics SET document = '{}' WHERE topic_id = 'b'")
    await records.foreign_changes.acknowledge(first.position)
    assert (await anext(changes)).topics == ("b",)
    await changes.aclose()
    assert (await told(records)).topics == ("b",)


async def test_a_number_is_never_used_twice(records: SqliteRecords, outside: sqlite3.Connection) -> None:
    """Prevents: two watchers read row 1 · one deletes it · another row 1 is written · the slower deletes that."""
    numbers = []
    for _ in range(3):
        outside.execute("UPDATE topics SET document = '{}' WHERE topic_id = 'a'")
        numbers.append((await told(records)).position)
    assert numbers == sorted(set(numbers))


async def test_more_rows_than_can_be_named_drop_their_keyspaces_whole(
    records: SqliteRecords, outside: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(foreign, "TOO_MANY", 30)
    outside.execute("UPDATE snippets SET document = '{}' WHERE topic_id = 'b'")
    found = await told(records)
    assert {one.name for one in found.lost} == {"snippet", "snippet_page"}
    assert (found.events, found.snippets, found.pages) == (40, (), ())
    assert rows(outside) == 0


async def test_rows_that_make_no_sense_hold_up_no_other(records: SqliteRecords, outside: sqlite3.Connection) -> None:
    outside.execute("INSERT INTO topics VALUES (x'ff', 'bytes', '{}')")
    outside.execute("INSERT INTO topics VALUES (CAST(x'ff' AS TEXT), 'no UTF-8', '{}')")
    outside.execute("INSERT INTO foreign_changes (kind, id, written) VALUES ('topic', 'c', 'yesterday')")
    found = await told(records)
    assert found.topics == ("c",)
    for kind in ("'planet'", "x'01'", "CAST(x'ff' AS TEXT)"):
        outside.execute(f"INSERT INTO foreign_changes (kind, id) VALUES ({kind}, 'c'), ('topic', 'c')")  # noqa: S608
        assert set((await told(records)).lost) == set(EVERYTHING)


@pytest.mark.parametrize("when", ["while it is open", "while it is closed"])
async def test_triggers_lost_with_a_rebuilt_table_are_made_again(
    path: Path, records: SqliteRecords, outside: sqlite3.Connection, when: str
) -> None:
    if when == "while it is closed":
        await records.close()
    for statement in ("CREATE TABLE copy AS SELECT * FROM snippets", "DROP TABLE snippets"):
        outside.execute(statement)
    outside.execute("ALTER TABLE copy RENAME TO snippets")
    if when == "while it is closed":
        records = await SqliteRecords.open(path)
    try:
        assert set((await told(records)).lost) == set(EVERYTHING)
        outside.execute("DELETE FROM snippets WHERE snippet_id = 'a000'")
        assert (await told(records)).snippets == ("a000",)
    finally:
        await records.close()


async def test_a_table_that_is_rebuilt_with_its_triggers_is_noticed(
    records: SqliteRecords, outside: sqlite3.Connection
) -> None:
    """As SQLite's manual says: the triggers are put back. Prevents: what was filled into the copy is told nobody."""
    (made,) = outside.execute("SELECT sql FROM sqlite_master WHERE name = 'topics'").fetchone()
    triggers = outside.execute(
        "SELECT sql FROM sqlite_master WHERE tbl_name = 'topics' AND type = 'trigger'"
    ).fetchall()
    outside.execute("BEGIN IMMEDIATE")
    for statement in (
        made.replace("topics", "copy", 1),
        "INSERT INTO copy SELECT topic_id, 'New', document FROM topics",
        "DROP TABLE topics",
        "ALTER TABLE copy RENAME TO topics",
        *(trigger for (trigger,) in triggers),
        "COMMIT",
    ):
        outside.execute(statement)
    assert set((await told(records)).lost) == set(EVERYTHING)
    outside.execute("UPDATE topics SET document = '{}' WHERE topic_id = 'c'")
    found = await told(records)
    assert (found.lost, found.topics) == ((), ("c",)), "once"


async def test_a_file_of_the_version_before_gets_triggers_and_all_is_stale(
    path: Path, records: SqliteRecords, outside: sqlite3.Connection
) -> None:
    await records.close()
    names = outside.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall()
    for (name,) in names:
        outside.execute(f"DROP TRIGGER {name}")
    outside.execute("DROP TABLE foreign_changes")
    outside.execute("PRAGMA user_version = 3")
    again = await SqliteRecords.open(path)
    assert set((await told(again)).lost) == set(EVERYTHING)
    await again.close()


async def test_a_new_file_tells_of_no_past(records: SqliteRecords, outside: sqlite3.Connection) -> None:
    assert isinstance(records, TellsForeignChanges)
    assert rows(outside) == 0


async def test_rows_that_cannot_be_deleted_are_told_once_for_each_reader(
    records: SqliteRecords, outside: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(_: object) -> None:
        raise RecordUnavailable("the disk is full")

    outside.execute("UPDATE topics SET document = '{}' WHERE topic_id = 'a'")
    source = records.foreign_changes
    first = await anext(source.changes())
    with monkeypatch.context() as patch:
        patch.setattr(source._database, "write", full)
        with pytest.raises(RecordUnavailable, match="full"):
            await source.acknowledge(first.position)
    outside.execute("UPDATE topics SET document = '{}' WHERE topic_id = 'b'")
    assert (await told(records)).topics == ("b",)
    assert rows(outside) == 0


@pytest.mark.parametrize("table", ["topics", "snippets", "tasks"])
async def test_triggers_that_stay_with_a_table_s_old_copy_are_made_again(
    records: SqliteRecords, outside: sqlite3.Connection, table: str
) -> None:
    """Prevents: the old table is kept under another name, and its triggers with it, under theirs · none is missed."""
    (made,) = outside.execute("SELECT sql FROM sqlite_master WHERE name = ?", (table,)).fetchone()
    outside.execute("BEGIN")
    copy = f"INSERT INTO {table} SELECT * FROM old"  # noqa: S608
    for statement in (f"ALTER TABLE {table} RENAME TO old", made, copy, "COMMIT"):
        outside.execute(statement)
    assert set((await told(records)).lost) == set(EVERYTHING)
    outside.execute(f"UPDATE {table} SET document = '{{}}'")  # noqa: S608
    found = await told(records)
    assert found.lost == ()
    assert found.topics or found.snippets or found.statuses
    outside.execute("UPDATE old SET document = '{}'")
    assert rows(outside) == 0, "the old table has none any more"


async def test_a_log_that_was_dropped_is_made_again_with_later_numbers(
    records: SqliteRecords, outside: sqlite3.Connection
) -> None:
    outside.execute("UPDATE topics SET document = '{}' WHERE topic_id = 'a'")
    before = (await told(records)).position
    outside.execute("DROP TABLE foreign_changes")
    found = await told(records)
    assert set(found.lost) == set(EVERYTHING)
    assert found.position > before + 1_000_000
    outside.execute("UPDATE topics SET document = '{}' WHERE topic_id = 'a'")
    assert (await told(records)).topics == ("a",)


async def test_a_log_that_was_dropped_keeps_nobody_from_writing(
    records: SqliteRecords, outside: sqlite3.Connection
) -> None:
    outside.execute("DROP TABLE foreign_changes")
    await records.put_topic("a", about("After"), NOON)
    assert rows(outside) == 1
    outside.execute("UPDATE topics SET document = '{}' WHERE topic_id = 'a'")
    assert set((await told(records)).lost) == set(EVERYTHING)


async def test_pages_of_all_that_waits_are_dropped_with_the_first_of_it(
    records: SqliteRecords, outside: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(foreign, "_TOGETHER", 10)
    outside.execute("DELETE FROM snippets WHERE topic_id = 'b'")
    found = await told(records)
    assert (found.events, found.pages) == (10, (("b", 3),))


async def test_many_rows_are_deleted_by_several_transactions(
    records: SqliteRecords, outside: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(foreign, "_DELETED", 15)
    outside.execute("DELETE FROM snippets WHERE topic_id = 'b'")
    (last,) = outside.execute("SELECT max(number) FROM foreign_changes").fetchone()
    left: list[int] = []
    write = records._database.write

    async def counted(work: Any) -> Any:
        done = await write(work)
        left.append(rows(outside))
        return done

    monkeypatch.setattr(records._database, "write", counted)
    await records.foreign_changes.acknowledge(last - 1)
    assert left == [25, 10, 1]


def next_number(outside: sqlite3.Connection, number: int) -> None:
    """The number of the next row."""
    outside.execute("DELETE FROM sqlite_sequence WHERE name = 'foreign_changes'")
    outside.execute("INSERT INTO sqlite_sequence VALUES ('foreign_changes', ?)", (number - 1,))


async def test_rows_that_nobody_reads_do_not_grow_without_end(
    records: SqliteRecords, outside: sqlite3.Connection
) -> None:
    next_number(outside, 1)
    outside.execute("UPDATE topics SET document = '{}' WHERE topic_id = 'c'")
    next_number(outside, 99_999)
    outside.execute("UPDATE topics SET document = '{}' WHERE topic_id = 'c'")
    assert rows(outside) == 2
    outside.execute("UPDATE topics SET document = '{}' WHERE topic_id = 'c'")
    assert rows(outside) == 1
    assert set((await told(records)).lost) == set(EVERYTHING)
    next_number(outside, 199_999)
    outside.execute("UPDATE snippets SET document = '{}' WHERE topic_id = 'b'")
    assert len((await told(records)).snippets) == 40, "what was acknowledged counts no more"


@pytest.mark.parametrize("waiting", [0, 1])
async def test_a_large_change_of_ours_replaces_no_row_but_others(
    records: SqliteRecords, outside: sqlite3.Connection, waiting: int
) -> None:
    next_number(outside, 1)
    for _ in range(waiting):
        outside.execute("UPDATE topics SET document = '{}' WHERE topic_id = 'c'")
    outside.execute(
        "CREATE TRIGGER as_many_as_a_large_load AFTER INSERT ON topics BEGIN INSERT INTO foreign_changes (kind, id)"
        " SELECT 'topic', 'a' FROM snippets one, snippets two, snippets three LIMIT 100001; END"
    )
    await records.store([topic("d")], [])
    assert rows(outside) == waiting
    if waiting:
        assert set((await told(records)).lost) == set(EVERYTHING)
