"""The moment a process is told to end, noticed while open answers still finish."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from greenroom.detached import to_the_end

T = TypeVar("T")

_ASKING = (signal.SIGINT, signal.SIGTERM)


class Shutdown:
    """Whether this process is ending; answers that wait for something stop waiting then.

    The server looks for the end only every tenth of a second, and tells answers that wait for something nothing at all.

    Arguments:
        told: called when it begins.
    """

    def __init__(self, on_shutdown: Callable[[], None] = lambda: None) -> None:
        self._on_shutdown = on_shutdown
        self._requested = asyncio.Event()

    @property
    def requested(self) -> bool:
        """True once the process has been told to end."""
        return self._requested.is_set()

    def begin(self) -> None:
        """The process is told to end."""
        self._requested.set()
        self._on_shutdown()

    async def wait(self) -> None:
        """Return when the process is told to end."""
        await self._requested.wait()

    async def run_until(self, awaited: Awaitable[T]) -> T | None:
        """What is waited for, or None when the process is told to end first; it is then cancelled."""
        work, end = asyncio.ensure_future(awaited), asyncio.ensure_future(self.wait())
        try:
            await asyncio.wait({work, end}, return_when=asyncio.FIRST_COMPLETED)
            return work.result() if work.done() else None
        finally:
            end.cancel()
            if not work.done():
                work.cancel()
                # Otherwise: a worker gives its task back · the application ends and cancels this wait too · the loop
                # closes over the worker, and its task waits for the claim to lapse.
                await to_the_end(lambda: asyncio.wait([work]))

    @contextmanager
    def handle_signals(self) -> Iterator[None]:
        """Hear SIGINT and SIGTERM before the handlers that are there, which are called all the same."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        loop = asyncio.get_running_loop()
        before: dict[int, Any] = {}

        def on_shutdown(number: int) -> Callable[[int, Any], None]:
            def handler(_: int, frame: Any) -> None:
                loop.call_soon_threadsafe(self.begin)  # a signal's handler runs between two steps of the loop
                if callable(before[number]):
                    before[number](number, frame)

            return handler

        for number in _ASKING:
            before[number] = signal.getsignal(number)
            signal.signal(number, on_shutdown(number))
        try:
            yield
        finally:
            for number in _ASKING:
                signal.signal(number, before[number])
