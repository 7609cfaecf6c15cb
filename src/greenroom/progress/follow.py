"""Followers: each gets the current value and every later one, and together they cost one look per change.

A task per thing followed looks for all who follow it here. It sleeps until its source says that the value may have
changed, or a timer ends. It begins with the first follower and ends with the last, or at the final status.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Iterable
from contextvars import Context, copy_context
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from greenroom.errors import RoomClosed
from greenroom.progress.order import Order

log = logging.getLogger("greenroom.progress")

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

RETRY = 1.0
"""Seconds until the next look after one that failed."""


@dataclass(frozen=True, slots=True)
class Look(Generic[T_co]):
    """What a look has found.

    Arguments:
        value: None where there is nothing of that name.
        retry_after: seconds after which to look again if nothing is told before.
    """

    value: T_co | None
    retry_after: float


class StatusSource(Protocol[T_co]):
    """Where values come from, and who tells when they may have changed."""

    async def look(self, name: str) -> Look[T_co]:
        """The value now."""

    def watch(self, name: str, callback: Callable[[], None]) -> Callable[[], None]:
        """Have `callback` called when the value may have changed since the last look; returns what ends that."""


class Timer(Protocol):
    """What can be called off."""

    def cancel(self) -> None:
        """Do not call."""


Later = Callable[[float, Callable[[], None]], Timer]
"""Calls something after so many seconds, unless it is called off."""


def set_timer(seconds: float, call: Callable[[], None]) -> Timer:
    """A timer of the running event loop."""
    return asyncio.get_running_loop().call_later(seconds, call)


class Followers(Generic[T]):
    """Everyone in this process who follows something of one kind.

    Arguments:
        status: the status of a value.
        later: the timer; the event loop's own by default.
        context: returns the context in which a task looks; by default that of the first follower.
        key: by what names are one thing, as 1 and "1" of one key; by default each name by itself. It raises for what
            is no name.
    """

    def __init__(
        self,
        source: StatusSource[T],
        order: Order,
        status: Callable[[T], str],
        *,
        later: Later = set_timer,
        context: Callable[[], Context] = copy_context,
        key: Callable[[Any], str] = str,
    ) -> None:
        self._source = source
        self._order = order
        self._status = status
        self._later = later
        self._context = context
        self._key = key
        self._stories: dict[str, _Story[T]] = {}

    def __len__(self) -> int:
        """How many different things are followed."""
        return len(self._stories)

    async def follow(self, name: str) -> AsyncGenerator[T, None]:
        """The current value, then each later one, never one of a lower rank; ends after a terminal one.

        A slow caller gets the latest and not all that came in between. Where there is nothing of that name, or no more,
        it ends too. A caller that stops early leaves nothing behind.

        Raises:
            RoomClosed: when this is closed before the end: the status may still change.
            Whatever `key` or a look raises, before the first value. Later ones that fail are repeated.
            Whatever the function `status` raises, whenever it does.
        """
        story = self._joined(name)
        woken = asyncio.Event()
        story.followers.add(woken)
        seen: T | None = None
        # A newcomer must not get what was read before a change that he may know of.
        needed = story.begun + 1 if story.notified else max(story.begun, 1)
        try:
            while story.done < needed and not story.over:
                if story.error is not None:
                    raise story.error
                woken.clear()
                story.newcomers.add(woken)
                await woken.wait()
            if story.failure is not None and story.done < needed:
                raise story.failure
            while True:
                woken.clear()
                latest = story.latest
                if latest is not None and latest is not seen:
                    seen = latest
                    yield latest
                    if self._order.ended(self._status(latest)):
                        return
                elif story.over:
                    if story.failure is not None:
                        raise story.failure
                    return
                else:
                    await woken.wait()
        finally:
            story.followers.discard(woken)
            story.newcomers.discard(woken)
            if not story.followers:
                self._end(story)

    async def close(self) -> None:
        """End every story; its followers are told that the room is closed."""
        stories = list(self._stories.values())
        for story in stories:
            self._end(story, RoomClosed())
        if stories:
            await asyncio.wait([story.task for story in stories])

    # ------------------------------------------------------------------------------------------------

    def _joined(self, name: str) -> _Story[T]:
        key = self._key(name)
        story = self._stories.get(key)
        if story is None:
            story = _Story(name, key)
            # Before the first look. Prevents: the value is read · it changes, and nobody is told · all wait for it.
            story.unwatch = self._source.watch(name, story.tell)
            self._stories[key] = story
            loop = asyncio.get_running_loop()
            story.task = loop.create_task(self._read_on(story), name="greenroom-follow", context=self._context())
            story.task.add_done_callback(lambda task: self._ended(story, task))
        return story

    def _ended(self, story: _Story[T], task: asyncio.Task[None]) -> None:
        """The task of a story has ended, as it should or not.

        Prevents: `status` raises at a value, or something cancels the task · nobody looks any more, and all followers
        wait for ever.
        """
        error = None if task.cancelled() else task.exception()
        if story.over:
            return
        if error is None:
            error = RoomClosed("following was cancelled: its event loop ends")
        log.error("following %s ended: %s", story.name, type(error).__name__, exc_info=error)
        self._end(story, error)

    def _end(self, story: _Story[T], failure: BaseException | None = None) -> None:
        """Nobody joins it any more, and who follows it comes to the end, or gets the failure; may be called twice."""
        if story.failure is None:
            story.failure = failure
        if self._stories.get(story.key) is story:
            del self._stories[story.key]
            story.unwatch()
        story.over = True
        story.task.cancel()
        _wake(story.followers)

    async def _read_on(self, story: _Story[T]) -> None:
        while True:
            story.woken.clear()
            # What is told from here on may be of a change that this look does not see.
            story.notified = False
            story.begun += 1
            again = RETRY
            try:
                look = await self._source.look(story.name)
            except Exception as error:
                story.error = error
                if story.latest is None:
                    self._end(story, error)
                    return
                _wake(story.newcomers)
                log.warning("following %s: %s", story.name, type(error).__name__)
            else:
                # First: a value without a status is given to nobody.
                last = look.value is not None and self._order.ended(self._status(look.value))
                story.error = None
                story.done = story.begun
                if look.value is None:
                    self._end(story)
                    return
                if self._goes_on(story.latest, look.value):
                    story.latest = look.value
                    if last:
                        self._end(story)
                        return
                    _wake(story.followers)
                _wake(story.newcomers)
                story.newcomers.clear()
                again = look.retry_after
            await self._rest(story, again)

    def _goes_on(self, latest: T | None, value: T) -> bool:
        """Whether a value is another than the latest, and no step back."""
        if latest is None:
            return True
        status = self._status(value)
        return value != latest and self._order.furthest(self._status(latest), status) == status

    async def _rest(self, story: _Story[T], seconds: float) -> None:
        timer = self._later(seconds, story.woken.set)
        try:
            await story.woken.wait()
        finally:
            timer.cancel()


class _Story(Generic[T]):
    """What the followers of one thing share."""

    __slots__ = (
        "begun",
        "done",
        "error",
        "failure",
        "followers",
        "key",
        "latest",
        "name",
        "newcomers",
        "notified",
        "over",
        "task",
        "unwatch",
        "woken",
    )

    task: asyncio.Task[None]
    unwatch: Callable[[], None]

    def __init__(self, name: str, key: str) -> None:
        self.name = name
        self.key = key
        self.followers: set[asyncio.Event] = set()
        self.newcomers: set[asyncio.Event] = set()
        """Those of them who wait for a look, whether or not it finds anything new."""
        self.latest: T | None = None
        self.error: Exception | None = None
        """What the last look raised; the next one may succeed."""
        self.failure: BaseException | None = None
        """What has ended the story before its last value."""
        self.over = False
        self.begun = 0
        """How many looks have begun."""
        self.done = 0
        """The number of the last that succeeded."""
        self.notified = False
        """Whether the value may have changed since the last look began."""
        self.woken = asyncio.Event()

    def tell(self) -> None:
        """The value may have changed."""
        self.notified = True
        self.woken.set()


def _wake(followers: Iterable[asyncio.Event]) -> None:
    for follower in followers:
        follower.set()
