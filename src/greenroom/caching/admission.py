"""What the server says of one keyspace's values: checked, placed in its lifetime, and kept near.

All of it in the socket's reader where something is kept near: what follows a reply on the wire may be the push that
evicts it.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import Any

from greenroom.caching.freshness import placed
from greenroom.caching.invalidation import Backing
from greenroom.caching.lease import NOTHING_REFUSED, fingerprint
from greenroom.caching.near import Entry, EntrySource
from greenroom.errors import BrokenValue, OtherVersionValue
from greenroom.keyspace import Keyspace
from greenroom.keyspace.mismatch import OtherVersion, SchemaMismatch

_NO_PTTL = -2
"""In place of a PTTL that is no number: the server gave an error."""


@dataclass(frozen=True, slots=True)
class Unbounded:
    """A value whose key has no lifetime, or too long a one."""

    entry: Entry


@dataclass(frozen=True, slots=True)
class Outdated:
    """A value from before a drop of its keyspace, or one of which that cannot be told.

    Arguments:
        rejected_digest: its fingerprint, where the server cannot tell by its mark.
    """

    rejected_digest: str = NOTHING_REFUSED


@dataclass(frozen=True, slots=True)
class Broken:
    """What is stored is no value of the keyspace."""

    error: BrokenValue
    body: bytes


Checked = Entry | Unbounded | Broken
Admitted = Checked | Outdated


class Admission:
    """Takes in what was read of one keyspace's values.

    Arguments:
        near_for: seconds for which a value is kept in this process at most; 0 keeps nothing.
    """

    def __init__(self, backing: Backing, keyspace: Keyspace[Any], near_for: float) -> None:
        self._backing = backing
        self._near = backing.near
        self._decode = keyspace.codec.decode
        self._lifetime = keyspace.lifetime
        self._frozen = keyspace.frozen
        self.generation = backing.generations.of(keyspace)
        """The generation of the keyspace."""
        self.near_for = near_for
        """Seconds for which a value or an absence is kept in this process at most."""

    def arrived(self, key: str, asked: float, replies: list[Any], source: EntrySource, marked: bool) -> Admitted | None:
        """Check what was read, and keep it near; None where it is no value.

        In the socket's reader: what follows this reply on the wire may be the push that evicts what is kept here.
        """
        if type(replies[-1]) is not bytes:
            return None
        result = self.entered(key, asked, replies, source, marked)
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

    def _keep(self, result: Admitted, source: EntrySource) -> None:
        if self.generation.pending or not self.near_for:
            return
        if type(result) is Entry and result.near_until and self._backing.may_keep(result.key, source):
            self._near.put(result if self._frozen else result.without_value())

    def entered(self, key: str, asked: float, replies: list[Any], source: EntrySource | None, marked: bool) -> Admitted:
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
            return self._checked(key, asked, replies[1:], source) if current else Outdated()
        if generation.checks():
            return Outdated()  # it was dropped while the value was on its way
        # Prevents: another program stores a value for ever · the keyspace is dropped · nobody reads the key until marks
        # are looked at no more, and then the value is served.
        result = self._checked(key, asked, replies, source)
        return Outdated(fingerprint(replies[-1])) if isinstance(result, Unbounded) else result

    def _checked(self, key: str, asked: float, replies: list[Any], source: EntrySource | None) -> Checked:
        """Check what comes from the server, once, when it enters.

        Its times count from when it was `asked` for: a reply that comes late must not be served for longer.
        """
        body = replies[-1]
        try:
            value = self._decode(body)
        except SchemaMismatch as error:
            kind = OtherVersionValue if isinstance(error, OtherVersion) else BrokenValue
            return Broken(kind(key, str(error)), body)
        if len(replies) == 1:
            return Entry(key, value, body, inf, inf, 0.0, source)
        remaining = replies[0]
        at = placed(self._lifetime, remaining if type(remaining) is int else _NO_PTTL, asked)
        if at.adjust:
            return Unbounded(Entry(key, value, body, at.fresh_until, at.expires_at, 0.0, source))
        until = min(at.expires_at, asked + self.near_for) if at.near and source is not None else 0.0
        return Entry(key, value, body, at.fresh_until, at.expires_at, until, source)


class Arrival:
    """The hook of one read, and what it has checked."""

    __slots__ = ("_admission", "_asked", "_key", "_marked", "result")

    def __init__(self, admission: Admission, key: str, asked: float, marked: bool) -> None:
        self._admission = admission
        self._key = key
        self._asked = asked
        self._marked = marked
        self.result: Admitted | None = None

    def __call__(self, replies: list[Any], source: EntrySource) -> None:
        self.result = self._admission.arrived(self._key, self._asked, replies, source, self._marked)
