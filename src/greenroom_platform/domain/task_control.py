"""Actions of operators on single podcasts, claimed or not; each change that listeners see is sent."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Protocol, runtime_checkable

from greenroom.clock import Clock
from greenroom_platform.domain.changes import Changes
from greenroom_platform.domain.podcasts import QUEUE
from greenroom_platform.domain.records import Change
from greenroom_platform.models import PodcastTask

STOPPED = "The podcast was stopped by the studio. Please ask for it again later."
"""What listeners are told of a podcast that an operator has failed."""
_FINISHED = 50
"""Podcasts that have ended and are listed."""


class TaskControl(Protocol):
    """The operators' side of the generation tasks. Claims are no obstacle: they end, and who held one must stop.

    Raises, from any method: what `Records` does, and from those that change a task `Conflict`, where it is not in a
    state that allows it, and `LookupError` where there is none.
    """

    async def tasks(self, *, finished: int) -> tuple[PodcastTask, ...]:
        """Every unfinished task in the order of the requests, then so many that have ended, the latest first."""

    async def retry(self, podcast_id: str, now: datetime, *, max_unfinished: int) -> Change:
        """Queue a failed task once more, with all its attempts. What its earlier attempts have left is noted anew when
        it ends.

        Raises:
            QueueFull: when there are as many unfinished tasks.
        """

    async def release(self, podcast_id: str) -> None:
        """End the claim on a task, which may be claimed again at once; the attempt is not counted."""

    async def stop(self, podcast_id: str, message: str, now: datetime) -> Change:
        """Fail an unfinished task, with a message for listeners."""

    async def delete(self, podcast_id: str, now: datetime) -> Change:
        """Forget a task. What it may have in the store of recordings stays noted, expired, until it is removed."""


@runtime_checkable
class ControlsTasks(Protocol):
    """A record whose tasks operators can change; `KeepsTasks` in other regards."""

    @property
    def task_control(self) -> TaskControl:
        """What they do it by."""


class QueueControl:
    """The queue as operators use it."""

    def __init__(self, control: TaskControl, changes: Changes, clock: Clock, asked: Callable[[], None]) -> None:
        self._control = control
        self._changes = changes
        self._clock = clock
        self._asked = asked

    async def tasks(self) -> tuple[PodcastTask, ...]:
        """As `TaskControl.tasks`, with the latest of those that have ended."""
        return await self._control.tasks(finished=_FINISHED)

    async def retry(self, podcast_id: str) -> None:
        """See `TaskControl.retry`."""
        await self._sent(lambda: self._control.retry(podcast_id, self._clock.now(), max_unfinished=QUEUE))
        self._asked()

    async def release(self, podcast_id: str) -> None:
        """See `TaskControl.release`."""
        await self._control.release(podcast_id)
        self._asked()

    async def stop(self, podcast_id: str) -> None:
        """See `TaskControl.stop`."""
        await self._sent(lambda: self._control.stop(podcast_id, STOPPED, self._clock.now()))

    async def delete(self, podcast_id: str) -> None:
        """See `TaskControl.delete`."""
        await self._sent(lambda: self._control.delete(podcast_id, self._clock.now()))

    async def _sent(self, write: Callable[[], Awaitable[Change]]) -> None:
        async def whole() -> None:
            async with self._changes.writing():
                change = await write()
            await self._changes.send(change)

        self._changes.opened.check()
        await self._changes.detached.finish(whole())
