"""Following, over a source moved by hand: one look for all, never a step back, nothing left behind."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import Callable
from contextlib import aclosing
from contextvars import ContextVar, copy_context

import pytest

from greenroom.errors import RoomClosed
from greenroom.progress import Followers, Look
from greenroom_platform.models import STATUSES
from tests.support.counted_tasks import STEPS, Timers

ARMED = 30.0


class Told:
    """A source: one value, whoever asks; it tells when it is told to."""

    def __init__(self) -> None:
        self.value: str | None = "queued"
        self.again = ARMED
        self.error: Exception | None = None
        self.looks = 0
        self.go = asyncio.Event()
        self.go.set()
        self.told: list[Callable[[], None]] = []

    async def look(self, name: str) -> Look[str]:
        self.looks += 1
        value = self.value
        await self.go.wait()
        if self.error is not None:
            raise self.error
        return Look(value, self.again)

    def watch(self, name: str, callback: Callable[[], None]) -> Callable[[], None]:
        self.told.append(callback)
        return lambda: self.told.remove(callback)

    def tell(self, value: str | None) -> None:
        """The value changes, and all who watch are told."""
        self.value = value
        for told in tuple(self.told):
            told()


@pytest.fixture
def source() -> Told:
    return Told()


@pytest.fixture
def timers() -> Timers:
    return Timers()


@pytest.fixture
def followers(source: Told, timers: Timers) -> Followers[str]:
    return Followers(source, STATUSES, str, later=timers)


async def told_all(followers: Followers[str]) -> list[str]:
    return [value async for value in followers.follow("p")]


async def idle() -> None:
    """Let everybody do what he can do now."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_all_get_each_status_in_order_for_one_look_each_and_end(followers: Followers[str], source: Told) -> None:
    everyone = [asyncio.create_task(told_all(followers)) for _ in range(100)]
    await idle()
    for number, status in enumerate(STEPS):
        if number:
            source.tell(status)
            await idle()
        assert source.looks == number + 1
    assert [await one for one in everyone] == [list(STEPS)] * 100
    assert (len(followers), source.told) == (0, [])


async def test_an_error_ends_the_story_as_well(followers: Followers[str], source: Told) -> None:
    following = asyncio.create_task(told_all(followers))
    await idle()
    source.tell("error")
    assert await following == ["queued", "error"]


async def test_a_step_back_is_never_seen(followers: Followers[str], source: Told) -> None:
    following = asyncio.create_task(told_all(followers))
    for status in ("audio_rendering", "queued", "script_generating", "made up by others", "ready_to_stream"):
        await idle()
        source.tell(status)
    assert await following == ["queued", "audio_rendering", "ready_to_stream"]


async def test_what_says_the_same_is_not_said_again(followers: Followers[str], source: Told) -> None:
    following = asyncio.create_task(told_all(followers))
    for status in ("queued", "queued", "ready_to_stream"):
        await idle()
        source.tell(status)
    assert await following == ["queued", "ready_to_stream"]


async def test_a_slow_follower_gets_the_latest(followers: Followers[str], source: Told) -> None:
    async with aclosing(followers.follow("p")) as slow:
        assert await anext(slow) == "queued"
        for status in ("script_generating", "audio_rendering"):
            await idle()
            source.tell(status)
        await idle()
        assert await anext(slow) == "audio_rendering"
        source.tell("ready_to_stream")
        await idle()
        assert [one async for one in slow] == ["ready_to_stream"]  # the story ended while it was busy


async def test_who_stops_or_is_cancelled_leaves_nothing_behind(followers: Followers[str], source: Told) -> None:
    waiting = [asyncio.create_task(told_all(followers)) for _ in range(10)]
    await idle()
    source.go.clear()
    source.tell("script_generating")
    await idle()  # in the midst of a look
    for one in waiting[:9]:
        one.cancel()
    await idle()
    assert (len(followers), len(source.told)) == (1, 1)
    waiting[9].cancel()
    await asyncio.wait(waiting)
    assert (len(followers), source.told) == (0, [])
    source.go.set()
    async for _ in followers.follow("p"):
        break  # left to the collector
    gc.collect()
    await idle()
    assert (len(followers), source.told) == (0, [])
    assert not [task for task in asyncio.all_tasks() if task.get_name() == "greenroom-follow"]


async def test_others_go_on_when_one_leaves(followers: Followers[str], source: Told) -> None:
    first, second = (asyncio.create_task(told_all(followers)) for _ in range(2))
    await idle()
    first.cancel()
    await idle()
    source.tell("ready_to_stream")
    assert await second == ["queued", "ready_to_stream"]


async def test_a_newcomer_gets_the_current_status_without_a_look_of_its_own(
    followers: Followers[str], source: Told
) -> None:
    async with aclosing(followers.follow("p")) as first, aclosing(followers.follow("p")) as second:
        assert await anext(first) == "queued"
        assert await anext(second) == "queued"
        assert source.looks == 1


async def test_a_newcomer_never_gets_what_was_read_before_the_last_push(
    followers: Followers[str], source: Told
) -> None:
    async with aclosing(followers.follow("p")) as first, aclosing(followers.follow("p")) as second:
        assert await anext(first) == "queued"
        source.tell("script_generating")  # and its maker follows at once
        assert await anext(second) == "script_generating"


