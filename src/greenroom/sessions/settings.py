"""What the sessions of a room hold, how long they live, and what their streams are called."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from typing import Any

import msgspec

from greenroom.argument_types import instance, span
from greenroom.errors import InvalidInput
from greenroom.keyspace import Keyspace
from greenroom.sessions import arguments
from greenroom.sessions.owner import UserMember
from greenroom.sessions.schema import SessionSchema

_MAX_LATE = timedelta(seconds=5)
_FINEST = timedelta(milliseconds=1)
"""The finest time of the server."""
LONGEST = timedelta(days=400)
"""What a session may live at most: a browser keeps no cookie for longer (RFC 6265bis, 5.5)."""
_OWN = re.compile(rb"[^ ]* ([0-9]{1,11}) ([0-9]{1,11})")


@dataclass(frozen=True, slots=True)
class SessionLifetime:
    """How long one session lives, where it is not as all others.

    Arguments:
        idle: without a request for this time it is over.
        absolute: over, however active; at most 400 days.

    Raises:
        InvalidInput: naming the one that is no timedelta, or too short or long.
    """

    idle: timedelta
    absolute: timedelta

    def __post_init__(self) -> None:
        for one in fields(self):
            given = span(one.name, getattr(self, one.name), _FINEST, f"give a timedelta of {_FINEST} or more")
            if given > LONGEST:
                raise InvalidInput(one.name, f"{given} is too long", f"give at most {LONGEST.days} days")

    @property
    def text(self) -> str:
        """What stands behind the time of the session's beginning, where its life is stored."""
        return f" {ms(self.idle)} {ms(self.absolute)}"


def lifetime_of(lifetime: object) -> SessionLifetime:
    """A lifetime as callers give it: one time stands for both limits."""
    if isinstance(lifetime, timedelta):
        return SessionLifetime(lifetime, lifetime)
    if not isinstance(lifetime, SessionLifetime):
        span("lifetime", lifetime, _FINEST, "give SessionLifetime(idle=…, absolute=…), or one time for both")
        raise AssertionError
    return lifetime


@dataclass(frozen=True, slots=True)
class SessionLimits:
    """How long a session lives.

    Arguments:
        idle: a session without a request for this time is over.
        touch: a request writes the time of its activity at most once in this interval.
        absolute: over, however active.
        grace_copy: how long a rotated session can still be read by requests under way.
        tombstone: how long an ended id cannot be created.
        stream: a stream without a sign of its listener for this time has lapsed.
        unused: an anonymous session whose token has not come back for this time is over.

    Raises:
        InvalidInput: naming the one that is no timedelta, or less than a millisecond.
    """

    idle: timedelta = timedelta(minutes=30)
    touch: timedelta = timedelta(minutes=1)
    absolute: timedelta = timedelta(hours=12)
    grace_copy: timedelta = timedelta(seconds=5)
    tombstone: timedelta = timedelta(minutes=1)
    stream: timedelta = timedelta(seconds=90)
    # docs/decisions/0069-unused-sessions-live-two-minutes.md
    unused: timedelta = timedelta(minutes=2)

    def __post_init__(self) -> None:
        for one in fields(self):
            span(one.name, getattr(self, one.name), _FINEST, f"give a timedelta of {_FINEST} or more")

    @property
    def lifetime(self) -> timedelta:
        """Of a key after a write: the next one may come an interval late, and no session ends before its idle limit."""
        return self.idle + self.touch

    @property
    def shortens(self) -> bool:
        """Whether an anonymous session that is not used again ends sooner than one that is."""
        return self.unused < min(self.lifetime, self.absolute)

    def with_lifetime(self, own: SessionLifetime | None) -> SessionLimits:
        """The limits of a session that has a lifetime of its own."""
        return self if own is None else replace(self, idle=own.idle, absolute=own.absolute)

    def of(self, started_text: bytes | None) -> SessionLimits:
        """The limits of a session whose life is stored so."""
        return self.with_lifetime(own_lifetime(started_text))

    @property
    def late(self) -> timedelta:
        """So long after it was listed a session may be created: well within the tombstone of an ended id."""
        return min(_MAX_LATE, self.tombstone / 2)


def ms(lifetime: timedelta) -> int:
    """A lifetime in whole milliseconds."""
    return lifetime // timedelta(milliseconds=1)


