"""Who may load a key: one holder of `lease:{key}` among all processes. The rules are in the scripts.

A lease is never renewed: whoever takes longer than its life has been paused or is dead, and another may load. What a
late holder brings is refused, so that a lost lease costs a second load and never a stale value.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from greenroom.clock import Clock
from greenroom.engine import Engine, Lane
from greenroom.engine.scripts import Script
from greenroom.engine.shapes import NUMBER, Shape
from greenroom.engine.wire import Command, Hook
from greenroom.errors import EngineUnavailable
from greenroom.keyspace import Keyspace


def _is_answer(reply: list[Any], _: Command) -> bool:
    match reply:
        case [b"value", bytes(), int()] | [b"failed", bytes(), int()] | [b"absent" | b"wait", int()] | [b"lead"]:
            return True
    return False


GET_OR_LEASE = Script.named("get_or_lease", Shape(frozenset({list}), _is_answer), lambda reply: reply == [b"lead"])
FILL = Script.named("fill", NUMBER, bool)
FILL_ABSENCE = Script.named("fill_absence", NUMBER, bool)
RELEASE = Script.named("release", NUMBER)
SCRIPTS = (GET_OR_LEASE, FILL, FILL_ABSENCE, RELEASE)

NOTHING_REFUSED = ""
ANOTHER_TYPE = "?"
"""What the scripts call a value that is no string."""
MARGIN = 1.0
"""Seconds that a lease outlives its loader's deadline."""
BACKOFF = 1.0
"""Seconds for which a loader's failure holds others back."""
ABSENCE = 30.0
"""Seconds for which it is remembered that the record holds nothing."""


@dataclass(frozen=True, slots=True)
class Found:
    """The server has a value; `remaining_ms` is its PTTL."""

    body: bytes
    remaining_ms: int


@dataclass(frozen=True, slots=True)
class Absent:
    """It is remembered, for `remaining_ms`, that the record holds nothing."""

    remaining_ms: int


@dataclass(frozen=True, slots=True)
class Lead:
    """The lease is ours: load."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Another loads, for at most `remaining_ms`."""

    remaining_ms: int


@dataclass(frozen=True, slots=True)
class Failed:
    """A load has just failed with an exception of type `kind`; nobody tries again for `remaining_ms`."""

    kind: str
    remaining_ms: int


Answer = Found | Absent | Lead | Wait | Failed


def answer(reply: list[Any]) -> Answer:
    """The typed form of `get_or_lease`'s reply.

    Raises:
        EngineUnavailable: when it is none: what is no server of ours grants no lease.
    """
    match reply:
        case [b"value", bytes(body), int(remaining)]:
            return Found(body, remaining)
        case [b"absent", int(remaining)]:
            return Absent(remaining)
        case [b"wait", int(remaining)]:
            return Wait(max(0, remaining))
        case [b"failed", bytes(kind), int(remaining)]:
            return Failed(kind.decode("utf-8", "replace"), max(0, remaining))
        case [b"lead"]:
            return Lead()
        case _:
            raise EngineUnavailable("what was sent is no answer of get_or_lease")


class Leases:
    """The leases of one keyspace.

    Arguments:
        life: seconds that a lease lives.
    """

    def __init__(self, engine: Engine, keyspace: Keyspace[Any], clock: Clock, life: float) -> None:
        self._engine = engine
        self._keyspace = keyspace
        self._clock = clock
        self._life_ms = int(life * 1000)

    def token(self) -> str:
        """A new holder's name, 32 hex digits: so a retry after a lost reply finds its own lease and leads."""
        return self._clock.token().hex()

    async def ask(self, key: str, token: str, refused: str, *, until: float, hook: Hook | None = None) -> Answer:
        """What there is for `key`, or the lease.

        Arguments:
            refused: the `fingerprint` of a value that the caller will not take; the lease is then taken over it.

        Raises:
            OutOfMemory: when the server cannot take a lease.
            EngineError: as `Engine`.
        """
        args = (token, self._life_ms, refused)
        return answer(await self._engine.run(Lane.TRACKED, GET_OR_LEASE, self._keys(key), args, until=until, hook=hook))

    async def fill(self, key: str, token: str, body: bytes, lifetime_ms: int, *, until: float) -> bool:
        """Store what was loaded under the lease; False where that is refused."""
        args = (token, body, lifetime_ms)
        return bool(await self._engine.run(Lane.TRACKED, FILL, self._keys(key), args, until=until))

    async def fill_absence(self, key: str, token: str, seconds: float, *, until: float) -> bool:
        """Remember that nothing was found under the lease; False where that is refused."""
        args = (token, int(seconds * 1000))
        return bool(await self._engine.run(Lane.TRACKED, FILL_ABSENCE, self._keys(key), args, until=until))

    async def release(self, key: str, token: str, kind: str = "", seconds: float = 0.0) -> None:
        """Give the lease back; with `kind`, leave the failure in its place for `seconds`."""
        lease = self._keyspace.lease_key(key)
        # Urgent: what is overloaded must not make all who wait wait for the lease's end as well.
        args = (token, kind, int(seconds * 1000))
        await self._engine.run(Lane.TRACKED, RELEASE, (lease,), args, urgent=True)

    def _keys(self, key: str) -> tuple[str, str, str]:
        return key, self._keyspace.lease_key(key), self._keyspace.absent_key(key)


def fingerprint(body: bytes) -> str:
    """What the scripts know a value by."""
    return hashlib.sha1(body, usedforsecurity=False).hexdigest()
