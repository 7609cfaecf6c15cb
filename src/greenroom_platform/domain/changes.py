"""From a committed change to the keys that it made stale: dropped by the process that has made it.

What that process does not get to is in the outbox: see `OutboxSender`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from time import monotonic
from typing import Any

from greenroom.caching import Cache
from greenroom.caching.keyspace_drops import KeyspaceDrop
from greenroom.clock import SYSTEM, Clock
from greenroom.detached import Detached
from greenroom.errors import EngineError, InvalidInput, PreconditionFailed, RecordError, RecordOutcomeUnknown
from greenroom.opened import Opened
from greenroom_platform.domain.drop_receipt import DropReceipt
from greenroom_platform.domain.foreign_changes import ForeignChanges
from greenroom_platform.domain.record_caches import RecordCaches
from greenroom_platform.domain.records import Change, Records, changes_in
from greenroom_platform.domain.stale import Stale

log = logging.getLogger("greenroom.domain")

_CLOSING = 5.0
"""Seconds that changes and claims under way may take when the platform closes; a database may be busy for four."""
_ANSWER = 0.9
"""Seconds for which a change waits for the server, before and after it together."""
_MIN_WAIT = 0.1
"""Seconds for which it waits afterwards in any case."""


class Changes:
    """Drops what changes made stale."""

    def __init__(self, records: Records, caches: RecordCaches, clock: Clock = SYSTEM) -> None:
        self._records = records
        self._caches = caches
        self._clock = clock
        self.opened = Opened()
        """Until `close`."""
        self.detached = Detached()
        """Changes under way: once begun they are made and sent, whatever becomes of their callers."""

    async def close(self) -> None:
        """Let the changes under way end; what they do not send stays in the record."""
        await self.detached.close(_CLOSING)
        self.opened.end()

    # docs/decisions/0023-group-drop-before-is-best-effort.md
    async def before(self, *topic_ids: str) -> float:
        """Drop the pages of topics that are about to change; what cannot be dropped now is dropped by `send`.

        Returns how many seconds were lost on a server that did not answer, for `send`.
        """
        began = monotonic()
        drops = (self._caches.page.invalidate_group(topic_id=topic_id) for topic_id in topic_ids)
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

    async def send(self, change: Change, *, spent: float = 0.0) -> DropReceipt:
        """Drop every key that a change made stale, then forget its row; goes on when its caller is cancelled.

        Neither an engine nor a record that cannot be reached is an error: the change is made, its row stays, and is
        sent again.

        Arguments:
            spent: seconds that the caller has lost already on a server that does not answer. Then it is not waited for
                as long again: what is left is done behind.
        """
        committed_at = self._clock.now()
        task = self.detached.begin(self._send(change), "greenroom-change")
        # docs/decisions/0046-slow-servers-cost-a-change-once.md
        await asyncio.wait([task], timeout=max(_MIN_WAIT, _ANSWER - spent) if spent else None)
        seconds = task.result() if task.done() and not task.cancelled() else None
        return DropReceipt(change, committed_at, seconds)

    async def _send(self, change: Change) -> float | None:
        """Returns how many seconds it took until all was dropped; None where it is not."""
        began, seconds = monotonic(), None
        stale = Stale([change])
        if stale.is_content:
            self._caches.on_change()
        try:
            await self._caches.drop(stale)
            seconds = monotonic() - began
            await self._records.acknowledge([change.change_id])
        except (EngineError, RecordError) as error:
            log.warning("change %d will be sent again: %s", change.change_id, error)
        return seconds

    def keys(self, change: Change) -> Iterator[str]:
        """The keys that a change made stale, by their names on the server."""
        for some in self._caches.keys(Stale([change])):
            yield from some

    async def is_pending(self, change_id: int) -> bool:
        """Whether a change is in the outbox still, and so perhaps not dropped from every cache.

        Raises:
            RecordUnavailable: when the record cannot be asked.
        """
        later = await self._records.pending(after=change_id - 1, limit=1)
        return any(one.change_id == change_id for one in later)

    async def drop_foreign(self, foreign: ForeignChanges[Any], begun: dict[str, KeyspaceDrop]) -> None:
        """Drop what others have made stale.

        Arguments:
            begun: the drops of keyspaces that earlier calls for the same changes have begun; those of this one are
                added. Prevents: one node of a cluster is away · each attempt begins a new generation · for as long,
                nothing that is loaded meanwhile stays.

        Raises:
            EngineError: when a server did not acknowledge; here it counts as dropped all the same.
        """
        change = Change(
            change_id=0,
            topics=foreign.topics,
            snippets=foreign.snippets,
            pages=foreign.pages,
            statuses=foreign.statuses,
        )
        stale = Stale([change])
        stale.whole.update(foreign.lost)
        if stale.is_content:
            self._caches.on_change()
        for pattern in (keyspace.pattern.text for keyspace in foreign.lost):
            if pattern not in begun:
                begun[pattern] = self._caches.begin_drop(pattern)
        for result in await asyncio.gather(*(drop.send() for drop in begun.values()), return_exceptions=True):
            if isinstance(result, BaseException):
                raise result
        await self._caches.drop(stale)
