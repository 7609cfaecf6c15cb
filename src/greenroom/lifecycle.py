"""Opening and closing, one at a time: a room, or a platform, is closed, being opened, open, or being closed."""

from __future__ import annotations

import asyncio
from asyncio import Future, Task
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

from greenroom.detached import ended, to_the_end
from greenroom.errors import InvalidInput
from greenroom.opened import Opened


class Opening:
    """One opening, from before its first step until all that it has opened is closed."""

    def __init__(self) -> None:
        self.opened = Opened()
        """What its parts ask before each operation."""
        self.stack = AsyncExitStack()
        """Closes what has been opened so far."""
        self.settled: Future[None] = asyncio.get_running_loop().create_future()
        """Done when it is open, or could not be opened."""
        self.closing: Task[None] | None = None

    @property
    def state(self) -> str:
        """What it is, in words."""
        if self.closing is not None:
            return "being closed"
        return "open" if self.settled.done() else "being opened"


class Lifecycle:
    """The openings of one object, one after another.

    Prevents: two open it at the same time · both succeed · the engine and the tasks of one are never closed. Or: it is
    opened again while it is being closed · the rest of the closing closes what was just opened.

    Arguments:
        name: of what is opened, in errors.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._current: Opening | None = None

    async def open(self, steps: Callable[[Opening], Awaitable[None]]) -> None:
        """Open it by these steps; if one fails, what was opened before is closed. Waits while it is being closed.

        Raises:
            InvalidInput: while it is open or being opened, or is being closed in another event loop.
            RoomElsewhere: in a child that was forked since it was opened.
            Whatever the steps raise.
        """
        if (current := self._current) is not None:
            current.opened.check_process()
        mine = Opening()
        # No call and no await from the look to the claim: nobody, in no thread, comes between.
        while (current := self._current) is not None:
            await self._closed(current)
        self._current = mine
        try:
            await steps(mine)
        except BaseException:
            try:
                await to_the_end(mine.stack.aclose)
            finally:
                self._current = None
            raise
        finally:
            mine.settled.set_result(None)

    async def close(self) -> None:
        """Close it, after its opening where that is under way; a caller who is cancelled is so when it is closed.

        All who call it wait for the one closing.

        Raises:
            RoomElsewhere: in another event loop, or in a child that was forked since it was opened; nothing is closed.
        """
        current = self._current
        if current is None:
            return
        # Otherwise: closed in another loop · the tasks that it waits for are woken in theirs · it waits for ever, and
        # what was open answers no more.
        current.opened.check_place()
        if not current.settled.done():
            await asyncio.wait([current.settled])
            if self._current is not current:
                return
        if current.closing is None:
            current.closing = asyncio.get_running_loop().create_task(self._close(current), name="greenroom-close")
        await ended(current.closing)

    async def _close(self, current: Opening) -> None:
        try:
            await current.stack.aclose()
        finally:
            self._current = None

    async def _closed(self, current: Opening) -> None:
        """Wait for the end of an opening that is being closed, and refuse to wait for any other."""
        if current.closing is not None and current.opened.is_here:
            await asyncio.wait([current.closing])
            return
        remedy = "leave its block first, or make another"
        if current.closing is not None:
            remedy = "wait for that in its event loop, or make another"
        raise InvalidInput(self._name, f"is {current.state} already", remedy)
