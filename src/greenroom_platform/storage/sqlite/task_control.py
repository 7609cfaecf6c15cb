"""What operators do to the generation tasks, on SQLite: whoever has a claim loses it."""

from __future__ import annotations

import sqlite3
import time
from datetime import datetime

import msgspec

from greenroom.errors import QueueFull
from greenroom_platform.domain.records import Change
from greenroom_platform.models import PodcastTask
from greenroom_platform.storage.broken import BrokenDocuments
from greenroom_platform.storage.sqlite.database import Database
from greenroom_platform.storage.sqlite.outbox import record_change
from greenroom_platform.storage.sqlite.tasks import (
    failed_task,
    fitting_tasks,
    note_stored,
    read_stored,
    read_task,
    write_task,
)
from greenroom_platform.storage.task_steps import check_state, expired_of, queued_again, unclaimed


class SqliteTaskControl:
    """`TaskControl` in the file of a `SqliteRecords`."""

    def __init__(self, database: Database, broken: BrokenDocuments) -> None:
        self._database = database
        self._broken = broken

    async def tasks(self, *, finished: int) -> tuple[PodcastTask, ...]:
        def work(connection: sqlite3.Connection) -> tuple[PodcastTask, ...]:
            unfinished = fitting_tasks(connection, self._broken, "finished IS NULL ORDER BY number")
            ended = "finished IS NOT NULL ORDER BY finished DESC LIMIT ?"
            return (*unfinished, *fitting_tasks(connection, self._broken, ended, (finished,)))

        return await self._database.read(work)

    async def retry(self, podcast_id: str, now: datetime, *, max_unfinished: int) -> Change:
        def work(connection: sqlite3.Connection) -> Change:
            task = check_state(read_task(connection, podcast_id), podcast_id, "failed")
            (unfinished,) = connection.execute("SELECT count(*) FROM tasks WHERE finished IS NULL").fetchone()
            if unfinished >= max_unfinished:
                raise QueueFull(f"{unfinished} podcasts are waited for already")
            write_task(connection, queued_again(task, now))
            # Its last claim will be noted anew: until then nothing of it may be removed by the old note.
            connection.execute("DELETE FROM recordings WHERE podcast_id = ?", (podcast_id,))
            return record_change(connection, time.time(), statuses=[podcast_id])

        return await self._database.write(work)

    async def release(self, podcast_id: str) -> None:
        def work(connection: sqlite3.Connection) -> None:
            task = check_state(read_task(connection, podcast_id), podcast_id, "claimed")
            write_task(connection, msgspec.structs.replace(unclaimed(task), attempts=max(0, task.attempts - 1)))

        await self._database.write(work)

    async def stop(self, podcast_id: str, message: str, now: datetime) -> Change:
        def work(connection: sqlite3.Connection) -> Change:
            task = check_state(read_task(connection, podcast_id), podcast_id, "unfinished")
            return failed_task(connection, task, message, now)

        return await self._database.write(work)

    async def delete(self, podcast_id: str, now: datetime) -> Change:
        def work(connection: sqlite3.Connection) -> Change:
            task = check_state(read_task(connection, podcast_id), podcast_id, "there")
            stored = expired_of(read_stored(connection, podcast_id), task, now)
            if stored is not None:
                note_stored(connection, stored)
            connection.execute("DELETE FROM tasks WHERE podcast_id = ?", (podcast_id,))
            connection.execute("DELETE FROM task_keys WHERE podcast_id = ?", (podcast_id,))
            return record_change(connection, time.time(), statuses=[podcast_id])

        return await self._database.write(work)
