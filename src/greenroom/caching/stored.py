"""What the server holds of one keyspace: read, checked, placed in its lifetime, and kept near."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from greenroom.caching.backing import Backing
from greenroom.caching.freshness import placed
from greenroom.caching.lease import ANOTHER_TYPE, NOTHING_REFUSED, fingerprint
from greenroom.caching.near import Entry, Source
from greenroom.engine import Lane
from greenroom.engine.budget import Budget
from greenroom.errors import BrokenValue, CommandFailed, EngineError, Overloaded
from greenroom.keyspace import Keyspace

log = logging.getLogger("greenroom.caching")

T = TypeVar("T")

COMMANDS = 0.5
"""Seconds that all engine calls of one read may take together."""


@dataclass(frozen=True, slots=True)
class Miss:
    """The server gives no value.

    Arguments:
        budget: what is left of the read's time with the server.
        reachable: whether it could be asked.
        refused: the fingerprint of what it holds instead of a value.
    """

    budget: Budget
    reachable: bool = True
    refused: str = NOTHING_REFUSED


class Stored(Generic[T]):
    """Reads of one keyspace's values on the server.

    Arguments:
        near_for: seconds for which a value is kept in this process at most; 0 keeps nothing.
    """

    def __init__(self, backing: Backing, keyspace: Keyspace[T], near_for: float) -> None:
        self._backing = backing
        self._near = backing.near
        self._now = backing.clock.monotonic
        self._errors = backing.counters.errors
        self._keyspace = keyspace
        self._near_for = near_for

    async def read(self, key: str) -> Entry | Miss:
        """The value, or why there is none to be had.

        Raises:
            Overloaded: when too many commands are outstanding; that is neither down nor a miss.
        """
        budget = Budget(COMMANDS)
        began = self._now()
        try:
            found = await self._asked(key)
        except Overloaded:
            self._count("overloaded")
            raise
        except EngineError as error:
            budget.left = max(0.0, COMMANDS - (self._now() - began))
            if isinstance(error, CommandFailed) and error.code == "WRONGTYPE":
                self.broken(BrokenValue(key, "it is no string"))
                return Miss(budget, refused=ANOTHER_TYPE)
            self._count("engine")
            log.debug("reading %s: %s", key, error)
            return Miss(budget, reachable=False)
        if found is None:
            return Miss(budget)
        if isinstance(found, _Broken):
            self.broken(found.error)
            return Miss(budget, refused=fingerprint(found.body))
        entry, adjust = found
        if adjust:
            await self._adjust(key)
        return entry

    async def _asked(self, key: str) -> tuple[Entry, bool] | _Broken | None:
        # PTTL first: a write between the two can then only give a new value an old deadline.
        commands = ("PTTL", key), ("GET", key)
        engine = self._backing.engine
        replies = await engine.execute_all(
            Lane.TRACKED, key, commands, hook=lambda replies, source: self._arrived(key, replies, source)
        )
        return replies[2] if len(replies) > 2 else None

    def _arrived(self, key: str, replies: list[Any], source: Source) -> None:
        """In the socket's reader: what follows this reply on the wire may be the push that evicts what is kept here."""
        remaining, body = replies
        if type(body) is not bytes or type(remaining) is not int:
            return
        try:
            value = self._keyspace.decode(key, body)
        except BrokenValue as error:
            replies.append(_Broken(error, body))
            return
        now = self._now()
        at = placed(self._keyspace.lifetime, remaining, now)
        until = min(at.hard, now + self._near_for)
        entry = Entry(key, value, body, soft=at.soft, hard=at.hard, until=until, source=source)
        if at.near and until > now:
            shared = entry if self._keyspace.frozen else entry.without_value()
            self._near.put(shared)
        replies.append((entry, at.adjust))

    async def _adjust(self, key: str) -> None:
        """Give the key the lifetime that its writer left out, or set too long: without it the value would never end."""
        try:
            await self._backing.engine.execute(Lane.TRACKED, key, "PEXPIRE", key, self._keyspace.lifetime.ttl_ms, "LT")
        except EngineError as error:
            log.debug("giving %s its lifetime: %s", key, error)  # the next read tries again

    def broken(self, error: BrokenValue) -> None:
        """Count and log a stored value that fits no schema; it is replaced."""
        self._count("broken")
        log.warning("%s; it is replaced", error)

    def _count(self, kind: str) -> None:
        self._errors[self._keyspace.name, kind] += 1


@dataclass(frozen=True, slots=True)
class _Broken:
    error: BrokenValue
    body: bytes
