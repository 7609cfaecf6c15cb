"""One deadline for all engine calls of one library call, however much else happens between them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from time import monotonic
from typing import Any

_LATE = 0.05
"""Seconds by which a timer is late where the process has stood still."""
_TURN = 0.01
"""Seconds in which the loop reads what has come meanwhile, and wakes who waits for it."""


class TimeBudget:
    """Seconds that calls to the engine may still take together; time between them is free.

    A load of five seconds lies between the lease and the fill: a plain deadline would have passed by then.
    """

    __slots__ = ("left",)

    def __init__(self, seconds: float) -> None:
        self.left = seconds

    @contextmanager
    def spending(self) -> Iterator[float]:
        """Around a call: gives its deadline, in seconds of `time.monotonic`."""
        began = monotonic()
        try:
            yield began + self.left
        finally:
            self.left = max(0.0, self.left - (monotonic() - began))


class _Deadline:
    """See `before`."""

    __slots__ = ("_deadline", "_due", "_looked", "_timeout", "_timer")

    def __init__(self, deadline: float) -> None:
        self._deadline = deadline
        self._looked = False

    async def __aenter__(self) -> None:
        self._timeout = asyncio.timeout(None)
        await self._timeout.__aenter__()
        now = monotonic()
        self._due = max(now, self._deadline)
        self._timer = asyncio.get_running_loop().call_later(self._due - now, self._is_due)

    async def __aexit__(self, *error: Any) -> None:
        self._timer.cancel()
        await self._timeout.__aexit__(*error)

    # docs/decisions/0122-a-late-deadline-lets-what-has-come-be-read-first.md
    def _is_due(self) -> None:
        loop = asyncio.get_running_loop()
        if self._looked or monotonic() - self._due <= _LATE:
            self._timeout.reschedule(loop.time())
        else:
            self._looked = True
            self._timer = loop.call_later(_TURN, self._is_due)


def before(deadline: float) -> AbstractAsyncContextManager[None]:
    """A block's deadline in seconds of `time.monotonic`; the loop's own clock may count from elsewhere.

    Prevents: this process stands still for half a second, in a collection of garbage or for want of processor time ·
    the reply has come meanwhile, and the deadline has passed · the deadline is looked at first, and a call fails whose
    reply lies in the socket. A timer that is late lets the loop read what has come.
    """
    return _Deadline(deadline)
