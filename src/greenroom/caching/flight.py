"""Single flight: however many callers miss one key at once, one task works for all of them.

The task belongs to no caller. Were the first caller to run the load itself, its cancellation would fail everyone who
waits for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Flight(Generic[T]):
    """One piece of work under way; `open` while newcomers may still join it."""

    __slots__ = ("open", "task")

    def __init__(self, task: asyncio.Task[T]) -> None:
        self.task = task
        self.open = True


class Flights(Generic[T]):
    """The work under way, one piece per key."""

    __slots__ = ("_flights", "_tasks")

    def __init__(self) -> None:
        self._flights: dict[str, Flight[T]] = {}
        self._tasks: set[asyncio.Task[T]] = set()

    async def join(self, key: str, work: Callable[[Callable[[], bool]], Awaitable[T]]) -> tuple[T, bool]:
        """The result of the work on `key`, and whether another caller had begun it.

        Arguments:
            work: begun where none is under way; is given a function that says whether its flight is still open.

        Raises:
            Whatever the work raises.
        """
        flight = self._flights.get(key)
        shared = flight is not None
        if flight is None:
            flight = self._begin(key, work)
        return await asyncio.shield(flight.task), shared

    def close_to_newcomers(self, key: str) -> None:
        """Let nobody else join the work under way on `key`: it may have read what is about to change."""
        flight = self._flights.pop(key, None)
        if flight is not None:
            flight.open = False

    async def cancel(self) -> None:
        """End all work; callers still waiting are cancelled."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def _begin(self, key: str, work: Callable[[Callable[[], bool]], Awaitable[T]]) -> Flight[T]:
        async def run() -> T:
            try:
                return await work(lambda: flight.open)
            finally:
                if self._flights.get(key) is flight:
                    del self._flights[key]

        task = asyncio.get_running_loop().create_task(run())
        flight = Flight(task)
        self._flights[key] = flight
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return flight

    def _ended(self, task: asyncio.Task[T]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # every caller may have gone; the error is then no news to anybody
