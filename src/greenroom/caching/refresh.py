"""Refreshing behind: a stale value is served at once, and one process of all replaces it meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from greenroom.caching.loading import LeasedLoader
from greenroom.clock import Clock
from greenroom.observe import Counters

_MOST = 10_000
"""Keys held back; past it those whose time is over are forgotten."""


class Refresh:
    """The refreshes of one cache, at most one per key at a time.

    While another process holds the lease, or a load has just failed, the key is held back here: else every read of a
    stale value would ask the server again.
    """

    def __init__(self, loads: LeasedLoader[Any], name: str, clock: Clock, counters: Counters) -> None:
        self._loads = loads
        self._name = name
        self._clock = clock
        self._counters = counters
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._held: dict[str, float] = {}

    def behind(self, key: str, parts: Mapping[str, object], stale: bytes) -> None:
        """Begin to replace the stale value of `key`, unless that is under way or held back; returns at once."""
        now = self._clock.monotonic()
        if key in self._tasks or now < self._held.get(key, now):
            return
        self._counters.cache_events[self._name, "refresh"] += 1
        task = asyncio.get_running_loop().create_task(self._replace(key, parts, stale))
        self._tasks[key] = task

    async def _replace(self, key: str, parts: Mapping[str, object], stale: bytes) -> None:
        try:
            seconds = await self._loads.refresh(key, parts, stale)
        finally:
            del self._tasks[key]
        self._held.pop(key, None)
        if seconds > 0:
            now = self._clock.monotonic()
            if len(self._held) >= _MOST:
                self._held = {one: until for one, until in self._held.items() if until > now}
            self._held[key] = now + seconds

    async def close(self) -> None:
        """Cancel the refreshes under way."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
