"""What the sessions of a room hold, and how long they live."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import msgspec

from greenroom.keyspace import Keyspace
from greenroom.sessions.index import StreamNames
from greenroom.sessions.limits import SessionLimits


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
