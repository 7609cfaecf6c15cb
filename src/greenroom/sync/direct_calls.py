"""Questions that a thread asks the server by itself: while it is alone, no other thread need be woken for it.

docs/decisions/0121-a-lone-thread-asks-the-server-itself.md
"""

from __future__ import annotations

from asyncio import _get_running_loop
from threading import get_ident
from time import monotonic
from typing import Any

from greenroom.engine import Command, Direct
from greenroom.sync.portal import Portal

_IN_A_ROW = 10.0
"""Seconds between two questions that are in a row: for one now and then no connection is worth keeping."""


class DirectCalls:
    """Asks a server of one room, while no call of any thread is on its way through the portal.

    Threads that ask in turns are better off in the portal, which wakes the loop once for all that wait there. So a
    thread asks by itself from its second question in a row on.

    Arguments:
        patience: seconds that all questions of one call may take together.
    """

    __slots__ = ("_asked_at", "_direct", "_last", "_portal", "patience")

    def __init__(self, direct: Direct, portal: Portal, patience: float) -> None:
        self._direct = direct
        self._portal = portal
        self._last = 0
        self._asked_at = 0.0
        self.patience = patience

    def alone(self) -> bool:
        """Whether the calling thread may ask: no other thread has asked since, and no call is on its way.

        What a thread was interrupted in comes first. Prevents: it drops a key · it is interrupted, as by Ctrl-C, while
        the call is on its way · it reads the key, and has the old value from the server.

        To be looked at before all else: with many threads the answer is no, and each of their reads pays for it.
        """
        thread, portal, now = get_ident(), self._portal, monotonic()
        before, self._asked_at = self._asked_at, now
        if self._last != thread or now - before > _IN_A_ROW:
            self._last = thread
            return False
        return not portal.running and not portal.queue and thread not in portal.left_by and _get_running_loop() is None

    def ask(self, commands: tuple[Command, ...]) -> list[Any] | None:
        """As `Direct.ask`; begins to connect where that is due."""
        replies = self._direct.ask(commands)
        if replies is None and self._direct.due:
            self._portal.post(self._direct.open)
        return replies

    def count(self) -> None:
        """See `Direct`."""
        self._direct.count()
