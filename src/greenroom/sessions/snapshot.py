"""A session as it was read or written: what callers get of it, and what its keys on the server hold."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, NamedTuple, TypeVar

from greenroom.errors import GreenroomError
from greenroom.sessions.raw_json import readable

T = TypeVar("T")


class SessionGone(GreenroomError):
    """The session has ended, or never was: sign in again."""


@dataclass(frozen=True, slots=True)
class SessionSnapshot(Generic[T]):
    """A session as it was read; its repr, which may reach a log, shows nothing of it.

    Arguments:
        session_id: its key's part; never to be shown to anyone.
        value: what it holds.
        body: its JSON, byte for byte.
        writable: False for the copy that a rotation leaves.
        touch_due: whether no write has been made for a touch interval, or since an anonymous session began.
        started_text: when it began, and a lifetime of its own, as the server wrote it; empty for a copy.
        max_age: of a session that has just got its token and a lifetime of its own, the seconds for which its client
            shall keep it; None: until the browser ends.
    """

    session_id: str = field(repr=False)
    value: T = field(repr=False)
    body: bytes = field(repr=False)
    writable: bool = True
    touch_due: bool = False
    started_text: bytes = b""
    max_age: int | None = None

    @property
    def members(self) -> dict[str, Any]:
        """All that it holds, decoded anew: what others keep in it is not in `value`.

        A member that cannot be decoded, as 1e999 or a lone surrogate, is given as its JSON, a `msgspec.Raw`.
        """
        return readable(self.body)

    @property
    def started_at(self) -> datetime | None:
        """When it began, at the log-in and not at a later rotation, by the server's clock; None where not known."""
        try:
            return datetime.fromisoformat(self.started_text.partition(b" ")[0].decode())
        except ValueError:  # a copy's, or another program has written it
            return None


class StoredSession(NamedTuple):
    """What a look-up gives of each key."""

    body: bytes | None
    touched: bytes | None
    started_at: bytes | None
    grace_copy: bytes | None

    @property
    def unused(self) -> bool:
        """Whether the session has not been used since it began, and ends soon if that stays so."""
        return self.touched is not None and self.touched.startswith(b"+")

    @property
    def left(self) -> bytes | None:
        """The copy that a rotation has left, if this is one: the rest was deleted, or read before that.

        Prevents: one digit of a length is wrong, and the text that says when a session was begun goes on into the next
        reply · the item behind that place, another's session, is taken for the copy. Such a text has an item's end in
        it, as ours never have; one of a rotated session is not there at all.
        """
        if self.started_at is not None or (self.touched is not None and b"\r\n" in self.touched):
            return None
        return self.grace_copy


@dataclass(frozen=True, slots=True)
class WrittenSession:
    """The session as it now is."""

    body: bytes
    started_at: bytes


@dataclass(frozen=True, slots=True)
class Differs:
    """Nothing was done: the session is not as it was read, but so."""

    body: bytes


@dataclass(frozen=True, slots=True)
class Claimed:
    """The session is over; its successor may go on for the rest of its life."""

    left_ms: int
    started_at: bytes
