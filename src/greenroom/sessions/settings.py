"""What the sessions of a room hold, how long they live, and what their streams are called."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta
from typing import Any

import msgspec

from greenroom.argument_types import span
from greenroom.keyspace import Keyspace

_MAX_LATE = timedelta(seconds=5)
_FINEST = timedelta(milliseconds=1)
"""The finest time of the server."""


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

    @property
    def late(self) -> timedelta:
        """So long after it was listed a session may be created: well within the tombstone of an ended id."""
        return min(_MAX_LATE, self.tombstone / 2)


def ms(lifetime: timedelta) -> int:
    """A lifetime in whole milliseconds."""
    return lifetime // timedelta(milliseconds=1)


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


@dataclass(frozen=True, slots=True)
class SessionSettings:
    """The sessions of a room.

    Arguments:
        keyspace: the key format of a session, and the type of its value.
        new: members that a session begins with unless it is given others.
        limits: lifetimes.
        streams: what open streams are called where they are stored.
    """

    keyspace: Keyspace[Any] = DEFAULT_KEYSPACE
    new: Mapping[str, object] = field(default_factory=dict)
    limits: SessionLimits = field(default_factory=SessionLimits)
    streams: StreamNames = field(default_factory=StreamNames)
