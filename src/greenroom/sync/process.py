"""The one portal of this process: begun when it is first needed, closed at the process's end, and left to the parent by
a child that is forked.

The loop's epoll and pipe, and the connections, are shared with the parent. Prevents: the child closes a transport that
it has inherited · that takes the connection out of the epoll of both · the parent hears nothing any more. So the child
closes nothing, writes nothing, and lets nothing be collected of what it has inherited.
"""

from __future__ import annotations

import atexit
import ctypes
import logging
import os
import sys
from threading import RLock
from typing import TYPE_CHECKING
from weakref import WeakSet

from greenroom.errors import RoomClosed, RoomElsewhere
from greenroom.sync.portal import Portal

if TYPE_CHECKING:
    from greenroom.sync.room_opening import RoomOpening

log = logging.getLogger("greenroom.sync")

_CLOSE_WITHIN = 3.0
"""Seconds that closing may take at the end of the process: its rooms, and the loop's thread."""


class _Process:
    """What the threads of this process share."""

    def __init__(self) -> None:
        self.lock = RLock()
        self.portal: Portal | None = None
        self.ending = False


_process = _Process()
_rooms: WeakSet[RoomOpening] = WeakSet()


def register(room: RoomOpening) -> None:
    """Close a room at the end of the process, and let it begin anew in a forked child."""
    _rooms.add(room)


def portal() -> Portal:
    """The portal of this process.

    Raises:
        RoomClosed: at the end of the process.
        RoomElsewhere: under the patches of gevent or eventlet.
    """
    with _process.lock:
        if _process.ending:
            raise RoomClosed("the process ends, and its rooms are closed")
        if _process.portal is None:
            _refuse_green_threads()
            _process.portal = Portal()
        return _process.portal


def _refuse_green_threads() -> None:
    """Prevents: gevent has made threads of this process greenlets · the loop waits in its own selector, for the one
    real thread that there is · nobody else runs again."""
    for package, patched in (("gevent", _patched_by_gevent), ("eventlet", _patched_by_eventlet)):
        if patched():
            raise RoomElsewhere(
                f"{package} has patched the threads of this process, and greenroom.sync needs real ones",
                "serve with threads, as gunicorn's `--worker-class gthread`",
            )


def _patched_by_gevent() -> bool:
    monkey = sys.modules.get("gevent.monkey")
    return monkey is not None and any(map(monkey.is_module_patched, ("threading", "thread", "socket", "select")))


def _patched_by_eventlet() -> bool:
    patcher = sys.modules.get("eventlet.patcher")
    return patcher is not None and any(map(patcher.is_monkey_patched, ("thread", "socket", "select")))


# docs/decisions/0099-the-room-of-threads-closes-after-their-end.md
def _close() -> None:
    """At the end of the process: every room is closed, then the loop and its thread."""
    with _process.lock:
        _process.ending = True
        begun = _process.portal
    if begun is None:
        return
    try:
        for room in tuple(_rooms):
            room.close_at_exit(_CLOSE_WITHIN)
    finally:
        begun.close(_CLOSE_WITHIN)


def _forked() -> None:
    """In a forked child: what its parent has begun is left alone, for good, and everything begins anew."""
    global _process
    inherited, _process = _process, _Process()
    for room in tuple(_rooms):
        _keep_for_ever(room.forked())
    if inherited.portal is not None:
        _keep_for_ever(inherited.portal)


# docs/decisions/0098-a-forked-child-keeps-what-it-inherited-for-ever.md
def _keep_for_ever(one: object) -> None:
    """Never finalize it, not even at the interpreter's end: the finalizers of loops and transports close them."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(one))


# After the threads of the program and of its executors, which may still call a room: closing needs no executor.
atexit.register(_close)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
