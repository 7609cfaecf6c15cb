"""A server that has reached `maxmemory` and evicts nothing: reads go on, nothing is stored, nobody waits in vain."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence

import pytest

from greenroom.caching import Outcome
from greenroom.counters import Counters
from greenroom.errors import Overloaded
from greenroom.observe import CacheTrouble, Event
from tests.support.episode_caches import KEY, LEASE, Back, Episode, Loads, cache_of
from tests.support.full_server import full
from tests.support.outage_helpers import answered, outcomes
from tests.support.patience import until
from tests.support.real_servers import Server

pytestmark = pytest.mark.on_cluster


async def test_hits_go_on(server: Server, back: Back) -> None:
    cache = cache_of(await back(server), Loads())
    await cache.get("e1")
    with full(server):
        assert (await cache.get_result("e1")).outcome is Outcome.HIT
        assert await cache.get("e1") == Episode("e1")


async def test_misses_are_loaded_and_not_stored_until_there_is_memory(server: Server, back: Back) -> None:
    counters, load = Counters(), Loads()
    cache = cache_of(await back(server, counters=counters), load)
    with full(server):
        for _ in range(2):
            read = await cache.get_result("e1")
            assert (read.value, read.outcome, read.stored) == (Episode("e1"), Outcome.LOADED, False)
        assert server.raw()("DBSIZE") == 0
    assert load.calls == ["e1", "e1"]
    assert +Counter(counters.errors) == {("cache_episode", "out_of_memory"): 2}
    assert (await cache.get_result("e1")).stored
    assert (await cache.get_result("e1")).outcome is Outcome.HIT


@pytest.mark.parametrize("groups", [[], ["episodes:{episode_id}"]])
async def test_each_key_of_a_batch_that_is_not_stored_is_counted_and_told(
    server: Server, back: Back, groups: list[str]
) -> None:
    async def load_many(ids: Sequence[str]) -> list[Episode]:
        return [Episode(one) for one in ids]

    counters, told = Counters(), list[Event]()
    counters.events.add(told.append)
    cache = cache_of(await back(server, counters=counters), Loads(), load_many=load_many, groups=groups)
    with full(server):
        reads = await cache.get_results(["e1", "e2", "e3"])
    assert [(read.value, read.stored) for read in reads] == [(Episode(f"e{n}"), False) for n in (1, 2, 3)]
    assert +Counter(counters.errors) == {("cache_episode", "out_of_memory"): 3}
    assert sorted(str(one.key) for one in told if isinstance(one, CacheTrouble)) == [
        KEY,
        f"{KEY[:-1]}2",
        f"{KEY[:-1]}3",
    ]


async def test_misses_are_bounded_as_without_a_server(server: Server, back: Back) -> None:
    load = Loads()
    load.go.clear()
    cache = cache_of(await back(server), load, max_concurrent=2)
    with full(server):
        reads = [asyncio.create_task(cache.get(f"e{n}")) for n in range(6)]
        await until(lambda: len(load.calls) == 2 and sum(read.done() for read in reads) == 4)
        load.go.set()
        results = await asyncio.gather(*reads, return_exceptions=True)
    assert sum(isinstance(result, Episode) for result in results) == 2
    assert sum(isinstance(result, Overloaded) for result in results) == 4


async def test_a_page_that_cannot_be_registered_in_its_group_is_not_stored(server: Server, back: Back) -> None:
    cache = cache_of(await back(server), Loads(), groups=["episodes:{episode_id}"])
    with full(server):
        assert not (await cache.get_result("e1")).stored
        await cache.invalidate_group(episode_id="e1")
    assert server.raw()("DBSIZE") == 0


async def test_an_invalidation_needs_no_memory(server: Server, back: Back) -> None:
    load = Loads()
    cache = cache_of(await back(server), load)
    await cache.get("e1")
    load.version = 2
    with full(server):
        await cache.invalidate("e1")
        assert await cache.get("e1") == Episode("e1", 2)


@pytest.mark.parametrize("fails", [False, True])
async def test_a_waiter_of_an_unstorable_load_does_not_wait_for_the_lease_s_end(
    server: Server, back: Back, fails: bool
) -> None:
    mine, theirs = Loads(), Loads()
    theirs.go.clear()
    theirs.error = ValueError() if fails else None
    leader, waiter = cache_of(await back(server), theirs, loader_deadline=60), cache_of(await back(server), mine)
    leading = asyncio.create_task(leader.get_result("e1"))
    await theirs.started.wait()
    counters = waiter._backing.counters
    waiting = asyncio.create_task(answered(waiter, "e1"))
    await until(lambda: counters.cache_events["cache_episode", "lease_wait"])
    with full(server):
        theirs.go.set()
        assert outcomes(await waiting) == {Outcome.LOADED}
        await asyncio.wait([leading])
        assert leading.exception() is theirs.error
        assert server.raw()("EXISTS", LEASE) == 0


async def test_a_stale_value_is_served_on(server: Server, back: Back) -> None:
    load = Loads()
    cache = cache_of(await back(server), load)
    await cache.get("e1")
    server.raw()("PEXPIRE", KEY, 60_000)
    with full(server):
        for _ in range(3):
            assert (await cache.get_result("e1")).outcome is Outcome.STALE
    assert load.calls == ["e1"]
