"""From a committed change to the keys that it made stale, and the outbox that survives us.

The record keeps a row for each change until its keys have been dropped. What prevents a lost invalidation:

    service commits the change · service is killed · nobody drops the old value · it is served for its whole lifetime

Whoever opens the record next finds the row and sends it; so does, once a second, every process that has it open.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from time import monotonic

from greenroom.caching import Cache
from greenroom.errors import EngineError, InvalidInput, RecordError
from greenroom.podcast.models import PodcastStatus, Snippet, Topic
from greenroom.podcast.records import Change, Records

log = logging.getLogger("greenroom.podcast")

RESEND_AFTER = 1.0
"""Seconds after which a change that its own process has not acknowledged is sent by any process."""
_ANSWER = 0.9
"""Seconds for which a change waits for the server, before and after it together."""
_LEAST = 0.1
"""Seconds for which it waits afterwards in any case."""
_CLOSING = 2.0
"""Seconds for which closing waits for what is sent behind."""
_TOGETHER = 1000
"""Keys dropped at a time; a topic may have 10,000 pages, and all at once could miss the deadline at every attempt."""


class Changes:
    """Drops what changes made stale.

    Arguments:
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
        on_change: Callable[[], None],
    ) -> None:
        self._records = records
        self._topic = topic
        self._topics = topics
        self._snippet = snippet
        self._page = page
        self._status = status
        self._on_change = on_change
        self._behind: set[asyncio.Task[None]] = set()

    async def before(self, *topic_ids: str) -> float:
        """Drop the pages of topics that are about to change; what cannot be dropped now is dropped by `send`.

        Returns how many seconds were lost on a server that did not answer, for `send`.
        """
        began = monotonic()
        dropped = await asyncio.gather(*map(self._drop_pages, topic_ids), return_exceptions=True)
        for error in dropped:
            if isinstance(error, BaseException) and not isinstance(error, EngineError | InvalidInput):
                raise error
        return monotonic() - began if any(isinstance(error, EngineError) for error in dropped) else 0.0

    async def send(self, change: Change, *, spent: float = 0.0) -> None:
        """Drop every key that a change made stale, then forget its row.

        Neither an engine nor a record that cannot be reached is an error: the change is made, its row stays, and is
        sent again.

        Arguments:
            spent: seconds that the caller has lost already on a server that does not answer. Then it is not waited for
                as long again: what is left is done behind.
        """
        if change.topics or change.snippets or change.pages:
            self._on_change()
        task = asyncio.get_running_loop().create_task(self._send(change), name="greenroom-change")
        self._behind.add(task)
        task.add_done_callback(self._behind.discard)
        await asyncio.wait([task], timeout=max(_LEAST, _ANSWER - spent) if spent else None)
        if task.done() and not task.cancelled():
            task.result()

    async def close(self) -> None:
        """Let what is sent behind end, which it does soon where the server stands still; rows that are left stay."""
        if self._behind:
            await asyncio.wait(self._behind, timeout=_CLOSING)
        for task in self._behind:
            task.cancel()
        if self._behind:
            await asyncio.wait(self._behind)

    async def _drop_pages(self, topic_id: str) -> None:
        await self._page.invalidate_group(topic_id=topic_id)

    async def _send(self, change: Change) -> None:
        try:
            await self._drop(change)
            await self._records.acknowledge([change.change_id])
        except (EngineError, RecordError) as error:
            log.warning("change %d is to be sent again: %s", change.change_id, error)

    async def send_pending(self, *, older_than: float = 0.0) -> int:
        """Send the changes left by processes that did not get to it; returns how many were dropped."""
        sent, down = 0, False
        while not down and (pending := await self._records.pending(older_than=older_than)):
            for change in pending:
                try:
                    await self._drop(change)
                except EngineError:
                    # The others are tried all the same, and so kept: a connection then carries them before it serves,
                    # and not a second later.
                    down = True
                    continue
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
            except Exception:  # whatever it is, nobody else would send what is left
                log.exception("the outbox could not be sent")

    async def _drop(self, change: Change) -> None:
        drops: list[Callable[[], Awaitable[None]]] = [partial(self._topic.invalidate, one) for one in change.topics]
        if change.topics:
            drops.append(self._topics.invalidate)
        drops.extend(partial(self._snippet.invalidate, one) for one in change.snippets)
        drops.extend(partial(self._status.invalidate, one) for one in change.statuses)
        for topic_id, last in change.pages:
            # By group, and by number too: pages that other services wrote are in no group, and a group can be lost.
            drops.append(partial(self._page.invalidate_group, topic_id=topic_id))
            drops.extend(partial(self._page.invalidate, topic_id=topic_id, page_number=n) for n in range(1, last + 1))
        for start in range(0, len(drops), _TOGETHER):
            together = (drop() for drop in drops[start : start + _TOGETHER])
            for result in await asyncio.gather(*together, return_exceptions=True):
                # An id that no key can hold has no key to drop, and its row must not hold up the others for ever.
                if isinstance(result, BaseException) and not isinstance(result, InvalidInput):
                    raise result
