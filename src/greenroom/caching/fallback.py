"""Failing open: reads go on without the server, and the record is not overrun.

A load without a lease is bounded three ways: once per key and process (by its flight), at most so many at a time, and
its value is kept for one second. That second also bounds how long another process's change can go unseen meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Generic, TypeVar

from greenroom.clock import Clock
from greenroom.engine import KeyFilter, all_keys
from greenroom.errors import Overloaded

T = TypeVar("T")

MAX_CONCURRENT = 16
"""Loads without a lease at a time, per keyspace."""
PLACE_WAIT = 0.3
"""Seconds that a place is waited for."""
KEPT = 1.0
"""Seconds for which a value loaded without the server is served."""
_MAX_VALUES = 10_000
"""Values kept; past it the oldest goes."""


class Fallback(Generic[T]):
    """The bounds of one keyspace, and what it has loaded while the server could not be asked."""

    def __init__(self, clock: Clock, places: int = MAX_CONCURRENT) -> None:
        self._clock = clock
        self._places = asyncio.Semaphore(places)
        self._number = places
        self._kept: dict[str, tuple[T, float]] = {}

    @asynccontextmanager
    async def permit(self) -> AsyncIterator[None]:
        """One of the places among the loads without a lease.

        Raises:
            Overloaded: when none is free in time.
        """
        try:
            async with asyncio.timeout(PLACE_WAIT):
                await self._places.acquire()
        except TimeoutError:
            raise Overloaded(f"{self._number} loads without a lease are under way already") from None
        try:
            yield
        finally:
            self._places.release()

    @property
    def empty(self) -> bool:
        """Whether nothing is kept: as long as the server can be asked."""
        return not self._kept

    def keep(self, key: str, value: T) -> None:
        """Keep a value for a second."""
        self._kept.pop(key, None)
        self._kept[key] = (value, self._clock.monotonic() + KEPT)
        if len(self._kept) > _MAX_VALUES:
            del self._kept[next(iter(self._kept))]

    def kept(self, key: str) -> T | None:
        """The value kept for `key`."""
        found = self._kept.get(key)
        if found is None:
            return None
        value, until = found
        if self._clock.monotonic() >= until:
            del self._kept[key]
            return None
        return value

    def forget(self, key: str) -> None:
        """Drop the value of `key`: it has changed."""
        self._kept.pop(key, None)

    def forget_each(self, keys: Iterable[str]) -> None:
        """As `forget` for each."""
        for key in self._kept.keys() & keys if self._kept else ():
            del self._kept[key]

    def forget_all(self, owns: KeyFilter = all_keys) -> None:
        """Drop every value that is meant: its server can be asked again."""
        for key in tuple(self._kept):
            if owns(key):
                del self._kept[key]
