"""Single flight: however many callers miss one key at once, one task works for all of them.

The task belongs to no caller. Were the first caller to run the load itself, its cancellation would fail everyone who
waits for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator
from contextvars import Context, copy_context
from typing import Any, Generic, TypeVar

from greenroom.engine import KeyFilter, all_keys
from greenroom.errors import RoomClosed

T = TypeVar("T")


class Flight(Generic[T]):
    """The work under way for one key; each of its holders may wait for its result.

    Arguments:
        key: what is worked for.
        loop: the event loop of all who wait.
    """

    __slots__ = (
        "_end",
        "_loop",
        "_waiters",
        "asking",
        "began",
        "bypasses",
        "given_up",
        "key",
        "open",
        "pushed",
        "work",
    )

    def __init__(self, key: str, loop: asyncio.AbstractEventLoop) -> None:
        self.key = key
        self.began = loop.time()
        """When it was begun, in seconds of the event loop."""
        self.work: asyncio.Task[None] | None = None
        """What works for it, perhaps for other flights too."""
        self.given_up: Callable[[], object] | None = None
        """Called when it is ended early: ends what is done for this key alone, where its work has other keys too."""
        self._loop = loop
        self._end: Callable[[asyncio.Future[T]], object] | None = None
        self._waiters: list[asyncio.Future[T]] = []
        self.open = True
        """Whether newcomers may still join."""
        self.asking = False
        """Whether it has nothing yet, and its next answer will be newer than any push that has been read."""
        self.bypasses = False
        """Whether it loads without the server: no push and no group will tell of a change."""
        self.pushed = asyncio.Event()
        """Set by each push for the key's value, lease or absence; cleared before the next look."""

    @property
    def over(self) -> bool:
        """Whether it has landed, or crashed."""
        return self._end is not None

    @property
    def waiting(self) -> int:
        """How many callers wait for it."""
        return sum(not waiter.done() for waiter in self._waiters)

    @property
    def age(self) -> float:
        """Seconds since it was begun."""
        return self._loop.time() - self.began

    async def result(self) -> T:
        """The result; a caller that is cancelled meanwhile cancels nobody else.

        Raises:
            RoomClosed: when the work was cancelled, as it is when the room is closed.
            Whatever the work raised.
        """
        # docs/decisions/0025-waiters-have-their-own-future.md
        # A future of one's own, and no shield over a common one: hundreds are woken by a fill, at half the time each.
        waiter: asyncio.Future[T] = self._loop.create_future()
        if self._end is None:
            self._waiters.append(waiter)
        else:
            self._end(waiter)
        return await waiter

    def set_result(self, result: T) -> None:
        """Give everyone who waits the result."""
        self._ended(lambda waiter: waiter.set_result(result))

    def set_exception(self, error: BaseException) -> None:
        """Give everyone who waits the error.

        That the work was cancelled is not passed on as it is. Prevents: a room is closed · a caller who waits for a
        load gets CancelledError, though nobody has cancelled him · his server drops the request without an answer.
        """
        if isinstance(error, asyncio.CancelledError):
            self._ended(lambda waiter: waiter.set_exception(RoomClosed()))
        else:
            self._ended(lambda waiter: waiter.set_exception(error))

    def _ended(self, end: Callable[[asyncio.Future[T]], object]) -> None:
        if self._end is None:
            self._end = end
            for waiter in self._waiters:
                if not waiter.done():  # its caller was cancelled
                    end(waiter)
            self._waiters.clear()


