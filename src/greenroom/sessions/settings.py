"""The data of a room's sessions, and the names of their streams."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import msgspec

from greenroom.argument_types import instance, span
from greenroom.errors import InvalidInput
from greenroom.keyspace import Keyspace
from greenroom.sessions import arguments
from greenroom.sessions.limits import FINEST, LONGEST, SessionLifetime, SessionLimits
from greenroom.sessions.owner import UserMember
from greenroom.sessions.schema import SessionSchema


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
        idle: a session ends without a request for this time; by default 30 min.
        absolute: a session ends after this time, active or not; by default 12 h.
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
    span("remember", remember, FINEST, "give how long a session is remembered")
    if remember > LONGEST:
        raise InvalidInput("remember", f"{remember} is too long", f"give at most {LONGEST.days} days")
    return SessionLifetime(remember, remember)


def _keyspace(kind: Any, limits: SessionLimits) -> Keyspace[Any]:
    if kind is None:
        return DEFAULT_KEYSPACE
    if isinstance(kind, Keyspace):
        if kind.version:
            reason = f"{kind} has one, but sessions cannot be loaded again: a new one would sign all users out"
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
