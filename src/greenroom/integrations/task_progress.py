"""How far tasks of a queue are, and what they returned: kept in a store of the room, followed by any process."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from typing import Any, Literal

import msgspec

from greenroom.argument_types import instance
from greenroom.errors import BrokenValue, EngineError, InvalidInput, RoomClosed
from greenroom.keyspace import Keyspace, Text
from greenroom.printable import encodable
from greenroom.progress import Order
from greenroom.sessions.raw_json import member_json
from greenroom.sync.client import Greenroom
from greenroom.sync.progress import Followed

log = logging.getLogger("greenroom.tasks")

_KEPT = timedelta(days=1)
_ORDER = Order("queued", "running", "done", failure="failed")
_ENDS = frozenset({"done", "failed"})
_ERROR = 500
"""Characters of an error that are kept, and of a note where the status has no room for all of it."""
_AGAIN = 1.0
"""Seconds between two attempts to tell ends that the server has not heard of."""
_ATTEMPTS = 600
"""Attempts in a row without success after which they are given up: ten minutes."""
_MAX_UNTOLD = 10_000


class TaskStatus(msgspec.Struct, frozen=True, kw_only=True):
    """How far a task is.

    Arguments:
        done, total: as the task has reported.
        note: likewise, a text for people.
        result: what it returned, where that is JSON and not too large.
        error: the class and text of what it raised.
    """

    status: Literal["queued", "running", "done", "failed"]
    done: int = 0
    total: int | None = None
    note: str = ""
    result: Any = None
    error: str = ""


Change = Callable[[TaskStatus | None], TaskStatus]
"""What a status becomes; given the old one again where others have changed it meanwhile."""

STORED = Keyspace(
    "task:{task_id}",
    TaskStatus,
    parts={"task_id": Text()},
    ttl=_KEPT,
    name="task",
    purpose="how far tasks of a queue are",
)
SHOWN = Keyspace(
    "task-status:{task_id}",
    TaskStatus,
    parts={"task_id": Text()},
    ttl=timedelta(minutes=5),
    name="task status",
    purpose="the same, for those who follow it",
)


class TaskProgress:
    """The statuses of the tasks of a room, one day each; one object a room.

    A server that is away fails no task: what could not be told is logged. An end is told as soon as the server is back,
    while this process lives.
    """

    def __init__(self, room: Greenroom) -> None:
        self.room = instance("room", room, Greenroom, "give a Greenroom of greenroom.sync")
        # Without memory of its own: a follower reads what it was just told of.
        store = self._store = room.store(STORED, near_for=timedelta(0))

        async def load(task_id: str) -> TaskStatus | None:
            return await store.asynchronous.get(task_id)

        self._jobs = room.progress(SHOWN, load=load, order=_ORDER)
        self._untold: dict[str, _End] = {}
        self._telling: asyncio.Task[None] | None = None

    def get(self, task_id: str) -> TaskStatus | None:
        """How far a task is; None where there is none, or it was more than a day ago."""
        return self._jobs.get(task_id)

    def follow(self, task_id: str) -> Followed[TaskStatus]:
        """The status now, then each later one, to the end: `for status in tasks.follow(task_id)`.

        The last one has the result, or the error. Of a slow follower's statuses the latest is given.
        """
        return self._jobs.follow(task_id)

    # What tasks tell ----------------------------------------------------------------------------------

    def queued(self, task_id: str) -> None:
        """It was sent; before it is, so that who sends it can follow at once. A repetition begins nothing anew."""
        self._tell(task_id, lambda old: old if old is not None else TaskStatus(status="queued"))

    def running(self, task_id: str, done: int = 0, total: int | None = None, note: str = "") -> None:
        """It runs, and is so far."""
        new = TaskStatus(status="running", done=done, total=total, note=encodable(note))
        self._tell(task_id, partial(_onwards, new=new))

    def done(self, task_id: str, result: object) -> None:
        """It has returned this."""
        try:
            member_json("result", result)
        except InvalidInput as error:
            log.warning("the result of a task is not kept: %s", error)
            result = None
        self._tell(task_id, _End("done", result=result))

    def failed(self, task_id: str, error: BaseException) -> None:
        """It has raised this."""
        try:
            text = str(error)
        except Exception:  # of somebody's class
            text = "(its text cannot be made)"
        text = f"{type(error).__name__}: {text}"[:_ERROR]
        self._tell(task_id, _End("failed", error=encodable(text)))

    def _tell(self, task_id: str, change: Change) -> None:
        try:
            with self.room.changing(self._jobs.cache.of(task_id)):
                self._store.change(change, task_id=task_id)
        except (InvalidInput, BrokenValue) as error:
            if (shorter := _shorter(change, error)) is not None:
                self._tell(task_id, shorter)
        except (EngineError, RoomClosed) as error:
            _log(error)
            if isinstance(change, _End) and isinstance(error, EngineError) and len(self._untold) < _MAX_UNTOLD:
                self._untold[task_id] = change
                self.room.post(self._begin_telling)

    # In the room's loop -------------------------------------------------------------------------------

    def _begin_telling(self) -> None:
        """Tell the ends that are left, in a task of this process: that of its parent goes on in the parent alone."""
        loop = asyncio.get_running_loop()
        if self._telling is None or self._telling.done() or self._telling.get_loop() is not loop:
            self._telling = loop.create_task(self._tell_ends(), name="greenroom-task-ends")

    async def _tell_ends(self) -> None:
        """Prevents: a task ends while the server is started anew · nobody tells · who follows it waits for a day."""
        attempts = 0
        while self._untold and attempts < _ATTEMPTS:
            await asyncio.sleep(_AGAIN)
            attempts += 1
            for task_id, end in list(self._untold.items()):
                try:
                    await self._tell_end(task_id, end)
                except EngineError:
                    # Last of all from now on. Prevents: one server of several is away · its end comes first in each
                    # attempt · those for the others are never told.
                    self._untold.pop(task_id, None)
                    self._untold[task_id] = end
                    break
                except RoomClosed:
                    return
                self._untold.pop(task_id, None)
                attempts = 0
        self._untold.clear()

    async def _tell_end(self, task_id: str, end: _End) -> None:
        try:
            async with self.room.room.changing(self._jobs.cache.asynchronous.of(task_id)):
                await self._store.asynchronous.change(end, task_id=task_id)
        except (InvalidInput, BrokenValue) as error:
            # Prevents: one end cannot be stored · it is tried again and again · those after it are never told.
            if (shorter := _shorter(end, error)) is not None:
                await self._tell_end(task_id, shorter)


@dataclass(frozen=True, slots=True)
class _End:
    """The change that ends a task.

    Arguments:
        short: whether nothing large is kept.
    """

    status: Literal["done", "failed"]
    result: object = None
    error: str = ""
    short: bool = False

    def __call__(self, old: TaskStatus | None) -> TaskStatus:
        before = old or TaskStatus(status="running")
        ended = msgspec.structs.replace(before, status=self.status, result=self.result, error=self.error)
        if self.short:
            ended = msgspec.structs.replace(ended, result=None, note=ended.note[:_ERROR])
        return _onwards(old, ended)


def _shorter(change: Change, error: InvalidInput | BrokenValue) -> _End | None:
    """What is told in place of an end that cannot be stored as it is; None where that is hopeless, or no end.

    Prevents: a result is larger than the keyspace allows · the end is given up with it · who follows waits for a day.
    """
    if not isinstance(change, _End) or change.short:
        _log(error)
        return None
    log.warning("the end of a task is kept without its result: %s: %s", type(error).__name__, error)
    return replace(change, short=True)


def _onwards(old: TaskStatus | None, new: TaskStatus) -> TaskStatus:
    """Prevents: a task has ended · its queue delivers it again · whoever waits for it sees it run."""
    return old if old is not None and old.status in _ENDS else new


def _log(error: Exception) -> None:
    log.warning("the progress of a task could not be stored: %s: %s", type(error).__name__, error)
