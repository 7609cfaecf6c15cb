"""From a committed change to the keys that it made stale, and the outbox that survives us.

The record keeps a row for each change until its keys have been dropped. What prevents a lost invalidation:

    service commits the change · service is killed · nobody drops the old value · it is served for its whole lifetime

Whoever opens the record next finds the row and sends it; so does, once a second, every process that has it open.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from greenroom.caching import Cache
from greenroom.errors import EngineError, RecordError
from greenroom.podcast.models import Snippet, Topic
from greenroom.podcast.records import Change, Records

log = logging.getLogger("greenroom.podcast")

RESEND_AFTER = 1.0
"""Seconds after which a change that its own process has not acknowledged is sent by any process."""


class Changes:
    """Drops what changes made stale.

    Arguments:
        on_change: called at each change made in this process, before anything is dropped.
    """

    def __init__(
        self,
        records: Records,
        *,
        topic: Cache[Topic],
        topics: Cache[tuple[Topic, ...]],
        snippet: Cache[Snippet],
        page: Cache[tuple[Snippet, ...]],
        on_change: Callable[[], None],
    ) -> None:
        self._records = records
        self._topic = topic
        self._topics = topics
        self._snippet = snippet
        self._page = page
        self._on_change = on_change

    async def send(self, change: Change) -> None:
        """Drop every key that a change made stale, then forget its row.

        An engine that cannot be reached is no error: the change is made, its row stays, and is sent again.
        """
        self._on_change()
        try:
            await self._drop(change)
        except EngineError as error:
            log.warning("change %d: its keys could not be dropped yet: %s", change.change_id, error)
            return
        await self._records.acknowledge([change.change_id])

    async def send_pending(self, *, older_than: float = 0.0) -> int:
        """Send the changes left by processes that did not get to it; returns how many were dropped."""
        sent = 0
        for change in await self._records.pending(older_than=older_than):
            try:
                await self._drop(change)
            except EngineError:
                break
            await self._records.acknowledge([change.change_id])
            sent += 1
        return sent

    async def keep_sending(self) -> None:
        """Send what others left, once a second, for ever."""
        while True:
            await asyncio.sleep(RESEND_AFTER)
            try:
                if sent := await self.send_pending(older_than=RESEND_AFTER):
                    self._on_change()
                    log.info("sent %d changes that were left in the outbox", sent)
            except RecordError as error:
                log.warning("the outbox could not be read: %s", error)

    async def _drop(self, change: Change) -> None:
        drops: list[Awaitable[None]] = [self._topic.invalidate(topic_id) for topic_id in change.topics]
        if change.topics:
            drops.append(self._topics.invalidate())
        drops.extend(self._snippet.invalidate(snippet_id) for snippet_id in change.snippets)
        for topic_id, last in change.pages:
            drops.extend(self._page.invalidate(topic_id=topic_id, page_number=number) for number in range(1, last + 1))
        await asyncio.gather(*drops)
