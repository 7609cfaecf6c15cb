"""A record of one's own, whole: topics and snippets in memory, for tests of a program that stands on the platform.

    records = MemoryRecords(Memory())
    async with open_platform(database=records) as platform:
        ...

What it must do is said in `greenroom_platform.domain.records.Records`, and tested by
`greenroom_platform.testing.RecordsContract`. A database of yours has the same three parts: reads that see every commit,
one function for a transaction, and an outbox row written in it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime

from greenroom.errors import Conflict, RecordUnavailable, UnknownReference
from greenroom_platform.definitions import PAGE_NUMBERS, PAGE_SIZE
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
from greenroom_platform.storage.whole import WholeObjects


class Memory:
    """What all who have the record open share: the objects, and the outbox by number of change."""

    def __init__(self) -> None:
        self.topics: dict[str, Topic] = {}
        self.snippets: dict[str, Snippet] = {}
        self.outbox: dict[int, tuple[float, Change]] = {}
        self.last_change = 0


class MemoryRecords:
    """`Records` over a `Memory`."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._closed = False

    # Reads -----------------------------------------------------------------------------------------

    async def topic(self, topic_id: str) -> Topic | None:
        return self._open.topics.get(topic_id)

    async def topics(self) -> tuple[Topic, ...]:
        return tuple(sorted(self._open.topics.values(), key=lambda one: (one.display_name, one.topic_id)))

    async def snippet(self, snippet_id: str) -> Snippet | None:
        return self._open.snippets.get(snippet_id)

    async def page(self, topic_id: str, page_number: int) -> tuple[Snippet, ...]:
        begin = (page_number - 1) * PAGE_SIZE
        mine = _in_order(one for one in self._open.snippets.values() if one.topic_id == topic_id)
        return mine[begin : begin + PAGE_SIZE]

    async def newest(self, limit: int) -> tuple[Snippet, ...]:
        return _in_order(self._open.snippets.values())[:limit]

    async def is_empty(self) -> bool:
        return not self._open.topics and not self._open.snippets

    async def ping(self) -> None:
        _ = self._open

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
        with self._transaction() as transaction:
            old = transaction.topics.get(topic_id)
            condition.check(old)
            created = old.created_at if old is not None else in_utc(now)
            topic = Topic(topic_id=topic_id, created_at=created, updated_at=in_utc(now), **members_of(edit(old)))
            transaction.put_topic(topic)
            change = transaction.change(topics=(topic_id,))
        return Written(topic, old is None, change)

    async def delete_topic(self, topic_id: str, *, condition: Precondition = ALWAYS) -> Change | None:
        with self._transaction() as transaction:
            old = transaction.topics.get(topic_id)
            if old is None:
                return None
            if any(one.topic_id == topic_id for one in transaction.snippets.values()):
                raise Conflict(f"topic {topic_id} has snippets; delete or move them first")
            condition.check(old)
            del transaction.topics[topic_id]
            return transaction.change(topics=(topic_id,), pages={topic_id: 1})

    async def add_snippet(self, snippet_id: str, draft: SnippetDraft, now: datetime) -> Written[Snippet]:
        with self._transaction() as transaction:
            if snippet_id in transaction.snippets:
                raise Conflict(f"snippet {snippet_id} exists already")
            snippet = Snippet(snippet_id=snippet_id, generation_timestamp=in_utc(now), **members_of(draft))
            change = transaction.replace(None, snippet)
        return Written(snippet, True, change)

    async def put_snippet(
        self, snippet_id: str, draft: SnippetDraft, *, condition: Precondition = ALWAYS
    ) -> Written[Snippet] | None:
        return await self.edit_snippet(snippet_id, lambda _: draft, condition=condition)

    async def edit_snippet(
        self, snippet_id: str, edit: Callable[[Snippet], SnippetDraft], *, condition: Precondition = ALWAYS
    ) -> Written[Snippet] | None:
        with self._transaction() as transaction:
            old = transaction.snippets.get(snippet_id)
            if old is None:
                return None
            condition.check(old)
            moment = old.generation_timestamp
            snippet = Snippet(snippet_id=snippet_id, generation_timestamp=moment, **members_of(edit(old)))
            change = transaction.replace(old, snippet)
        return Written(snippet, False, change)

    async def delete_snippet(self, snippet_id: str, *, condition: Precondition = ALWAYS) -> Change | None:
        with self._transaction() as transaction:
            old = transaction.snippets.get(snippet_id)
            if old is None:
                return None
            condition.check(old)
            end = transaction.page_end(old.topic_id)
            del transaction.snippets[snippet_id]
            return transaction.change(snippets=(snippet_id,), pages={old.topic_id: end})

    async def store(
        self,
        topics: Sequence[Topic | TopicImport],
        snippets: Sequence[Snippet | SnippetImport],
        now: datetime | None = None,
    ) -> Change | None:
        moment = in_utc(now) if now is not None else datetime.now(UTC)
        wanted = WholeObjects(topics, snippets, moment)
        with self._transaction() as transaction:
            wanted.check(transaction.topics.keys())
            new = wanted.differing(
                [one for key, one in transaction.topics.items() if key in wanted.topics],
                [one for key, one in transaction.snippets.items() if key in wanted.snippets],
            )
            if not new:
                return None
            ends = {one: transaction.page_end(one) for one in new.touched}
            for topic in new.topics:
                transaction.put_topic(topic)
            for snippet in new.snippets:
                transaction.put_snippet(snippet)
            return transaction.change(
                topics=tuple(one.topic_id for one in new.topics),
                snippets=tuple(one.snippet_id for one in new.snippets),
                pages={one: max(end, transaction.page_end(one)) for one, end in ends.items()},
            )

    # The outbox ------------------------------------------------------------------------------------

    async def pending(self, *, older_than: float = 0.0, after: int = 0, limit: int = 200) -> tuple[Change, ...]:
        latest = time.monotonic() - older_than
        rows = sorted(self._open.outbox.items())
        old = [change for number, (committed, change) in rows if number > after and committed <= latest]
        return tuple(old[:limit])

    async def acknowledge(self, change_ids: Sequence[int]) -> None:
        for number in change_ids:
            self._open.outbox.pop(number, None)

    async def close(self) -> None:
        self._closed = True

    @property
    def _open(self) -> Memory:
        if self._closed:
            raise RecordUnavailable("the record is closed")
        return self._memory

    @contextmanager
    def _transaction(self) -> Generator[_Transaction]:
        """All that is written in the block, or nothing of it where the block raises. Nothing else runs meanwhile."""
        transaction = _Transaction(self._open)
        yield transaction
        transaction.commit()


