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
PERMIT_WAIT = 0.3
"""Seconds that a permit is waited for."""
CACHED_FOR = 1.0
"""Seconds for which a value loaded without the server is served."""
_MAX_VALUES = 10_000
"""Values kept; past it the oldest goes."""


class Fallback(Generic[T]):
    """The bounds of one keyspace, and what it has loaded while the server could not be asked."""

    def __init__(self, clock: Clock, max_concurrent: int = MAX_CONCURRENT) -> None:
        self._clock = clock
        self._permits = asyncio.Semaphore(max_concurrent)
        self._max_concurrent = max_concurrent
        self._values: dict[str, tuple[T, float]] = {}

    @asynccontextmanager
    async def permit(self) -> AsyncIterator[None]:
        """A permit for one of the loads without a lease.

        Raises:
            Overloaded: when none is free in time.
        """
        try:
            async with asyncio.timeout(PERMIT_WAIT):
                await self._permits.acquire()
        except TimeoutError:
            raise Overloaded(f"{self._max_concurrent} loads without a lease are under way already") from None
        try:
            yield
        finally:
            self._permits.release()

    @property
    def empty(self) -> bool:
        """Whether nothing is kept: as long as the server can be asked."""
        return not self._values

    def keep(self, key: str, value: T) -> None:
        """Keep a value for a second."""
        self._values.pop(key, None)
        self._values[key] = (value, self._clock.monotonic() + CACHED_FOR)
        if len(self._values) > _MAX_VALUES:
            del self._values[next(iter(self._values))]

    def cached(self, key: str) -> T | None:
        """The value kept for `key`."""
        item = self._values.get(key)
        if item is None:
            return None
        value, until = item
        if self._clock.monotonic() >= until:
            del self._values[key]
            return None
        return value

    def forget(self, key: str) -> None:
        """Drop the value of `key`: it has changed."""
        self._values.pop(key, None)

    def forget_each(self, keys: Iterable[str]) -> None:
        """As `forget` for each."""
        for key in self._values.keys() & keys if self._values else ():
            del self._values[key]

    def forget_all(self, owns: KeyFilter = all_keys) -> None:
        """Drop every value that is meant: its server can be asked again."""
        for key in tuple(self._values):
            if owns(key):
                del self._values[key]
