"""The generation tasks on SQLite, beside the topics: every rule is looked at in the transaction that writes."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import islice
from typing import Any

import msgspec

from greenroom.errors import BrokenDocument, ClaimLost, Conflict, KeyReused, QueueFull, UnknownReference
from greenroom_platform.domain.records import Change
from greenroom_platform.domain.task_records import (
    KEY_KEPT,
    TASK_KEPT,
    Advanced,
    Claim,
    IdempotencyKey,
    Listed,
    Queue,
    Requested,
    StoredRecording,
    Waiting,
)
from greenroom_platform.models import ERROR, QUEUED, STATUSES, PodcastTask, in_utc
from greenroom_platform.storage.broken import BrokenDocuments
from greenroom_platform.storage.moments import microseconds
from greenroom_platform.storage.sqlite.database import Database
from greenroom_platform.storage.sqlite.outbox import record_change
from greenroom_platform.storage.sqlite.rows import columns, decoded, topic_exists
from greenroom_platform.storage.task_steps import after, check_step, shown, unclaimed, waiting_of

_SWEPT = 100
"""Rows of each kind that one new task removes at most: more than it adds, and never a long transaction."""


_TOPIC = "(CASE WHEN json_valid(document) THEN json_extract(document, '$.topic_id') END)"
"""As in the index; written otherwise it would not be used."""
_LOOKED_AT = 200
"""Podcasts of a topic among which those are looked for that can be heard."""


class SqliteTasks:
    """`TaskRecords` in the file of a `SqliteRecords`."""

    def __init__(self, database: Database, broken: BrokenDocuments | None = None) -> None:
        self._database = database
        self._broken = broken or BrokenDocuments()

    async def add_task(
        self, podcast_id: str, topic_id: str, now: datetime, *, max_unfinished: int, key: IdempotencyKey | None = None
    ) -> Requested:
        def work(connection: sqlite3.Connection) -> Requested:
            if key is not None and (earlier := _requested(connection, key, now)) is not None:
                if earlier.topic_id != topic_id:
                    raise KeyReused("the idempotency key was used for another topic")
                return Requested(earlier, False)
            if not topic_exists(connection, topic_id):
                raise UnknownReference("topic_id", topic_id)
            _sweep(connection, now)
            (unfinished,) = connection.execute("SELECT count(*) FROM tasks WHERE finished IS NULL").fetchone()
            if unfinished >= max_unfinished:
                raise QueueFull(f"{unfinished} podcasts are waited for already")
            moment = in_utc(now)
            task = PodcastTask(
                podcast_id=podcast_id, topic_id=topic_id, status=QUEUED, created_at=moment, updated_at=moment
            )
            try:
                row = podcast_id, _text(task)
                connection.execute(
                    "INSERT INTO tasks (podcast_id, attempts, claimed_until, document) VALUES (?, 0, 0, ?)", row
                )
            except sqlite3.IntegrityError:
                raise Conflict(f"podcast {podcast_id} exists already") from None
            if key is not None:
                named = key.caller, key.key, podcast_id, microseconds(now)
                connection.execute(
                    "INSERT OR REPLACE INTO task_keys (caller, key, podcast_id, made) VALUES (?, ?, ?, ?)", named
                )
            return Requested(task, True)

        return await self._database.write(work)

    async def task(self, podcast_id: str) -> PodcastTask | None:
        return await self._database.read(lambda connection: read_task(connection, podcast_id))

    async def claim(self, worker: str, seconds: float, now: datetime, *, attempts: int) -> Claim | None:
        waiting = microseconds(now), attempts
        where = "finished IS NULL AND claimed_until <= ? AND attempts < ? ORDER BY number"

        def oldest(connection: sqlite3.Connection) -> PodcastTask | None:
            # One that does not fit is passed over. Prevents: it is the oldest · no worker ever comes to another.
            return next(self._fitting(connection, where, waiting), None)

        def work(connection: sqlite3.Connection) -> Claim | None:
            task = oldest(connection)
            if task is None:
                return None
            claimed = msgspec.structs.replace(
                task,
                attempts=task.attempts + 1,
                claim=task.claim + 1,
                worker=worker,
                claimed_until=after(now, seconds),
                retry_at=msgspec.UNSET,
            )
            write_task(connection, claimed)
            return Claim(task=claimed, number=claimed.claim)

        # Workers ask again and again: only where there is something is the writer's place taken.
        return await self._database.write(work) if await self._database.read(oldest) else None

    async def renew(self, claim: Claim, seconds: float, now: datetime, *, progress: float | None = None) -> None:
        def work(connection: sqlite3.Connection) -> None:
            task = _claimed(connection, claim)
            done = task.progress if progress is None else progress
            write_task(connection, msgspec.structs.replace(task, claimed_until=after(now, seconds), progress=done))

        await self._database.write(work)

    async def listed(self, podcast_ids: Sequence[str]) -> tuple[Listed, ...]:
        marks = ",".join("?" * len(podcast_ids))
        return await self._database.read(
            lambda connection: tuple(self._listed(connection, f"podcast_id IN ({marks})", podcast_ids))
        )

    async def ready(self, topic_id: str, limit: int) -> tuple[Listed, ...]:
        where = f"finished IS NOT NULL AND {_TOPIC} = ? ORDER BY finished DESC, number DESC LIMIT {_LOOKED_AT}"

        def work(connection: sqlite3.Connection) -> tuple[Listed, ...]:
            found = self._listed(connection, where, [topic_id])
            return tuple(islice((one for one in found if one.audible), limit))

        return await self._database.read(work)

    async def waiting(self, now: datetime) -> Waiting:
        def work(connection: sqlite3.Connection) -> Waiting:
            unfinished = list(self._fitting(connection, "finished IS NULL ORDER BY number", ()))
            return waiting_of(unfinished, now)

        return await self._database.read(work)

    async def advance(
        self,
        claim: Claim,
        status: str,
        now: datetime,
        *,
        estimated: datetime | None = None,
        size: int = 0,
        duration: float | None = None,
    ) -> Advanced:
        check_step(status)

        def work(connection: sqlite3.Connection) -> Advanced:
            task = _claimed(connection, claim)
            furthest = STATUSES.furthest(task.status, status)
            expected = task.estimated_completion_time if estimated is None else in_utc(estimated)
            advanced = _shown(connection, task, now, status=furthest, estimated_completion_time=expected)
            if STATUSES.ended(advanced.task.status):
                _note_end(connection, advanced.task, size, duration)
            return advanced

        return await self._database.write(work)

    async def fail(self, claim: Claim, message: str, now: datetime) -> Change:
        def work(connection: sqlite3.Connection) -> Change:
            return failed_task(connection, _claimed(connection, claim), message, now)

        return await self._database.write(work)

    async def give_back(self, claim: Claim, now: datetime, *, counted: bool, pause: float = 0.0) -> None:
        def work(connection: sqlite3.Connection) -> None:
            task = _claimed(connection, claim)
            attempts = task.attempts if counted else task.attempts - 1
            retry_at = after(now, pause) if pause else msgspec.UNSET
            write_task(connection, msgspec.structs.replace(unclaimed(task), attempts=attempts, retry_at=retry_at))

        await self._database.write(work)

    async def queue(self) -> Queue:
        def work(connection: sqlite3.Connection) -> Queue:
            query = "SELECT count(*) FROM tasks WHERE finished IS NULL"
            (length,) = connection.execute(query).fetchone()
            oldest = next(self._fitting(connection, "finished IS NULL ORDER BY number", ()), None)
            return Queue(length, None if oldest is None else oldest.created_at)

        return await self._database.read(work)

    async def fail_exhausted(self, message: str, now: datetime, *, attempts: int) -> tuple[Change, ...]:
        where = "finished IS NULL AND claimed_until <= ? AND attempts >= ? ORDER BY number"

        def exhausted(connection: sqlite3.Connection) -> list[PodcastTask]:
            return list(self._fitting(connection, where, (microseconds(now), attempts)))

        def work(connection: sqlite3.Connection) -> tuple[Change, ...]:
            return tuple(failed_task(connection, task, message, now) for task in exhausted(connection))

        # As in `claim`.
        return await self._database.write(work) if await self._database.read(exhausted) else ()

    async def stored(self, podcast_id: str) -> StoredRecording | None:
        return await self._database.read(lambda connection: read_stored(connection, podcast_id))

    async def all_stored(self) -> tuple[StoredRecording, ...]:
        def work(connection: sqlite3.Connection) -> tuple[StoredRecording, ...]:
            query = f"SELECT {columns(StoredRecording)} FROM recordings ORDER BY ended, podcast_id"  # noqa: S608
            each = (self._broken.fitting(decoded, row, StoredRecording) for row in connection.execute(query))
            return tuple(one for one in each if one is not None)

        return await self._database.read(work)

    async def update_stored(self, podcast_id: str, *, expired: datetime | None = None, swept: bool = False) -> None:
        def work(connection: sqlite3.Connection) -> None:
            stored = read_stored(connection, podcast_id)
            if stored is None:
                return
            since = stored.expired or (None if expired is None else in_utc(expired))
            after = msgspec.structs.replace(stored, expired=since, swept=stored.swept or swept)
            query = "UPDATE recordings SET document = ? WHERE podcast_id = ?"
            connection.execute(query, (msgspec.json.encode(after).decode(), podcast_id))

        await self._database.write(work)

    async def forget_stored(self, podcast_id: str, *, claim: int | None = None) -> None:
        def work(connection: sqlite3.Connection) -> None:
            stored = None if claim is None else read_stored(connection, podcast_id)
            if stored is not None and stored.claim != claim:
                return
            connection.execute("DELETE FROM recordings WHERE podcast_id = ?", (podcast_id,))

        await self._database.write(work)

    def _listed(self, connection: sqlite3.Connection, where: str, parameters: Sequence[object]) -> Iterator[Listed]:
        for task in self._fitting(connection, where, parameters):
            try:
                yield Listed(task, read_stored(connection, task.podcast_id))
            except BrokenDocument as error:
                self._broken.add(error)

    def _fitting(
        self, connection: sqlite3.Connection, where: str, parameters: Sequence[object]
    ) -> Iterator[PodcastTask]:
        return fitting_tasks(connection, self._broken, where, parameters)


def fitting_tasks(
    connection: sqlite3.Connection, broken: BrokenDocuments, where: str, parameters: Sequence[object] = ()
) -> Iterator[PodcastTask]:
    """Tasks without those that do not fit."""
    query = f"SELECT {columns(PodcastTask)} FROM tasks WHERE {where}"  # noqa: S608
    for row in connection.execute(query, parameters):
        if (task := broken.fitting(decoded, row, PodcastTask)) is not None:
            yield task


def _claimed(connection: sqlite3.Connection, claim: Claim) -> PodcastTask:
    """The task of a claim, if that is current: else whoever holds it must not write."""
    task = read_task(connection, claim.podcast_id)
    # docs/decisions/0057-claim-numbers-fence.md
    if task is None or task.worker is msgspec.UNSET or task.claim != claim.number:
        raise ClaimLost(f"the claim on podcast {claim.podcast_id} is not current")
    return task


def _shown(connection: sqlite3.Connection, task: PodcastTask, now: datetime, **members: Any) -> Advanced:
    """Write what may be seen of a task, with its outbox row where that differs."""
    changed = shown(task, now, **members)
    if changed is None:
        return Advanced(task, None)
    write_task(connection, changed)
    return Advanced(changed, record_change(connection, time.time(), statuses=[task.podcast_id]))


def failed_task(connection: sqlite3.Connection, task: PodcastTask, message: str, now: datetime) -> Change:
    """End an unfinished task with the status "error", within a transaction."""
    advanced = _shown(connection, task, now, status=ERROR, error_message=message)
    _note_end(connection, advanced.task, 0)
    change = advanced.change
    assert change is not None, "an unfinished task is not seen as failed"
    return change


def read_stored(connection: sqlite3.Connection, podcast_id: str) -> StoredRecording | None:
    """What a podcast that has ended may have in the store."""
    query = f"SELECT {columns(StoredRecording)} FROM recordings WHERE podcast_id = ?"  # noqa: S608
    row = connection.execute(query, (podcast_id,)).fetchone()
    return None if row is None else decoded(row, StoredRecording)


def note_stored(connection: sqlite3.Connection, stored: StoredRecording) -> None:
    """Note what a task that has ended may have in the store of recordings."""
    row = stored.podcast_id, microseconds(stored.ended), msgspec.json.encode(stored).decode()
    connection.execute("INSERT OR REPLACE INTO recordings (podcast_id, ended, document) VALUES (?, ?, ?)", row)


def _note_end(connection: sqlite3.Connection, task: PodcastTask, size: int, duration: float | None = None) -> None:
    if task.claim:
        ended = task.updated_at
        stored = StoredRecording(
            podcast_id=task.podcast_id, claim=task.claim, size=size, ended=ended, duration=duration
        )
        note_stored(connection, stored)


def _requested(connection: sqlite3.Connection, key: IdempotencyKey, now: datetime) -> PodcastTask | None:
    row = connection.execute(
        "SELECT podcast_id FROM task_keys WHERE caller = ? AND key = ? AND made > ?",
        (key.caller, key.key, microseconds(now - KEY_KEPT)),
    ).fetchone()
    return read_task(connection, row[0]) if row else None


# docs/decisions/0058-new-tasks-sweep-old-ones.md
def _sweep(connection: sqlite3.Connection, now: datetime) -> None:
    connection.execute(
        "DELETE FROM tasks WHERE number IN"
        " (SELECT number FROM tasks WHERE finished IS NOT NULL AND finished <= ? ORDER BY finished LIMIT ?)",
        (microseconds(now - TASK_KEPT), _SWEPT),
    )
    connection.execute(
        "DELETE FROM task_keys WHERE (caller, key) IN"
        " (SELECT caller, key FROM task_keys WHERE made <= ? ORDER BY made LIMIT ?)",
        (microseconds(now - KEY_KEPT), _SWEPT),
    )


def read_task(connection: sqlite3.Connection, podcast_id: str) -> PodcastTask | None:
    """One task; None where there is none."""
    query = f"SELECT {columns(PodcastTask)} FROM tasks WHERE podcast_id = ?"  # noqa: S608
    row = connection.execute(query, (podcast_id,)).fetchone()
    return decoded(row, PodcastTask) if row else None


def write_task(connection: sqlite3.Connection, task: PodcastTask) -> None:
    """Replace a task, and what is searched by beside it."""
    free = task.retry_at if isinstance(task.claimed_until, msgspec.UnsetType) else task.claimed_until
    until = 0 if isinstance(free, msgspec.UnsetType) else microseconds(free)
    finished = microseconds(task.updated_at) if STATUSES.ended(task.status) else None
    connection.execute(
        "UPDATE tasks SET attempts = ?, claimed_until = ?, finished = ?, document = ? WHERE podcast_id = ?",
        (task.attempts, until, finished, _text(task), task.podcast_id),
    )


def _text(task: PodcastTask) -> str:
    return msgspec.json.encode(task).decode()
