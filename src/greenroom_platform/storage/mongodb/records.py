"""The record on MongoDB: documents with the API's members, an outbox row in the transaction of each change.

Isolation there is that of a snapshot: of two transactions only writes to one document meet. Whoever relies on a
document that he does not write counts up its `lock`: a snippet's topic, which another may delete at that moment.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar

import msgspec

from greenroom.errors import Conflict, UnknownReference
from greenroom_platform.definitions import PAGE_SIZE
from greenroom_platform.domain.exports import Chunk
from greenroom_platform.domain.precondition import ALWAYS, Precondition
from greenroom_platform.domain.records import (
    Change,
    SnippetDraft,
    SnippetImport,
    TopicDraft,
    TopicImport,
    Written,
    members_of,
)
from greenroom_platform.models import Snippet, Topic, in_utc
from greenroom_platform.storage.broken import BrokenDocuments
from greenroom_platform.storage.mongodb.actions import MongoActions
from greenroom_platform.storage.mongodb.bulk import stored_whole
from greenroom_platform.storage.mongodb.caches import MongoCaches
from greenroom_platform.storage.mongodb.changes import ChangeNumbers, page_ends, pending_changes, record_change
from greenroom_platform.storage.mongodb.database import WRITE_DEADLINE, MongoDatabase, Session
from greenroom_platform.storage.mongodb.documents import (
    GENERATED,
    decoded,
    snippet_update,
    topic_update,
)
from greenroom_platform.storage.mongodb.foreign import MongoForeignChanges
from greenroom_platform.storage.mongodb.opening import opened
from greenroom_platform.storage.mongodb.relying import rely_on
from greenroom_platform.storage.mongodb.search import found_in_order
from greenroom_platform.storage.mongodb.task_control import MongoTaskControl
from greenroom_platform.storage.mongodb.tasks import MongoTasks
from greenroom_platform.storage.mongodb.unfit import fitting
from greenroom_platform.storage.mongodb.users import MongoUsers
from greenroom_platform.storage.whole import WholeObjects

T = TypeVar("T", bound=msgspec.Struct)

_IN_ORDER = [(GENERATED, -1), ("_id", 1)]
_BY_NAME = [("display_name", 1), ("_id", 1)]
_FURTHER = 4
"""How many times as many rows are read when some do not fit."""
STORING = 30.0
"""Seconds that some hundred whole objects may take."""
_PING = 2.0
"""Seconds within which a database is expected to answer a health check."""


class MongoRecords:
    """`Records` in one database; any number of processes may have it open. Made by `MongoRecords.open`."""

    def __init__(self, database: MongoDatabase) -> None:
        self._database = database
        self._numbers = ChangeNumbers()
        self._logged: set[int] = set()
        self.broken = BrokenDocuments()
        """Documents of other programs that do not fit."""
        self.broken_documents: Mapping[tuple[str], int] = self.broken.counts
        """See `CountsBroken`."""
        self.users = MongoUsers(database)
        """The users, in the same database."""
        self.tasks = MongoTasks(database, self._numbers, self.broken)
        """The generation tasks, in the same database."""
        self.task_control = MongoTaskControl(database, self._numbers, self.tasks, self.broken)
        """What operators do to these tasks."""
        self.actions = MongoActions(database, self._numbers)
        """What operators have done, in the same database."""
        self.caches = MongoCaches(database)
        """Which caches its changes are sent to, in the same database."""
        self.foreign_changes = MongoForeignChanges(database)
        """What other programs write to the database."""

    @classmethod
    async def open(cls, url: str, *, write_deadline: float = WRITE_DEADLINE) -> MongoRecords:
        """Connect, and make the collections and indexes that are missing.

        Arguments:
            url: as `mongodb://host1,host2/NAME?replicaSet=rs0`.
            write_deadline: seconds that a change may take, with all its repetitions.

        Raises:
            InvalidInput: when the address or the server cannot be used.
            MissingExtra: when the driver is not installed.
            RecordUnavailable: when the server cannot be reached.
        """
        return cls(await opened(url, write_deadline=write_deadline))

    # Reads -----------------------------------------------------------------------------------------

    async def topic(self, topic_id: str) -> Topic | None:
        raw = await self._database.read_one(self._database.topics, topic_id)
        return None if raw is None else decoded(raw, Topic)

    async def topics(self) -> tuple[Topic, ...]:
        rows = await self._database.read_list(self._database.topics, sort=_BY_NAME)
        return tuple(one for row in rows if (one := self.broken.fitting(decoded, row, Topic)) is not None)

    async def snippet(self, snippet_id: str) -> Snippet | None:
        raw = await self._database.read_one(self._database.snippets, snippet_id)
        return None if raw is None else decoded(raw, Snippet)

    async def page(self, topic_id: str, page_number: int) -> tuple[Snippet, ...]:
        skip = (page_number - 1) * PAGE_SIZE
        return await self._snippets({"topic_id": topic_id}, skip=skip, limit=PAGE_SIZE)

    async def newest(self, limit: int) -> tuple[Snippet, ...]:
        return await self._snippets({}, limit=limit)

    async def topics_after(self, after: str, limit: int) -> Chunk[Topic]:
        return await self._after(self._database.topics, Topic, after, limit)

    async def snippets_after(self, after: str, limit: int) -> Chunk[Snippet]:
        return await self._after(self._database.snippets, Snippet, after, limit)

    async def search_topics(self, words: Sequence[str], limit: int) -> tuple[Topic, ...]:
        fits = partial(self.broken.fitting, decoded, type_=Topic)
        return await found_in_order(self._database, self._database.topics, words, _BY_NAME, fits, limit)

    async def search_snippets(self, words: Sequence[str], limit: int) -> tuple[Snippet, ...]:
        fits = partial(self.broken.fitting, decoded, type_=Snippet)
        return await found_in_order(self._database, self._database.snippets, words, _IN_ORDER, fits, limit)

    async def is_empty(self) -> bool:
        topic = await self._database.read(self._database.topics.find_one)
        return topic is None and await self._database.read(self._database.snippets.find_one) is None

    async def ping(self) -> None:
        await self._database.read(lambda: self._database.meta.find_one({"_id": "schema"}), deadline=_PING)

    # Writes ----------------------------------------------------------------------------------------

    async def put_topic(
        self, topic_id: str, draft: TopicDraft, now: datetime, *, condition: Precondition = ALWAYS
    ) -> Written[Topic]:
        return await self.edit_topic(topic_id, lambda _: draft, now, condition=condition)

    async def edit_topic(
        self,
        topic_id: str,
        edit: Callable[[Topic | None], TopicDraft],
        now: datetime,
        *,
        condition: Precondition = ALWAYS,
    ) -> Written[Topic]:
        async def work(session: Session) -> Written[Topic]:
            old = await self._stored_topic(session, topic_id)
            condition.check(old)
            topic = Topic(
                topic_id=topic_id,
                created_at=old.created_at if old is not None else in_utc(now),
                updated_at=in_utc(now),
                **members_of(edit(old)),
            )
            update = topic_update(topic)
            await fitting(
                "topic",
                self._database.topics.update_one({"_id": topic_id}, update, upsert=True, session=session),
                topic_id,
            )
            return Written(topic, old is None, await self._change(session, topics=[topic_id]))

        return await self._database.transaction(work)

    async def delete_topic(self, topic_id: str, *, condition: Precondition = ALWAYS) -> Change | None:
        async def work(session: Session) -> Change | None:
            raw = await self._database.topics.find_one({"_id": topic_id}, session=session)
            if raw is None:
                return None
            if await self._database.snippets.find_one({"topic_id": topic_id}, {"_id": 1}, session=session) is not None:
                raise Conflict(f"topic {topic_id} has snippets; delete or move them first")
            condition.check(decoded(raw, Topic))
            await self._database.topics.delete_one({"_id": topic_id}, session=session)
            return await self._change(session, topics=[topic_id], pages={topic_id: 1})

        return await self._database.transaction(work)

    async def add_snippet(self, snippet_id: str, draft: SnippetDraft, now: datetime) -> Written[Snippet]:
        async def work(session: Session) -> Written[Snippet]:
            if await self._database.snippets.find_one({"_id": snippet_id}, {"_id": 1}, session=session) is not None:
                raise Conflict(f"snippet {snippet_id} exists already")
            snippet = Snippet(snippet_id=snippet_id, generation_timestamp=in_utc(now), **members_of(draft))
            return Written(snippet, True, await self._replace(session, None, snippet))

        return await self._database.transaction(work)

    async def put_snippet(
        self, snippet_id: str, draft: SnippetDraft, *, condition: Precondition = ALWAYS
    ) -> Written[Snippet] | None:
        return await self.edit_snippet(snippet_id, lambda _: draft, condition=condition)

    async def edit_snippet(
        self, snippet_id: str, edit: Callable[[Snippet], SnippetDraft], *, condition: Precondition = ALWAYS
    ) -> Written[Snippet] | None:
        async def work(session: Session) -> Written[Snippet] | None:
            old = await self._stored_snippet(session, snippet_id)
            if old is None:
                return None
            condition.check(old)
            moment = old.generation_timestamp
            snippet = Snippet(snippet_id=snippet_id, generation_timestamp=moment, **members_of(edit(old)))
            return Written(snippet, False, await self._replace(session, old, snippet))

        return await self._database.transaction(work)

    async def delete_snippet(self, snippet_id: str, *, condition: Precondition = ALWAYS) -> Change | None:
        async def work(session: Session) -> Change | None:
            old = await self._stored_snippet(session, snippet_id)
            if old is None:
                return None
            condition.check(old)
            await self._touch(session, old.topic_id)
            pages = await page_ends(self._database, session, [old.topic_id])  # while it is there
            await self._database.snippets.delete_one({"_id": snippet_id}, session=session)
            return await self._change(session, snippets=[snippet_id], pages=pages)

        return await self._database.transaction(work)

    async def store(
        self,
        topics: Sequence[Topic | TopicImport],
        snippets: Sequence[Snippet | SnippetImport],
        now: datetime | None = None,
    ) -> Change | None:
        moment = in_utc(now) if now is not None else datetime.now(UTC)
        objects = WholeObjects(topics, snippets, moment)
        return await self._database.transaction(
            lambda session: stored_whole(self._database, session, self._numbers, objects), deadline=STORING
        )

    # The outbox ------------------------------------------------------------------------------------

    async def pending(self, *, older_than: float = 0.0, after: int = 0, limit: int = 200) -> tuple[Change, ...]:
        return await pending_changes(
            self._database, older_than=older_than, after=after, limit=limit, logged=self._logged
        )

    async def acknowledge(self, change_ids: Sequence[int]) -> None:
        if change_ids:
            ids = list(change_ids)
            await self._database.write_one(lambda: self._database.outbox.delete_many({"_id": {"$in": ids}}))

    async def close(self) -> None:
        await self._database.close()

    # ------------------------------------------------------------------------------------------------

    async def _snippets(self, matching: dict[str, Any], *, limit: int, skip: int = 0) -> tuple[Snippet, ...]:
        """As many as are asked for, whatever is left out of them: a page that is not full is taken for the last.

        Further rows take the places, which are also the first of the next page: whoever follows the pages may see a
        snippet twice, and misses none.
        """
        asked = limit
        while True:
            query = {"filter": matching, "sort": _IN_ORDER, "skip": skip, "limit": asked}
            # All of them anew: between two reads others may have moved.
            rows = await self._database.read_list(self._database.snippets, **query)
            fitting = [one for row in rows if (one := self.broken.fitting(decoded, row, Snippet)) is not None]
            if len(fitting) >= limit or len(rows) < asked:
                return tuple(fitting[:limit])
            asked *= _FURTHER

    async def _after(self, collection: Any, type_: type[T], after: str, limit: int) -> Chunk[T]:
        # Texts only: a comparison with one leaves out ids of other types, which other programs may have stored.
        later = {"_id": {"$gt": after}}
        rows = await self._database.read_list(collection, filter=later, sort=[("_id", 1)], limit=limit)
        objects = (self.broken.fitting(decoded, row, type_) for row in rows)
        last = str(rows[-1]["_id"]) if len(rows) == limit else None
        return Chunk(tuple(one for one in objects if one is not None), last)

    async def _stored_topic(self, session: Session, topic_id: str) -> Topic | None:
        raw = await self._database.topics.find_one({"_id": topic_id}, session=session)
        return None if raw is None else decoded(raw, Topic)

    async def _stored_snippet(self, session: Session, snippet_id: str) -> Snippet | None:
        raw = await self._database.snippets.find_one({"_id": snippet_id}, session=session)
        return None if raw is None else decoded(raw, Snippet)

    async def _replace(self, session: Session, old: Snippet | None, new: Snippet) -> Change:
        if not await self._touch(session, new.topic_id):
            raise UnknownReference("topic_id", new.topic_id)
        gone = {old.topic_id: 1} if old is not None and old.topic_id != new.topic_id else {}
        for topic_id in gone:
            await self._touch(session, topic_id)
        stored = {"_id": new.snippet_id}
        await fitting(
            "snippet",
            self._database.snippets.update_one(stored, snippet_update(new), upsert=True, session=session),
            new.snippet_id,
        )
        pages = await page_ends(self._database, session, {new.topic_id, *gone}, gone=gone)
        return await self._change(session, snippets=[new.snippet_id], pages=pages)

    async def _touch(self, session: Session, topic_id: str) -> bool:
        """Rely on a topic; False where there is none."""
        return await rely_on(self._database, session, topic_id) > 0

    async def _change(self, session: Session, **stale: Any) -> Change:
        return await record_change(self._database, session, self._numbers, **stale)