async def test_a_new_follower_is_answered_though_nothing_has_changed(followers: Followers[str], source: Told) -> None:
    async with aclosing(followers.follow("p")) as first, aclosing(followers.follow("p")) as second:
        assert await anext(first) == "queued"
        source.tell("queued")
        async with asyncio.timeout(20):
            assert await anext(second) == "queued"
        assert source.looks == 2


async def test_what_changes_during_a_look_is_looked_at_again(followers: Followers[str], source: Told) -> None:
    source.go.clear()
    following = asyncio.create_task(told_all(followers))
    await idle()
    source.tell("ready_to_stream")  # the look under way has read the old value
    newcomer = asyncio.create_task(told_all(followers))
    await idle()
    source.go.set()
    assert (await following)[-1] == "ready_to_stream"
    assert await newcomer == ["ready_to_stream"]
    assert source.looks == 2


async def test_a_timer_ends_the_wait_for_a_push_that_was_lost(
    followers: Followers[str], source: Told, timers: Timers
) -> None:
    following = asyncio.create_task(told_all(followers))
    await timers.running(1)
    source.value = "ready_to_stream"
    timers.end()
    assert await following == ["queued", "ready_to_stream"]
    assert timers.set == [ARMED]


async def test_following_ends_at_once_when_there_is_nothing_or_no_more(followers: Followers[str], source: Told) -> None:
    source.value = None
    assert await told_all(followers) == []
    source.value = "queued"
    following = asyncio.create_task(told_all(followers))
    await idle()
    source.tell(None)
    assert await following == ["queued"]
    assert len(followers) == 0


async def test_a_failed_first_read_reaches_all_and_the_next_follower_retries(
    followers: Followers[str], source: Told
) -> None:
    source.error = ConnectionError()
    results = await asyncio.gather(*(told_all(followers) for _ in range(3)), return_exceptions=True)
    assert [type(one) for one in results] == [ConnectionError] * 3
    assert (source.looks, len(followers), source.told) == (1, 0, [])
    source.error, source.value = None, "error"
    assert await told_all(followers) == ["error"]


async def test_a_later_look_that_fails_is_repeated_and_newcomers_learn_of_it(
    followers: Followers[str], source: Told, timers: Timers
) -> None:
    following = asyncio.create_task(told_all(followers))
    await timers.running(1)
    source.error = ConnectionError()
    source.tell("ready_to_stream")
    await timers.running(2)
    assert timers.set == [ARMED, 1.0]
    with pytest.raises(ConnectionError):
        await told_all(followers)
    source.error = None
    timers.end()
    assert await following == ["queued", "ready_to_stream"]


async def test_closing_tells_everyone_that_the_room_is_closed(followers: Followers[str], source: Told) -> None:
    following = [followers.follow("p") for _ in range(3)]
    assert [await anext(one) for one in following] == ["queued"] * 3
    source.go.clear()
    source.tell("script_generating")
    await idle()
    newcomer = asyncio.create_task(told_all(followers))
    await idle()
    await followers.close()
    for one in following:
        with pytest.raises(RoomClosed):
            await anext(one)
    with pytest.raises(RoomClosed):
        await newcomer
    assert (len(followers), source.told) == (0, [])


@pytest.mark.parametrize("first", ["broken", "queued"])
async def test_an_error_of_the_status_function_reaches_all_and_is_logged(
    source: Told, timers: Timers, caplog: pytest.LogCaptureFixture, first: str
) -> None:
    def status(value: str) -> str:
        if value == "broken":
            raise AttributeError("no status")
        return value

    followers, source.value = Followers(source, STATUSES, status, later=timers), first
    seen: list[list[str]] = [[], [], []]

    async def follow(values: list[str]) -> None:
        async for value in followers.follow("p"):
            values.append(value)

    following = [asyncio.create_task(follow(values)) for values in seen]
    await idle()
    source.tell("broken")
    async with asyncio.timeout(20):
        results = await asyncio.gather(*following, return_exceptions=True)
    assert [type(one) for one in results] == [AttributeError] * 3
    assert seen == [[] if first == "broken" else ["queued"]] * 3
    assert [(one.levelno, one.name) for one in caplog.records] == [(logging.ERROR, "greenroom.progress")]
    assert (len(followers), source.told) == (0, [])
    source.value = "ready_to_stream"
    assert await told_all(followers) == ["ready_to_stream"]


async def test_whatever_cancels_the_reading_leaves_nobody_waiting(followers: Followers[str], source: Told) -> None:
    following = asyncio.create_task(told_all(followers))
    await idle()
    (reading,) = (task for task in asyncio.all_tasks() if task.get_name() == "greenroom-follow")
    reading.cancel()
    async with asyncio.timeout(20):
        with pytest.raises(RoomClosed):
            await following
    assert (len(followers), source.told) == (0, [])


async def test_reading_runs_in_the_context_that_is_given(source: Told, timers: Timers) -> None:
    tenant, seen = ContextVar("tenant", default="none"), list[str]()
    opening = copy_context()

    def status(value: str) -> str:
        seen.append(tenant.get())
        return value

    followers = Followers(source, STATUSES, status, later=timers, context=opening.copy)
    tenant.set("of the first follower")
    source.value = "ready_to_stream"
    assert await told_all(followers) == ["ready_to_stream"]
    assert seen[0] == "none"
