"""What a request need not wait for: touches, and the sweeping of what is over."""

from __future__ import annotations

import logging
from collections.abc import Coroutine
from time import monotonic
from typing import Any

from greenroom.detached import Detached
from greenroom.errors import GreenroomError

log = logging.getLogger("greenroom.sessions")

_HELD = 5.0
"""Seconds at most for which a request acts on a session as it read it."""


class Background:
    """The tasks of one process.

    Arguments:
        interval: a session is touched at most once in so many seconds.
    """

    def __init__(self, interval: float) -> None:
        self._keep = min(_HELD, interval)
        self._recent: dict[str, float] = {}  # session → when it was last due, the oldest first
        self._detached = Detached()

    def is_first(self, session: str) -> bool:
        """Whether no touch of a session was begun here just now.

        Ten requests of one page read the session before the first of them has touched it.
        """
        now = monotonic()
        while self._recent and self._recent[oldest := next(iter(self._recent))] <= now - self._keep:
            del self._recent[oldest]
        if session in self._recent:
            return False
        self._recent[session] = now
        return True

    def begin(self, session: str, work: Coroutine[Any, Any, None]) -> None:
        """Do something behind; what fails is logged, and the session's next request may try again."""
        self._detached.begin(self._do(session, work))

    async def close(self) -> None:
        """Finish what is under way."""
        await self._detached.close()

    async def _do(self, session: str, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except GreenroomError as error:
            self._recent.pop(session, None)
            log.warning("a session could not be touched: %s", type(error).__name__)
