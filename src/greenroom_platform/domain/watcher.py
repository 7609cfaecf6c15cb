"""The watcher: reads what others have changed in the record, and drops what that made stale.

    another program commits a change · nobody calls `invalidate` · the old value is served for its whole lifetime

Every process can watch, and one does. What it has read it acknowledges after every server has dropped it, so that a
watcher that is killed leaves what it had not dropped to its successor.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from time import monotonic
from typing import Any

from greenroom.caching.keyspace_drops import KeyspaceDrop
from greenroom.clock import Clock
from greenroom.counters import Counters
from greenroom.errors import EngineError, RecordError
from greenroom_platform.domain.changes import Changes
from greenroom_platform.domain.foreign_changes import ChangeSource, ForeignChanges
from greenroom_platform.domain.leadership import LOOK, Leadership

log = logging.getLogger("greenroom.domain")

AGAIN = 0.5
"""Seconds before a drop that failed is repeated, and before a watch that ended is begun anew."""
REST = 3 * LOOK
"""Seconds for which a process that lost the record leaves the place to others: each of them looks for it meanwhile."""
_LONG = 60.0
"""Seconds after which a record that fails again is told of again."""


class Watcher:
    """Watches one record, while this process leads.

    Arguments:
        reach: returns if the record answers.
    """

    def __init__(
        self,
        source: ChangeSource[Any],
        reach: Callable[[], Awaitable[None]],
        changes: Changes,
        leadership: Leadership,
        clock: Clock,
        counters: Counters,
    ) -> None:
        self._source = source
        self._reach = reach
        self._changes = changes
        self._leadership = leadership
        self._clock = clock
        self._counts = counters.foreign_changes
        self._lag = counters.foreign_lag
        self._troubles: set[str] = set()  # kinds that the log has told of

    async def run(self) -> None:
        """Watch whenever this process leads, for ever."""
        while True:
            began = monotonic()
            try:
                await self._leadership.run(self._watch)
            except RecordError as error:
                if monotonic() - began > _LONG:
                    self._over("record")
                self._tell("record", f"changes made outside cannot be read: {error}")
                await self._rest()
            except Exception:  # nobody else watches in this process: it is begun anew, whatever it was
                log.exception("watching for changes made outside failed")
            await asyncio.sleep(AGAIN)

    async def _rest(self) -> None:
        """Leave the place to others until the record answers.

        Prevents: the way from the leader to the record is cut · the leader keeps its place, for the server of the
        caches still answers it · another process could read the record, and nobody does.
        """
        while True:
            await asyncio.sleep(REST)
            try:
                await self._reach()
            except RecordError as error:
                log.debug("changes made outside still cannot be read: %s", error)
            else:
                return

    async def _watch(self) -> None:
        """Raises `RecordError`, with which this process gives up its place."""
        while True:
            self._counts["resume",] += 1
            async with aclosing(self._source.changes()) as changes:
                async for found in changes:
                    self._over("record")
                    await self._handle(found)
            await asyncio.sleep(AGAIN)

    async def _handle(self, found: ForeignChanges[Any]) -> None:
        self._counts["change",] += found.events
        if found.lost:
            self._counts["lost",] += 1
            names = ", ".join(keyspace.name for keyspace in found.lost)
            log.warning(
                "changes by other programs were missed, or are too many to name; whole keyspaces dropped: %s", names
            )
        begun: dict[str, KeyspaceDrop] = {}
        while True:
            try:
                await self._changes.drop_foreign(found, begun)
                break
            except EngineError as error:
                self._counts["failed",] += 1
                self._tell("server", f"changes made outside wait for the server of the caches: {error}")
                await asyncio.sleep(AGAIN)
        self._over("server")
        if found.written is not None:
            self._lag.add(max(0.0, self._clock.now().timestamp() - found.written))
        try:
            await self._source.acknowledge(found.position)
        except RecordError as error:
            # Dropped all the same; its source tells it again at worst.
            self._tell("position", f"changes made outside were dropped and stay in the record: {error}")
        else:
            self._over("position")

    def _tell(self, kind: str, trouble: str) -> None:
        """One line when trouble of a kind begins, not one per attempt: its text may vary, as by the seconds waited."""
        if kind not in self._troubles:
            self._troubles.add(kind)
            log.warning("%s", trouble)

    def _over(self, kind: str) -> None:
        self._troubles.discard(kind)
