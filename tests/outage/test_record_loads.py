"""What the record bears while the server is down: once per key and process, so many at a time, kept for a second."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from time import monotonic
from typing import Any

import pytest

from greenroom.caching import Cache, Outcome, fallback
from greenroom.caching.fallback import MAX_CONCURRENT
from greenroom.errors import EngineError, LoadTimeout, Overloaded
from tests.support.episode_caches import KEY, Back, Episode, Loads, cache_of
from tests.support.outage_helpers import Nowhere, broken, connected
from tests.support.patience import SteadyClock, until
from tests.support.real_servers import Server


@pytest.fixture
def load() -> Loads:
    """The loader of a test's cache."""
    return Loads()


@pytest.fixture
def clock() -> SteadyClock:
    """A clock that stands still."""
    return SteadyClock()


async def down(back: Back, load: Loads, clock: SteadyClock, **options: Any) -> Cache[Episode]:
    """A cache whose server is known to be down."""
    return cache_of(await broken(await back(Nowhere(), clock=clock)), load, **options)


async def test_at_most_sixteen_loads_run_at_a_time(back: Back, load: Loads, clock: SteadyClock) -> None:
    cache = await down(back, load, clock)
    load.go.clear()
    reads = [asyncio.create_task(cache.get(f"e{n}")) for n in range(40)]
    await until(lambda: len(load.calls) == MAX_CONCURRENT == 16)
    await asyncio.wait(reads[MAX_CONCURRENT:])
    for refused in reads[MAX_CONCURRENT:]:
        with pytest.raises(Overloaded):
            refused.result()
    assert len(load.calls) == MAX_CONCURRENT
    load.go.set()
    assert await asyncio.gather(*reads[:MAX_CONCURRENT]) == [Episode(f"e{n}") for n in range(MAX_CONCURRENT)]
    assert await cache.get("e39") == Episode("e39")


