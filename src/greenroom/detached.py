"""Work that its caller has begun and that goes on without him: what must be finished, or undone, once it has begun."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

CLOSING = 0.5
"""Seconds that work without its callers may take when its room closes."""


async def to_the_end(work: Callable[[], Coroutine[Any, Any, object]]) -> None:
    """Do what closes something: a caller who is cancelled is so when it is done.

    Prevents: a room is closed, which takes two steps · its task is cancelled before the second · what that would have
    closed stays open for good.
    """
    await ended(asyncio.get_running_loop().create_task(work()))


async def ended(task: asyncio.Task[Any]) -> None:
    """Wait for the end of a task, which goes on when its waiter is cancelled; he is so when it has ended."""
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        if not task.done():
            await asyncio.wait([task])
        raise


async def stop(task: asyncio.Future[Any]) -> None:
    """Cancel a task, and wait for its end; a caller who is cancelled meanwhile is so when it has ended.

    Prevents: a task takes a while to end · whoever waits for that suppresses its CancelledError · the waiter is
    cancelled, and suppresses that too: it goes on for ever, and so does the wait for its own end.
    """
    task.cancel()
    await to_the_end(lambda: asyncio.wait([task]))


# docs/decisions/0045-changes-finish-once-begun.md
class Detached:
    """The detached tasks of one owner, who closes them."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def __len__(self) -> int:
        return len(self._tasks)

    def begin(self, work: Coroutine[Any, Any, T], name: str | None = None) -> asyncio.Task[T]:
        """Begin work that nobody need wait for; a caller who does gets what it raises."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    async def finish(self, work: Coroutine[Any, Any, T], name: str | None = None) -> T:
        """What work comes to. Its caller may be cancelled; the work is not."""
        return await asyncio.shield(self.begin(work, name))

    async def close(self, seconds: float | None = None) -> None:
        """Wait for what is under way, but not for longer than so many seconds."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=seconds)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # or it would be logged where its caller is gone
