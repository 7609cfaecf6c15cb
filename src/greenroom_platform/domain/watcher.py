"""The watcher: reads what others have changed in the record, and drops what that made stale.

    another program commits a change · nobody calls `invalidate` · the old value is served for its whole lifetime

Every process can watch, and one does. What it has read it acknowledges after every server has dropped it, so that a
watcher that is killed leaves what it had not dropped to its successor.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from greenroom.clock import Clock
from greenroom.errors import EngineError, RecordError
from greenroom.observe import Counters
from greenroom_platform.domain.changes import Changes
from greenroom_platform.domain.foreign_changes import ChangeSource, ForeignChanges
from greenroom_platform.domain.leadership import Leadership

log = logging.getLogger("greenroom.domain")

AGAIN = 0.5
"""Seconds before a drop that failed is repeated, and before a record that failed is asked again."""


class Watcher:
    """Watches one record, while this process leads."""

    def __init__(
        self, source: ChangeSource[Any], changes: Changes, leadership: Leadership, clock: Clock, counters: Counters
    ) -> None:
        self._source = source
        self._changes = changes
        self._leadership = leadership
        self._clock = clock
        self._counts = counters.foreign_changes
        self._lag = counters.foreign_lag
        self._trouble = ""

    async def run(self) -> None:
        """Watch whenever this process leads, for ever."""
        while True:
            try:
                await self._leadership.run(self._watch)
            except Exception:  # nobody else watches in this process: it is begun anew, whatever it was
                log.exception("watching for changes made outside failed")
            await asyncio.sleep(AGAIN)

    async def _watch(self) -> None:
        while True:
            self._counts["resume",] += 1
            try:
                async for found in self._source.changes():
                    self._trouble = ""
                    await self._handle(found)
            except RecordError as error:
                self._tell(f"changes made outside cannot be read: {error}")
            await asyncio.sleep(AGAIN)

    async def _handle(self, found: ForeignChanges[Any]) -> None:
        self._counts["change",] += found.events
        if found.lost:
            self._counts["lost",] += 1
            names = ", ".join(keyspace.name for keyspace in found.lost)
            log.warning("changes made outside were missed, or are too many to be named; dropped whole: %s", names)
        while True:
            try:
                await self._changes.drop_foreign(found)
                break
            except EngineError as error:
                self._counts["failed",] += 1
                self._tell(f"changes made outside wait for the server of the caches: {error}")
                await asyncio.sleep(AGAIN)
        if found.written is not None:
            self._lag.add(max(0.0, self._clock.now().timestamp() - found.written))
        try:
            await self._source.acknowledge(found.position)
        except RecordError as error:
            # Dropped all the same; its source tells it again at worst.
            self._tell(f"changes made outside were dropped and stay in the record: {error}")

    def _tell(self, trouble: str) -> None:
        """One line when trouble begins or changes, not one per attempt."""
        if trouble != self._trouble:
            self._trouble = trouble
            log.warning("%s", trouble)
