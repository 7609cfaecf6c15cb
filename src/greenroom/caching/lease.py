"""Who may load a key: one holder of `lease:{key}` among all processes. The rules are in the scripts.

A lease lives for one second, and its holder renews it while it loads: a caller waits for a second for a holder that
died, stands still or is cut off, however long a load may take. What a late holder brings is refused, so that a
lost lease costs a second load and never a stale value.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import Any

from greenroom.caching.generation import KeyspaceGeneration
from greenroom.caching.releases import BACKOFF, LIFE, RELEASE, Releases
from greenroom.clock import Clock
from greenroom.engine import Channel, Command, Engine, Hook, Script
from greenroom.engine.shapes import NUMBER, Shape
from greenroom.errors import CommandFailed, EngineError, EngineUnavailable, OutOfMemory, Overloaded
from greenroom.keyspace import Keyspace

log = logging.getLogger("greenroom.caching")


def _is_answer(reply: list[Any], _: Command) -> bool:
    match reply:
        case [b"value", bytes(), int()] | [b"failed", bytes(), int()] | [b"absent" | b"wait", int()] | [b"lead"]:
            return True
        case [b"newer", bytes()]:
            return True
    return False


GET_OR_LEASE = Script.named("get_or_lease", Shape(frozenset({list}), _is_answer), lambda reply: reply == [b"lead"])
RENEW = Script.named("renew", NUMBER, deleted=bool, functions=("text",))
FILL = Script.named("fill", NUMBER, bool, functions=("text", "lease_holds"))
FILL_ABSENCE = Script.named("fill_absence", NUMBER, bool, functions=("text", "lease_holds"))
READ_BACK = Script.named("read_back", NUMBER)
SCRIPTS = (GET_OR_LEASE, RENEW, FILL, FILL_ABSENCE, READ_BACK, RELEASE)

NOTHING_REFUSED = ""
ANOTHER_TYPE = "?"
"""What the scripts call a value that is no string."""
# docs/decisions/0027-leases-are-short-and-renewed.md
RENEWAL = 0.3
"""Seconds between two renewals: two may fail before the lease lapses."""
ABSENCE = 30.0
"""Seconds for which it is remembered that the record holds nothing."""


@dataclass(frozen=True, slots=True)
class Hit:
    """The server has a value; `remaining_ms` is its PTTL."""

    body: bytes
    remaining_ms: int


@dataclass(frozen=True, slots=True)
class Absent:
    """It is remembered, for `remaining_ms`, that the record holds nothing."""

    remaining_ms: int


@dataclass(frozen=True, slots=True)
class Acquired:
    """The lease is ours: load."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Another loads; its lease lapses in `remaining_ms` unless it is renewed."""

    remaining_ms: int


@dataclass(frozen=True, slots=True)
class FailedElsewhere:
    """A load has just failed with an exception of type `kind`; nobody tries again for `remaining_ms`."""

    kind: str
    remaining_ms: int


@dataclass(frozen=True, slots=True)
class Newer:
    """Another loads who knows of a newer generation of the keyspace."""

    generation: str


Answer = Hit | Absent | Acquired | Wait | FailedElsewhere | Newer


def answer(reply: Any) -> Answer:
    """The typed form of `get_or_lease`'s reply.

    Raises:
        EngineUnavailable: when it is none: what is no server of ours grants no lease.
    """
    match reply:
        case [b"value", bytes(body), int(remaining)]:
            return Hit(body, remaining)
        case [b"absent", int(remaining)]:
            return Absent(remaining)
        case [b"wait", int(remaining)]:
            return Wait(max(0, remaining))
        case [b"failed", bytes(kind), int(remaining)]:
            return FailedElsewhere(kind.decode("utf-8", "replace"), max(0, remaining))
        case [b"lead"]:
            return Acquired()
        case [b"newer", bytes(generation)]:
            return Newer(generation.decode("utf-8", "replace"))
        case _:
            raise EngineUnavailable("the reply is not an answer of get_or_lease")


