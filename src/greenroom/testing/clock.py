"""A clock that a test moves by hand."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Protocol

START = datetime(2026, 1, 1, tzinfo=UTC)
"""Where a `ManualClock` begins, unless told otherwise."""


class MovedServer(Protocol):
    """A server on which a test lets time pass."""

    def pass_time(self, passed: timedelta) -> None:
        """Let time pass for what is stored there."""


class ManualClock:
    """A `greenroom.clock.Clock` that stands still until it is moved; its randomness repeats from run to run.

    It moves what the room reckons by its clock: how long a value stays near and fresh, how long an absence, a
    failure or a kept invalidation is remembered in this process, timestamps. It moves what is stored on the servers
    that `moves_server` was given: values, absences and sessions lapse there. It does not move what waits: deadlines of
    loaders and commands, leases, and the connection's sign of life pass in real time.

    Arguments:
        start: the first moment that `now` tells.
        seed: of `random` and `token`. Rooms that share a server share a clock, or have seeds of their own: two
            holders of the same lease token would both load.
    """

    def __init__(self, start: datetime = START, *, seed: int = 0) -> None:
        self._start = start
        self._passed = 0.0
        self._servers: list[MovedServer] = []
        self._random = random.Random(seed)

    def advance(self, seconds: float | timedelta) -> None:
        """Move on.

        Raises:
            ValueError: for a step backwards.
        """
        step = seconds.total_seconds() if isinstance(seconds, timedelta) else seconds
        if not step >= 0:
            raise ValueError(f"a clock does not run backwards: {seconds}")
        self._passed += step
        for server in self._servers:
            server.pass_time(timedelta(seconds=step))

    def moves_server(self, server: MovedServer) -> None:
        """Let time pass on a server too, as on a `ValkeyServer`, with each step of this clock from now on."""
        self._servers.append(server)

    def monotonic(self) -> float:
        """Seconds since an hour before the start."""
        return 3600.0 + self._passed

    def now(self) -> datetime:
        """The moment in UTC."""
        return (self._start + timedelta(seconds=self._passed)).astimezone(UTC)

    def random(self) -> float:
        """The next number in [0, 1)."""
        return self._random.random()

    def token(self) -> bytes:
        """The next 16 bytes: another each time, the same in each run."""
        return self._random.randbytes(16)
