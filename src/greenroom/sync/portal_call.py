"""One call of a thread into the event loop: its answer, its errors, and the work that its thread is given meanwhile."""

from __future__ import annotations

import asyncio
from asyncio import _get_running_loop
from collections.abc import Callable, Coroutine
from contextvars import Context
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

from greenroom.errors import RoomClosed, RoomElsewhere

if TYPE_CHECKING:
    from greenroom.sync.portal import Portal

E = TypeVar("E", bound=BaseException)
T = TypeVar("T")

_IN_A_LOOP = (
    "an event loop runs in this thread, and would stand still while greenroom.sync waits",
    "use the asynchronous face there, `from greenroom import Greenroom` (of Django's cache and sessions the twins with "
    "an `a`, as `await cache.aget(…)`), or call this in a thread: `await asyncio.to_thread(…)`",
)


def refuse_running_loop() -> None:
    """Return in a thread where no event loop runs.

    Raises:
        RoomElsewhere: in any other.
    """
    if _get_running_loop() is not None:
        raise RoomElsewhere(*_IN_A_LOOP)


class Raised(NamedTuple):
    """What work has raised in the thread of a call.

    Arguments:
        error: the exception itself.
        shared: the copy that all others get who wait for the work.
    """

    error: Exception
    shared: Exception


class Work(Protocol):
    """What the thread of a call does while the call is under way."""

    def run(self, call: PortalCall) -> Raised | None:
        """Do it in the thread of a call, unless it was given to another meanwhile; returns what it has raised."""

    def begins(self) -> None:
        """Its thread has ended all that it was given before; in the loop."""

    def hand_on(self) -> None:
        """Its thread has gone; in the loop."""

    def take_back(self) -> bool:
        """Whether its thread has not taken it, and now never will; in the loop."""


class PortalCall:
    """One call of a thread into the loop, and where it waits for the answer.

    Arguments:
        make: makes the coroutine, in the loop.
        context: that of its task; without it a copy of the loop's own.
        quick: begins what ends the call without a task, where that can be done; tells whether it has.
    """

    __slots__ = ("context", "error", "inbox", "left", "make", "portal", "quick", "raised", "result", "task", "works")

    def __init__(
        self,
        portal: Portal,
        make: Callable[[PortalCall], Coroutine[Any, Any, Any]],
        context: Context | None,
        quick: Callable[[PortalCall], bool] | None = None,
    ) -> None:
        self.portal = portal
        self.quick = quick
        self.make = make
        self.context = context
        self.inbox: SimpleQueue[Any] = portal.inbox()
        self.result: Any = None
        self.error: BaseException | None = None
        self.raised: Raised | None = None
        """What work in its own thread has raised."""
        self.task: asyncio.Task[None] | None = None
        self.works: list[Work] = []
        """The work that its thread was given and has not ended, in the order in which it is done; in the loop."""
        self.left = False
        """Whether its thread takes no more work: it has its answer, has gone, or hangs in a work; in the loop."""

    def start(self) -> None:
        """Begin; in the loop. What was put there twice, by a thread that was interrupted, begins once."""
        if self.task is None and self.portal.loop is not None:
            self.portal.running.add(self)
            if self.quick is None or not self.quick(self):
                self.task = self.portal.loop.create_task(self._run(), context=self.context)

    def go_on(self, make: Callable[[PortalCall], Coroutine[Any, Any, Any]]) -> None:
        """Go on by a coroutine, after a quick beginning that did not end the call; in the loop."""
        if self in self.portal.running and self.portal.loop is not None:
            self.make = make
            self.task = self.portal.loop.create_task(self._run(), context=self.context)

    def end(self, error: BaseException | None = None) -> None:
        """Give its thread the answer; in the loop."""
        if self in self.portal.running:
            self.portal.running.discard(self)
            if error is not None:
                self.error = error
            if self.portal.loop is not None:
                # Prevents: one of a thousand loads fails, and so does the call · its thread does all the others before
                # it looks at the answer.
                self.give_back()
            self.inbox.put(self)

    def give_back(self) -> None:
        """Have others do the work that its thread has not taken; in the loop."""
        self.left = True
        for work in tuple(self.works):
            if work.take_back():
                work.hand_on()

    async def _run(self) -> None:
        error: BaseException | None = None
        try:
            self.result = await self.make(self)
        except asyncio.CancelledError:
            error = RoomClosed()  # nobody else cancels it
        except BaseException as raised:
            error = raised
        # Within the task's own step: a callback of its end would cost the loop another turn.
        self.end(error)


Make = Callable[[PortalCall], Coroutine[Any, Any, T]]
"""Makes the coroutine of a call, in the loop."""


def after_calls(
    left: list[PortalCall], make: Callable[[PortalCall], Coroutine[Any, Any, T]]
) -> Callable[[PortalCall], Coroutine[Any, Any, T]]:
    """A call of a thread that was interrupted in others, which go on: after these."""

    async def after(call: PortalCall) -> T:
        if tasks := {one.task for one in left if one.task is not None}:
            await asyncio.wait(tasks)
        return await make(call)

    return after


def copied(error: E) -> E:
    """A copy of an exception, with its traceback; the exception itself where none like it can be made.

    Prevents: a load fails, and eight threads wait for it · each raises the one error, which notes the frames that it
    passes · each traceback has the frames of all.
    """
    try:
        # Without its `__init__`, which may take other arguments than it gives its parent.
        copy = type(error).__new__(type(error), *error.args)
        copy.__dict__.update(error.__dict__)
        if type(copy) is not type(error) or copy.args != error.args or str(copy) != str(error):
            return error
    except Exception:
        return error
    copy.__cause__, copy.__context__ = error.__cause__, error.__context__
    copy.__suppress_context__ = error.__suppress_context__
    return copy.with_traceback(error.__traceback__)


def own_error(call: PortalCall) -> BaseException:
    """The error of a call, which no other thread raises: what its own thread has raised itself, or a copy."""
    assert call.error is not None
    if call.raised is not None and call.error is call.raised.shared:
        return call.raised.error
    return copied(call.error)
