"""Refreshing behind in forced orders: a newer value stays, and a record in trouble is left alone."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from greenroom.caching import Outcome
from greenroom.caching.lease import GET_OR_LEASE
from greenroom.counters import Counters
from greenroom.keyspace import Keyspace
from tests.support.episode_caches import ABSENT, EPISODE, KEY, LEASE, Back, Episode, Loads, cache_of, settled
from tests.support.patience import PATIENT, SteadyClock, until
from tests.support.proxy import proxy_of
from tests.support.real_servers import Server

pytestmark = pytest.mark.on_cluster

OLD, NEW, FOREIGN = (b'{"episode_id":"e1","version":%d}' % version for version in (1, 2, 9))


def make_stale(server: Server) -> None:
    """A value with less than half of its lifetime left."""
    server.raw()("SET", KEY, OLD, "EX", 600)


async def test_a_stale_value_is_served_at_once_and_refreshed_by_one_process(server: Server, back: Back) -> None:
    make_stale(server)
    load = Loads()
    load.version = 2
    load.go.clear()
    processes = [cache_of(await back(server), load) for _ in range(3)]
    for _ in range(3):
        reads = await asyncio.gather(*(process.get_result("e1") for process in processes))
        assert [(read.value, read.outcome) for read in reads] == [(Episode("e1", 1), Outcome.STALE)] * 3
    await load.started.wait()
    load.go.set()
    await until(lambda: server.raw()("GET", KEY) == NEW)
    assert load.calls == ["e1"]
    assert [(await process.get_result("e1")).outcome for process in processes] == [Outcome.HIT] * 3


async def test_a_refresh_keeps_a_foreign_value_written_during_its_load(server: Server, back: Back) -> None:
    make_stale(server)
    load, counters = Loads(), Counters()
    load.version = 2
    load.go.clear()
    cache = cache_of(await back(server, counters=counters), load)
    await cache.get("e1")
    await load.started.wait()
    server.raw()("SET", KEY, FOREIGN, "EX", 1800)
    load.go.set()
    await until(lambda: counters.cache_events["cache_episode", "fill_refused"])
    assert server.raw()("KEYS", "*") == [KEY.encode()]  # nor does a lease stay behind
    read = await cache.get_result("e1")
    assert (read.body, read.outcome, load.calls) == (FOREIGN, Outcome.HIT, ["e1"])


async def test_a_refresh_loads_nothing_if_a_newer_value_came_first(server: Server, back: Back) -> None:
    make_stale(server)
    load = Loads()
    async with proxy_of(server) as proxy:
        backing = await back(proxy, limits=PATIENT)
        cache = cache_of(backing, load)
        ask = proxy.hold("EVALSHA", GET_OR_LEASE.sha)
        assert (await cache.get_result("e1")).outcome is Outcome.STALE
        await ask.reached.wait()
        server.raw()("SET", KEY, FOREIGN, "EX", 1800)
        ask.release()
        assert (await cache.get_result("e1")).body == FOREIGN
        await settled(cache)
        assert server.raw()("KEYS", "*") == [KEY.encode()]
        assert load.calls == []
        await backing.close()


async def test_a_refresh_begun_before_an_invalidation_stores_nothing(server: Server, back: Back) -> None:
    make_stale(server)
    load, counters = Loads(), Counters()
    load.go.clear()
    cache = cache_of(await back(server, counters=counters), load)
    await cache.get("e1")
    await load.started.wait()
    load.version = 2
    await cache_of(await back(server), Loads()).invalidate("e1")
    load.go.set()
    await until(lambda: counters.cache_events["cache_episode", "fill_refused"])
    assert await cache.get("e1") == Episode("e1", 2)


async def test_a_refresh_that_finds_nothing_deletes(server: Server, back: Back) -> None:
    make_stale(server)
    load = Loads()
    load.version = 0
    cache = cache_of(await back(server), load, near_for=30)
    assert await cache.get("e1") == Episode("e1", 1)
    raw = server.raw()
    await until(lambda: raw("EXISTS", ABSENT))
    assert raw("KEYS", "*") == [ABSENT.encode()]
    await settled(cache)
    assert await cache.get("e1") is None
    assert load.calls == ["e1"]


async def test_a_failed_refresh_serves_on_and_makes_every_process_back_off(server: Server, back: Back) -> None:
    make_stale(server)
    load, clock = Loads(), SteadyClock()
    load.error = OSError()
    ours = cache_of(await back(server, clock=clock), load)
    theirs = cache_of(await back(server, clock=clock), load)
    raw = server.raw()
    await ours.get("e1")
    await until(lambda: raw("GET", LEASE) == b"failed:OSError")
    for cache in (ours, theirs, ours, theirs):
        assert (await cache.get_result("e1")).outcome is Outcome.STALE
        await settled(cache)
    assert load.calls == ["e1"]
    raw("DEL", LEASE)  # as its end does
    clock.advance(1.01)
    load.error, load.version = None, 2
    assert (await ours.get_result("e1")).outcome is Outcome.STALE
    await until(lambda: raw("GET", KEY) == NEW)
    assert load.calls == ["e1", "e1"]


async def test_a_refresh_whose_value_cannot_be_stored_holds_back_too(server: Server, back: Back) -> None:
    small: Keyspace[Episode] = Keyspace(
        "cache:episode:{episode_id}", Episode, ttl=EPISODE.lifetime.ttl, fresh=timedelta(minutes=15), limit=len(OLD)
    )
    make_stale(server)
    load, counters, clock = Loads(), Counters(), SteadyClock()
    load.version = 10**6
    cache = cache_of(await back(server, clock=clock, counters=counters), load, small)
    for _ in range(2):
        for _ in range(3):
            assert (await cache.get_result("e1")).outcome is Outcome.STALE
            await until(lambda: not server.raw()("EXISTS", LEASE) and not cache._ladder.refreshes._tasks)
        clock.advance(1.01)
    assert counters.errors["cache_episode", "oversize"] == len(load.calls) == 2
