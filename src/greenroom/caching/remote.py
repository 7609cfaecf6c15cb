"""What the server holds of one keyspace: read, checked, placed in its lifetime, and kept near."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from math import inf
from time import monotonic
from typing import Any, Generic, TypeVar

from greenroom.caching.freshness import placed
from greenroom.caching.invalidation import Backing
from greenroom.caching.lease import ANOTHER_TYPE, NOTHING_REFUSED, fingerprint
from greenroom.caching.near import Entry, EntrySource
from greenroom.engine import Channel, Command
from greenroom.engine.deadline import TimeBudget
from greenroom.errors import (
    BrokenValue,
    CommandFailed,
    EngineError,
    EngineRefused,
    EngineUnavailable,
    OtherVersionValue,
    Overloaded,
)
from greenroom.keyspace import Keyspace
from greenroom.keyspace.mismatch import OtherVersion, SchemaMismatch

log = logging.getLogger("greenroom.caching")

T = TypeVar("T")

_NO_PTTL = -2
"""In place of a PTTL that is no number: the server gave an error."""


@dataclass(frozen=True, slots=True)
class Miss:
    """The server gives no value.

    Arguments:
        budget: what is left of the read's time with the server.
        reachable: whether it could be asked.
        rejected_digest: the fingerprint of what it holds instead of a value.
    """

    budget: TimeBudget
    reachable: bool = True
    rejected_digest: str = NOTHING_REFUSED


@dataclass(frozen=True, slots=True)
class _Unbounded:
    """A value whose key has no lifetime, or too long a one."""

    entry: Entry


@dataclass(frozen=True, slots=True)
class _Outdated:
    """A value from before a drop of its keyspace, or one of which that cannot be told.

    Arguments:
        rejected_digest: its fingerprint, where the server cannot tell by its mark.
    """

    rejected_digest: str = NOTHING_REFUSED


@dataclass(frozen=True, slots=True)
class _Broken:
    error: BrokenValue
    body: bytes


class RemoteTier(Generic[T]):
    """Reads of one keyspace's values on the server.

    Arguments:
        near_for: seconds for which a value is kept in this process at most; 0 keeps nothing.
    """

    def __init__(self, backing: Backing, keyspace: Keyspace[T], near_for: float) -> None:
        self._engine = backing.engine
        self._backing = backing
        self.generation = backing.generations.of(keyspace)
        """The generation of the keyspace."""
        self._refused_drops = backing.drops.refused
        self._near = backing.near
        self._now = backing.clock.monotonic
        self._counters = backing.counters
        self._keyspace = keyspace
        self._decode = keyspace.codec.decode
        self._lifetime = keyspace.lifetime
        self._frozen = keyspace.frozen
        self.near_for = near_for
        """Seconds for which a value or an absence is kept in this process at most."""
        self.value_alone = not near_for and keyspace.lifetime.fresh is None
        """Whether a read depends on the value only, and not on what is left of its lifetime."""

    async def read(self, key: str, *, lifetime: bool = True) -> Entry | Miss:
        """The value, or why there is none to be had.

        Arguments:
            lifetime: whether to ask what is left of it.

        Raises:
            Overloaded: when too many commands are outstanding; that is neither down nor a miss.
        """
        if self._refused_drops and key in self._refused_drops:
            return Miss(TimeBudget(0.0), reachable=False)
        generation = self.generation
        if generation.pending and not await generation.settled():
            return Miss(TimeBudget(0.0), reachable=False)
        began, asked = monotonic(), self._now()
        # docs/decisions/0019-pttl-before-get.md
        # PTTL first: a write between the two can then only give a new value an old deadline.
        commands: tuple[Command, ...] = (("PTTL", key), ("GET", key)) if lifetime else (("GET", key),)
        marked = False
        if generation.current:
            commands = ("PTTL", key), ("GET", key)
            if marked := generation.checks():
                # Mark first. Prevents: the old value is read · it is replaced, and the new one marked · the mark is
                # read, and the old value passes.
                commands = ("GET", self._keyspace.mark_key(key)), *commands
        arrival = _Arrival(self, key, asked, marked) if self.near_for or marked else None
        replies: list[Any] | None = None
        try:
            future = self._engine.read(key, commands, arrival)
            if future is not None:
                try:
                    replies = await future
                except EngineUnavailable:
                    pass  # asked once more below, within the same budget
            if replies is None or isinstance(replies[-1], EngineUnavailable | EngineRefused):
                replies = await self._engine.execute_all(
                    Channel.TRACKED, key, commands, hook=arrival, deadline=began + self._engine.call_budget
                )
        except Overloaded:
            self._count("overloaded", key)
            raise
        except EngineError as error:
            return self._unreadable(key, error, began)
        result: Any = None if arrival is None else arrival.result
        if result is None:
            result = replies[-1]
            if type(result) is bytes:
                result = self._entered(key, asked, replies, None, marked)
        if type(result) is Entry:
            return result
        if result is None:
            return Miss(self._left(began))
        if isinstance(result, _Unbounded):
            await self._bound(key)
            return result.entry
        if isinstance(result, _Outdated):
            return Miss(self._left(began), rejected_digest=result.rejected_digest)
        if isinstance(result, _Broken):
            self._tell(result.error)
            return Miss(self._left(began), rejected_digest=fingerprint(result.body))
        return self._unreadable(key, result, began)

    def arrived(self, key: str, asked: float, replies: list[Any], source: EntrySource, marked: bool) -> _Result | None:
        """Check what was read, and keep it near; None where it is no value.

        In the socket's reader: what follows this reply on the wire may be the push that evicts what is kept here.
        """
        if type(replies[-1]) is not bytes:
            return None
        result = self._entered(key, asked, replies, source, marked)
        self._keep(result, source)
        return result

    def admit(self, key: str, body: bytes, remaining_ms: int, asked: float, source: EntrySource) -> None:
        """Keep near what a script has read and tracked; in the socket's reader, as `arrived`.

        Arguments:
            remaining_ms: its PTTL.
            asked: when the script was sent.
        """
        if self.near_for:
            self._keep(self._checked(key, asked, [remaining_ms, body], source), source)

    def admit_absence(self, key: str, remaining_ms: int, asked: float, source: EntrySource) -> None:
        """Keep near that the record holds nothing, as `admit`; by a caller who knows that no drop is pending.

        Both value and absence are tracked by the script that read it, so that either's push evicts the entry.
        """
        expires_at = asked + remaining_ms / 1000
        until = min(expires_at, asked + self.near_for)
        if until > asked and self._backing.may_keep(key, source):
            self._near.put(Entry(key, None, None, expires_at, expires_at, until, source))

    def _keep(self, result: _Result, source: EntrySource) -> None:
        if self.generation.pending or not self.near_for:
            return
        if type(result) is Entry and result.near_until and self._backing.may_keep(result.key, source):
            self._near.put(result if self._frozen else result.without_value())

    def _entered(self, key: str, asked: float, replies: list[Any], source: EntrySource | None, marked: bool) -> _Result:
        """As `_checked`, of what may be from before a drop of the keyspace.

        By the generation that is known when the reply is read, and not by that of the question.

        Arguments:
            marked: whether the first reply is the value's mark.
        """
        generation = self.generation
        if not generation.current:
            return self._checked(key, asked, replies, source)
        if marked:
            current = replies[0] == generation.current.encode()
            return self._checked(key, asked, replies[1:], source) if current else _Outdated()
        if generation.checks():
            return _Outdated()  # it was dropped while the value was on its way
        # Prevents: another program stores a value for ever · the keyspace is dropped · nobody reads the key until marks
        # are looked at no more, and then the value is served.
        result = self._checked(key, asked, replies, source)
        return _Outdated(fingerprint(replies[-1])) if isinstance(result, _Unbounded) else result

    def _checked(self, key: str, asked: float, replies: list[Any], source: EntrySource | None) -> _Checked:
        """Check what comes from the server, once, when it enters.

        Its times count from when it was `asked` for: a reply that comes late must not be served for longer.
        """
        body = replies[-1]
        try:
            value = self._decode(body)
        except SchemaMismatch as error:
            kind = OtherVersionValue if isinstance(error, OtherVersion) else BrokenValue
            return _Broken(kind(key, str(error)), body)
        if len(replies) == 1:
            return Entry(key, value, body, inf, inf, 0.0, source)
        remaining = replies[0]
        at = placed(self._lifetime, remaining if type(remaining) is int else _NO_PTTL, asked)
        if at.adjust:
            return _Unbounded(Entry(key, value, body, at.fresh_until, at.expires_at, 0.0, source))
        until = min(at.expires_at, asked + self.near_for) if at.near and source is not None else 0.0
        return Entry(key, value, body, at.fresh_until, at.expires_at, until, source)

    async def _bound(self, key: str) -> None:
        """Give the key the lifetime that its writer left out, or set too long: else the value might never end."""
        lifetime = self._keyspace.lifetime.ttl_ms
        try:
            await self._engine.execute(Channel.TRACKED, key, "PEXPIRE", key, lifetime, "LT")
        except EngineError as error:
            log.debug("giving %s its lifetime: %s", key, error)  # the next read tries again

    def _unreadable(self, key: str, error: EngineError, began: float) -> Miss:
        if isinstance(error, CommandFailed) and error.of_another_type:
            self._tell(BrokenValue(key, "it is no string"))
            return Miss(self._left(began), rejected_digest=ANOTHER_TYPE)
        self._count("engine", key)
        log.debug("reading %s: %s", key, error)
        return Miss(self._left(began), reachable=False)

    def _left(self, began: float) -> TimeBudget:
        return TimeBudget(max(0.0, began + self._engine.call_budget - monotonic()))

    def _tell(self, error: BrokenValue) -> None:
        expected = isinstance(error, OtherVersionValue)
        self._count("version" if expected else "broken", error.key)
        log.log(logging.DEBUG if expected else logging.WARNING, "%s; it is replaced", error)

    def _count(self, kind: str, key: str) -> None:
        self._counters.trouble(self._keyspace.name, kind, key)


_Checked = Entry | _Unbounded | _Broken
_Result = _Checked | _Outdated


class _Arrival:
    """The hook of one read, and what it has checked."""

    __slots__ = ("_asked", "_key", "_marked", "_remote", "result")

    def __init__(self, remote: RemoteTier[Any], key: str, asked: float, marked: bool) -> None:
        self._remote = remote
        self._key = key
        self._asked = asked
        self._marked = marked
        self.result: _Result | None = None

    def __call__(self, replies: list[Any], source: EntrySource) -> None:
        self.result = self._remote.arrived(self._key, self._asked, replies, source, self._marked)
