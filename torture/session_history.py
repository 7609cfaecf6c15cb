"""What happens to sessions. Each holds a `count`, which a change raises by one and a rotation takes along.

`answer` says how a call ended: "yes" it returned; "no" it said that the session is over; "begun" it has not ended yet,
and its end is another event with the same beginning; "cancelled" its caller was; else it is the type of the exception.
In the last two cases what was asked for may have been done or not.
"""

from __future__ import annotations

from torture.history import Event

YES, NO, BEGUN, CANCELLED = "yes", "no", "begun", "cancelled"


class Begun(Event, frozen=True):
    """A session began; its id is not known unless that returned."""

    session: str
    user: str
    answer: str


class Rotated(Event, frozen=True):
    """A session went on as another; `successor` is empty unless that returned."""

    session: str
    successor: str
    user: str
    answer: str


class Changed(Event, frozen=True):
    """The count of a session was raised by one; `count` is what the call returned, if it returned."""

    session: str
    answer: str
    count: int = -1


class Ended(Event, frozen=True):
    """A session was ended."""

    session: str
    answer: str


class EndedAll(Event, frozen=True):
    """All sessions of a user were ended."""

    user: str
    answer: str


class Looked(Event, frozen=True):
    """A read of a session that was answered: `count` is what it holds, -1 where there is none.

    Arguments:
        copy: whether it is what a rotation has left to be read.
        last: whether all is quiet.
    """

    session: str
    count: int
    copy: bool = False
    last: bool = False


class Listed(Event, frozen=True):
    """A user's sessions as they are listed when all is quiet."""

    user: str
    sessions: list[str]


class Counted(Event, frozen=True):
    """How many sessions are active, as the service says."""

    number: int
    last: bool = False


class Answer(Event, frozen=True):
    """A call about sessions ended with an exception; `call` is its name."""

    call: str
    error: str


class Resent(Event, frozen=True):
    """A new connection of the process carried the ends that it keeps, before anything else was sent on it."""
