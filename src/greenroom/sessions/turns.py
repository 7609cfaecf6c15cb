"""Turns: changes of one session that have met in one process go on one after another.

Prevents: a thousand changes of one number read it · one is written, 999 differ and are read again · one is written, 998
differ: half a million commands. What fails the first for want of a server fails those behind it too.

A turn is waited for within the time that the call may take at all: else ten changes over a slow network take ten times
as long as one.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from weakref import WeakValueDictionary

from greenroom.engine.deadline import TimeBudget, before
from greenroom.errors import EngineUnavailable, OutcomeUnknown, Overloaded

TOO_MANY = "the session changes faster than it can be written"


class _Turn:
    __slots__ = ("__weakref__", "changes", "failed", "lock")

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.changes = 0  # that have been made
        self.failed = False


# docs/decisions/0042-session-changes-queue-within-their-budget.md
class Turns:
    """Who changes which session at the moment."""

    def __init__(self) -> None:
        self._turns: WeakValueDictionary[str, _Turn] = WeakValueDictionary()

    @asynccontextmanager
    async def of(self, session: str, budget: TimeBudget) -> AsyncIterator[None]:
        """A turn of one's own; waiting for it spends the budget.

        Raises:
            EngineUnavailable: when the server failed somebody meanwhile.
            Overloaded: when others have made their changes meanwhile, and no time is left for this one.
        """
        turn = self._turns.setdefault(session, _Turn())
        made = turn.changes
        try:
            with budget.spending() as deadline:
                async with before(deadline):
                    await turn.lock.acquire()
        except TimeoutError:
            if turn.changes == made:
                raise EngineUnavailable("the change before this one had no answer in time") from None
            raise Overloaded(TOO_MANY) from None
        try:
            if turn.failed:
                raise EngineUnavailable("the server of the sessions failed a change before this one")
            yield
            turn.changes += 1
        except (EngineUnavailable, OutcomeUnknown) as error:
            if turn.changes != made and type(error) is EngineUnavailable:
                raise Overloaded(TOO_MANY) from error  # most of the time was spent on others, who were answered
            turn.failed = True
            if self._turns.get(session) is turn:
                del self._turns[session]
            raise
        finally:
            turn.lock.release()
