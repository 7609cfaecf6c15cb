"""What can be wrong with what is stored: judged from a key's type, lifetime and value. Pure."""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass
from shlex import quote
from typing import Any

from greenroom.caching.releases import LIFE, MAX_BACKOFF
from greenroom.errors import BrokenValue, OtherVersionValue
from greenroom.findings import Finding, Severity
from greenroom.inspection.keys import KeyKind
from greenroom.keyspace import Keyspace

TOLERANCE = 1000
"""Milliseconds that a lifetime may be longer than declared: clocks and replies take their time."""


class Fault(enum.Enum):
    """A kind of fault."""

    STALE = "stale"
    FOREIGN = "foreign"
    UNDECODABLE = "undecodable"
    IMMORTAL = "immortal"
    OVERLONG = "overlong"
    ORPHAN_LEASE = "orphan_lease"


_WHY: dict[Fault, tuple[Severity, str]] = {
    Fault.STALE: ("error", "it is served to everybody until it expires"),
    Fault.FOREIGN: ("warning", "another program writes under these names, which it must not"),
    Fault.UNDECODABLE: ("warning", "each process loads it anew, and counts it as broken"),
    Fault.IMMORTAL: ("warning", "it stays in memory for good, and is served if nothing drops it"),
    Fault.OVERLONG: ("warning", "what no invalidation reaches is served for longer than was declared"),
    Fault.ORPHAN_LEASE: ("warning", "nobody holds it any more; other programs may wait for it for ever"),
}


class Faulty(Finding, frozen=True, kw_only=True):
    """A key with a fault.

    Arguments:
        keyspace: the name of the keyspace that it belongs to.
        key: as it is on the server.
        server: which has it.
        mended: whether it was dropped.
    """

    keyspace: str
    key: str
    server: str
    mended: bool = False


@dataclass(frozen=True, slots=True)
class Stored:
    """What a server has under a key.

    Arguments:
        type: `none` where there is nothing.
        left: milliseconds until it expires; below zero where it never does, or there is nothing.
        body: of a string; None of anything else.
        mark: the generation under which it was stored; None where there is none.
    """

    type: bytes
    left: int
    body: bytes | None
    mark: bytes | None = None

    @property
    def there(self) -> bool:
        """Whether there is anything."""
        return self.type != b"none"


def of_value(keyspace: Keyspace[Any], key: str, stored: Stored, *, cached: bool, sliding: bool) -> Iterator[Fault]:
    """The faults that a value shows by itself.

    Arguments:
        cached: whether it is of a cache, whose lifetimes nobody lengthens.
        sliding: whether it is a session, whose lifetime may be its own.
    """
    if not stored.there:
        return
    if stored.body is None:
        yield Fault.FOREIGN
        return
    if stored.left < 0:
        yield Fault.IMMORTAL
    elif cached and not sliding and stored.left > keyspace.lifetime.ttl_ms + TOLERANCE:
        yield Fault.OVERLONG
    try:
        keyspace.decode(key, stored.body)
    except OtherVersionValue:
        pass  # of a version that is being deployed, or was: each version loads its own
    except BrokenValue:
        yield Fault.UNDECODABLE


def of_companion(kind: KeyKind, stored: Stored) -> Iterator[Fault]:
    """The faults of a lease or an absence."""
    if not stored.there:
        return
    if stored.body is None:
        yield Fault.FOREIGN
    elif kind is KeyKind.ABSENCE:
        if stored.left < 0:
            yield Fault.IMMORTAL
    else:
        longest = MAX_BACKOFF if stored.body.startswith(b"failed:") else LIFE
        if stored.left < 0 or stored.left > longest * 1000 + TOLERANCE:
            yield Fault.ORPHAN_LEASE


def faulty(fault: Fault, what: str, *, keyspace: str, key: str, server: str, kind: str) -> Faulty:
    """A fault as operators are told it.

    Arguments:
        kind: what holds the key: a cache, a store or the sessions.
    """
    severity, why = _WHY[fault]
    if fault is Fault.UNDECODABLE and kind != "cache":
        severity, why = "error", "it cannot be read: each read raises an error, and it is never overwritten"
    mend = "greenroom audit --fix"
    if kind == "stray":
        mend = f"find the program that writes it; then valkey-cli DEL {quote(key)}"
    elif kind != "cache":
        mend = f"correct it, or lose it: valkey-cli DEL {quote(key)}"
    return Faulty(
        kind=fault.value, severity=severity, what=what, why=why, mend=mend, keyspace=keyspace, key=key, server=server
    )
