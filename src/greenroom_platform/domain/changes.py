"""From a committed change to the keys that it made stale, and the outbox that survives us.

The record keeps a row for each change until its keys have been dropped. What prevents a lost invalidation:

    service commits the change · service is killed · nobody drops the old value · it is served for its whole lifetime

Whoever opens the record next finds the row and sends it; so does, once a second, every process that has it open. What
the rows name counts as dropped in that process as soon as they are read; the server is told behind, each key once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from itertools import islice
from time import monotonic
from typing import Any

from greenroom.caching import Cache
from greenroom.caching.drops import BATCH
from greenroom.caching.generation import KeyspaceDrop
from greenroom.caching.pending_drops import PendingDrops
from greenroom.detached import Detached
from greenroom.errors import (
    CommandFailed,
    EngineError,
    InvalidInput,
    PreconditionFailed,
    RecordError,
    RecordOutcomeUnknown,
)
from greenroom.opened import Opened
from greenroom_platform.domain.foreign_changes import ForeignChanges
from greenroom_platform.domain.records import Change, Records, changes_in
from greenroom_platform.domain.stale import Stale
from greenroom_platform.models import PodcastStatus, Snippet, Topic

log = logging.getLogger("greenroom.domain")

RESEND_AFTER = 1.0
"""Seconds after which a change that its own process has not acknowledged is sent by any process."""
OPENING = 1.0
"""Seconds that an opening waits for the outbox to be sent; what is left of it is sent behind."""
_BUSY = 10
"""A look at the outbox takes one in so many of the seconds at most, however long it has become."""
_TOGETHER = 50
"""Groups dropped at a time."""
_ACKNOWLEDGED = 1000
"""Rows forgotten by one transaction."""
_CLOSING = 5.0
"""Seconds that changes and claims under way may take when the platform closes; a database may be busy for four."""
_ANSWER = 0.9
"""Seconds for which a change waits for the server, before and after it together."""
_LEAST = 0.1
"""Seconds for which it waits afterwards in any case."""


class Changes:
    """Drops what changes made stale.

    Arguments:
        pending: what the outbox names and no server has dropped yet.
        on_change: called at each change to topics or snippets made in this process, before anything is dropped.
    """

    def __init__(
        self,
        records: Records,
        *,
        topic: Cache[Topic],
        topics: Cache[tuple[Topic, ...]],
        snippet: Cache[Snippet],
        page: Cache[tuple[Snippet, ...]],
        status: Cache[PodcastStatus],
        pending: PendingDrops,
        on_change: Callable[[], None],
    ) -> None:
        self._records = records
        self._topic = topic
        self._topics = topics
        self._snippet = snippet
        self._page = page
        self._status = status
        self._caches: tuple[Cache[Any], ...] = (topic, topics, snippet, page, status)
        self._pending = pending
        self._on_change = on_change
        self._known: set[int] = set()  # rows whose keys are marked
        self._groups: set[str] = set()  # topics of theirs whose group is not dropped yet
        self._look_took = 0.0
        self._turn = asyncio.Lock()
        self._sending: asyncio.Task[None] | None = None
        self.opened = Opened()
        """Until `close`."""
        self.detached = Detached()
        """Changes under way: once begun they are made and sent, whatever becomes of their callers."""

    async def open(self) -> None:
        """Take over what killed processes left: it counts as dropped here when this returns, and is sent behind.

        Until all of it is read every key counts as dropped, so that a start never waits for a long outbox.

        Raises:
            RecordUnavailable: when the outbox cannot be read.
        """
        self._pending.mark_everything()
        first = asyncio.create_task(self.send_pending(), name="greenroom-outbox")
        try:
            await asyncio.wait([first], timeout=OPENING)
        except BaseException:
            first.cancel()
            raise
        if first.done():
            first.result()
        self._sending = asyncio.create_task(self._keep_sending(first), name="greenroom-outbox")

    async def close(self) -> None:
        """Stop sending what others left, and let what is under way end; what is left stays in the record."""
        if self._sending is not None:
            self._sending.cancel()
            await asyncio.wait([self._sending])
        await self.detached.close(_CLOSING)
        self.opened.end()

    # docs/decisions/0023-group-drop-before-is-best-effort.md
    async def before(self, *topic_ids: str) -> float:
        """Drop the pages of topics that are about to change; what cannot be dropped now is dropped by `send`.

        Returns how many seconds were lost on a server that did not answer, for `send`.
        """
        began = monotonic()
        drops = (self._page.invalidate_group(topic_id=topic_id) for topic_id in topic_ids)
        dropped = await asyncio.gather(*drops, return_exceptions=True)
        for error in dropped:
            if isinstance(error, BaseException) and not isinstance(error, EngineError | InvalidInput):
                raise error
        return monotonic() - began if any(isinstance(error, EngineError) for error in dropped) else 0.0

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[None]:
        """Around a write: where it may have been stored or not, drop what it would have made stale.

        Prevents: the record is lost while it commits · the change is stored, and nobody is told · what is cached stays
        for its lifetime. A row that is stored only after the drop is found in the outbox, by whichever process.
        """
        try:
            yield
        except RecordOutcomeUnknown as error:
            for change in changes_in(error.result):
                await self.send(change)
            raise

    @asynccontextmanager
    async def conditional(self, cache: Cache[Any], object_id: str) -> AsyncIterator[None]:
        """Around a write with a condition: where that does not hold, drop what readers are shown of the object.

        It may be another writer's JSON, whose version the record does not know: whoever reads it again and again, as
        the error says, would never have a version that holds.
        """
        try:
            async with self.writing():
                yield
        except PreconditionFailed:
            # docs/decisions/0047-failed-conditions-drop-the-cached-value.md
            with suppress(EngineError):
                await cache.invalidate(object_id)
            raise

    async def send(self, change: Change, *, spent: float = 0.0) -> None:
        """Drop every key that a change made stale, then forget its row; goes on when its caller is cancelled.

        Neither an engine nor a record that cannot be reached is an error: the change is made, its row stays, and is
        sent again.

        Arguments:
            spent: seconds that the caller has lost already on a server that does not answer. Then it is not waited for
                as long again: what is left is done behind.
        """
        task = self.detached.begin(self._send(change), "greenroom-change")
        # docs/decisions/0046-slow-servers-cost-a-change-once.md
        await asyncio.wait([task], timeout=max(_LEAST, _ANSWER - spent) if spent else None)
        if task.done() and not task.cancelled():
            task.result()

    async def _send(self, change: Change) -> None:
        stale = Stale([change])
        if stale.is_content:
            self._on_change()
        try:
            await self._drop(stale)
            await self._records.acknowledge([change.change_id])
        except (EngineError, RecordError) as error:
            log.warning("change %d is to be sent again: %s", change.change_id, error)

    async def drop_foreign(self, found: ForeignChanges[Any], begun: dict[str, KeyspaceDrop]) -> None:
        """Drop what others have made stale.

        Arguments:
            begun: the drops of keyspaces that earlier calls for the same changes have begun; those of this one are
                added. Prevents: one node of a cluster is away · each attempt begins a new generation · for as long,
                nothing that is loaded meanwhile stays.

        Raises:
            EngineError: when a server did not acknowledge; here it counts as dropped all the same.
        """
        change = Change(
            change_id=0, topics=found.topics, snippets=found.snippets, pages=found.pages, statuses=found.statuses
        )
        stale = Stale([change])
        if stale.is_content or found.lost:
            self._on_change()
        caches = {cache.keyspace.pattern.text: cache for cache in self._caches}
        for text in (keyspace.pattern.text for keyspace in found.lost):
            if text not in begun:
                begun[text] = caches[text].begin_drop()
        for result in await asyncio.gather(*(drop.send() for drop in begun.values()), return_exceptions=True):
            if isinstance(result, BaseException):
                raise result
        await self._drop(stale)

    @property
    def unsent(self) -> int:
        """Changes found in the outbox whose keys no server has dropped yet."""
        return len(self._known)

    async def send_pending(self, *, older_than: float = 0.0) -> int:
        """Send the changes left by processes that did not get to it; returns how many were dropped.

        Each key is dropped once, however many changes name it. While a server cannot be asked they stay marked, and in
        the record.

        Raises:
            RecordUnavailable: when the record fails.
        """
        sent = 0
        # One at a time: another would send what is under way again.
        async with self._turn:
            while await self._look(older_than) or not sent:
                try:
                    await self._pending.send()
                    await self._drop_groups()
                except EngineError as error:
                    log.debug("the outbox waits for its server: %s", error)
                    return sent
                if not self._known:
                    return sent
                sent += len(self._known)
                try:
                    await self._acknowledge()
                except RecordError as error:
                    # Dropped all the same: a record that cannot be written must not keep its readers from starting.
                    log.warning("%d changes stay in the outbox: %s", len(self._known), error)
                    return sent
            return sent

    async def _keep_sending(self, first: asyncio.Task[int]) -> None:
        """Send what others left, once a second, for ever."""
        try:
            await asyncio.wait([first])
            if not first.cancelled() and (failed := first.exception()) is not None:
                log.error("the outbox could not be sent at the start", exc_info=failed)
            while True:
                await asyncio.sleep(max(RESEND_AFTER, self._look_took * _BUSY))
                try:
                    if sent := await self.send_pending(older_than=RESEND_AFTER):
                        log.info("sent %d changes that were left in the outbox", sent)
                except RecordError as error:
                    log.warning("the outbox could not be read: %s", error)
                except Exception:  # nobody else sends what is left: it is tried again, whatever it was
                    log.exception("the outbox could not be sent")
        finally:
            first.cancel()

    async def _look(self, older_than: float) -> bool:
        """Mark what rows name that are not known yet; False where there are none."""
        began, after, new = monotonic(), 0, Stale()
        while changes := await self._records.pending(older_than=older_than, after=after):
            after = changes[-1].change_id
            for change in changes:
                if change.change_id not in self._known:
                    new.add(change)
        if new.change_ids:
            await self._mark(new)
        self._pending.end_everything()
        self._look_took = monotonic() - began
        return bool(new.change_ids)

    async def _mark(self, stale: Stale) -> None:
        if stale.is_content:
            self._on_change()
        for keys in self._keys(stale):
            await self._pending.add(keys)
        self._known |= stale.change_ids
        self._groups.update(stale.pages)

    def _keys(self, stale: Stale) -> Iterator[Collection[str]]:
        """The keys of what is stale, some at a time."""
        named: tuple[tuple[Cache[Any], Iterator[dict[str, object]]], ...] = (
            (self._topic, ({"topic_id": one} for one in stale.topics)),
            (self._topics, ({} for _ in range(bool(stale.topics)))),
            (self._snippet, ({"snippet_id": one} for one in stale.snippets)),
            (self._status, ({"podcast_id": one} for one in stale.statuses)),
        )
        for cache, every in named:
            while some := tuple(islice(every, BATCH)):
                yield [key for parts in some if (key := _key(cache, parts)) is not None]
        for topic_id, last in stale.pages.items():
            with suppress(InvalidInput):
                yield self._page.keyspace.pattern.numbered("page_number", range(1, last + 1), topic_id=topic_id)

    async def _drop_groups(self) -> None:
        """Drop the groups of marked pages: by number they are dropped, but only a group knows what others have put in.

        Raises:
            EngineError: when the server of one cannot be asked; it stays.
        """
        topics, failure = sorted(self._groups), None
        for start in range(0, len(topics), _TOGETHER):
            together = topics[start : start + _TOGETHER]
            drops = (self._page.invalidate_group(topic_id=topic_id) for topic_id in together)
            for topic_id, error in zip(together, await asyncio.gather(*drops, return_exceptions=True), strict=True):
                if error is None or isinstance(error, InvalidInput | CommandFailed):
                    # An id that no key can hold; or what stands there is no group, and will be none tomorrow.
                    self._groups.discard(topic_id)
                else:
                    failure = error
        if failure is not None:
            raise failure

    async def _acknowledge(self) -> None:
        rows = sorted(self._known)
        for start in range(0, len(rows), _ACKNOWLEDGED):
            chunk = rows[start : start + _ACKNOWLEDGED]
            await self._records.acknowledge(chunk)
            self._known.difference_update(chunk)

    async def _drop(self, stale: Stale) -> None:
        """Drop what this process has changed: new here from the call on.

        By group, and by number too: pages that other services wrote are in no group, and a group can be lost.
        """
        drops: list[Awaitable[None]] = [self._topic.invalidate(one) for one in stale.topics]
        if stale.topics:
            drops.append(self._topics.invalidate())
        drops.extend(self._snippet.invalidate(one) for one in stale.snippets)
        drops.extend(self._status.invalidate(one) for one in stale.statuses)
        drops.extend(self._page.invalidate_group(topic_id=topic_id) for topic_id in stale.pages)
        drops.extend(
            self._page.invalidate_numbered("page_number", range(1, last + 1), topic_id=topic_id)
            for topic_id, last in stale.pages.items()
        )
        for result in await asyncio.gather(*drops, return_exceptions=True):
            # An id that no key can hold has no key to drop, and its row must not hold up the others for ever.
            if isinstance(result, BaseException) and not isinstance(result, InvalidInput):
                raise result


def _key(cache: Cache[Any], parts: Mapping[str, object]) -> str | None:
    """An id that no key can hold has no key to drop, and its row must not hold up the others for ever."""
    try:
        return cache.keyspace.key(**parts)
    except InvalidInput:
        return None
