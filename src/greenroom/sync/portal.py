"""The way from any thread into the one event loop of a process.

A call is put on a queue, and the loop is woken once for all that wait there: with a wake-up each, sixty-four threads
spend more on the loop's pipe than on what they ask for. Each call is one task from its first step. Prevents: a first
step is run without a task, to save one · it needs one, and is begun again · of ten increments twenty are counted.

While its thread waits, a call may be given work: a loader that is not async runs in the thread that missed.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from asyncio import _get_running_loop
from collections import deque
from collections.abc import Callable, Coroutine
from contextlib import suppress
from contextvars import Context
from functools import partial
from queue import Empty, SimpleQueue
from threading import Thread, get_ident
from time import sleep
from typing import Any, NamedTuple, Protocol, TypeVar

from greenroom.errors import RoomClosed, RoomElsewhere
from greenroom.sync.daemon_threads import DaemonThreads

log = logging.getLogger("greenroom.sync")

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

    def run(self) -> Raised | None:
        """Do it; returns what it has raised."""

    def hand_on(self) -> None:
        """Its thread has gone; in the loop."""


class PortalCall:
    """One call of a thread into the loop, and where it waits for the answer.

    Arguments:
        make: makes the coroutine, in the loop.
        context: that of its task; without it a copy of the loop's own.
    """

    __slots__ = ("context", "error", "inbox", "left", "make", "portal", "raised", "result", "task", "works")

    def __init__(
        self, portal: Portal, make: Callable[[PortalCall], Coroutine[Any, Any, Any]], context: Context | None
    ) -> None:
        self.portal = portal
        self.make = make
        self.context = context
        self.inbox: SimpleQueue[Any] = portal.inbox()
        self.result: Any = None
        self.error: BaseException | None = None
        self.raised: Raised | None = None
        """What work in its own thread has raised."""
        self.task: asyncio.Task[None] | None = None
        self.works: list[Work] = []
        """The work that its thread was given and has not ended; in the loop."""
        self.left = False
        """Whether its thread has gone, and takes no more work; in the loop."""

    def start(self) -> None:
        """Begin; in the loop. What was put there twice, by a thread that was interrupted, begins once."""
        if self.task is None and self.portal.loop is not None:
            self.portal.running.add(self)
            self.task = self.portal.loop.create_task(self._run(), context=self.context)

    def end(self, error: BaseException | None = None) -> None:
        """Give its thread the answer; in the loop."""
        if self in self.portal.running:
            self.portal.running.discard(self)
            if error is not None:
                self.error = error
            self.inbox.put(self)

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


class _Posted:
    __slots__ = ("start",)

    def __init__(self, start: Callable[[], object]) -> None:
        self.start = start


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


_FEW = 2
"""Calls under way up to which a new one begins at once; past it the loop lets other threads put theirs beside it."""


def _new_loop() -> asyncio.AbstractEventLoop:
    """A loop of uvloop where that is installed, which takes two thirds of the time."""
    try:
        import uvloop
    except ImportError:
        loop: asyncio.AbstractEventLoop = _Loop()
    else:
        loop = uvloop.new_event_loop()
    loop.set_default_executor(DaemonThreads())
    return loop


class Portal:
    """An event loop in a daemon thread, and the calls of other threads into it."""

    def __init__(self) -> None:
        self._pid = os.getpid()
        self._queue: deque[PortalCall | _Posted] = deque()
        self._woken = False
        self._inboxes: deque[SimpleQueue[Any]] = deque()
        self._left_by: dict[int, list[PortalCall]] = {}
        """What drops something and was left by its thread, which was interrupted."""
        self._awaited: set[asyncio.Task[None]] = set()
        """What coroutines of other loops wait for; in the loop."""
        self.running: set[PortalCall] = set()
        """Calls under way; in the loop."""
        self.loop: asyncio.AbstractEventLoop | None = _new_loop()
        self._thread = Thread(target=self._serve, args=(self.loop,), name="greenroom-sync", daemon=True)
        self._thread.start()

    # In any thread -----------------------------------------------------------------------------------

    def run(
        self,
        make: Make[T],
        *,
        begin: Callable[[], object] | None = None,
        context: Context | None = None,
        seconds: float | None = None,
    ) -> T:
        """Run a coroutine in the loop; its result, or what it raises.

        Arguments:
            make: makes it, given the call.
            begin: called in this thread before the call is queued, perhaps twice. What it begins the coroutine ends, so
                that the call is then queued even if its thread is interrupted in between.
            seconds: after which this thread goes on without an answer; by default it waits for it.

        Raises:
            RoomElsewhere: where an event loop runs in this thread.
            TimeoutError: after so many seconds.
            RoomClosed: when the loop has ended.
            KeyboardInterrupt: and whatever else interrupts a thread. What was begun goes on.
        """
        refuse_running_loop()
        if self._left_by and (left := self._left_by.pop(get_ident(), None)):
            make = _after(left, make)
        call = PortalCall(self, make, context)
        inbox, begun = call.inbox, False
        try:
            if begin is not None:
                begin()
                begun = True
            self._put(call)
            while (given := inbox.get(timeout=seconds)) is not call:
                self._work(call, given)
        except Empty:
            self.post(partial(self._left, call))
            raise TimeoutError(f"no answer within {seconds} s") from None
        except BaseException as error:
            self._interrupted(call, error, begin, begun=begun)
            raise
        self._inboxes.append(inbox)
        if call.error is None:
            result: T = call.result
            return result
        try:
            raise _ones_own(call)
        finally:
            del call  # or its error would hold the frame that holds the error

    async def awaited(self, make: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run a coroutine in the loop, for one of another loop; its result, or what it raises.

        Raises:
            RoomClosed: when the loop has ended.
        """
        caller = asyncio.get_running_loop()
        answer: asyncio.Future[T] = caller.create_future()

        def answered(result: Any, error: BaseException | None) -> None:
            if answer.cancelled():
                return
            if error is None:
                answer.set_result(result)
            else:
                answer.set_exception(error)

        async def run() -> None:
            result: Any = None
            error: BaseException | None = None
            try:
                result = await make()
            except asyncio.CancelledError:
                error = RoomClosed()  # nobody else cancels it
            except BaseException as raised:
                error = raised
            with suppress(RuntimeError):  # the caller's loop is closed
                caller.call_soon_threadsafe(answered, result, error)

        def begin() -> None:
            assert self.loop is not None
            task = self.loop.create_task(run())
            self._awaited.add(task)
            task.add_done_callback(self._awaited.discard)

        self._put(_Posted(begin))
        return await answer

    def post(self, work: Callable[[], object]) -> bool:
        """Have something done in the loop, without waiting for it; False where the loop has ended."""
        try:
            self._put(_Posted(work))
        except RoomClosed:
            return False
        return True

    def inbox(self) -> SimpleQueue[Any]:
        """Where one call waits; nobody else's."""
        try:
            return self._inboxes.pop()
        except IndexError:
            return SimpleQueue()

    def _put(self, one: PortalCall | _Posted) -> None:
        loop = self.loop
        if loop is None or os.getpid() != self._pid:
            raise RoomClosed
        self._queue.append(one)
        if self._woken:
            return
        try:
            self._woken = True
            loop.call_soon_threadsafe(self._drain)
        except RuntimeError:
            raise RoomClosed from None  # it was closed just now
        except BaseException:
            # Interrupted after the mark and before the call: nobody else would wake it any more.
            loop.call_soon_threadsafe(self._drain)
            raise

    def _work(self, call: PortalCall, given: Work) -> None:
        call.raised = given.run() or call.raised
        if os.getpid() != self._pid:
            raise RoomElsewhere("this process was forked inside a loader", "end such a process by `os._exit`")

    def _interrupted(
        self, call: PortalCall, error: BaseException, begin: Callable[[], object] | None, *, begun: bool
    ) -> None:
        # Its inbox is given to nobody: what it waited for may still come.
        if os.getpid() != self._pid or isinstance(error, RoomClosed):
            return
        if begin is not None:
            # What this thread reads next must be read after that: a near entry of a group goes when the group was read.
            self._left_by.setdefault(get_ident(), []).append(call)
            if not begun:
                begin()  # perhaps half of it is done
            if call.task is None:
                self._put(call)
        self.post(partial(self._left, call))

    # In the loop --------------------------------------------------------------------------------------

    def _drain(self) -> None:
        queue = self._queue
        if len(queue) + len(self.running) > _FEW:
            # Threads that were answered just now are about to call again: each runs until it waits for its answer.
            waiting = 0
            while len(queue) > waiting:
                waiting = len(queue)
                sleep(0)
        # Before the look: who puts something there from now on wakes the loop again.
        self._woken = False
        while queue:
            queue.popleft().start()

    def _left(self, call: PortalCall) -> None:
        call.left = True
        for work in tuple(call.works):
            work.hand_on()

    def _serve(self, loop: asyncio.AbstractEventLoop) -> None:
        asyncio.set_event_loop(loop)
        while self.loop is not None:
            try:
                loop.run_forever()
            except (KeyboardInterrupt, SystemExit) as error:
                # An async loader's, which ends its load. Here it would end all calls of all threads.
                log.warning("%s was raised in the event loop of greenroom.sync, which goes on", type(error).__name__)

    # Its end ------------------------------------------------------------------------------------------

    @property
    def is_own_thread(self) -> bool:
        """Whether this is the loop's thread."""
        return get_ident() == self._thread.ident

    def close(self, seconds: float) -> None:
        """End the loop and its thread, within so many seconds; calls under way are told that the room is closed."""
        loop = self.loop
        if loop is None:
            return
        self.loop = None
        loop.call_soon_threadsafe(self._stop, loop)
        self._thread.join(seconds)
        if not self._thread.is_alive():
            loop.close()

    def _stop(self, loop: asyncio.AbstractEventLoop) -> None:
        for call in tuple(self.running):
            call.end(RoomClosed())
        while self._queue:
            one = self._queue.popleft()
            if isinstance(one, PortalCall):
                self.running.add(one)
                one.end(RoomClosed())
        tasks = asyncio.all_tasks(loop)
        for task in tasks:
            task.cancel()

        async def last() -> None:
            if tasks:
                await asyncio.wait(tasks, timeout=1.0)
            await loop.shutdown_asyncgens()
            loop.stop()

        self._last = loop.create_task(last())


def _after(
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


def _ones_own(call: PortalCall) -> BaseException:
    """The error of a call, which no other thread raises: what its own thread has raised itself, or a copy."""
    assert call.error is not None
    if call.raised is not None and call.error is call.raised.shared:
        return call.raised.error
    return copied(call.error)
