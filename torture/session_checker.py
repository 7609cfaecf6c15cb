"""Judges what happened to sessions. What is promised, and so what is asserted:

- *No change is lost, none is made twice*: a session's count is at least the number of changes that returned before the
  read began, and at most the number of those that had begun and were not refused. A rotation takes it along.
- *What has ended stays ended*: a read that begins after an end, an end of all, or a rotation has returned finds
  nothing; after a rotation, for 5 s, a copy. A server that comes back with older data (`RolledBack`) may have it again
  until the process that ended it has sent its ends (`Resent`); that process itself never sees it.
- *What lives is found*: a session that has begun and that nobody has tried to end is there for every read. Only what a
  server lost (`RolledBack`, `Emptied`) may be gone.
- *Of two rotations one takes the session*.
- *Ending all* ends each session of the user that had begun before; one that begins meanwhile is ended too, or listed.
- *The count of the active* is that of those that live. Where a call or a server failed it may be too high, by as
  many as that concerns, never too low.
- *A call that fails* has a cause: something was done to the system in the 3 s before, or meanwhile.

That a call takes no longer than it may is judged with the reads of caches, in `bounds`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import inf

from torture.checker import Violation
from torture.history import Event
from torture.session_counts import check_counts
from torture.session_facts import Ender, Sessions, of
from torture.session_history import BEGUN, CANCELLED, NO, YES, Answer, Begun, Changed, Looked, Rotated
from torture.trouble import MARGIN, Trouble

COPY = 5.0
"""Seconds for which a rotation's copy can be read."""
_NO_FAILURE = frozenset({YES, NO, BEGUN, CANCELLED})
FAILURES = frozenset(
    {
        "EngineUnavailable",
        "OutcomeUnknown",
        "ConnectionLost",
        "NotSent",
        "NotNow",
        "Overloaded",
        "OutOfMemory",
        "CommandFailed",
    }
)
"""What a call about sessions may fail with."""


def check_sessions(history: Iterable[Event]) -> list[Violation]:
    """Everything about sessions in a history that breaks a promise; servers that have none of them are left out."""
    events = list(history)
    known, trouble = Sessions(events), Trouble(events)
    return _Sessions(events, known, trouble).violations() + check_counts(events, known, trouble)


class _Sessions:
    def __init__(self, history: Sequence[Event], known: Sessions, trouble: Trouble) -> None:
        self._known = known
        self._trouble = trouble
        self._looked, self._answers = of(Looked, history), of(Answer, history)

    def violations(self) -> list[Violation]:
        found = [wrong for read in self._looked if (wrong := self._judged(read)) is not None]
        told = (one for one in self._known.changed if _tells(one))
        found += [wrong for one in told if (wrong := self._judged(self._as_read(one), made=1)) is not None]
        found += self._twice()
        found += [wrong for one in self._failures() if (wrong := self._uncaused(one)) is not None]
        found += [wrong for one in self._known.begun if one.answer == NO and (wrong := self._refused(one)) is not None]
        return found

    def _as_read(self, change: Changed) -> Looked:
        return Looked(change.process, change.began, change.ended, change.session, change.count)

    def _judged(self, read: Looked, made: int = 0) -> Violation | None:
        """What is wrong with a read; with what a change tells, where it has `made` one more."""
        over = self._over(read)
        if read.count < 0:
            sure = not over and self._known.lives(read.session, read.began, read.ended)
            return Violation(read, "a session that has begun and not ended is not there") if sure else None
        if over is not None and not (read.copy and isinstance(over, Rotated) and self._copied(over, read)):
            return Violation(read, f"a session that has ended is there: {over}")
        least, most = self._least(read) + made, self._most(read)
        if read.count > most:
            return Violation(read, f"of {most} changes at most it holds {read.count}")
        if read.count < least and not read.copy:
            return Violation(read, f"of {least} changes that returned it holds {read.count}")
        return None

    def _over(self, read: Looked) -> Ender | None:
        """What ended a session for sure before a read began; a rotation only where nothing else did."""
        over = [one for one in self._known.enders[read.session] if self._known.has_ended(one, read)]
        return min(over, key=lambda one: isinstance(one, Rotated), default=None)

    def _copied(self, rotated: Rotated, read: Looked) -> bool:
        return read.began <= rotated.ended + COPY + MARGIN

    def _least(self, read: Looked) -> int:
        changes = self._known.changes[self._known.root(read.session)]
        return sum(one.answer == YES and one.ended <= read.began and self._known.kept(one, read) for one in changes)

    def _most(self, read: Looked) -> float:
        root = self._known.root(read.session)
        if root not in self._known.births:
            return inf  # nobody was told of its birth: it may be another's successor, and go on with its count
        changes = self._known.changes[root]
        return sum(one.answer != NO and one.began <= read.ended for one in changes)

    def _twice(self) -> list[Violation]:
        taken: dict[str, Rotated] = {}
        found = []
        for one in self._known.rotated:
            if one.answer == YES:
                other = taken.setdefault(one.session, one)
                if other is not one and not self._known.lost(other.ended, one.ended):
                    found.append(Violation(one, f"two rotations have taken one session: {other}"))
        return found

    # Failures --------------------------------------------------------------------------------------

    def _failures(self) -> list[tuple[Event, str]]:
        calls = self._known.calls
        failed: list[tuple[Event, str]] = [(one, one.answer) for one in calls if one.answer not in _NO_FAILURE]
        return failed + [(one, one.error) for one in self._answers]

    def _uncaused(self, failure: tuple[Event, str]) -> Violation | None:
        event, error = failure
        if error not in FAILURES:
            return Violation(event, f"a call about sessions fails with {error}")
        if not self._trouble.before(event.began, event.ended):
            return Violation(event, f"a call fails with {error} and nothing was wrong", of_speed=True)
        return None

    def _refused(self, begun: Begun) -> Violation | None:
        """A log-in is refused only where all sessions of its user are ended meanwhile, or its server stood still."""
        meanwhile = any(
            one.user == begun.user and one.began <= begun.ended and one.ended >= begun.began for one in self._known.all
        )
        if meanwhile or self._trouble.before(begun.began, begun.ended):
            return None
        return Violation(begun, "a log-in is refused, and nobody ends the user's sessions", of_speed=True)


def _tells(change: Changed) -> bool:
    """Whether a change tells what there is: what it has made of it, or that it is over."""
    return change.answer == NO or (change.answer == YES and change.count >= 0)
