"""The contract of the generation tasks, held by SQLite, and what is SQLite's own."""

from __future__ import annotations

import sqlite3
from contextlib import closing, nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from greenroom.detached import Detached
from greenroom.opened import Opened
from greenroom.testing.clock import ManualClock
from greenroom_platform.domain.podcasts import Tasks
from greenroom_platform.domain.task_records import KEY_KEPT, IdempotencyKey, KeepsTasks
from greenroom_platform.storage import SqliteRecords
from greenroom_platform.testing import TasksContract
from greenroom_platform.testing.records_changes import NOON, about
from tests.support.record_fixtures import OnSqlite


class TestSqliteTasks(OnSqlite, TasksContract):
    """In a file of its own."""


async def test_a_file_without_task_tables_gets_them_and_keeps_its_rows(tmp_path: Path) -> None:
    path = tmp_path / "old.sqlite3"
    records = await SqliteRecords.open(path)
    await records.put_topic("a", about("A"), NOON)
    await records.close()
    with closing(sqlite3.connect(path)) as connection:
        for table in ("tasks", "task_keys"):
            connection.execute(f"DROP TABLE {table}")
        connection.execute("PRAGMA user_version = 2")
    for _ in range(2):
        records = await SqliteRecords.open(path)
        assert isinstance(records, KeepsTasks)
        assert [topic.topic_id for topic in await records.topics()] == ["a"]
        assert await records.tasks.task("p") is None
        await records.close()


async def test_what_has_lapsed_leaves_the_tables(tmp_path: Path) -> None:
    path = tmp_path / "record.sqlite3"
    records = await SqliteRecords.open(path)
    await records.put_topic("a", about("A"), NOON)
    for number in range(3):
        key = IdempotencyKey("caller", f"key-{number}")
        await records.tasks.add_task(f"p{number}", "a", NOON, max_unfinished=9, key=key)
    await records.tasks.add_task("later", "a", NOON + KEY_KEPT, max_unfinished=9)
    await records.close()
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM task_keys").fetchone() == (0,)


async def test_a_worker_that_finds_nothing_does_not_wait_for_who_writes(tmp_path: Path) -> None:
    path = tmp_path / "record.sqlite3"
    records = await SqliteRecords.open(path)
    await records.put_topic("a", about("A"), NOON)
    with closing(sqlite3.connect(path, isolation_level=None)) as another:
        another.execute("BEGIN IMMEDIATE")  # as a long load does
        assert await records.tasks.claim("w", 10, NOON, attempts=3) is None
        assert await records.tasks.fail_exhausted("No.", NOON, attempts=3) == ()
        another.execute("ROLLBACK")
    await records.close()


async def test_attempts_of_a_podcast_that_fail_at_once_pause_ever_longer(tmp_path: Path) -> None:
    records = await SqliteRecords.open(tmp_path / "record.sqlite3")
    await records.put_topic("a", about("A"), NOON)
    clock = ManualClock()
    # Nothing is shown, so no change is sent.
    changes = SimpleNamespace(detached=Detached(), opened=Opened(), writing=nullcontext)
    tasks = Tasks(records.tasks, cast(Any, changes), clock, attempts=9)
    await records.tasks.add_task("p", "a", clock.now(), max_unfinished=9)
    for pause in (1, 3, 9, 27, 30, 30):
        claim = await tasks.claim("w")
        assert claim is not None
        await tasks.give_back(claim, counted=True)
        clock.advance(pause - 0.001)
        assert await tasks.claim("w") is None
        clock.advance(0.001)
    claim = await tasks.claim("w")
    assert claim is not None
    await tasks.give_back(claim, counted=False)
    assert await tasks.claim("w") is not None, "a worker that only ended costs no pause"
    await records.close()