async def test_a_place_is_waited_for_a_moment_and_no_longer(
    back: Back, load: Loads, clock: SteadyClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = await down(back, load, clock, max_concurrent=1)
    load.go.clear()
    first = asyncio.create_task(cache.get("e1"))
    await load.started.wait()
    began = monotonic()
    with pytest.raises(Overloaded):
        await cache.get("e2")
    assert monotonic() - began < 20  # 300 ms, on a slow machine
    monkeypatch.setattr(fallback, "PERMIT_WAIT", 60)
    second = asyncio.create_task(cache.get("e2"))
    await asyncio.sleep(0)
    load.go.set()
    assert [await first, await second] == [Episode("e1"), Episode("e2")]
    assert load.calls == ["e1", "e2"]


async def test_a_load_that_fails_or_hangs_gives_its_place_back(back: Back, load: Loads, clock: SteadyClock) -> None:
    cache = await down(back, load, clock, max_concurrent=1, loader_deadline=0.01)
    load.error = ValueError()
    with pytest.raises(ValueError):
        await cache.get("e1")
    load.go.clear()
    with pytest.raises(LoadTimeout):
        await cache.get("e1")
    load.go.set()
    load.error = None
    assert await cache.get("e1") == Episode("e1")


async def test_places_are_each_keyspace_s_own(back: Back) -> None:
    busy, idle = Loads(), Loads()
    backing = await broken(await back(Nowhere()))
    busy.go.clear()
    first = asyncio.create_task(cache_of(backing, busy, max_concurrent=1).get("e1"))
    await busy.started.wait()
    assert await cache_of(backing, idle, max_concurrent=1).get("e1") == Episode("e1")
    busy.go.set()
    await first


async def test_a_key_is_loaded_once_for_all_who_ask_together(back: Back, load: Loads, clock: SteadyClock) -> None:
    cache = await down(back, load, clock)
    load.go.clear()
    reads = [asyncio.create_task(cache.get_result("e1")) for _ in range(100)]
    await load.started.wait()
    load.go.set()
    for read in await asyncio.gather(*reads):
        assert (read.value, read.outcome, read.stored) == (Episode("e1"), Outcome.BYPASSED, False)
    assert load.calls == ["e1"]


async def test_a_late_finder_of_an_outage_shares_what_another_has_loaded(
    back: Back, load: Loads, clock: SteadyClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = await down(back, load, clock)
    found_out = asyncio.Event()

    def for_long(ask: Any) -> Any:
        async def ask_for_long(wanted: Any, **options: Any) -> Any:
            answer = await ask(wanted, **options)
            await found_out.wait()
            return answer

        return ask_for_long

    with monkeypatch.context() as slow:
        slow.setattr(cache._remote, "read", for_long(cache._remote.read))
        slow.setattr(cache._remote, "read_many", for_long(cache._remote.read_many))
        late = asyncio.create_task(cache.get("e1"))
        late_too = asyncio.create_task(cache.get_many([{"episode_id": "e1"}]))
        await asyncio.sleep(0)
    assert await cache.get("e1") == Episode("e1")
    found_out.set()
    assert (await late, await late_too) == (Episode("e1"), [Episode("e1")])
    assert load.calls == ["e1"]


async def test_what_was_loaded_is_kept_for_a_second(back: Back, load: Loads, clock: SteadyClock) -> None:
    cache = cache_of(await broken(await back(Nowhere(), clock=clock)), load)
    assert await cache.get("e1") == Episode("e1")
    load.version = 2
    clock.advance(0.999)
    assert (await cache.get_result("e1")).outcome is Outcome.BYPASSED
    assert [one.value for one in await cache.get_results([{"episode_id": "e1"}])] == [Episode("e1")]
    assert load.calls == ["e1"]
    clock.advance(0.001)
    assert await cache.get("e1") == Episode("e1", 2)


async def test_an_invalidation_made_here_is_seen_by_the_next_read(back: Back, load: Loads, clock: SteadyClock) -> None:
    cache = cache_of(await broken(await back(Nowhere(), clock=clock)), load)
    await cache.get("e1")
    load.version = 2
    with pytest.raises(EngineError):
        await cache.invalidate("e1")
    assert await cache.get("e1") == Episode("e1", 2)


async def test_a_load_begun_before_an_own_invalidation_is_not_joined_or_kept(
    back: Back, load: Loads, clock: SteadyClock
) -> None:
    cache = cache_of(await broken(await back(Nowhere(), clock=clock)), load)
    load.go.clear()
    early = asyncio.create_task(cache.get("e1"))
    await load.started.wait()
    load.version = 2
    with pytest.raises(EngineError):
        await cache.invalidate("e1")
    load.started.clear()
    late = asyncio.create_task(cache.get("e1"))
    await load.started.wait()  # not joined: it loads anew
    load.version = 3
    load.go.set()
    assert [await early, await late] == [Episode("e1"), Episode("e1", 2)]
    assert await cache.get("e1") == Episode("e1", 2)


async def test_what_was_kept_is_dropped_when_the_server_is_back(
    valkey: Server, back: Back, load: Loads, clock: SteadyClock
) -> None:
    valkey.kill()
    backing = await broken(await back(valkey, clock=clock))
    cache = cache_of(backing, load)
    await cache.get("e1")
    await asyncio.to_thread(valkey.start)
    await connected(backing)
    valkey.raw()("SET", KEY, b'{"episode_id":"e1","version":9}', "EX", 1700)
    read = await cache.get_result("e1")
    assert (read.value, read.outcome) == (Episode("e1", 9), Outcome.HIT)


async def test_a_load_begun_in_an_outage_is_not_kept_once_the_server_is_back(
    valkey: Server, back: Back, load: Loads, clock: SteadyClock
) -> None:
    valkey.kill()
    backing = await broken(await back(valkey, clock=clock))
    cache = cache_of(backing, load)
    load.go.clear()
    early = asyncio.create_task(cache.get_result("e1"))
    await load.started.wait()
    await asyncio.to_thread(valkey.start)
    await connected(backing)
    load.go.set()
    assert (await early).outcome is Outcome.BYPASSED
    valkey.raw()(
        "SET", KEY, b'{"episode_id":"e1","version":9}', "EX", 60
    )  # as another process, which can ask, stores it
    assert await cache.get("e1") == Episode("e1", 9)


async def test_many_keys_take_one_load_and_one_place(back: Back, load: Loads, clock: SteadyClock) -> None:
    batches: list[list[str]] = []

    async def load_many(ids: Sequence[str]) -> list[Episode]:
        batches.append(list(ids))
        await load.go.wait()
        return [Episode(one) for one in ids]

    cache = await down(back, load, clock, load_many=load_many, max_concurrent=1)
    load.go.clear()
    ids = [f"e{n}" for n in range(50)]
    reading = asyncio.create_task(cache.get_many([{"episode_id": one} for one in ids]))
    await until(lambda: batches)
    with pytest.raises(Overloaded):
        await cache.get("alone")
    load.go.set()
    assert await reading == [Episode(one) for one in ids]
    assert await cache.get_many([{"episode_id": one} for one in ids]) == [Episode(one) for one in ids]
    assert batches == [ids]
