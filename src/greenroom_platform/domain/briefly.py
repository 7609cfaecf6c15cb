"""What is read of the record for whoever asks within a moment: one read, shared, for what no key of a cache holds."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

from greenroom.caching.single_flight import Flight, Flights
from greenroom.clock import Clock

T = TypeVar("T")

_KEPT = 1000
"""Things that are kept at a time; of more the oldest goes."""


class Briefly(Generic[T]):
    """Keeps each thing for so many seconds, in this process. Prevents: a thousand pages ask every second, of one queue.

    Arguments:
        seconds: for which a change may not be seen.
    """

    def __init__(self, clock: Clock, seconds: float) -> None:
        self._clock = clock
        self._seconds = seconds
        self._kept: OrderedDict[Hashable, tuple[float, T]] = OrderedDict()
        self._flights: Flights[T] = Flights()

    async def read(self, name: str, work: Callable[[], Awaitable[T]]) -> T:
        """What `work` gives, or has given to another a moment ago; raises as it does."""
        now = self._clock.monotonic()
        kept = self._kept.get(name)
        if kept is not None and now < kept[0]:
            return kept[1]

        async def flying(_: Flight[T]) -> T:
            found = await work()
            self._kept.pop(name, None)
            self._kept[name] = now + self._seconds, found
            if len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
            return found

        found, _ = await self._flights.join(name, flying)
        return found

    async def close(self) -> None:
        """Cancel the reads under way."""
        await self._flights.cancel()
