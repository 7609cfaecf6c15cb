"""Time and randomness, injected so that a test can move the one by hand and repeat the other."""

from __future__ import annotations

import os
import random
import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Where a room gets its time and its randomness from."""

    def monotonic(self) -> float:
        """Seconds that never run backwards; for deadlines."""

    def now(self) -> datetime:
        """The moment in UTC; for timestamps in values."""

    def random(self) -> float:
        """A number in [0, 1); for jitter, never for secrets."""

    def token(self) -> bytes:
        """16 unguessable bytes; for lease tokens and ids."""


class SystemClock:
    """The machine's own clock and the operating system's randomness."""

    __slots__ = ()

    monotonic = staticmethod(time.monotonic)  # asked by every near hit: no frame of its own

    def now(self) -> datetime:
        return datetime.now(UTC)

    def random(self) -> float:
        return random.random()

    def token(self) -> bytes:
        return os.urandom(16)


SYSTEM = SystemClock()