class Flights(Generic[T]):
    """The flights of one cache: at most one that is open per key, and those closed that have not landed yet.

    Arguments:
        context: the context of all work, of which each task has a copy; by default that in which this is made. A first
            caller's is his own. Prevents: the first caller's tenant stands in a context variable · the loader reads
            the record by it · callers of other tenants share what it has found.
    """

    __slots__ = ("_cancelled", "_context", "_in_flight", "_open", "_tasks")

    def __init__(self, context: Context | None = None) -> None:
        self._context = copy_context() if context is None else context
        self._cancelled = False
        self._open: dict[str, Flight[T]] = {}
        self._in_flight: dict[str, set[Flight[T]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def find(self, key: str) -> Flight[T] | None:
        """The flight that a caller may join."""
        flight = self._open.get(key)
        # One that has landed is here until its task has ended. Prevents: it lands · its caller reads again and is given
        # the same without a question to the server, for as long as he does not let go of the loop.
        return None if flight is None or flight.over else flight

    def begin(self, key: str) -> Flight[T]:
        """A new flight for `key`, to be joined from now on; hand it to `work_on`.

        Raises:
            RoomClosed: when all work was cancelled. Prevents: a caller's question to the server is under way · the room
                is closed, and its engine with it · the caller loads without the server, in a room that is gone.
        """
        if self._cancelled:
            raise RoomClosed
        flight: Flight[T] = Flight(key, asyncio.get_running_loop())
        self._open[key] = flight
        self._in_flight.setdefault(key, set()).add(flight)
        return flight

    def work_on(self, flights: Iterable[Flight[T]], work: Coroutine[Any, Any, None]) -> None:
        """Run `work` in a task of its own; flights that it does not land itself land with its error."""
        mine = tuple(flights)
        task = asyncio.get_running_loop().create_task(work, context=self._context.copy())
        self._tasks.add(task)
        for flight in mine:
            flight.work = task

        def ended(_: asyncio.Task[None]) -> None:
            # Not in the task: one that is cancelled before its first step runs nothing, and its callers would wait for
            # ever.
            self._tasks.discard(task)
            error = asyncio.CancelledError() if task.cancelled() else task.exception()
            for flight in mine:
                if error is not None:
                    flight.set_exception(error)
                self._forget(flight)

        task.add_done_callback(ended)

    async def join(self, key: str, work: Callable[[Flight[T]], Awaitable[T]]) -> tuple[T, bool]:
        """The result of the work on `key`, begun where none is under way, and whether another had begun it."""
        flight = self.find(key)
        if flight is not None:
            return await flight.result(), True
        begun = self.begin(key)

        async def land() -> None:
            begun.set_result(await work(begun))

        self.work_on((begun,), land())
        return await begun.result(), False

    def close(self, flight: Flight[T]) -> None:
        """Let nobody else join a flight: it may have read what has changed."""
        if self._open.get(flight.key) is flight:
            del self._open[flight.key]
        flight.open = False

    def forget(self, key: str) -> None:
        """Let nobody else join what is under way for `key`."""
        flight = self._open.get(key)
        if flight is not None:
            self.close(flight)

    def forget_all(self, keys: Iterable[str]) -> None:
        """As `forget` for each; costs next to nothing for those that nothing is under way for."""
        for key in self._open.keys() & keys if self._open else ():
            self.forget(key)

    def close_bypasses(self) -> None:
        """Let nobody else join what is loaded without the server, whatever its key."""
        for flights in self._in_flight.values():
            for flight in flights:
                if flight.bypasses:
                    self.close(flight)

    def wake(self, key: str) -> None:
        """A push for `key`: let what is under way look again, and close it if it has anything yet.

        One that only waits stays open, or each renewal of the lease that it waits for would have its newcomers begin
        another, and all of them would ask at the next.
        """
        for flight in self._in_flight.get(key, ()):
            if not flight.asking:
                self.close(flight)
            flight.pushed.set()

    def wake_all(self, owns: KeyFilter = all_keys) -> None:
        """Pushes may have been missed: close what is under way, for every key that is meant, and let it look again."""
        for key, flights in tuple(self._in_flight.items()):
            if owns(key):
                for flight in flights:
                    self.close(flight)
                    flight.pushed.set()

    def under_way(self) -> list[Flight[T]]:
        """Every flight that has not landed, the oldest first."""
        return sorted((one for one in self._flying() if not one.over), key=lambda flight: flight.began)

    def fail(self, key: str, error: Callable[[], BaseException]) -> int:
        """End what is under way for a key: its callers get the error. Returns how many waited.

        Work that is for other keys too goes on for those: what it brings for this one is neither stored nor kept.
        """
        number = 0
        for flight in tuple(self._in_flight.get(key, ())):
            if flight.over:
                continue
            number += flight.waiting
            self.close(flight)
            flight.set_exception(error())
            if flight.given_up is not None:
                flight.given_up()
            work = flight.work
            if work is not None and not any(one.work is work and not one.over for one in self._flying()):
                work.cancel()
        return number

    def _flying(self) -> Iterator[Flight[T]]:
        return (flight for flights in self._in_flight.values() for flight in flights)

    async def cancel(self) -> None:
        """End all work, for good; callers still waiting are told that the room is closed."""
        self._cancelled = True
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def _forget(self, flight: Flight[T]) -> None:
        if self._open.get(flight.key) is flight:
            del self._open[flight.key]
        flights = self._in_flight[flight.key]
        flights.discard(flight)
        if not flights:
            del self._in_flight[flight.key]