def own_lifetime(started_text: bytes | None) -> SessionLifetime | None:
    """The lifetime that stands behind the time of a session's beginning; None where it has the usual one."""
    # docs/decisions/0093-lifetimes-stand-behind-the-beginning.md
    found = _OWN.fullmatch(started_text or b"")
    if found is None:
        return None
    idle, absolute = (timedelta(milliseconds=int(number)) for number in found.groups())
    if not (_FINEST <= idle <= LONGEST and _FINEST <= absolute <= LONGEST):
        return None  # another program has written it
    return SessionLifetime(idle, absolute)


@dataclass(frozen=True, slots=True)
class StreamNames:
    """What streams are called where they are stored.

    Arguments:
        member: the member of a session that names the content of its newest open stream.
        content: what a stream is of, in one word, as "episode"; the keys of the sets are made of it.
    """

    member: str = "active_stream_id"
    content: str = "content"


class SessionData(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What every session holds. Members that are not named here are kept as they are."""

    user_id: str | msgspec.UnsetType = msgspec.UNSET
    last_activity_timestamp: datetime


DEFAULT_KEYSPACE: Keyspace[Any] = Keyspace(
    "session:{session_id}",
    SessionData,
    ttl=SessionLimits().lifetime,
    jitter=0,
    name="session",
    source="the sessions of a room",
)


_NO_DEFAULT = "give every member a default: a session begins with what it is given, which may be nothing"


class SessionSettings:
    """The sessions of a room.

    Arguments:
        kind: the type of what a session holds, each member with a default: a struct, a dataclass, a pydantic model, or
            `dict[str, Any]`. Its member `user_id` may be a string or a whole number. Or a keyspace of such a type.
        idle: a session without a request for this time is over; by default 30 min.
        absolute: over, however active; by default 12 h.
        remember: how long a session lives that begins with `remember=True`, used or not; at most 400 days. Without it
            no session is remembered.
        new: members that a session begins with unless it is given others.
        limits: the other times of a session.
        streams: what open streams are called where they are stored.

    Raises:
        InvalidInput: naming the argument that cannot be, or the member of the type that has no default.
    """

    __slots__ = ("keyspace", "limits", "new", "remember", "streams")

    def __init__(
        self,
        kind: type[Any] | Keyspace[Any] | None = None,
        *,
        idle: timedelta | None = None,
        absolute: timedelta | None = None,
        remember: timedelta | None = None,
        new: Mapping[str, object] | None = None,
        limits: SessionLimits | None = None,
        streams: StreamNames | None = None,
    ) -> None:
        limits = SessionLimits() if limits is None else instance("limits", limits, SessionLimits, "give SessionLimits")
        given = {"idle": idle, "absolute": absolute}
        self.limits = replace(limits, **{name: value for name, value in given.items() if value is not None})
        self.remember = None if remember is None else _remembered(remember)
        """The lifetime of a session that is remembered."""
        self.new = arguments.mapping(new)
        """Members that a session begins with."""
        self.streams = streams or StreamNames()
        self.keyspace: Keyspace[Any] = _keyspace(kind, self.limits)
        """The key format of a session, and the type of its value."""
        begun = UserMember.of_type(self.keyspace.type).changed(b"{}", self.new)
        try:
            SessionSchema(self.keyspace).check(begun)
        except InvalidInput as error:
            named = getattr(self.keyspace.type, "__name__", str(self.keyspace.type))
            where = "" if error.field == "members" else f"{error.field}: "
            raise InvalidInput("sessions", f"no {named} can begin empty: {where}{error.reason}", _NO_DEFAULT) from None


def _remembered(remember: timedelta) -> SessionLifetime:
    span("remember", remember, _FINEST, "give how long a session is remembered")
    if remember > LONGEST:
        raise InvalidInput("remember", f"{remember} is too long", f"give at most {LONGEST.days} days")
    return SessionLifetime(remember, remember)


def _keyspace(kind: Any, limits: SessionLimits) -> Keyspace[Any]:
    if kind is None:
        return DEFAULT_KEYSPACE
    if isinstance(kind, Keyspace):
        if kind.version:
            reason = f"{kind} has one, and nobody could load the sessions of another anew: all would be signed out"
            raise InvalidInput("version", reason, "leave it out; a member that is added needs a default")
        return kind
    return Keyspace(
        DEFAULT_KEYSPACE.pattern,
        kind,
        ttl=limits.lifetime,
        jitter=0,
        name=DEFAULT_KEYSPACE.name,
        source=DEFAULT_KEYSPACE.source,
    )
