"""The newest snippets over all topics: one read of the record, shared by all who ask within a second.

The specification has no key for this list, so it lives in the process only.
"""

from __future__ import annotations

import msgspec

from greenroom.caching import CacheResult, Outcome
from greenroom.caching.single_flight import Flight, Flights
from greenroom.clock import Clock
from greenroom_platform.definitions import PAGE_SIZE
from greenroom_platform.domain.records import Records
from greenroom_platform.models import Snippet

KEPT = 1.0
"""Seconds for which the list is shared."""


class Newest:
    """The first page over all topics."""

    def __init__(self, records: Records, clock: Clock) -> None:
        self._records = records
        self._clock = clock
        self._flights: Flights[CacheResult[tuple[Snippet, ...]]] = Flights()
        self._kept: CacheResult[tuple[Snippet, ...]] | None = None
        self._until = 0.0

    async def read(self) -> CacheResult[tuple[Snippet, ...]]:
        """The list, its JSON, and how they came about; raises as the record."""
        if self._kept is not None and self._clock.monotonic() < self._until:
            return CacheResult(
                self._kept.value, self._kept.body, Outcome.HIT, ttl=self._until - self._clock.monotonic()
            )

        async def work(flight: Flight[CacheResult[tuple[Snippet, ...]]]) -> CacheResult[tuple[Snippet, ...]]:
            began = self._clock.monotonic()
            snippets = await self._records.newest(PAGE_SIZE)
            read = CacheResult(snippets, msgspec.json.encode(snippets), Outcome.LOADED)
            if flight.open:
                self._kept, self._until = read, began + KEPT
            return read

        read, shared = await self._flights.join("newest", work)
        return CacheResult(read.value, read.body, Outcome.SHARED) if shared else read

    def forget(self) -> None:
        """Drop the list, and let nobody join the read under way: it may have begun before the change."""
        self._kept = None
        self._flights.forget("newest")

    async def close(self) -> None:
        """Cancel the read under way."""
        await self._flights.cancel()
