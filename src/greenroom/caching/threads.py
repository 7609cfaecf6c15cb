"""Threads for the loaders that are not async, as those over a blocking driver.

They are daemons. Prevents: a driver waits for its database for ever · the program is to end · the interpreter waits for
the driver.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Callable
from contextvars import copy_context
from functools import partial
from queue import SimpleQueue
from threading import Thread
from typing import Any

from greenroom.errors import Overloaded

log = logging.getLogger("greenroom.caching")

MAX_THREADS = 16
"""Loads of one room that are awaited in threads at a time; more wait, within their deadline."""
MAX_LEFT = 48
"""Threads beyond those in which loads go on that nobody awaits any more."""

_Call = tuple[Callable[[], Any], asyncio.Future[Any]]


class LoaderThreads:
    """The threads of one room.

    Prevents: a loader waits for its database on the event loop · meanwhile nobody is answered, no lease is renewed, and
    the connection to the server counts as silent.

    A load that is cancelled at its deadline leaves its thread running: nothing can end it but its driver's own
    deadline. It takes nobody's place.
    """

    def __init__(self) -> None:
        self._crew: _Crew | None = None

    async def run(self, load: Callable[..., Any], *args: object, **parts: object) -> Any:
        """Call a function in a thread, in a copy of the running context; what it returns is awaited where it can be.

        Raises:
            Overloaded: when too many threads are left with loads that nobody awaits.
            Whatever the function raises.
        """
        loop = asyncio.get_running_loop()
        if self._crew is None or self._crew.loop is not loop:
            self.close()
            self._crew = _Crew(loop)
        result = await self._crew.run(partial(copy_context().run, _called, load, *args, **parts))
        return await result if inspect.isawaitable(result) else result

    def close(self) -> None:
        """End the threads, each when its load has ended; waits for nobody."""
        if self._crew is not None:
            self._crew.close()
            self._crew = None

    def __del__(self) -> None:
        self.close()


class _Crew:
    """The threads of one event loop, where all is counted: nothing here needs a lock."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._turns = asyncio.Semaphore(MAX_THREADS)
        self._threads: set[SimpleQueue[_Call | None]] = set()
        self._idle: list[SimpleQueue[_Call | None]] = []
        self._closed = False

    async def run(self, call: Callable[[], Any]) -> Any:
        # The turn is held by who waits, not by the thread. Prevents: sixteen loads of one cache hang past their
        # deadline · no other cache of the room is loaded.
        async with self._turns:
            calls = self._idle.pop() if self._idle else self._begin()
            result = self.loop.create_future()
            calls.put((call, result))
            try:
                return await result
            finally:
                if result.cancelled():
                    log.warning("a load was abandoned and continues in its thread, one of %d", len(self._threads))

    def close(self) -> None:
        """Tell each thread to end after its load.

        Those with a load too. Prevents: a load ends, and its thread leaves word in the loop · the loop ends before it
        has looked · nobody tells the thread to end, and it waits for ever.
        """
        self._closed = True
        self._idle.clear()
        for calls in tuple(self._threads):  # a room that is collected is closed in any thread
            calls.put(None)

    def _begin(self) -> SimpleQueue[_Call | None]:
        if len(self._threads) >= MAX_THREADS + MAX_LEFT:
            raise Overloaded(f"all {len(self._threads)} threads are in loaders; give their driver a timeout")
        calls = SimpleQueue[_Call | None]()
        Thread(target=self._work, args=(calls,), name=f"greenroom-loader-{len(self._threads)}", daemon=True).start()
        self._threads.add(calls)
        return calls

    def _work(self, calls: SimpleQueue[_Call | None]) -> None:
        """What a thread does: call after call, until it is given None."""
        while (given := calls.get()) is not None:
            call, result = given
            value, error = None, None
            try:
                value = call()
            except BaseException as raised:
                error = raised
            try:
                self.loop.call_soon_threadsafe(self._ended, calls, result, value, error)
            except RuntimeError:
                return  # the event loop is closed
            del given, call, result, value, error  # or they would live until the next call

    def _ended(
        self,
        calls: SimpleQueue[_Call | None],
        result: asyncio.Future[Any],
        value: object,
        error: BaseException | None,
    ) -> None:
        if self._closed or len(self._idle) >= MAX_THREADS:
            self._threads.discard(calls)
            calls.put(None)
        else:
            self._idle.append(calls)
        if result.cancelled():
            return
        if error is None:
            result.set_result(value)
        else:
            result.set_exception(error)


def _called(load: Callable[..., Any], *args: object, **parts: object) -> Any:
    try:
        return load(*args, **parts)
    except StopIteration as error:
        # A future takes none before Python 3.12: the load would wait for its deadline.
        raise RuntimeError(f"a loader raised {type(error).__name__}") from error
