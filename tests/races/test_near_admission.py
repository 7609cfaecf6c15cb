"""What is kept near in forced orders of replies and pushes: never older than the last push that was read."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta
from typing import Any

import pytest

from greenroom.caching import Cache, Outcome
from greenroom.caching.lease import GET_OR_LEASE
from greenroom.engine import Limits
from greenroom.engine.transport.connection import Connection
from greenroom.keyspace import Keyspace
from tests.support.episode_caches import ABSENT, KEY, Back, Episode, Loads, cache_of, settled
from tests.support.patience import PATIENT, SteadyClock, until
from tests.support.proxy import HeldReplies, Proxy
from tests.support.real_servers import Server

pytestmark = pytest.mark.on_cluster

BRIEF: Keyspace[Episode] = Keyspace("cache:episode:{episode_id}", Episode, ttl=timedelta(minutes=30))
"""Without a soft lifetime: nothing is refreshed behind."""


def write(server: Server, version: int, *, seconds: int = 1200) -> None:
    """What a foreign service does."""
    server.raw()("SET", KEY, b'{"episode_id":"e1","version":%d}' % version, "EX", seconds)


async def near_cache(
    back: Back, through: Server | Proxy, load: Any = None, *, near_for: float = 30, **options: Any
) -> Cache[Any]:
    options.setdefault("limits", PATIENT)
    cache = cache_of(await back(through, **options), load or Loads(), BRIEF, near_for=near_for)
    cache._near._max_staleness = Limits().max_staleness  # although nothing is pinged
    return cache


async def outcome(cache: Cache[Any]) -> Outcome:
    return (await cache.get_result("e1")).outcome


# Replies and pushes --------------------------------------------------------------------------------


@pytest.fixture
def chunks(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What each read of a socket has brought."""
    read: list[bytes] = []
    received = Connection.data_received

    def spied(self: Connection, data: bytes) -> None:
        read.append(data)
        received(self, data)

    monkeypatch.setattr(Connection, "data_received", spied)
    return read


async def passed_together(replies: HeldReplies, chunks: list[bytes], *texts: str) -> None:
    """Pass the replies on, and return when they have come in one read.

    Other nodes of a cluster say things meanwhile, which are reads of their own.
    """
    await replies.have(*texts)
    chunks.clear()
    replies.release()
    await until(lambda: any(texts[0].encode() in chunk for chunk in chunks))
    assert any(all(text.encode() in chunk for text in texts) for chunk in chunks)


async def test_a_value_and_its_invalidation_in_one_read_leave_nothing_near(
    server: Server, proxy: Proxy, back: Back, chunks: list[bytes]
) -> None:
    write(server, 1)
    cache = await near_cache(back, proxy)
    replies = proxy.hold_replies()
    first = asyncio.create_task(cache.get("e1"))
    await replies.have("version")
    write(server, 2)
    await passed_together(replies, chunks, '"version":1', "invalidate")
    assert await first == Episode("e1", 1)
    assert await cache.get("e1") == Episode("e1", 2)


async def test_an_absence_and_its_invalidation_in_one_read_leave_nothing_near(
    server: Server, proxy: Proxy, back: Back, chunks: list[bytes]
) -> None:
    server.raw()("SET", ABSENT, "1", "EX", 30)
    cache = await near_cache(back, proxy)
    ask = proxy.hold("EVALSHA", GET_OR_LEASE.sha)
    first = asyncio.create_task(cache.get("e1"))
    await ask.reached.wait()
    replies = proxy.hold_replies()
    ask.release()
    await replies.have("absent")
    write(server, 2)
    await passed_together(replies, chunks, "absent", "invalidate")
    assert await first is None
    assert await cache.get("e1") == Episode("e1", 2)


