"""Changes of one session that have met in one process go on one after another.

Prevents: a thousand changes of one number read it · one is written, 999 differ and are read again · one is written, 998
differ: half a million commands. What fails the first for want of a server fails those behind it too, or each would wait
for its own deadline after the others'.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from weakref import WeakValueDictionary

from greenroom.errors import EngineUnavailable, OutcomeUnknown


class _Turn:
    __slots__ = ("__weakref__", "failed", "lock")

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.failed = False


class Turns:
    """Who changes which session at the moment."""

    def __init__(self) -> None:
        self._turns: WeakValueDictionary[str, _Turn] = WeakValueDictionary()

    @asynccontextmanager
    async def of(self, session: str) -> AsyncIterator[None]:
        """A turn of one's own.

        Raises:
            EngineUnavailable: when the server failed somebody meanwhile.
        """
        turn = self._turns.setdefault(session, _Turn())
        async with turn.lock:
            if turn.failed:
                raise EngineUnavailable("the server of the sessions failed a change before this one")
            try:
                yield
            except (EngineUnavailable, OutcomeUnknown):
                turn.failed = True
                if self._turns.get(session) is turn:
                    del self._turns[session]
                raise
