"""Answers that wait for something: bounded in number, and let go when the client has gone or the service is to end.

The server only tells that a client has gone to who asks for it, and tells nothing of its own end: an answer that waits
for a change would hold up the drain to its deadline, and be cut off there.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from greenroom.errors import Overloaded
from greenroom_platform.http.address_bounds import Places, too_many

PLACES = 10_000
"""Answers that may wait at a time in one process."""
PER_ADDRESS = 20
"""Of them, by default, to one client address: or one client takes all, and nobody else's status is pushed."""
_RETRY = 10
"""Seconds after which an address that has all its places may have one less."""


class LongPolls:
    """The places of one process; belongs to the event loop's thread."""

    def __init__(self, places: int = PLACES, *, per_address: int = PER_ADDRESS) -> None:
        self._places = places
        self._of_address = Places(per_address)
        self._stops: set[Callable[[], None]] = set()
        self._ending = False

    def __len__(self) -> int:
        """How many answers wait."""
        return len(self._stops)

    def end(self) -> None:
        """Let all who wait go, and those who come later at once."""
        self._ending = True
        for stop in tuple(self._stops):
            stop()

    @asynccontextmanager
    async def place(
        self, receive: Callable[[], Awaitable[Any]], seconds: float | None = None, *, address: str = ""
    ) -> AsyncIterator[None]:
        """A block that is left, without an error, after so many seconds, or when waiting on makes no sense.

        Arguments:
            receive: the request's, whose body is read or empty.
            seconds: None for no limit.
            address: the client's; empty for none.

        Raises:
            Overloaded: when no place is free.
            Problem: 429 with `Retry-After`, when the address has as many as it may.
        """
        with self._of_address.taken(address) as taken:
            if address and not taken:
                raise too_many("too many answers to this address wait", _RETRY)
            async with self._place(receive, seconds):
                yield

    @asynccontextmanager
    async def _place(self, receive: Callable[[], Awaitable[Any]], seconds: float | None) -> AsyncIterator[None]:
        if len(self._stops) >= self._places:
            raise Overloaded(f"{self._places} answers wait already")
        loop = asyncio.get_running_loop()
        limit = asyncio.timeout(seconds)

        def stop() -> None:
            if stop in self._stops and not limit.expired():
                limit.reschedule(loop.time())

        gone = loop.create_task(_gone(receive))
        try:
            async with limit:
                self._stops.add(stop)
                gone.add_done_callback(lambda _: stop())
                if self._ending:
                    stop()
                try:
                    yield
                finally:
                    self._stops.discard(stop)
        except TimeoutError:
            if not limit.expired():
                raise
        finally:
            gone.cancel()


async def _gone(receive: Callable[[], Awaitable[Any]]) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
