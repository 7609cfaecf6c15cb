"""Topics: read through the cache, written to the record and then dropped from the cache."""

from __future__ import annotations

from collections.abc import Callable

from greenroom.caching import Cache, CacheResult
from greenroom.callbacks import nothing
from greenroom.clock import Clock
from greenroom_platform.domain.changes import Changes
from greenroom_platform.domain.drop_receipt import OnReceipt
from greenroom_platform.domain.precondition import ALWAYS, Precondition
from greenroom_platform.domain.records import Records, TopicDraft, Written
from greenroom_platform.models import Topic


class Topics:
    """The topics of the platform; reads raise as `Cache.get`, writes as the record."""

    def __init__(
        self,
        records: Records,
        changes: Changes,
        *,
        one: Cache[Topic],
        every: Cache[tuple[Topic, ...]],
        clock: Clock,
    ) -> None:
        self._records = records
        self._changes = changes
        self.one = one
        self.every = every
        self._clock = clock

    def check(self, topic_id: str) -> None:
        """Return if such an id may exist.

        Raises:
            InvalidInput: naming `topic_id`, for an id that no key can hold.
        """
        self.one.keyspace.key(topic_id)

    async def get(self, topic_id: str) -> Topic | None:
        """One topic; None where there is none."""
        return await self.one.get(topic_id)

    async def all(self) -> tuple[Topic, ...]:
        """Every topic, by display name, then id."""
        return await self.every.get() or ()

    async def read(self, topic_id: str) -> CacheResult[Topic]:
        """One topic, its JSON, and how they came about."""
        return await self.one.get_result(topic_id)

    async def read_all(self) -> CacheResult[tuple[Topic, ...]]:
        """Every topic, the JSON array, and how they came about."""
        return await self.every.get_result()

    async def put(self, topic_id: str, draft: TopicDraft, *, condition: Precondition = ALWAYS) -> Written[Topic]:
        """Create or replace a topic; its times are this machine's now.

        Raises:
            InvalidInput: naming `topic_id`, for an id that no key can hold.
            PreconditionFailed: when the condition does not hold of the stored topic.
        """
        return await self.edit(topic_id, lambda _: draft, condition=condition)

    async def edit(
        self,
        topic_id: str,
        edit: Callable[[Topic | None], TopicDraft],
        *,
        condition: Precondition = ALWAYS,
        on_receipt: OnReceipt = nothing,
    ) -> Written[Topic]:
        """As `put`, with a draft made of the topic as it is stored at that moment; None where there is none.

        Arguments:
            edit: a pure function, called in the record's transaction after the condition, perhaps more than once; what
                it raises is raised here, and nothing is changed.
            on_receipt: is told when what became stale was dropped.
        """
        self.check(topic_id)
        self._changes.opened.check()
        return await self._changes.detached.finish(self._edit(topic_id, edit, condition, on_receipt))

    async def _edit(
        self,
        topic_id: str,
        edit: Callable[[Topic | None], TopicDraft],
        condition: Precondition,
        on_receipt: OnReceipt,
    ) -> Written[Topic]:
        async with self._changes.conditional(self.one, topic_id):
            written = await self._records.edit_topic(topic_id, edit, self._clock.now(), condition=condition)
        on_receipt(await self._changes.send(written.change))
        return written

    async def delete(self, topic_id: str, *, condition: Precondition = ALWAYS, on_receipt: OnReceipt = nothing) -> bool:
        """Delete a topic; False where there is none.

        Raises:
            Conflict: while it has snippets.
            PreconditionFailed: when the condition does not hold of it.
        """
        self._changes.opened.check()
        return await self._changes.detached.finish(self._delete(topic_id, condition, on_receipt))

    async def _delete(self, topic_id: str, condition: Precondition, on_receipt: OnReceipt) -> bool:
        async with self._changes.conditional(self.one, topic_id):
            change = await self._records.delete_topic(topic_id, condition=condition)
        if change is None:
            return False
        on_receipt(await self._changes.send(change))
        return True
