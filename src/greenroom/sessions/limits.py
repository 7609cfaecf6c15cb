"""How long a session lives: the idle limit, the absolute limit, and the times beside them.

The server enforces both: a session's key expires `SessionLimits.lifetime` after its last write, and its companion
`life` once the absolute limit has passed. `engine/lua/session_start.lua` and `session_change.lua` set both expiries. A
session with only one of its two keys has ended: `Sessions.snapshot` says so of a read, the scripts of a write.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields, replace
from datetime import timedelta

from greenroom.argument_types import span
from greenroom.errors import InvalidInput

_MAX_LATE = timedelta(seconds=5)
FINEST = timedelta(milliseconds=1)
"""The finest time of the server."""
LONGEST = timedelta(days=400)
"""The longest life of a session: a browser keeps no cookie for longer (RFC 6265bis, 5.5)."""
_OWN = re.compile(rb"[^ ]* ([0-9]{1,11}) ([0-9]{1,11})")


@dataclass(frozen=True, slots=True)
class SessionLifetime:
    """The lifetime of one session that has not the room's usual limits.

    Arguments:
        idle: the session ends without a request for this time.
        absolute: the session ends after this time, active or not; at most 400 days.

    Raises:
        InvalidInput: naming the argument that is not a timedelta, or is too short or too long.
    """

    idle: timedelta
    absolute: timedelta

    def __post_init__(self) -> None:
        for one in fields(self):
            given = span(one.name, getattr(self, one.name), FINEST, f"give a timedelta of {FINEST} or more")
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
        span("lifetime", lifetime, FINEST, "give SessionLifetime(idle=…, absolute=…), or one time for both")
        raise AssertionError
    return lifetime


@dataclass(frozen=True, slots=True)
class SessionLimits:
    """How long a session lives.

    Arguments:
        idle: a session ends without a request for this time.
        touch: a request writes the time of its activity at most once in this interval.
        absolute: a session ends after this time, active or not.
        grace_copy: how long a rotated session can still be read by requests under way.
        tombstone: how long an ended id cannot be created again.
        stream: a stream expires without a sign of its listener for this time.
        unused: an anonymous session ends if its token does not come back within this time.

    Raises:
        InvalidInput: naming the argument that is not a timedelta, or is less than a millisecond.
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
            span(one.name, getattr(self, one.name), FINEST, f"give a timedelta of {FINEST} or more")

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
    if not (FINEST <= idle <= LONGEST and FINEST <= absolute <= LONGEST):
        return None  # another program has written it
    return SessionLifetime(idle, absolute)
