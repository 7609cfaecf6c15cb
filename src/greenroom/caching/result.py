"""How a read was answered: what metrics and `Cache-Status` tell apart. And what a loader says of its own answer."""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256
from typing import Generic, TypeVar

import msgspec

from greenroom.argument_types import instance, span
from greenroom.caching.near import Entry
from greenroom.errors import InvalidInput

T = TypeVar("T")


class Outcome(enum.Enum):
    """Where the value came from."""

    NEAR = "near"
    """This process had it, and no invalidation of it has been read since."""
    HIT = "hit"
    """The server had it."""
    STALE = "stale"
    """Past its soft lifetime: served, and refreshed behind."""
    LOADED = "loaded"
    """The loader ran for this read."""
    SHARED = "shared"
    """The loader ran for another read of the same key, in this process or another."""
    BYPASSED = "bypassed"
    """The server could not be asked; the loader ran without it."""


class CacheResult(msgspec.Struct, Generic[T], frozen=True):
    """One answered read.

    Arguments:
        value: the value; None where the record holds nothing.
        body: the value's JSON as it is stored; None where `value` is.
        outcome: where it came from.
        stored: whether a load's result was stored for the next reader.
        ttl: seconds of freshness left, below zero for a stale one; None where that was not asked or does not apply.
        entry: the near entry that it came from.
    """

    value: T | None
    body: bytes | None
    outcome: Outcome
    stored: bool = False
    ttl: float | None = None
    entry: Entry | None = None

    @property
    def digest(self) -> str:
        """A hash of the body, 24 hex digits; kept with a near entry, so that it is computed once.

        Raises:
            ValueError: where there is no body.
        """
        if self.body is None:
            raise ValueError("an absent value has no digest")
        if self.entry is None:
            return digest(self.body)
        if self.entry.digest is None:
            self.entry.digest = digest(self.body)
        return self.entry.digest


def seconds_left(ttl: float) -> int:
    """A lifetime that is left, in whole seconds, rounded up.

    Prevents: the server says 1,000,000 ms, and the machine is up for an hour · 4,000.1 + 1,000 - 4,000.1 is a hair
    more than 1,000 · a value lives for 1,001 seconds.
    """
    return math.ceil(round(ttl, 3))


def digest(body: bytes) -> str:
    """A hash that changes with every byte, 24 hex digits."""
    return sha256(body, usedforsecurity=False).hexdigest()[:24]


_FINEST = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class Loaded(Generic[T]):
    """What a loader may return in place of a value, to say how long this one is kept.

    Arguments:
        value: the value; None where the record holds none.
        ttl: its lifetime, of at most the keyspace's; of a remembered absence, 30 s without it. A keyspace with a soft
            lifetime takes `fresh` in its place, since only one time stands with a value.
        fresh: how long it is fresh, of at most the keyspace's; it is then served stale for as long as any other.
        store: whether it is stored at all. Those who wait for this load in this process get it either way.

    Raises:
        InvalidInput: for a time that is none, and one of what is not stored.
    """

    value: T | None
    ttl: timedelta | None = None
    fresh: timedelta | None = None
    store: bool = True

    def __post_init__(self) -> None:
        instance("store", self.store, bool, "use True or False")
        for name, given in (("ttl", self.ttl), ("fresh", self.fresh)):
            if given is None:
                continue
            span(name, given, _FINEST, "use a timedelta of a millisecond or more")
            if not self.store:
                raise InvalidInput(
                    name, "is a lifetime of what is not stored", "leave it out, or leave out store=False"
                )
