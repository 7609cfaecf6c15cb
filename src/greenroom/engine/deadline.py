"""One deadline for all engine calls of one library call, however much else happens between them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import TypeVar

T = TypeVar("T")


class TimeBudget:
    """Seconds that calls to the engine may still take together; time between them is free.

    A load of five seconds lies between the lease and the fill: a plain deadline would have passed by then.
    """

    __slots__ = ("left",)

    def __init__(self, seconds: float) -> None:
        self.left = seconds

    async def spend(self, call: Callable[[float], Awaitable[T]]) -> T:
        """Make a call; it is given its deadline in seconds of `time.monotonic`."""
        began = monotonic()
        try:
            return await call(began + self.left)
        finally:
            self.left = max(0.0, self.left - (monotonic() - began))


def before(deadline: float) -> asyncio.Timeout:
    """A block's deadline in seconds of `time.monotonic`; the loop's own clock may count from elsewhere."""
    return asyncio.timeout(max(0.0, deadline - monotonic()))