async def test_a_write_between_pttl_and_get_gives_the_new_value_the_old_deadline(
    server: Server, proxy: Proxy, back: Back
) -> None:
    clock = SteadyClock()
    write(server, 1, seconds=60)
    cache = await near_cache(back, proxy, clock=clock, near_for=3600)
    second = proxy.hold(KEY, skip=1)
    read = asyncio.create_task(cache.get("e1"))
    await second.reached.wait()
    write(server, 2, seconds=1200)
    second.release()
    assert await read == Episode("e1", 2)
    near = await cache.get_result("e1")
    assert (near.value, near.outcome) == (Episode("e1", 2), Outcome.NEAR)
    clock.advance(60)
    assert await outcome(cache) is Outcome.HIT


async def test_a_value_that_was_missing_at_its_pttl_is_not_kept_near(server: Server, proxy: Proxy, back: Back) -> None:
    cache = await near_cache(back, proxy)
    second = proxy.hold(KEY, skip=1)
    read = asyncio.create_task(cache.get_result("e1"))
    await second.reached.wait()
    write(server, 1)
    second.release()
    assert ((await read).value, (await read).outcome) == (Episode("e1", 1), Outcome.HIT)
    assert [await outcome(cache) for _ in range(2)] == [Outcome.HIT, Outcome.NEAR]


async def test_a_loaded_value_is_near_at_once_despite_its_own_pushes(server: Server, back: Back) -> None:
    cache = await near_cache(back, server)
    outcomes = []
    for _ in range(2):
        outcomes.append(await outcome(cache))
        await settled(cache)
    assert outcomes == [Outcome.LOADED, Outcome.NEAR]
    write(server, 2)
    await settled(cache)
    assert await cache.get("e1") == Episode("e1", 2)


# Changes made here ---------------------------------------------------------------------------------


async def test_an_invalidation_sent_during_a_read_leaves_nothing_near(server: Server, proxy: Proxy, back: Back) -> None:
    write(server, 1)
    load = Loads()
    load.version = 2
    cache = await near_cache(back, proxy, load)
    replies = proxy.hold_replies()
    early = asyncio.create_task(cache.get("e1"))
    await replies.have('"version":1')
    drop = asyncio.create_task(cache.invalidate("e1"))
    await replies.have("invalidate")
    replies.release_to_push()
    await drop
    late = asyncio.create_task(cache.get("e1"))
    await early
    replies.release()
    assert await late == Episode("e1", 2)


async def test_an_invalidation_ends_what_is_near_here_from_its_call_on(
    server: Server, proxy: Proxy, back: Back
) -> None:
    write(server, 1)
    load = Loads()
    load.version = 2
    cache = await near_cache(back, proxy, load)
    assert [await outcome(cache) for _ in range(2)] == [Outcome.HIT, Outcome.NEAR]
    delete = proxy.hold("DEL")
    drop = asyncio.create_task(cache.invalidate("e1"))
    await delete.reached.wait()
    late = asyncio.create_task(cache.get("e1"))
    await asyncio.sleep(0)
    delete.release()
    await drop
    assert await late == Episode("e1", 2)


async def test_a_process_sees_its_own_writes_at_once(server: Server, back: Back) -> None:
    load = Loads()
    cache = await near_cache(back, server, load)
    ended = asyncio.Event()

    async def read() -> None:
        while not ended.is_set():
            await cache.get("e1")
            await asyncio.sleep(0)

    readers = [asyncio.create_task(read()) for _ in range(5)]
    for version in range(1, 50):
        load.version = version
        await cache.invalidate("e1")
        assert await cache.get("e1") == Episode("e1", version)
    ended.set()
    await asyncio.gather(*readers)


# Changes made elsewhere ----------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["another process's invalidation", "a foreign writer's SET"])
async def test_an_absence_kept_near_ends_with_the_creation(server: Server, back: Back, how: str) -> None:
    load = Loads()
    load.version = 0
    cache = await near_cache(back, server, load)
    assert [await outcome(cache) for _ in range(3)] == [Outcome.LOADED, Outcome.HIT, Outcome.NEAR]
    load.version = 1
    if how == "a foreign writer's SET":
        write(server, 1)
    else:
        await (await near_cache(back, server)).invalidate("e1")
    await settled(cache)
    assert await cache.get("e1") == Episode("e1", 1)


