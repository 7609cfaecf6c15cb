"""One deadline for all engine calls of one library call, however much else happens between them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic


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


def before(deadline: float) -> asyncio.Timeout:
    """A block's deadline in seconds of `time.monotonic`; the loop's own clock may count from elsewhere."""
    return asyncio.timeout(max(0.0, deadline - monotonic()))
