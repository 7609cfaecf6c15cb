"""The outbox that survives us: what killed processes have committed, and have dropped from no server.

The record keeps a row for each change until its keys have been dropped. What prevents a lost invalidation:

    service commits the change · service is killed · nobody drops the old value · it is served for its whole lifetime

Whoever opens the record next finds the row and sends it; so does, once a second, every process that has it open. What
the rows name counts as dropped in that process as soon as they are read; the server is told behind, each key once.

Of a keyspace of which they name more keys than can be held, all keys are dropped: see `greenroom.caching.generation`.
"""

from __future__ import annotations

import asyncio
import logging
from time import monotonic

from greenroom.caching.keyspace_drops import KeyspaceDrop
from greenroom.caching.outbox_drops import OutboxDrops
from greenroom.errors import CommandFailed, EngineError, InvalidInput, RecordError
from greenroom_platform.domain.record_caches import RecordCaches
from greenroom_platform.domain.records import Records
from greenroom_platform.domain.stale import Stale

log = logging.getLogger("greenroom.domain")

RESEND_AFTER = 1.0
"""Seconds after which a change that its own process has not acknowledged is sent by any process."""
OPENING = 1.0
"""Seconds that an opening waits for the outbox to be sent; what is left of it is sent behind."""
MAX_KEYS = 10_000
"""Keys of one keyspace that are dropped singly: of more the keyspace is dropped whole, which takes one round trip."""
_MAX_ROWS = 100_000
"""Rows known at a time: 10 MB of numbers."""
_BUSY = 10
"""A look at the outbox takes one in so many of the seconds at most, however long it has become."""
_TOGETHER = 50
"""Groups dropped at a time."""
_ACKNOWLEDGED = 1000
"""Rows forgotten by one transaction."""


class OutboxSender:
    """Sends the rows of the outbox, those of killed processes too.

    Arguments:
        pending: the keys that rows name and that no server has dropped yet.
    """

    def __init__(self, records: Records, caches: RecordCaches, pending: OutboxDrops) -> None:
        self._records = records
        self._caches = caches
        self._pending = pending
        self._known: set[int] = set()  # rows whose keys are pending
        self._groups: set[str] = set()  # topics of these rows whose group is not dropped yet
        self._drops: list[KeyspaceDrop] = []  # of keyspaces that these rows name too many keys of
        self._look_took = 0.0
        self._turn = asyncio.Lock()
        self._sending: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Take over what killed processes left: it counts as dropped here when this returns, and is sent behind.

        Until all of it is read every key counts as dropped, so that a start never waits for a long outbox.

        Raises:
            RecordUnavailable: when the outbox cannot be read.
        """
        self._pending.add_everything(self)
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
        """Stop sending; what is left stays in the record."""
        if self._sending is not None:
            self._sending.cancel()
            await asyncio.wait([self._sending])

    @property
    def unsent(self) -> int:
        """Changes found in the outbox whose keys no server has dropped yet."""
        return len(self._known)

    async def send_pending(self, *, older_than: float = 0.0) -> int:
        """Send the changes left by processes that did not get to it; returns how many were dropped.

        Each key is dropped once, however many changes name it. While a server cannot be asked they stay pending, and in
        the record.

        Raises:
            RecordUnavailable: when the record fails.
        """
        sent = 0
        # One at a time: another would send what is under way again.
        async with self._turn:
            while await self._look(older_than) or not sent:
                if not await self._drop_all():
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
        began, after, new, complete = monotonic(), 0, Stale(), True
        while complete and (changes := await self._records.pending(older_than=older_than, after=after)):
            after = changes[-1].change_id
            unknown = [change for change in changes if change.change_id not in self._known]
            room = _MAX_ROWS - len(self._known) - len(new.change_ids)
            complete = len(unknown) <= room
            for change in unknown[:room]:
                new.add(change)
                new.bound(MAX_KEYS)
        if new.change_ids:
            await self._mark(new)
        if complete:
            self._pending.end_everything(self)
        else:
            # The others are read when these have been sent. Prevents: a row that nobody has read yet says that a value
            # is old · the value is served.
            self._pending.add_everything(self)
        self._look_took = monotonic() - began
        return bool(new.change_ids)

    async def _mark(self, stale: Stale) -> None:
        if stale.is_content:
            self._caches.on_change()
        # Another one each time, though one of the keyspace waits. Prevents: a generation begins, and its reply is lost
        # · a change is committed, and its value read from a cache · the change counts as dropped by that generation.
        for keyspace in stale.whole:
            self._drops.append(self._caches.begin_drop(keyspace.pattern.text))
        for keys in self._caches.keys(stale):
            await self._pending.add(keys)
        self._known |= stale.change_ids
        self._groups.update(stale.pages)

    async def _drop_all(self) -> bool:
        """Drop what is pending; False when a server could not be asked, and something stays."""
        dropped = True
        for drop in (self._drop_keyspaces, self._pending.send, self._drop_groups):
            try:
                await drop()
            except EngineError as error:
                log.debug("the outbox waits for its server: %s", error)
                dropped = False
        return dropped

    async def _drop_keyspaces(self) -> None:
        """Raises `EngineError` when a server did not acknowledge; the drop stays."""
        while self._drops:
            await self._drops[0].send()
            del self._drops[0]

    async def _drop_groups(self) -> None:
        """Drop the groups of pending pages: by number they are dropped, but only a group knows what others have put in.

        Raises:
            EngineError: when the server of one cannot be asked; it stays.
        """
        topics, failure = sorted(self._groups), None
        for start in range(0, len(topics), _TOGETHER):
            together = topics[start : start + _TOGETHER]
            drops = (self._caches.page.invalidate_group(topic_id=topic_id) for topic_id in together)
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
