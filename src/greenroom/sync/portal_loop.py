"""The event loop of a portal: uvloop's where that is installed, else one that makes longer turns."""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from contextlib import suppress

from greenroom.sync.daemon_threads import DaemonThreads

_PASSES = 3
"""Times that a turn of the loop runs what its callbacks have scheduled: a call's first step, then its command."""


# docs/decisions/0097-the-portals-loop-makes-longer-turns.md
class _Loop(asyncio.SelectorEventLoop):
    """The loop of a portal where there is no uvloop: it asks its selector twice for a call, and not five times."""

    _ready: deque[asyncio.Handle]
    _ssock: socket.socket

    def _run_once(self) -> None:
        super()._run_once()  # type: ignore[misc]
        ready = self._ready
        for _ in range(_PASSES):
            for _ in range(len(ready)):
                handle = ready.popleft()
                if not handle._cancelled:
                    handle._run()

    def _read_from_self(self) -> None:
        # Once: what is left wakes it again. To read until there is nothing costs an exception more.
        with suppress(BlockingIOError, InterruptedError):
            self._ssock.recv(4096)


def new_loop() -> asyncio.AbstractEventLoop:
    """A loop of uvloop where that is installed, which takes two thirds of the time."""
    try:
        import uvloop
    except ImportError:
        loop: asyncio.AbstractEventLoop = _Loop()
    else:
        loop = uvloop.new_event_loop()
    loop.set_default_executor(DaemonThreads())
    return loop
