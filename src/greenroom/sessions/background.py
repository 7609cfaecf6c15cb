"""Work that no request waits for: touches, sweeps of sessions that are over, and undoing what a failed call has left.

A session is listed before it begins and unlisted after it has ended, so that a crash can only count too many. Without
a crash nothing may stay:

    a log-in lists its id · its server refuses the rest, or its caller is cancelled · the id is counted for half an hour

While the server is away one attempt at a time goes on, for whatever is left.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from time import monotonic
from typing import Any

from greenroom.clock import Clock
from greenroom.detached import CLOSING, Detached
from greenroom.errors import EngineError, GreenroomError

log = logging.getLogger("greenroom.sessions")

_HELD = 5.0
"""Seconds at most for which a request acts on a session as it read it."""
_RETRY_AFTER = 0.5
"""Seconds between two attempts while none succeeds."""
_MAX_LEFTOVERS = 10_000
"""Things left to be undone; past it the oldest stays until it lapses."""

Undo = Callable[[], Awaitable[object]]


class Background:
    """The tasks of one process.

    Arguments:
        interval: a session is touched at most once in so many seconds.
        clock: where these are counted; None for the system's.
    """

    def __init__(self, interval: float, clock: Clock | None = None) -> None:
        self._clock = clock
        self._keep = min(_HELD, interval)
        self._recent: dict[str, float] = {}  # session → when it was last due, the oldest first
        self._detached = Detached()

    def is_first(self, session: str) -> bool:
        """Whether no touch of a session was begun here just now.

        Ten requests of one page read the session before the first of them has touched it.
        """
        now = monotonic() if self._clock is None else self._clock.monotonic()
        while self._recent and self._recent[oldest := next(iter(self._recent))] <= now - self._keep:
            del self._recent[oldest]
        if session in self._recent:
            return False
        self._recent[session] = now
        return True

    def begin(self, session: str, work: Coroutine[Any, Any, None]) -> None:
        """Do something behind; what fails is logged, and the session's next request may try again."""
        self._detached.begin(self._do(session, work))

    async def close(self) -> None:
        """Finish what is under way."""
        await self._detached.close()

    async def _do(self, session: str, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except GreenroomError as error:
            self._recent.pop(session, None)
            log.warning("a session could not be touched: %s", type(error).__name__)
        except Exception:
            self._recent.pop(session, None)
            log.exception("a session could not be touched")


# docs/decisions/0041-failed-calls-are-undone-behind.md
class Leftovers:
    """The leftovers of one process."""

    def __init__(self) -> None:
        self._left: dict[str, tuple[float, Undo]] = {}
        self._task: asyncio.Task[None] | None = None
        self._rests = False

    def __len__(self) -> int:
        return len(self._left)

    def add(self, name: str, undo: Undo, seconds: float) -> None:
        """Have something undone; returns at once.

        Arguments:
            name: what it is: of two of one name the later one counts.
            undo: may be called again, and does no harm when there is nothing to undo.
            seconds: after which it has lapsed by itself.
        """
        self._left.pop(name, None)
        self._left[name] = monotonic() + seconds, undo
        if len(self._left) > _MAX_LEFTOVERS:
            del self._left[next(iter(self._left))]
        if self._task is None:
            self._rests = False
            self._task = asyncio.get_running_loop().create_task(self._undo_all(), name="greenroom-leftovers")
            self._task.add_done_callback(self._ended)

    async def close(self) -> None:
        """Let an attempt under way end, for a moment; what stays lapses."""
        task = self._task
        if task is not None:
            if not self._rests:
                await asyncio.wait([task], timeout=CLOSING)
            task.cancel()
            await asyncio.wait([task])

    async def _undo_all(self) -> None:
        failed = 0
        while self._left:
            name, (until, undo) = next(iter(self._left.items()))
            try:
                if monotonic() < until:
                    await undo()
            except EngineError as error:
                log.debug("something is left to be undone: %s", type(error).__name__)  # names hold ids
                failed += 1
                # To the end: on a cluster only this one's node may be away.
                if self._left.get(name) == (until, undo):
                    self._left[name] = self._left.pop(name)
            except GreenroomError as error:
                log.warning("a leftover could not be removed: %s", type(error).__name__)
                self._done(name, until, undo)
            else:
                failed = 0
                self._done(name, until, undo)
            if failed >= len(self._left) > 0:
                failed, self._rests = 0, True
                await asyncio.sleep(_RETRY_AFTER)
                self._rests = False

    def _done(self, name: str, deadline: float, undo: Undo) -> None:
        if self._left.get(name) == (deadline, undo):
            del self._left[name]

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._task = None
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("leftovers of sessions could not be removed: %s", type(error).__name__)