class Leases:
    """The leases of one keyspace.

    Arguments:
        generation: that of the keyspace.
        renewed: called in the socket's reader with the name of a lease that was renewed: one push of it follows.
    """

    def __init__(
        self,
        engine: Engine,
        keyspace: Keyspace[Any],
        generation: KeyspaceGeneration,
        clock: Clock,
        releases: Releases,
        renewed: Callable[[str], None],
    ) -> None:
        self.engine = engine
        self.generation = generation
        self.releases = releases
        self.renewed = renewed
        self._keyspace = keyspace
        self._clock = clock

    def holder(self, key: str) -> Holder:
        """Somebody who is about to ask for the lease of `key`; its `release` belongs into a `finally`."""
        return Holder(self, self._keyspace.lease_key(key), key, self._clock.token().hex())

    async def ask(self, holder: Holder, refused: str, *, deadline: float, hook: Hook | None = None) -> Answer:
        """What there is for the holder's key, or the lease.

        Arguments:
            refused: the `fingerprint` of a value that the caller will not take; the lease is then taken over it.

        Raises:
            OutOfMemory: when the server cannot take a lease.
            EngineError: as `Engine`.
        """

        def answered(replies: list[Any], source: Any) -> None:
            reply = replies[-1]
            if not isinstance(reply, Exception):  # refused this time, it may have been carried out the time before
                holder.held = type(reply) is list and reply[:1] == [b"lead"]
            if hook is not None:
                hook(replies, source)

        holder.held = True  # from now on it may be
        holder.generation = self.generation.current
        args = (holder.token, int(LIFE * 1000), refused, holder.generation)
        keys = self._keys(holder.key, marked=self.generation.checks())
        try:
            reply = await self.engine.run(Channel.TRACKED, GET_OR_LEASE, keys, args, deadline=deadline, hook=answered)
        except (OutOfMemory, Overloaded):
            holder.held = False
            raise
        return answer(reply)

    async def fill(
        self, holder: Holder, body: bytes, lifetime_ms: int, *, deadline: float, hook: Hook | None = None
    ) -> bool:
        """Store what was loaded under the lease; False where that is refused.

        Arguments:
            hook: given, as its last reply, the PTTL of what was stored, or a negative number where it is not there.
        """
        keys = self._keys(holder.key, marked=self.generation.marks())
        calls: tuple[Command, ...] = (FILL.call(keys, (holder.token, body, lifetime_ms)),)
        if hook is not None:
            calls += (READ_BACK.call((holder.key,), (fingerprint(body),)),)
        try:
            replies = await self.engine.execute_all(Channel.TRACKED, holder.key, calls, hook=hook, deadline=deadline)
        except CommandFailed as error:
            if error.code != "NOSCRIPT":
                raise
            loads = tuple(("SCRIPT", "LOAD", script.source) for script in (FILL, READ_BACK))
            replies = await self.engine.execute_all(
                Channel.TRACKED, holder.key, (*loads, *calls), hook=hook, deadline=deadline
            )
            del replies[: len(loads)]
        holder.held = False
        return bool(replies[0])

    async def fill_absence(self, holder: Holder, seconds: float, *, deadline: float) -> bool:
        """Remember that nothing was found under the lease; False where that is refused."""
        args = (holder.token, int(seconds * 1000))
        stored = await self.engine.run(Channel.TRACKED, FILL_ABSENCE, self._keys(holder.key), args, deadline=deadline)
        holder.held = False
        return bool(stored)

    def _keys(self, key: str, *, marked: bool = False) -> tuple[str, ...]:
        keys = key, self._keyspace.lease_key(key), self._keyspace.absent_key(key)
        return (*keys, self._keyspace.mark_key(key)) if marked else keys


class Holder:
    """One load's hold on the lease of a key.

    Its token is its name, 32 hex digits: a retry after a lost reply finds its own lease and leads.
    """

    __slots__ = (
        "_leases",
        "_loop",
        "_lost",
        "_name",
        "_seconds",
        "_task",
        "_timer",
        "_until",
        "_waits",
        "generation",
        "held",
        "key",
        "token",
    )

    def __init__(self, leases: Leases, name: str, key: str, token: str) -> None:
        self.key = key
        self.token = token
        self.held = False
        """Whether the server may have given it the lease."""
        self.generation = ""
        """The keyspace's generation that was known when the lease was asked for."""
        self._leases = leases
        self._name = name
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None

    def renew(self, seconds: float, lost: Callable[[], None], waits: Callable[[], bool] = lambda: False) -> None:
        """Keep the lease for so many seconds at most, until it is released or filled; returns at once.

        Arguments:
            lost: called when it is somebody else's, or nobody's: what is loaded will not be stored.
            waits: tells whether the seconds do not count yet.
        """
        self._lost = lost
        self._seconds = seconds
        self._waits = waits
        self._until = monotonic() + seconds
        # A timer and no task yet: most loads end before the first renewal.
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(RENEWAL, self._begin)

    def release(self, kind: str = "", seconds: float = BACKOFF) -> None:
        """Give the lease back, if it may be held; with `kind`, leave a failure in its place for so many seconds.

        Returns at once.
        """
        self.rest()
        if self.held:
            self.held = False
            self._leases.releases.release(self._name, self.token, kind, seconds)

    def rest(self) -> None:
        """Renew it no more."""
        if self._timer is not None:
            self._timer.cancel()
        if self._task is not None:
            self._task.cancel()

    def _begin(self) -> None:
        self._task = self._loop.create_task(self._keep_renewing(), name="greenroom-lease")

    async def _keep_renewing(self) -> None:
        leases, args = self._leases, (self.token, int(LIFE * 1000))

        def answered(replies: list[Any], _: Any) -> None:
            # In the reader: the push of this very renewal may be in the same chunk.
            if replies[-1] == 1:
                leases.renewed(self._name)

        while self.held:
            began = monotonic()
            if self._waits():
                self._until = began + self._seconds
            elif began >= self._until:
                return
            try:
                ours = await leases.engine.run(Channel.TRACKED, RENEW, (self._name,), args, hook=answered, urgent=True)
            except EngineError as error:
                log.debug("renewing %s: %s", self._name, error)  # the next may be in time
            else:
                if not ours:
                    self._lost()
                    return
            await asyncio.sleep(max(0.0, began + RENEWAL - monotonic()))


def fingerprint(body: bytes) -> str:
    """What the scripts know a value by."""
    return hashlib.sha1(body, usedforsecurity=False).hexdigest()
