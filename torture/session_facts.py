"""What is known of sessions: how each began and whose it is, what ended it, and what a server may have lost of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from math import inf
from typing import TypeVar

from torture.history import Emptied, Event, Killed, RolledBack
from torture.session_history import BEGUN, NO, YES, Begun, Changed, Ended, EndedAll, Looked, Resent, Rotated

E = TypeVar("E", bound=Event)
Ender = Ended | EndedAll | Rotated
Call = Ender | Begun | Changed


def of(kind: type[E], history: Sequence[Event]) -> list[E]:
    """The events of one kind, in their order."""
    return sorted((one for one in history if isinstance(one, kind)), key=lambda one: one.began)


class Sessions:
    """The sessions of a history.

    A call stands here once, as it ended; one whose process was killed meanwhile lasted until then.
    """

    def __init__(self, history: Sequence[Event]) -> None:
        self._kills = of(Killed, history)
        self.begun = self._ended_calls(of(Begun, history))
        self.rotated = self._ended_calls(of(Rotated, history))
        self.changed = self._ended_calls(of(Changed, history))
        self.ended, self.all = self._ended_calls(of(Ended, history)), self._ended_calls(of(EndedAll, history))
        self._resent, self._backs = of(Resent, history), of(RolledBack, history)
        self._losses = [(one.began, one.ended, one.since) for one in self._backs]
        self._losses += [(one.began, one.ended, 0.0) for one in of(Emptied, history)]
        self.births: dict[str, Begun | Rotated] = {}
        """Of each session that somebody was told of."""
        self._before: dict[str, str] = {}  # session → of which it is the successor
        for begun in self.begun:
            if begun.answer == YES:
                self.births[begun.session] = begun
        for rotated in self.rotated:
            if rotated.answer == YES:
                self.births[rotated.successor] = rotated
                self._before[rotated.successor] = rotated.session
        self.changes: defaultdict[str, list[Changed]] = defaultdict(list)
        """Of each session and its successors, by the `root`."""
        for change in self.changed:
            self.changes[self.root(change.session)].append(change)
        self.enders: defaultdict[str, list[Ender]] = defaultdict(list)
        """Of each session, all that tried to end it."""
        ends: list[Ended | Rotated] = [*self.ended, *self.rotated]
        for end in ends:
            self.enders[end.session].append(end)
        for session, birth in self.births.items():
            self.enders[session] += [one for one in self.all if one.user == birth.user and one.ended >= birth.began]

    @property
    def calls(self) -> list[Call]:
        """Every call that was to change something."""
        return [*self.begun, *self.rotated, *self.changed, *self.ended, *self.all]

    def root(self, session: str) -> str:
        """The session that rotations have led from."""
        while session in self._before:
            session = self._before[session]
        return session

    def user(self, session: str) -> str | None:
        """Whose it is, as far as is known."""
        return self.births[session].user if session in self.births else None

    def lives(self, session: str, began: float, ended: float) -> bool:
        """Whether a session is alive for sure from one moment to another."""
        birth = self.births.get(session)
        if birth is None or birth.ended > began:
            return False
        if any(one.began <= ended for one in self.enders[session]):
            return False
        return not self.lost(birth.ended, ended)

    def lost(self, done: float, by: float) -> bool:
        """Whether what was done at a moment may be lost by another."""
        return any(lost <= by and done > since for lost, _, since in self._losses)

    def kept(self, done: Changed, read: Looked) -> bool:
        """Whether no server that a read can have met has lost a change."""
        losses = [loss for loss in self._losses if loss[0] <= read.ended]
        return all(done.ended <= since or done.began >= back for _, back, since in losses)

    def has_ended(self, end: Ender, read: Looked) -> bool:
        """Whether a session has ended for sure before a read began."""
        if end.answer != YES and not (end.answer == NO and isinstance(end, Ended)):
            return False
        if end.ended > read.began:
            return False
        if isinstance(end, EndedAll) and not self.concerns(end, read.session):
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
        return {one.process for one in self.enders[session] if one.began <= end.ended}

    def _cured(self, back: RolledBack, process: int) -> float:
        """When a process has sent its ends to a server that came back with older data."""
        return min((o.ended for o in self._resent if o.process == process and o.began >= back.began), default=inf)

    def concerns(self, end: EndedAll, session: str) -> bool:
        """Whether a session was on its user's list before all on that were ended."""
        return self.births[session].ended <= end.began and self.is_listed(session)

    def is_listed(self, session: str) -> bool:
        """Whether a session is on its list: the server may have lost that while the session was about to begin."""
        birth = self.births[session]
        return not any(lost <= birth.ended and back >= birth.began for lost, back, _ in self._losses)

    # ------------------------------------------------------------------------------------------------

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
