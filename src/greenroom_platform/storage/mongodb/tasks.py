"""The generation tasks on MongoDB: claims are one conditional update each; what listeners see is a transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import islice
from typing import Any

import bson
import msgspec
from bson.raw_bson import RawBSONDocument
from pymongo import ReturnDocument

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
from greenroom_platform.storage.mongodb.changes import ChangeNumbers, record_change
from greenroom_platform.storage.mongodb.database import QUEUE, MongoDatabase, Session
from greenroom_platform.storage.mongodb.documents import LOCK, decoded
from greenroom_platform.storage.mongodb.unfit import COUNTED, ROOM_LEFT, check_counted, fitting
from greenroom_platform.storage.task_steps import after, check_step, shown, waiting_of

_SWEPT = 100
"""Documents of each kind that one new task removes at most: more than it adds, and never a long write."""
_OPTIONAL = [one.name for one in msgspec.structs.fields(PodcastTask) if one.default is msgspec.UNSET]
KIND, _META = "podcasttask", "greenroom document"
"""As errors name the documents of the two collections."""
_LOOKED_AT = 200
"""Podcasts of a topic among which those are looked for that can be heard."""
_FREE = bson.Int64(0)
"""The end of a claim where there is none."""


class MongoTasks:
    """`TaskRecords` in the database of a `MongoRecords`.

    Beside its members a task has `number`, in the order of the requests, `claimable_at`, and `unfinished: true` or
    `finished`; times in microseconds since 1970. `key` is the idempotency key of its request while that counts.
    """

    def __init__(self, database: MongoDatabase, numbers: ChangeNumbers, broken: BrokenDocuments) -> None:
        self._database = database
        self._tasks = database.tasks
        self._numbers = numbers
        self._broken = broken

    async def add_task(
        self, podcast_id: str, topic_id: str, now: datetime, *, max_unfinished: int, key: IdempotencyKey | None = None
    ) -> Requested:
        task = PodcastTask(
            podcast_id=podcast_id, topic_id=topic_id, status=QUEUED, created_at=in_utc(now), updated_at=in_utc(now)
        )

        async def work(session: Session) -> Requested:
            # All requests meet here. Prevents: two count the tasks, each finds room for one · both are committed. And
            # of two with one key the second finds what the first has made.
            counting = self._database.meta.update_one({"_id": QUEUE}, {"$inc": {LOCK: 1}}, upsert=True, session=session)
            check_counted(_META, await fitting(_META, counting, QUEUE), QUEUE)
            if key is not None and (earlier := await self._requested(session, key, now)) is not None:
                if earlier.topic_id != topic_id:
                    raise KeyReused("the key was used for another topic")
                return Requested(earlier, False)
            if await self._database.topics.find_one({"_id": topic_id}, {"_id": 1}, session=session) is None:
                raise UnknownReference("topic_id", topic_id)
            if (
                await self._tasks.count_documents({"unfinished": True}, session=session, limit=max(1, max_unfinished))
                >= max_unfinished
            ):
                raise QueueFull(f"{max_unfinished} podcasts are waited for already")
            if await self._tasks.find_one({"_id": podcast_id}, {"_id": 1}, session=session) is not None:
                raise Conflict(f"podcast {podcast_id} exists already")
            await self._tasks.insert_one(self._document(task, key, now), session=session)
            return Requested(task, True)

        requested = await self._database.transaction(work)
        if requested.created:
            await self._sweep(now)
        return requested

    async def task(self, podcast_id: str) -> PodcastTask | None:
        raw = await self._database.read_one(self._tasks, podcast_id)
        return None if raw is None else decoded(raw, PodcastTask)

    async def claim(self, worker: str, seconds: float, now: datetime, *, attempts: int) -> Claim | None:
        until = after(now, seconds)
        # What cannot be changed is another program's: the oldest would be an error, and no other would be claimed.
        query = {
            "unfinished": True,
            "claimable_at": {"$lte": microseconds(now)},
            "attempts": COUNTED | {"$lt": attempts},
            "$or": [{"claim": {"$exists": False}}, {"claim": COUNTED}],
            **ROOM_LEFT,
        }
        update = {
            "$set": {"worker": worker, **_claimed_until(until)},
            "$inc": {"attempts": 1, "claim": 1},
            "$unset": {"retry_at": ""},
        }

        async def work() -> RawBSONDocument | None:
            return await self._tasks.find_one_and_update(
                query, update, sort=[("number", 1)], return_document=ReturnDocument.AFTER
            )

        # One that does not fit is claimed, and so out of the way. Prevents: it is the oldest · no other is claimed.
        while (raw := await self._database.write_one(work)) is not None:
            if (task := self._broken.fitting(decoded, raw, PodcastTask)) is not None:
                return Claim(task=task, number=task.claim)
        return None

    async def renew(self, claim: Claim, seconds: float, now: datetime, *, progress: float | None = None) -> None:
        members = _claimed_until(after(now, seconds)) | ({} if progress is None else {"progress": progress})
        await self._if_current(claim, {"$set": members})

    async def listed(self, podcast_ids: Sequence[str]) -> tuple[Listed, ...]:
        return await self._listed(filter={"_id": {"$in": list(podcast_ids)}})

    async def ready(self, topic_id: str, limit: int) -> tuple[Listed, ...]:
        ended = {"topic_id": topic_id, "finished": {"$exists": True}}
        order = [("finished", -1), ("number", -1)]
        found = await self._listed(filter=ended, sort=order, limit=_LOOKED_AT)
        return tuple(islice((one for one in found if one.audible), limit))

    async def waiting(self, now: datetime) -> Waiting:
        rows = await self._database.read(lambda: self._tasks.find({"unfinished": True}, sort=[("number", 1)]).to_list())
        every = (self._broken.fitting(decoded, raw, PodcastTask) for raw in rows)
        return waiting_of((one for one in every if one is not None), now)

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

        async def work(session: Session) -> Advanced:
            task = await self._claimed(session, claim)
            furthest = STATUSES.furthest(task.status, status)
            expected = task.estimated_completion_time if estimated is None else in_utc(estimated)
            advanced = await self._shown(session, task, now, status=furthest, estimated_completion_time=expected)
            if STATUSES.ended(advanced.task.status):
                await self._note_stored(session, advanced.task, size, duration)
            return advanced

        return await self._database.transaction(work)

    async def fail(self, claim: Claim, message: str, now: datetime) -> Change:
        async def work(session: Session) -> Change:
            return await self.fail_in(session, await self._claimed(session, claim), message, now)

        return await self._database.transaction(work)

    async def give_back(self, claim: Claim, now: datetime, *, counted: bool, pause: float = 0.0) -> None:
        free = after(now, pause) if pause else None
        members = {"claimable_at": _FREE if free is None else bson.Int64(microseconds(free))}
        gone = {"worker": "", "claimed_until": ""} | ({"retry_at": ""} if free is None else {})
        update: dict[str, Any] = {"$set": members, "$unset": gone}
        if free is not None:
            members["retry_at"] = msgspec.to_builtins(free)
        if not counted:
            update["$inc"] = {"attempts": -1}
        await self._if_current(claim, update)

    async def queue(self) -> Queue:
        waiting = {"unfinished": True}

        async def work() -> tuple[int, list[RawBSONDocument]]:
            oldest = self._tasks.find(waiting, sort=[("number", 1)], limit=1)
            return await self._tasks.count_documents(waiting), await oldest.to_list()

        length, oldest = await self._database.read(work)
        task = self._broken.fitting(decoded, oldest[0], PodcastTask) if oldest else None
        return Queue(length, None if task is None else task.created_at)

    async def fail_exhausted(self, message: str, now: datetime, *, attempts: int) -> tuple[Change, ...]:
        exhausted = {"unfinished": True, "claimable_at": {"$lte": microseconds(now)}, "attempts": {"$gte": attempts}}

        unfit: list[str] = []

        async def work(session: Session) -> tuple[Change, ...]:
            rows = self._tasks.find(exhausted | {"_id": {"$nin": unfit}}, sort=[("number", 1)], session=session)
            tasks = [self._broken.fitting(decoded, raw, PodcastTask) async for raw in rows]
            return tuple([await failed(session, task) for task in tasks if task is not None])

        async def failed(session: Session, task: PodcastTask) -> Change:
            try:
                return await self.fail_in(session, task, message, now)
            except BrokenDocument:
                unfit.append(task.podcast_id)
                raise

        # Workers ask again and again: only where there is something a transaction is begun.
        if await self._database.read(lambda: self._tasks.find_one(exhausted, {"_id": 1})) is None:
            return ()
        while True:
            try:
                return await self._database.transaction(work)
            except BrokenDocument as error:
                # Anew, without it. Prevents: one cannot be changed · none of the others fails, and no task is claimed.
                self._broken.add(error)

    async def stored(self, podcast_id: str) -> StoredRecording | None:
        raw = await self._database.read_one(self._database.recordings, podcast_id)
        return None if raw is None else decoded(raw, StoredRecording)

    async def all_stored(self) -> tuple[StoredRecording, ...]:
        order = [("at", 1), ("_id", 1)]
        rows = await self._database.read(lambda: self._database.recordings.find(sort=order).to_list())
        every = (self._broken.fitting(decoded, raw, StoredRecording) for raw in rows)
        return tuple(one for one in every if one is not None)

    async def update_stored(self, podcast_id: str, *, expired: datetime | None = None, swept: bool = False) -> None:
        recordings = self._database.recordings
        if expired is not None:
            members = {"expired": msgspec.to_builtins(in_utc(expired))}
            query = {"_id": podcast_id, "expired": None}
            await self._database.write_one(lambda: recordings.update_one(query, {"$set": members}))
        if swept:
            await self._database.write_one(
                lambda: recordings.update_one({"_id": podcast_id}, {"$set": {"swept": True}})
            )

    async def forget_stored(self, podcast_id: str, *, claim: int | None = None) -> None:
        query = {"_id": podcast_id} | ({} if claim is None else {"claim": claim})
        await self._database.write_one(lambda: self._database.recordings.delete_one(query))

    # ------------------------------------------------------------------------------------------------

    async def _listed(self, **query: Any) -> tuple[Listed, ...]:
        async def work() -> tuple[list[RawBSONDocument], list[RawBSONDocument]]:
            tasks = await self._tasks.find(**query).to_list()
            named = {"_id": {"$in": [raw["_id"] for raw in tasks]}}
            return tasks, await self._database.recordings.find(named).to_list()

        rows, recordings = await self._database.read(work)
        every = (self._broken.fitting(decoded, raw, StoredRecording) for raw in recordings)
        stored = {one.podcast_id: one for one in every if one is not None}
        tasks = (self._broken.fitting(decoded, raw, PodcastTask) for raw in rows)
        return tuple(Listed(task, stored.get(task.podcast_id)) for task in tasks if task is not None)

    async def _note_stored(self, session: Session, task: PodcastTask, size: int, duration: float | None = None) -> None:
        """Note what a task that has ended may have in the store of recordings."""
        if task.claim:
            stored = StoredRecording(
                podcast_id=task.podcast_id, claim=task.claim, size=size, ended=task.updated_at, duration=duration
            )
            await self.note_stored_in(session, stored)

    async def note_stored_in(self, session: Session, stored: StoredRecording) -> None:
        """Note, within a transaction, what a podcast that has ended may have in the store of recordings."""
        document: Any = {"at": bson.Int64(microseconds(stored.ended)), **msgspec.to_builtins(stored)}
        where = {"_id": stored.podcast_id}
        await self._database.recordings.replace_one(where, document, upsert=True, session=session)

    async def _requested(self, session: Session, key: IdempotencyKey, now: datetime) -> PodcastTask | None:
        """The task of an earlier request with the key, which is taken from it where it does not count any more."""
        named = {"key.caller": key.caller, "key.key": key.key}
        raw = await self._tasks.find_one(named | {"key.made": {"$gt": microseconds(now - KEY_KEPT)}}, session=session)
        if raw is not None:
            return decoded(raw, PodcastTask)
        await self._tasks.update_many(named, {"$unset": {"key": ""}}, session=session)
        return None

    def _document(self, task: PodcastTask, key: IdempotencyKey | None, now: datetime) -> Any:
        document = {"_id": task.podcast_id, "number": self._numbers.next(), "unfinished": True, "claimable_at": _FREE}
        document |= msgspec.to_builtins(task)
        if key is not None:
            document["key"] = {"caller": key.caller, "key": key.key, "made": bson.Int64(microseconds(now))}
        return document

    async def _if_current(self, claim: Claim, update: Mapping[str, Any]) -> None:
        """Update a task in one step, if the claim on it is current: else whoever holds it must not write."""
        # docs/decisions/0057-claim-numbers-fence.md
        updated = await self._database.write_one(
            lambda: fitting(KIND, self._tasks.update_one(_current(claim), update), claim.podcast_id)
        )
        if not updated.matched_count:
            raise _lost(claim)

    async def _claimed(self, session: Session, claim: Claim) -> PodcastTask:
        raw = await self._tasks.find_one(_current(claim), session=session)
        if raw is None:
            raise _lost(claim)
        return decoded(raw, PodcastTask)

    async def _shown(self, session: Session, task: PodcastTask, now: datetime, **members: Any) -> Advanced:
        """Write what may be seen of a task, with its outbox row where that differs.

        A claim is taken by an update of the same document: it and this transaction meet, and one of them begins anew.
        """
        changed = shown(task, now, **members)
        if changed is None:
            return Advanced(task, None)
        changing = self._tasks.update_one({"_id": task.podcast_id}, update_of(changed), session=session)
        await fitting(KIND, changing, task.podcast_id)
        change = await record_change(self._database, session, self._numbers, statuses=[task.podcast_id])
        return Advanced(changed, change)

    async def fail_in(self, session: Session, task: PodcastTask, message: str, now: datetime) -> Change:
        """End an unfinished task with the status "error", within a transaction."""
        advanced = await self._shown(session, task, now, status=ERROR, error_message=message)
        await self._note_stored(session, advanced.task, 0)
        change = advanced.change
        assert change is not None, "an unfinished task is not seen as failed"
        return change

    # docs/decisions/0058-new-tasks-sweep-old-ones.md
    async def _sweep(self, now: datetime) -> None:
        finished = {"finished": {"$lte": microseconds(now - TASK_KEPT)}}
        made = {"key.made": {"$lte": microseconds(now - KEY_KEPT)}}

        async def some(query: dict[str, Any], by: str) -> dict[str, Any]:
            rows = self._tasks.find(query, {"_id": 1}, sort=[(by, 1)], limit=_SWEPT)
            return query | {"_id": {"$in": [raw["_id"] async for raw in rows]}}

        async def work() -> None:
            await self._tasks.delete_many(await some(finished, "finished"))
            await self._tasks.update_many(await some(made, "key.made"), {"$unset": {"key": ""}})

        await self._database.tidy(work)


def _current(claim: Claim) -> dict[str, Any]:
    return {"_id": claim.podcast_id, "claim": claim.number, "worker": {"$exists": True}}


def _lost(claim: Claim) -> ClaimLost:
    return ClaimLost(f"the claim on podcast {claim.podcast_id} is not current")


def _claimed_until(until: datetime) -> dict[str, Any]:
    return {"claimed_until": msgspec.to_builtins(until), "claimable_at": bson.Int64(microseconds(until))}


def update_of(task: PodcastTask) -> dict[str, Any]:
    """The update that makes a document this task, and what is searched by beside it."""
    members = msgspec.to_builtins(task)
    gone = [name for name in _OPTIONAL if name not in members]
    if STATUSES.ended(task.status):
        members |= {"finished": bson.Int64(microseconds(task.updated_at)), "claimable_at": _FREE}
        gone.append("unfinished")
    return {"$set": members, "$unset": dict.fromkeys(gone, ""), "$inc": {LOCK: 1}}