@pytest.mark.own_limits
async def test_nothing_is_served_near_from_a_connection_that_is_silent(
    server: Server, proxy: Proxy, back: Back
) -> None:
    write(server, 1)
    cache = await near_cache(back, proxy, limits=Limits(command_deadline=60, ping_after=60))
    assert [await outcome(cache) for _ in range(2)] == [Outcome.HIT, Outcome.NEAR]
    replies = proxy.hold_replies()
    write(server, 2)
    await replies.have("invalidate")
    async with asyncio.timeout(10):
        while (read := asyncio.create_task(cache.get_result("e1"))) and not (await asyncio.wait([read], timeout=0.05))[
            1
        ]:
            assert (await read).outcome is Outcome.NEAR
    replies.release()
    assert (await read).value == Episode("e1", 2)


@pytest.mark.own_limits
async def test_nothing_is_served_near_by_a_loop_that_was_blocked(server: Server, back: Back) -> None:
    write(server, 1)
    cache = await near_cache(back, server)
    assert [await outcome(cache) for _ in range(2)] == [Outcome.HIT, Outcome.NEAR]
    write(server, 2)
    time.sleep(Limits().max_staleness)  # noqa: ASYNC251  # the very thing
    assert await cache.get("e1") == Episode("e1", 2)


# Time ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("near_for", "seconds", "served"), [(20, 600, 20), (60, 30, 30)])
async def test_a_value_is_near_for_near_for_and_never_beyond_its_lifetime(
    server: Server, back: Back, near_for: float, seconds: int, served: float
) -> None:
    clock = SteadyClock()
    write(server, 1, seconds=seconds)
    cache = await near_cache(back, server, clock=clock, near_for=near_for)
    await cache.get("e1")
    clock.advance(served - 10)  # the server's time has passed too, by less than that
    assert await outcome(cache) is Outcome.NEAR
    clock.advance(10)
    assert await outcome(cache) is Outcome.HIT


@pytest.mark.parametrize("what", ["value", "absence"])
async def test_what_comes_late_is_near_no_longer_for_it(server: Server, proxy: Proxy, back: Back, what: str) -> None:
    clock = SteadyClock()
    if what == "value":
        write(server, 1, seconds=28)
    else:
        server.raw()("SET", ABSENT, "1", "EX", 28)
    cache = await near_cache(back, proxy, clock=clock)
    asked = proxy.hold("GET", KEY) if what == "value" else proxy.hold("EVALSHA", GET_OR_LEASE.sha)
    read = asyncio.create_task(cache.get_result("e1"))
    await asked.reached.wait()
    clock.advance(15)
    asked.release()
    await read
    clock.advance(5)  # the server's time has passed too, by less than the eight seconds that are left
    assert await outcome(cache) is Outcome.NEAR
    clock.advance(8)
    assert await outcome(cache) is Outcome.HIT


@pytest.mark.parametrize("near_for", [0, 30])
async def test_a_value_that_is_given_its_lifetime_never_gets_a_longer_one(
    server: Server, proxy: Proxy, back: Back, near_for: float
) -> None:
    raw = server.raw()
    raw("SET", KEY, b'{"episode_id":"e1"}')
    cache = await near_cache(back, proxy, near_for=near_for)
    expire = proxy.hold("PEXPIRE")
    read = asyncio.create_task(cache.get_result("e1"))
    await expire.reached.wait()
    write(server, 2, seconds=60)
    expire.release()
    assert (await read).value == Episode("e1", 1)
    assert 0 < raw("PTTL", KEY) <= 60_000
    assert (await cache.get_result("e1")).value == Episode("e1", 2)
