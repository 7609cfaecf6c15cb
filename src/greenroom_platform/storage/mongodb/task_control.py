"""What operators do to the generation tasks, on MongoDB: a transaction each, and whoever has a claim loses it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import bson
import msgspec
from bson.raw_bson import RawBSONDocument

from greenroom.errors import QueueFull
from greenroom_platform.domain.records import Change
from greenroom_platform.domain.task_records import StoredRecording
from greenroom_platform.models import PodcastTask
from greenroom_platform.storage.broken import BrokenDocuments
from greenroom_platform.storage.mongodb.changes import ChangeNumbers, record_change
from greenroom_platform.storage.mongodb.database import QUEUE, MongoDatabase, Session
from greenroom_platform.storage.mongodb.documents import LOCK, decoded
from greenroom_platform.storage.mongodb.tasks import KIND, MongoTasks, update_of
from greenroom_platform.storage.mongodb.unfit import fitting
from greenroom_platform.storage.task_steps import check_state, expired_of, queued_again, unclaimed


class MongoTaskControl:
    """`TaskControl` in the database of a `MongoRecords`."""

    def __init__(
        self, database: MongoDatabase, numbers: ChangeNumbers, tasks: MongoTasks, broken: BrokenDocuments
    ) -> None:
        self._database = database
        self._numbers = numbers
        self._tasks = tasks
        self._broken = broken

    async def tasks(self, *, finished: int) -> tuple[PodcastTask, ...]:
        async def work() -> list[RawBSONDocument]:
            unfinished = self._database.tasks.find({"unfinished": True}, sort=[("number", 1)])
            ended = self._database.tasks.find({"finished": {"$exists": True}}, sort=[("finished", -1)], limit=finished)
            return [*await unfinished.to_list(), *await ended.to_list()]

        rows = await self._database.read(work)
        every = (self._broken.fitting(decoded, raw, PodcastTask) for raw in rows)
        return tuple(one for one in every if one is not None)

    async def retry(self, podcast_id: str, now: datetime, *, max_unfinished: int) -> Change:
        async def work(session: Session) -> Change:
            # As each new task. Prevents: one is asked for, one is retried, and both find the last place free.
            await self._database.meta.update_one({"_id": QUEUE}, {"$inc": {LOCK: 1}}, upsert=True, session=session)
            task = await self._in_state(session, podcast_id, "failed")
            waiting = {"unfinished": True}
            unfinished = await self._database.tasks.count_documents(waiting, session=session)
            if unfinished >= max_unfinished:
                raise QueueFull(f"{unfinished} podcasts are waited for already")
            update = update_of(queued_again(task, now))
            update["$set"] |= {"unfinished": True, "claimable_at": bson.Int64(0)}
            update["$unset"] |= {"finished": ""}
            await self._update(session, podcast_id, update)
            # Its last claim will be noted anew: until then nothing of it may be removed by the old note.
            await self._database.recordings.delete_one({"_id": podcast_id}, session=session)
            return await self._changed(session, podcast_id)

        return await self._database.transaction(work)

    async def release(self, podcast_id: str) -> None:
        async def work(session: Session) -> None:
            task = await self._in_state(session, podcast_id, "claimed")
            free = msgspec.structs.replace(unclaimed(task), attempts=max(0, task.attempts - 1))
            update = update_of(free)
            update["$set"] |= {"claimable_at": bson.Int64(0)}
            await self._update(session, podcast_id, update)

        await self._database.transaction(work)

    async def stop(self, podcast_id: str, message: str, now: datetime) -> Change:
        async def work(session: Session) -> Change:
            task = await self._in_state(session, podcast_id, "unfinished")
            return await self._tasks.fail_in(session, task, message, now)

        return await self._database.transaction(work)

    async def delete(self, podcast_id: str, now: datetime) -> Change:
        async def work(session: Session) -> Change:
            task = await self._in_state(session, podcast_id, "there")
            raw = await self._database.recordings.find_one({"_id": podcast_id}, session=session)
            stored = expired_of(None if raw is None else decoded(raw, StoredRecording), task, now)
            if stored is not None:
                await self._tasks.note_stored_in(session, stored)
            await self._database.tasks.delete_one({"_id": podcast_id}, session=session)
            return await self._changed(session, podcast_id)

        return await self._database.transaction(work)

    # ------------------------------------------------------------------------------------------------

    async def _in_state(self, session: Session, podcast_id: str, state: str) -> PodcastTask:
        raw = await self._database.tasks.find_one({"_id": podcast_id}, session=session)
        return check_state(None if raw is None else decoded(raw, PodcastTask), podcast_id, state)

    async def _update(self, session: Session, podcast_id: str, update: dict[str, Any]) -> None:
        changing = self._database.tasks.update_one({"_id": podcast_id}, update, session=session)
        await fitting(KIND, changing, podcast_id)

    async def _changed(self, session: Session, podcast_id: str) -> Change:
        return await record_change(self._database, session, self._numbers, statuses=[podcast_id])
