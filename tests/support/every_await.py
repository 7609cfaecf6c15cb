"""An operation that fails, or is cancelled, at every await in turn: what it had taken must be given back each time.

The operation is run again and again. In the first run the fault hits its first await, in the second its second, until
a run comes to its end without it. An await is every suspension of the operation's own task and of each task that it
has begun, so that what it does behind is hit too. Three things can happen there: the caller is cancelled, the very task
that waits is stopped (as when its process closes), or every connection is cut. And at three moments, since what is held
differs:

    before    nothing has been written yet
    written   the command is on its way, and its reply is not here
    answered  the reply is here, and whoever waits for it has not run yet
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Coroutine, Generator
from contextlib import AbstractAsyncContextManager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Literal, Protocol

What = Literal["cancel", "stop", "cut"]
When = Literal["before", "written", "answered"]
PATIENCE = 20.0
"""Seconds after which a run counts as hung."""


@dataclass(frozen=True)
class Fault:
    """What happens at one await, and at which moment of it."""

    what: What
    when: When

    def __str__(self) -> str:
        return f"{self.what} {self.when}"


FAULTS = tuple(Fault(what, when) for what in ("cancel", "stop", "cut") for when in ("before", "written", "answered"))
OUTER = tuple(fault for fault in FAULTS if fault.what != "stop")
"""Without those that stop tasks which nobody but the end of the event loop would stop."""


class Trial(Protocol):
    """One run of an operation, on things of its own."""

    def operation(self) -> Coroutine[Any, Any, Any]:
        """What is run."""

    def cut(self) -> None:
        """Lose every connection that the operation uses; new ones may be made at once."""

    async def check(self) -> None:
        """Fail unless nothing is held and every promise stands. Called once all tasks of the operation have ended."""


async def at_every_await(prepare: Callable[[], AbstractAsyncContextManager[Trial]], fault: Fault) -> int:
    """Run an operation with the fault at each of its awaits; returns how many there were.

    Arguments:
        prepare: makes each run anew.
    """
    for number in itertools.count():
        async with prepare() as trial:
            run = _Run(fault, number, trial.cut)
            try:
                await run.through(trial.operation())
                await trial.check()
            except BaseException as error:
                error.add_note(f"{fault} at await {number}: {run.place or 'none'}")
                raise
        if run.place is None:
            return number
    raise AssertionError


_INSIDE: ContextVar[_Run | None] = ContextVar("_INSIDE", default=None)


class _Run:
    def __init__(self, fault: Fault, number: int, cut: Callable[[], None]) -> None:
        self._fault = fault
        self._number = number
        self._cut = cut
        self._count = itertools.count()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._caller: asyncio.Task[Any] | None = None
        self.place: str | None = None
        """Where the fault has hit."""

    async def through(self, operation: Coroutine[Any, Any, Any]) -> None:
        """Run the operation to its end, however it ends, and every task that it has begun."""
        loop = asyncio.get_running_loop()
        before = loop.get_task_factory()
        loop.set_task_factory(_factory)
        token = _INSIDE.set(self)
        try:
            task = self._caller = loop.create_task(operation)
        finally:
            _INSIDE.reset(token)
        try:
            while under_way := {one for one in self._tasks if not one.done()}:
                _, pending = await asyncio.wait(under_way, timeout=PATIENCE)
                assert not pending, f"they do not end: {pending}"
            await asyncio.sleep(0)  # what is called when the last has ended
        finally:
            loop.set_task_factory(before)
        if not task.cancelled():
            task.exception()  # the fault, in whatever form it reaches the caller

    def driven(self, coroutine: Coroutine[Any, Any, Any]) -> Coroutine[Any, Any, Any]:
        """The same, whose awaits are counted."""

        async def run() -> Any:
            return await _Driver(self, coroutine)

        return run()

    def began(self, task: asyncio.Task[Any]) -> None:
        """A task of the operation's has begun."""
        self._tasks.add(task)

    def reached(self, coroutine: Any, future: Any) -> None:
        """A task of the operation's, which runs this coroutine, waits for this from now on."""
        if next(self._count) != self._number:
            return
        task = asyncio.current_task()
        assert task is not None
        self.place = f"{task.get_name()} at {_innermost(coroutine)}"
        loop = asyncio.get_running_loop()
        if self._fault.when == "before" or future is None:
            self._act(task)
        elif self._fault.when == "written":
            # What is issued in this turn of the loop has asked to be flushed before.
            loop.call_soon(self._act, task)
        else:
            # Called before the task's own, which is added when it is told what it waits for.
            future.add_done_callback(lambda _: self._act(task))

    def _act(self, task: asyncio.Task[Any]) -> None:
        if self._fault.what == "cut":
            self._cut()
            return
        chosen = self._caller if self._fault.what == "cancel" else task
        if chosen is not None and not chosen.done():
            chosen.cancel()


class _Driver:
    """Passes on what a coroutine waits for."""

    def __init__(self, run: _Run, coroutine: Coroutine[Any, Any, Any]) -> None:
        self._run = run
        self._coroutine = coroutine

    def __await__(self) -> Generator[Any, Any, Any]:
        value: Any = None
        error: BaseException | None = None
        while True:
            try:
                future = self._coroutine.send(value) if error is None else self._coroutine.throw(error)
            except StopIteration as end:
                return end.value
            self._run.reached(self._coroutine, future)
            value = error = None
            try:
                value = yield future
            except BaseException as thrown:
                error = thrown


def _factory(loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> asyncio.Task[Any]:
    run = _INSIDE.get()  # of who begins the task, whichever context it gets
    if run is None:
        return asyncio.Task(coroutine, loop=loop, **options)
    if (context := options.get("context")) is not None:
        context.run(_INSIDE.set, run)  # it begins tasks itself
    task = asyncio.Task(run.driven(coroutine), loop=loop, **options)
    task.add_done_callback(lambda _: coroutine.close())  # one that is cancelled before its first step
    run.began(task)
    return task


def _innermost(coroutine: Any) -> str:
    """The line that waits."""
    frame = None
    while coroutine is not None:
        frame = getattr(coroutine, "cr_frame", None) or getattr(coroutine, "gi_frame", None) or frame
        coroutine = getattr(coroutine, "cr_await", None) or getattr(coroutine, "gi_yieldfrom", None)
    return "its start" if frame is None else f"{frame.f_code.co_filename.rpartition('/')[2]}:{frame.f_lineno}"
