"""Judges the lists of users' sessions, and the count of the active."""

from __future__ import annotations

from collections.abc import Sequence

from torture.checker import Violation
from torture.history import Event
from torture.session_facts import Ender, Sessions, of
from torture.session_history import NO, YES, Begun, Counted, EndedAll, Listed, Looked, Rotated
from torture.trouble import Trouble


def check_counts(history: Sequence[Event], known: Sessions, trouble: Trouble) -> list[Violation]:
    """Every list that is not of what lives, and every count that is not of what may be active."""
    return _Counts(history, known, trouble).violations()


class _Counts:
    def __init__(self, history: Sequence[Event], known: Sessions, trouble: Trouble) -> None:
        self._known = known
        self._trouble = trouble
        self._looked, self._counted, self._listed = of(Looked, history), of(Counted, history), of(Listed, history)

    def violations(self) -> list[Violation]:
        found = self._unlisted()
        return found + [wrong for one in self._counted if (wrong := self._miscounted(one)) is not None]

    def _unlisted(self) -> list[Violation]:
        live = {one.session for one in self._looked if one.last and one.count >= 0 and not one.copy}
        over = {one.session for one in self._looked if one.last} - live
        found = []
        for listed in self._listed:
            mine = {one for one in live if self._known.user(one) == listed.user and self._known.is_listed(one)}
            if missing := mine - set(listed.sessions):
                found.append(Violation(listed, f"sessions live and are not listed: {sorted(missing)}"))
            if extra := over & set(listed.sessions):
                found.append(Violation(listed, f"sessions are listed and not there: {sorted(extra)}"))
        return found

    def _miscounted(self, counted: Counted) -> Violation | None:
        births = self._known.births.items()
        entered = [session for session, birth in births if not self._trouble.before(birth.began, birth.ended)]
        least = sum(self._known.lives(session, counted.began, counted.ended) for session in entered)
        most = sum(self._may_count(session, counted) for session in self._known.births)
        begun: list[Begun | Rotated] = [*self._known.begun, *self._known.rotated]
        most += sum(one.answer not in (YES, NO) and one.began <= counted.ended for one in begun)
        # One that is refused leaves the roll again, as soon as it may.
        most += sum(one.answer == NO and self._doubtful(one, counted) for one in begun)
        if least <= counted.number <= most:
            return None
        return Violation(counted, f"{counted.number} sessions are active, and there are {least} to {most}")

    def _may_count(self, session: str, counted: Counted) -> bool:
        if self._known.births[session].began > counted.ended:
            return False
        ends = [one for one in self._known.enders[session] if self._ends_for_sure(session, one)]
        if all(self._doubtful(one, counted) for one in ends):
            return True
        # A change enters the roll before it looks, and leaves it again where the session is over: unless it fails.
        first = min(one.began for one in ends)
        changes = [one for one in self._known.changed if one.session == session and first <= one.ended]
        return any(
            one.began <= counted.ended and (one.ended >= counted.began or one.answer not in (YES, NO))
            for one in changes
        )

    def _ends_for_sure(self, session: str, end: Ender) -> bool:
        if end.answer != YES:
            return False
        return not isinstance(end, EndedAll) or self._known.concerns(end, session)

    def _doubtful(self, call: Begun | Ender, counted: Counted) -> bool:
        """Whether what a call took from the roll may still be on it."""
        if call.ended > counted.began or self._trouble.before(call.began, call.ended):
            return True
        return self._known.lost(call.ended, counted.ended)
