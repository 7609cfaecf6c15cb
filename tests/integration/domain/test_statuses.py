"""The statuses of podcasts on a real server: followed by a thousand, through flushes, outages and killed processes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from greenroom.caching import Outcome
from greenroom.engine import Channel
from greenroom.errors import InvalidInput, RecordUnavailable
from greenroom.testing.clock import ManualClock
from greenroom_platform.domain import outbox_sender
from greenroom_platform.domain.podcasts import ATTEMPTS
from greenroom_platform.domain.statuses import Statuses
from greenroom_platform.models import STATUSES
from greenroom_platform.platform import Platform, open_platform
from greenroom_platform.testing.records_changes import NOON
from tests.support.counted_tasks import STEPS, CountedRecords, Timers, begun, settled_down, statuses_of
from tests.support.patience import until
from tests.support.real_servers import Server

pytestmark = pytest.mark.on_cluster


@pytest.fixture
async def records(tmp_path: Path) -> AsyncIterator[CountedRecords]:
    records = await CountedRecords.made(tmp_path / "record.sqlite3")
    yield records
    await records.close()


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


async def opened(stack: AsyncExitStack, server: Server, records: CountedRecords, **options: Any) -> Platform:
    return await stack.enter_async_context(open_platform(server.address, database=records, **options))


async def seen(following: AsyncIterator[Any], status: str) -> None:
    """Return when this status comes."""
    async with asyncio.timeout(20):
        async for one in following:
            if one.status == status:
                return
    raise AssertionError(f"{status} was not seen")


async def test_a_thousand_followers_cost_one_read_of_the_record_per_change(
    server: Server, records: CountedRecords, stack: AsyncExitStack
) -> None:
    platform = await opened(stack, server, records)
    claim = await begun(platform)
    everyone = [asyncio.create_task(statuses_of(platform.statuses.follow(claim.podcast_id))) for _ in range(1000)]
    async with aclosing(platform.statuses.follow(claim.podcast_id)) as first:
        await seen(first, "queued")
        await settled_down(platform)
        assert records.tasks.reads == 1
        for number, status in enumerate(STEPS[1:], 2):
            await platform.tasks.advance(claim, status)
            await seen(first, status)
            await settled_down(platform)
            assert records.tasks.reads == number
    assert [await one for one in everyone] == [list(STEPS)] * 1000
    assert platform.statuses.followed == 0


async def test_followers_elsewhere_see_each_change_for_one_read_of_the_record(
    server: Server, records: CountedRecords, stack: AsyncExitStack
) -> None:
    platforms = [await opened(stack, server, records) for _ in range(3)]
    claim = await begun(platforms[0])
    following = [await stack.enter_async_context(aclosing(one.statuses.follow(claim.podcast_id))) for one in platforms]
    for number, status in enumerate(STEPS):
        if number:
            await platforms[0].tasks.advance(claim, status)
        await asyncio.gather(*(seen(one, status) for one in following))
        for platform in platforms:
            await settled_down(platform)
        assert records.tasks.reads == number + 1


async def test_ten_thousand_polls_cost_the_record_one_read_per_change(
    server: Server, records: CountedRecords, stack: AsyncExitStack
) -> None:
    platform = await opened(stack, server, records)
    claim = await begun(platform)
    polled = []
    for status in STEPS[1:]:
        for _ in range(25):
            polled += await asyncio.gather(*(platform.statuses.get(claim.podcast_id) for _ in range(100)))
        await platform.tasks.advance(claim, status)
    polled += await asyncio.gather(*(platform.statuses.get(claim.podcast_id) for _ in range(2500)))
    assert list(dict.fromkeys(one.status for one in polled if one)) == list(STEPS)
    assert len(polled) == 10_000
    assert records.tasks.reads == len(STEPS)


async def test_a_change_is_dropped_from_the_cache_under_a_prefix_too(
    valkey: Server, records: CountedRecords, stack: AsyncExitStack
) -> None:
    platform = await opened(stack, valkey, records, prefix="p:")
    claim = await begun(platform)
    async with aclosing(platform.statuses.follow(claim.podcast_id)) as following:
        await seen(following, "queued")
        await platform.tasks.fail(claim, "There is nothing to tell.")
        last = await anext(following)
    assert (last.status, last.error_message) == ("error", "There is nothing to tell.")
    assert await platform.statuses.get(claim.podcast_id) == last
    assert await records.pending() == ()
    raw = valkey.raw()
    assert raw("EXISTS", f"p:cache:podcast_status:{claim.podcast_id}") == 1


async def test_an_estimate_is_followed_as_well(valkey: Server, records: CountedRecords, stack: AsyncExitStack) -> None:
    platform = await opened(stack, valkey, records)
    claim = await begun(platform)
    async with aclosing(platform.statuses.follow(claim.podcast_id)) as following:
        for seconds in (30, 40):
            soon = NOON + timedelta(seconds=seconds)
            await platform.tasks.advance(claim, "script_generating", estimated=soon)
            await seen(following, "script_generating")
            found = await platform.statuses.get(claim.podcast_id)
            assert found is not None
            assert found.estimated_completion_time == soon


async def test_of_no_podcast_there_is_nothing_to_follow_and_of_no_id_either(
    valkey: Server, records: CountedRecords, stack: AsyncExitStack
) -> None:
    platform = await opened(stack, valkey, records)
    assert await statuses_of(platform.statuses.follow("unknown")) == []
    assert await platform.statuses.get("unknown") is None
    with pytest.raises(InvalidInput):
        await statuses_of(platform.statuses.follow("a:b"))
    assert platform.statuses.followed == 0


# What may go wrong -----------------------------------------------------------------------------------


async def test_a_flush_midway_loses_no_status(server: Server, records: CountedRecords, stack: AsyncExitStack) -> None:
    platform = await opened(stack, server, records)
    claim = await begun(platform)
    raw = server.raw()
    following = asyncio.create_task(statuses_of(platform.statuses.follow(claim.podcast_id)))
    async with aclosing(platform.statuses.follow(claim.podcast_id)) as first:
        await seen(first, "queued")
        for status in STEPS[1:]:
            await settled_down(platform)
            raw("FLUSHALL")
            await records.tasks.advance(claim, status, NOON)  # nobody invalidates: the flush has to be noticed
            await platform.room._wired().backing.engine.execute(Channel.TRACKED, "any", "PING")
            raw("FLUSHALL")
            await seen(first, status)
    assert await following == list(STEPS)


async def test_another_process_sends_an_invalidation_that_was_left_unsent(
    valkey: Server, records: CountedRecords, stack: AsyncExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    platform = await opened(stack, valkey, records)
    claim = await begun(platform)
    async with aclosing(platform.statuses.follow(claim.podcast_id)) as following:
        await seen(following, "queued")
        told = await records.tasks.advance(claim, "script_generating", NOON)  # and is killed before it sends
        assert await records.pending() == (told.change,)
        monkeypatch.setattr(outbox_sender, "RESEND_AFTER", 0.01)
        await opened(stack, valkey, records)
        await seen(following, "script_generating")
    assert await records.pending() == ()


async def test_a_task_whose_workers_are_killed_fails_and_followers_see_it(
    valkey: Server, records: CountedRecords, stack: AsyncExitStack
) -> None:
    clock = ManualClock()
    platform = await opened(stack, valkey, records, clock=clock)
    claim = await begun(platform)
    following = asyncio.create_task(statuses_of(platform.statuses.follow(claim.podcast_id)))
    await platform.tasks.advance(claim, "audio_rendering")
    for _ in range(ATTEMPTS - 1):
        clock.advance(60)
        again = await platform.tasks.claim("worker")
        assert again is not None
        assert again.podcast_id == claim.podcast_id
        await platform.tasks.advance(again, "script_generating")
    clock.advance(60)
    assert await platform.tasks.claim("worker") is None
    found = await following
    assert found[-1] == "error"
    assert found == sorted(found, key=STATUSES.rank)


async def test_in_an_outage_the_record_is_read_once_a_second_for_all_followers(
    valkey: Server, records: CountedRecords, stack: AsyncExitStack
) -> None:
    clock, timers = ManualClock(), Timers()
    platform = await opened(stack, valkey, records, clock=clock)
    claim = await begun(platform)
    statuses = Statuses(platform.statuses.cache, later=timers)
    stack.push_async_callback(statuses.close)
    valkey.kill()
    async with asyncio.timeout(20):
        while (
            await platform.statuses.read("unknown")
        ).outcome is not Outcome.BYPASSED or not platform.room.unavailable:
            await asyncio.sleep(0.001)
    records.tasks.reads = 0
    everyone = [asyncio.create_task(statuses_of(statuses.follow(claim.podcast_id))) for _ in range(100)]
    await timers.running(1)
    for second in range(1, 6):
        assert timers.set == [1.0] * second
        assert records.tasks.reads == second
        clock.advance(1.0)
        timers.end()
        await timers.running(second + 1)
    # Made elsewhere: seen by the next look. Made here: at once.
    await records.tasks.advance(claim, "script_generating", NOON)
    clock.advance(1.0)
    timers.end()
    await timers.running(7)
    await platform.tasks.advance(claim, "ready_to_stream")
    assert [await one for one in everyone] == [["queued", "script_generating", "ready_to_stream"]] * 100
    assert records.tasks.reads == 8


@pytest.mark.one_server
async def test_the_return_of_the_server_is_noticed_at_once(
    server: Server, records: CountedRecords, stack: AsyncExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox_sender, "RESEND_AFTER", 1e6)  # the outbox would tell of the change
    timers = Timers()
    platform = await opened(stack, server, records)
    claim = await begun(platform)
    statuses = Statuses(platform.statuses.cache, later=timers)
    stack.push_async_callback(statuses.close)
    async with aclosing(statuses.follow(claim.podcast_id)) as following:
        await seen(following, "queued")
        await timers.running(1)
        server.kill()
        await until(lambda: timers.set[-1] == 1.0, 20)
        await records.tasks.advance(claim, "audio_rendering", NOON)
        server.start()
        await seen(following, "audio_rendering")  # no timer has ended


async def test_a_record_that_fails_for_a_while_ends_no_following(
    valkey: Server, records: CountedRecords, stack: AsyncExitStack
) -> None:
    timers = Timers()
    platform = await opened(stack, valkey, records)
    claim = await begun(platform)
    statuses = Statuses(platform.statuses.cache, later=timers)
    stack.push_async_callback(statuses.close)
    async with aclosing(statuses.follow(claim.podcast_id)) as following:
        await seen(following, "queued")
        await timers.running(1)
        records.tasks.fails = True
        await platform.tasks.advance(claim, "script_generating")
        await timers.running(2)
        with pytest.raises(RecordUnavailable):
            await statuses_of(statuses.follow("another"))
        records.tasks.fails = False
        looking = asyncio.create_task(seen(following, "script_generating"))
        while not looking.done():  # the server remembers the failure for a second
            timers.end_any()
            await asyncio.sleep(0.01)
        await looking
