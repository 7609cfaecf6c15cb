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

from collections import defaultdict
from collections.abc import Iterable
from math import inf
from typing import TypeVar

from torture.checker import Violation
from torture.history import Emptied, Event, Killed, RolledBack
from torture.session_history import (
    BEGUN,
    NO,
    YES,
    Answer,
    Begun,
    Changed,
    Counted,
    Ended,
    EndedAll,
    Listed,
    Looked,
    Resent,
    Rotated,
)
from torture.trouble import MARGIN, Trouble

E = TypeVar("E", bound=Event)
Ender = Ended | EndedAll | Rotated
Call = Ender | Begun | Changed

COPY = 5.0
"""Seconds for which a rotation's copy can be read."""
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
    return _Sessions(list(history)).violations()


class _Sessions:
    def __init__(self, history: list[Event]) -> None:
        self._trouble = Trouble(history)
        self._kills = [one for one in history if isinstance(one, Killed)]

        def of(kind: type[E]) -> list[E]:
            return sorted((one for one in history if isinstance(one, kind)), key=lambda one: one.began)

        self._begun = self._ended_calls(of(Begun))
        self._rotated = self._ended_calls(of(Rotated))
        self._changed = self._ended_calls(of(Changed))
        self._ends, self._all = self._ended_calls(of(Ended)), self._ended_calls(of(EndedAll))
        self._looked, self._counted, self._listed = of(Looked), of(Counted), of(Listed)
        self._answers, self._resent = of(Answer), of(Resent)
        self._backs: list[RolledBack] = of(RolledBack)
        self._losses = [(one.began, one.ended, one.since) for one in self._backs]
        self._losses += [(one.began, one.ended, 0.0) for one in of(Emptied)]
        self._births: dict[str, Begun | Rotated] = {}
        self._chain: dict[str, str] = {}
        self._user: dict[str, str] = {}
        self._connect()
        self._changes: defaultdict[str, list[Changed]] = defaultdict(list)
        for change in self._changed:
            self._changes[self._root(change.session)].append(change)
        self._enders: defaultdict[str, list[Ender]] = defaultdict(list)
        enders: list[Ended | Rotated] = [*self._ends, *self._rotated]
        for end in enders:
            self._enders[end.session].append(end)
        for session, birth in self._births.items():
            user = self._user[session]
            self._enders[session] += [one for one in self._all if one.user == user and one.ended >= birth.began]

    def _ended_calls(self, calls: list[E]) -> list[E]:
        """Each call once, as it ended; one whose process was killed meanwhile lasted until then."""
        found: dict[tuple[int, float], E] = {}
        for call in calls:
            key = call.process, call.began
            if key not in found or call.answer != BEGUN:  # type: ignore[attr-defined]
                found[key] = call
        return [self._cut_off(call) if call.answer == BEGUN else call for call in found.values()]  # type: ignore[attr-defined]

    def _cut_off(self, call: E) -> E:
        ended = min((one.ended for one in self._kills if one.process == call.process), default=inf)
        return type(call)(**{**{name: getattr(call, name) for name in call.__struct_fields__}, "ended": ended})

    def _connect(self) -> None:
        for begun in self._begun:
            if begun.answer == YES:
                self._births[begun.session], self._user[begun.session] = begun, begun.user
        for rotated in self._rotated:
            if rotated.answer == YES:
                self._births[rotated.successor], self._user[rotated.successor] = rotated, rotated.user
                self._chain[rotated.successor] = rotated.session

    def _root(self, session: str) -> str:
        while session in self._chain:
            session = self._chain[session]
        return session

    # Judgement -------------------------------------------------------------------------------------

    def violations(self) -> list[Violation]:
        found = [wrong for read in self._looked if (wrong := self._judged(read)) is not None]
        told = (one for one in self._changed if _tells(one))
        found += [wrong for one in told if (wrong := self._judged(self._as_read(one), made=1)) is not None]
        found += self._twice()
        found += [wrong for one in self._failures() if (wrong := self._uncaused(one)) is not None]
        found += [wrong for one in self._begun if one.answer == NO and (wrong := self._refused(one)) is not None]
        found += self._unlisted()
        return found + [wrong for one in self._counted if (wrong := self._miscounted(one)) is not None]

    def _as_read(self, change: Changed) -> Looked:
        return Looked(change.process, change.began, change.ended, change.session, change.count)

    def _judged(self, read: Looked, made: int = 0) -> Violation | None:
        """What is wrong with a read; with what a change tells, where it has `made` one more."""
        over = self._over(read)
        if read.count < 0:
            sure = not over and self._lives(read.session, read.began, read.ended)
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
        over = [one for one in self._enders[read.session] if self._has_ended(one, read)]
        return min(over, key=lambda one: isinstance(one, Rotated), default=None)

    def _has_ended(self, end: Ender, read: Looked) -> bool:
        if end.answer != YES and not (end.answer == NO and isinstance(end, Ended)):
            return False
        if end.ended > read.began:
            return False
        if isinstance(end, EndedAll) and not self._births[read.session].ended <= end.began:
            return False
        return all(
            process == read.process or read.began >= self._cured(back, process)
            for back in self._backs
            if end.ended > back.since and back.began <= read.ended and back.ended >= end.began
            for process in self._responsible(end, read.session)
        )

    def _responsible(self, end: Ender, session: str) -> set[int]:
        """Who sends an end again: of a session that somebody else has ended before, an end of all knows nothing."""
        if not isinstance(end, EndedAll):
            return {end.process}
        return {one.process for one in self._enders[session] if one.began <= end.ended}

    def _cured(self, back: RolledBack, process: int) -> float:
        """When a process has sent its ends to a server that came back with older data."""
        return min((o.ended for o in self._resent if o.process == process and o.began >= back.began), default=inf)

    def _copied(self, rotated: Rotated, read: Looked) -> bool:
        return read.began <= rotated.ended + COPY + MARGIN

    def _lives(self, session: str, began: float, ended: float) -> bool:
        """Whether a session is alive for sure from one moment to another."""
        birth = self._births.get(session)
        if birth is None or birth.ended > began:
            return False
        if any(one.began <= ended for one in self._enders[session]):
            return False
        return not self._lost(birth.ended, ended)

    def _lost(self, done: float, by: float) -> bool:
        """Whether what was done at a moment may be lost by another."""
        return any(lost <= by and done > since for lost, _, since in self._losses)

    def _least(self, read: Looked) -> int:
        losses = [loss for loss in self._losses if loss[0] <= read.ended]
        return sum(
            one.answer == YES
            and one.ended <= read.began
            and all(one.ended <= since or one.began >= back for _, back, since in losses)
            for one in self._changes[self._root(read.session)]
        )

    def _most(self, read: Looked) -> int:
        changes = self._changes[self._root(read.session)]
        return sum(one.answer != NO and one.began <= read.ended for one in changes)

    def _twice(self) -> list[Violation]:
        taken: dict[str, Rotated] = {}
        found = []
        for one in self._rotated:
            if one.answer == YES:
                other = taken.setdefault(one.session, one)
                if other is not one and not self._lost(other.ended, one.ended):
                    found.append(Violation(one, f"two rotations have taken one session: {other}"))
        return found

    # Failures --------------------------------------------------------------------------------------

    def _failures(self) -> list[tuple[Event, str]]:
        calls: list[Call] = [*self._begun, *self._rotated, *self._changed, *self._ends, *self._all]
        failed: list[tuple[Event, str]] = [(one, one.answer) for one in calls if one.answer not in (YES, NO, BEGUN)]
        return failed + [(one, one.error) for one in self._answers]

    def _uncaused(self, failure: tuple[Event, str]) -> Violation | None:
        event, error = failure
        if error not in FAILURES:
            return Violation(event, f"a call about sessions fails with {error}")
        if not self._trouble.before(event.began, event.ended):
            return Violation(event, f"a call fails with {error} and nothing was wrong")
        return None

    def _refused(self, begun: Begun) -> Violation | None:
        """A log-in is refused only where all sessions of its user are ended meanwhile, or its server stood still."""
        meanwhile = any(
            one.user == begun.user and one.began <= begun.ended and one.ended >= begun.began for one in self._all
        )
        if meanwhile or self._trouble.before(begun.began, begun.ended):
            return None
        return Violation(begun, "a log-in is refused, and nobody ends the user's sessions")

    # Lists and counts ------------------------------------------------------------------------------

    def _unlisted(self) -> list[Violation]:
        live = {one.session for one in self._looked if one.last and one.count >= 0 and not one.copy}
        over = {one.session for one in self._looked if one.last} - live
        found = []
        for listed in self._listed:
            mine = {session for session in live if self._user.get(session) == listed.user}
            if missing := mine - set(listed.sessions):
                found.append(Violation(listed, f"sessions live and are not listed: {sorted(missing)}"))
            if extra := over & set(listed.sessions):
                found.append(Violation(listed, f"sessions are listed and not there: {sorted(extra)}"))
        return found

    def _miscounted(self, counted: Counted) -> Violation | None:
        least = sum(
            not self._trouble.before(birth.began, birth.ended) and self._lives(session, counted.began, counted.ended)
            for session, birth in self._births.items()
        )
        most = sum(self._may_count(session, counted) for session in self._births)
        births: list[Begun | Rotated] = [*self._begun, *self._rotated]
        most += sum(one.answer not in (YES, NO) and one.began <= counted.ended for one in births)
        # One that is refused leaves the roll again, as soon as it may.
        most += sum(one.answer == NO and self._doubtful(one, counted) for one in births)
        if least <= counted.number <= most:
            return None
        return Violation(counted, f"{counted.number} sessions are active, and there are {least} to {most}")

    def _may_count(self, session: str, counted: Counted) -> bool:
        if self._births[session].began > counted.ended:
            return False
        return all(self._doubtful(one, counted) for one in self._enders[session] if self._ends_for_sure(session, one))

    def _ends_for_sure(self, session: str, end: Ender) -> bool:
        if end.answer != YES:
            return False
        return not isinstance(end, EndedAll) or self._births[session].ended <= end.began

    def _doubtful(self, call: Begun | Ender, counted: Counted) -> bool:
        """Whether what a call took from the roll may still be on it."""
        if call.ended > counted.began or self._trouble.before(call.began, call.ended):
            return True
        return self._lost(call.ended, counted.ended)


def _tells(change: Changed) -> bool:
    """Whether a change tells what there is: what it has made of it, or that it is over."""
    return change.answer == NO or (change.answer == YES and change.count >= 0)
