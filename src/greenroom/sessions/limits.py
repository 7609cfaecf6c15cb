"""Session lifetimes, and how long rotation copies and tombstones are kept."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import timedelta

from greenroom.errors import InvalidInput

_LATE = timedelta(seconds=5)
_LEAST = timedelta(milliseconds=1)
"""The finest time of the server."""


@dataclass(frozen=True, slots=True)
class SessionLimits:
    """How long a session lives.

    Arguments:
        idle: without a request for so long it is over.
        touch: a request writes the time of its activity at most once in this interval.
        absolute: over, however active.
        grace_copy: for so long a rotated session can still be read by requests under way.
        tombstone: for so long an ended id cannot be created.
        stream: without a sign of its listener for so long a stream has lapsed.
        unused: an anonymous session whose token has not come back for so long is over.

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
        for field in fields(self):
            span = getattr(self, field.name)
            if not isinstance(span, timedelta):
                reason = f"is {type(span).__name__}, not a timedelta"
            elif span < _LEAST:
                reason = f"{span} is too short"
            else:
                continue
            raise InvalidInput(field.name, reason, f"give a timedelta, as timedelta(minutes=2), of {_LEAST} or more")

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
        """So long after it was listed a session may be created: well within the mark of an ended id."""
        return min(_LATE, self.tombstone / 2)


def ms(span: timedelta) -> int:
    """A span in whole milliseconds."""
    return span // timedelta(milliseconds=1)
