"""Invalidations whose callers, tasks or connections are lost at every await in turn: no old value is seen again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest

from greenroom.caching import Cache, invalidation
from greenroom.counters import Counters
from tests.support.episode_caches import Back, Episode, Loads, cache_of, open_backing, settled
from tests.support.every_await import FAULTS, Fault, at_every_await
from tests.support.held import cut, held_by, quiet
from tests.support.patience import PATIENT, until
from tests.support.proxy import Proxy
from tests.support.real_servers import Server

IDS = [f"e{number}" for number in range(5)]
GROUP = "episodes:all"
Drop = Callable[[Cache[Any]], Coroutine[Any, Any, None]]


async def one(cache: Cache[Any]) -> None:
    await cache.invalidate("e1")


async def group(cache: Cache[Any]) -> None:
    await cache.invalidate_group()


class Drops:
    """A process that invalidates, and another; both have the old values near."""

    def __init__(self, ours: Cache[Any], theirs: Cache[Any], drop: Drop) -> None:
        self.ours = ours
        self.theirs = theirs
        self._drop = drop

    def operation(self) -> Coroutine[Any, Any, None]:
        return self._drop(self.ours)

    def cut(self) -> None:
        cut(self.ours._backing.engine)

    async def check(self) -> None:
        await quiet(self.ours._backing.engine)
        await until(lambda: held_by(self.ours._backing, self.ours) == {})
        await settled(self.theirs)
        for name in IDS if self._drop is group else ["e1"]:
            assert await self.ours.get(name) == await self.theirs.get(name) == Episode(name, 2)


@asynccontextmanager
async def drops(server: Server, drop: Drop) -> AsyncIterator[Drops]:
    async with AsyncExitStack() as stack:
        load, caches = Loads(), list[Cache[Any]]()
        for _ in range(2):
            opened = await open_backing(server.address, counters=Counters())
            stack.push_async_callback(opened.close)
            caches.append(cache_of(opened, load, near_for=30, groups=[GROUP]))
        server.raw()("FLUSHALL")
        for cache in (*caches, *caches):
            await asyncio.gather(*(cache.get(name) for name in IDS))
        load.version = 2
        yield Drops(caches[0], caches[1], drop)


@pytest.mark.parametrize("fault", FAULTS, ids=str)
@pytest.mark.parametrize("drop", [one, group])
async def test_an_invalidation_lost_at_any_await_is_sent_all_the_same(
    valkey: Server, fault: Fault, drop: Drop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("greenroom.caching.drops.BATCH", 2)  # in chunks
    assert await at_every_await(lambda: drops(valkey, drop), fault) >= 1


@pytest.mark.parametrize("drop", [one, group])
async def test_a_refused_invalidation_whose_caller_gave_up_is_sent(valkey: Server, drop: Drop) -> None:
    raw = valkey.raw()
    async with drops(valkey, drop) as trial:
        raw("CONFIG", "SET", "min-replicas-to-write", "1")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await drop(trial.ours)
        raw("CONFIG", "SET", "min-replicas-to-write", "0")
        await trial.check()


async def test_what_the_server_refuses_to_drop_is_not_read_from_the_call_on(valkey: Server, back: Back) -> None:
    load = Loads()
    cache = cache_of(await back(valkey), load)
    await cache.get("e1")
    load.version = 2
    raw = valkey.raw()
    raw("CONFIG", "SET", "min-replicas-to-write", "1")
    drop = asyncio.create_task(cache.invalidate("e1"))
    await until(lambda: cache._backing.drops.refused)
    assert await cache.get("e1") == Episode("e1", 2)
    raw("CONFIG", "SET", "min-replicas-to-write", "0")
    await asyncio.wait([drop])
    await quiet(cache._backing.engine)
    assert await cache.get("e1") == Episode("e1", 2)
    assert held_by(cache._backing, cache) == {}


async def test_a_value_on_its_way_during_an_invalidation_is_not_put_near(valkey: Server, back: Back) -> None:
    async with Proxy(valkey) as proxy:
        load = Loads()
        cache = cache_of(await back(proxy), load)
        await cache.get("e1")
        cache = cache_of(cache._backing, load, near_for=30)
        load.version = 2
        get = proxy.hold("GET", "cache:episode:e1")
        early = asyncio.create_task(cache.get("e1"))
        await get.reached.wait()
        delete = proxy.hold("DEL")
        drop = asyncio.create_task(cache.invalidate("e1"))
        await asyncio.sleep(0)
        get.release()
        assert await early == Episode("e1", 1)  # it began before
        late = asyncio.create_task(cache.get("e1"))
        await delete.reached.wait()
        assert not len(cache._near)
        delete.release()
        assert await late == Episode("e1", 2)
        await drop


async def test_a_room_that_closes_lets_the_drops_of_callers_who_gave_up_be_sent(
    valkey: Server, back: Back, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(invalidation, "CLOSING", 60.0)
    raw = valkey.raw()
    async with drops(valkey, one) as trial:
        ours = cache_of(await back(valkey, limits=PATIENT), Loads())
        raw("CONFIG", "SET", "min-replicas-to-write", "1")
        drop = asyncio.create_task(ours.invalidate("e1"))
        await until(lambda: ours._backing.drops.refused)
        drop.cancel()
        await asyncio.wait([drop])
        closing = asyncio.create_task(ours._backing.close())
        await asyncio.wait([closing], timeout=0.1)
        raw("CONFIG", "SET", "min-replicas-to-write", "0")
        await closing
        await settled(trial.theirs)
        assert await trial.theirs.get("e1") == Episode("e1", 2)
