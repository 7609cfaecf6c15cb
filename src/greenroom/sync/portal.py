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
from collections import deque
from collections.abc import Callable, Coroutine
from contextlib import suppress
from contextvars import Context
from functools import partial
from queue import Empty, SimpleQueue
from threading import Thread, get_ident
from time import sleep
from typing import Any, TypeVar

from greenroom.errors import RoomClosed, RoomElsewhere
from greenroom.sync.portal_call import Make, PortalCall, Work, after_calls, own_error, refuse_running_loop
from greenroom.sync.portal_loop import new_loop

log = logging.getLogger("greenroom.sync")

T = TypeVar("T")


class _Posted:
    __slots__ = ("start",)

    def __init__(self, start: Callable[[], object]) -> None:
        self.start = start


_FEW = 2
"""Calls under way up to which a new one begins at once; past it the loop lets other threads put theirs beside it."""


class Portal:
    """An event loop in a daemon thread, and the calls of other threads into it."""

    def __init__(self) -> None:
        self._pid = os.getpid()
        self.queue: deque[PortalCall | _Posted] = deque()
        """What waits for the loop."""
        self._woken = False
        self._inboxes: deque[SimpleQueue[Any]] = deque()
        self.left_by: dict[int, list[PortalCall]] = {}
        """What drops something and was left by its thread, which was interrupted."""
        self._awaited: set[asyncio.Task[None]] = set()
        """What coroutines of other loops wait for; in the loop."""
        self.running: set[PortalCall] = set()
        """Calls under way; in the loop."""
        self.loop: asyncio.AbstractEventLoop | None = new_loop()
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
        quick: Callable[[PortalCall], bool] | None = None,
    ) -> T:
        """Run a coroutine in the loop; its result, or what it raises.

        Arguments:
            make: makes it, given the call.
            begin: called in this thread before the call is queued, perhaps twice. What it begins the coroutine ends, so
                that the call is then queued even if its thread is interrupted in between.
            quick: see `PortalCall`.
            seconds: after which this thread goes on without an answer; by default it waits for it.

        Raises:
            RoomElsewhere: where an event loop runs in this thread.
            TimeoutError: after so many seconds.
            RoomClosed: when the loop has ended.
            KeyboardInterrupt: and whatever else interrupts a thread. What was begun goes on.
        """
        refuse_running_loop()
        if self.left_by and (left := self.left_by.pop(get_ident(), None)):
            make, quick = after_calls(left, make), None
        call = PortalCall(self, make, context, quick)
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
            raise own_error(call)
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
        self.queue.append(one)
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
        call.raised = given.run(call) or call.raised
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
            self.left_by.setdefault(get_ident(), []).append(call)
            if not begun:
                begin()  # perhaps half of it is done
            if call.task is None:
                self._put(call)
        self.post(partial(self._left, call))

    # In the loop --------------------------------------------------------------------------------------

    def _drain(self) -> None:
        queue = self.queue
        if len(queue) + len(self.running) > _FEW:
            # Threads that were answered just now are about to call again: each runs until it waits for its answer.
            waiting = 0
            while len(queue) > waiting:
                waiting = len(queue)
                sleep(0)
        # Before the look: who puts something there from now on wakes the loop again.
        self._woken = False
        while queue:
            # In the queue until it has begun: who looks whether any call is on its way finds it in one of both.
            try:
                queue[0].start()
            finally:
                queue.popleft()

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
        while self.queue:
            one = self.queue.popleft()
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