class _Transaction:
    """Copies of the objects, which take the place of the others at once."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self.topics = dict(memory.topics)
        self.snippets = dict(memory.snippets)
        self._row: Change | None = None

    def put_topic(self, topic: Topic) -> None:
        self.topics[topic.topic_id] = topic

    def put_snippet(self, snippet: Snippet) -> None:
        self.snippets[snippet.snippet_id] = snippet

    def replace(self, old: Snippet | None, new: Snippet) -> Change:
        if new.topic_id not in self.topics:
            raise UnknownReference("topic_id", new.topic_id)
        touched = {one.topic_id for one in (old, new) if one is not None}
        ends = {one: self.page_end(one) for one in touched}
        self.put_snippet(new)
        pages = {one: max(end, self.page_end(one)) for one, end in ends.items()}
        return self.change(snippets=(new.snippet_id,), pages=pages)

    def page_end(self, topic_id: str) -> int:
        """The number up to which a topic's pages are to be dropped: its last page plus one."""
        count = sum(one.topic_id == topic_id for one in self.snippets.values())
        return min(-(-count // PAGE_SIZE) + 1, PAGE_NUMBERS.max)

    def change(
        self, *, topics: tuple[str, ...] = (), snippets: tuple[str, ...] = (), pages: Mapping[str, int] | None = None
    ) -> Change:
        """What this transaction makes stale: its row of the outbox."""
        number = self._memory.last_change + 1
        every = tuple(sorted((pages or {}).items()))
        self._row = Change(change_id=number, topics=topics, snippets=snippets, pages=every)
        return self._row

    def commit(self) -> None:
        memory = self._memory
        memory.topics, memory.snippets = self.topics, self.snippets
        if self._row is not None:
            memory.last_change = self._row.change_id
            memory.outbox[self._row.change_id] = time.monotonic(), self._row


def _in_order(snippets: Iterable[Snippet]) -> tuple[Snippet, ...]:
    by_id = sorted(snippets, key=lambda one: one.snippet_id)
    return tuple(sorted(by_id, key=lambda one: one.generation_timestamp, reverse=True))
