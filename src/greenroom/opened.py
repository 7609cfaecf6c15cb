"""Whether a room is open, and where: what it has given out says so too."""

from __future__ import annotations

import os
from asyncio import AbstractEventLoop, _get_running_loop
from collections.abc import Callable
from threading import get_ident
from weakref import WeakSet

from greenroom.errors import RoomClosed, RoomElsewhere, RoomNotOpen


class Opened:
    """Asked before each operation of what a room has given out.

    Prevents: the room is closed · somebody who has kept a part of it asks for something · the answer is that a server
    or the database is away, and the caller tries again for ever.

    It belongs to one event loop and one process. Prevents: a second loop awaits a reply · the first one's connection
    gets it, in another thread, and wakes nobody. Or: a forked child writes into its parent's connection.

    Arguments:
        begun: False for a room that has not been opened yet.
    """

    __slots__ = ("__weakref__", "_begun", "_loop", "_over", "_pid", "_superseded", "loop_runs", "thread")

    def __init__(self, *, begun: bool = True) -> None:
        self._begun = begun
        self._over = False
        self._superseded = False
        self._pid = os.getpid()
        self._loop: AbstractEventLoop | None = _get_running_loop()
        self.thread = get_ident() if begun and self._loop is not None else NO_THREAD
        """The thread of the event loop while it is open: what a near hit looks at, since asking for the running loop
        costs a system call before Python 3.12."""
        self.loop_runs: Callable[[], bool] = _never if self._loop is None else self._loop.is_running
        """Whether that loop runs; never where it is not known yet."""
        _opened.add(self)

    def check(self) -> None:
        """Return while it is open, in its event loop.

        Raises:
            RoomNotOpen: before it is opened.
            RoomClosed: after it was closed.
            RoomElsewhere: in another event loop, or in a child that was forked since it was opened.
        """
        self.check_open()
        self._check_loop()

    def check_place(self) -> None:
        """As `check`, whether it is open or not.

        Raises:
            RoomElsewhere: as `check`.
        """
        self.check_process()
        self._check_loop()

    @property
    def is_here(self) -> bool:
        """Whether the running event loop is its own."""
        return _get_running_loop() is self._loop

    def _check_loop(self) -> None:
        running = _get_running_loop()
        if running is self._loop:
            return
        if self._loop is None:  # of what was made before any loop ran: it belongs to the first one that uses it
            self._loop = running
            return
        if running is None:
            raise RoomElsewhere("no event loop runs here", "call it from a coroutine of the event loop that opened it")
        raise RoomElsewhere(
            "the room was opened in another event loop", "use it there, or make and open a Greenroom in this one"
        )

    def check_open(self) -> None:
        """As `check`, in whatever event loop: for what only looks at attributes."""
        if self._over:
            raise RoomClosed(_EARLIER) if self._superseded else RoomClosed()
        if not self._begun:
            raise RoomNotOpen
        self.check_process()

    def check_process(self) -> None:
        """Return in the process that opened it.

        Raises:
            RoomElsewhere: in a child that was forked since.
        """
        if self.is_forked:
            raise RoomElsewhere(
                f"the room was opened in process {self._pid}, from which this one was forked",
                "make and open a Greenroom after the fork",
            )

    @property
    def is_forked(self) -> bool:
        """Whether this process was forked from the one that opened it, whose connections it must leave alone."""
        return os.getpid() != self._pid

    def end(self) -> None:
        """It is closed, for good."""
        self._over = True
        self.thread = NO_THREAD

    def supersede(self) -> None:
        """The room is open again: who has kept a part of this opening is told that, not that the room is closed."""
        self._superseded = True


_EARLIER = "it belongs to an opening of the room that was closed: ask the room for it anew, in each of its blocks"


def _never() -> bool:
    return False


def _forked() -> None:
    for one in _opened:
        one.thread = NO_THREAD


NO_THREAD = 0
"""No thread's ident."""
_opened: WeakSet[Opened] = WeakSet()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
