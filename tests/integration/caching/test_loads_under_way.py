"""What is being loaded can be seen, and ended: who waits gets an error, and the next caller begins anew."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta

import pytest

from greenroom import Greenroom
from greenroom.caching.lease import GET_OR_LEASE
from greenroom.errors import LoadFailed
from tests.support.episode_caches import ABSENT, EPISODE, KEY, LEASE, Episode, Loads
from tests.support.patience import until
from tests.support.proxy import Proxy
from tests.support.real_servers import Server

pytestmark = pytest.mark.one_kind


@pytest.fixture
async def room(server: Server) -> AsyncIterator[Greenroom]:
    async with Greenroom(server.address) as room:
        yield room


async def test_a_load_is_seen_with_its_waiters_and_ended(room: Greenroom, server: Server) -> None:
    loads, ended = Loads(), asyncio.Event()
    loads.go.clear()

    async def load(episode_id: str) -> Episode | None:
        try:
            return await loads(episode_id)
        except asyncio.CancelledError:
            ended.set()
            raise

    cache = room.cache(EPISODE, load=load, loader_deadline=timedelta(minutes=1))
    assert cache in room.caches
    assert cache.loads() == []
    callers = [asyncio.create_task(cache.get("e1")) for _ in range(3)]
    await loads.started.wait()
    await until(lambda: [one.waiting for one in cache.loads()] == [3])
    (seen,) = cache.loads()
    assert (seen.key, seen.age > 0) == (KEY, True)
    assert cache.cancel_load(KEY) == 3
    results = await asyncio.gather(*callers, return_exceptions=True)
    assert {type(one) for one in results} == {LoadFailed}
    assert cache.loads() == []
    await until(ended.is_set)
    raw = server.raw()
    await until(lambda: raw("EXISTS", LEASE) == 0)
    loads.go.set()
    assert await cache.get("e1") == Episode("e1"), "no failure is remembered, and nobody else is waited for"
    assert cache.cancel_load(KEY) == 0
    assert cache.is_near("e1")
    assert not cache.is_near("e2")


async def test_of_keys_that_are_loaded_together_the_others_go_on(room: Greenroom) -> None:
    go, started = asyncio.Event(), asyncio.Event()

    async def many(ids: Sequence[str]) -> list[Episode]:
        started.set()
        await go.wait()
        return [Episode(one) for one in ids]

    cache = room.cache(EPISODE, load=Loads(), load_many=many)
    both = asyncio.create_task(cache.get_many(["e1", "e2"]))
    await started.wait()
    another = asyncio.create_task(cache.get("e2"))
    await until(lambda: sum(one.waiting for one in cache.loads()) == 3)
    assert cache.cancel_load(KEY) == 1
    with pytest.raises(LoadFailed):
        await both
    go.set()
    assert await another == Episode("e2")


class Together:
    """A batch loader of first versions that stops where a test wants it to."""

    def __init__(self) -> None:
        self.started = asyncio.Event()
        self.go = asyncio.Event()
        self.error: Exception | None = None
        self.ids: list[str] = []

    async def __call__(self, ids: Sequence[str]) -> list[Episode]:
        self.ids += ids
        self.started.set()
        await self.go.wait()
        if self.error is not None:
            raise self.error
        return [Episode(one) for one in ids]


async def test_a_key_of_a_batch_that_is_ended_is_free_at_once_for_the_next(room: Greenroom, server: Server) -> None:
    alone, together, raw = Loads(), Together(), server.raw()
    alone.version = 2
    cache = room.cache(EPISODE, load=alone, load_many=together, loader_deadline=timedelta(minutes=1))
    both = asyncio.create_task(cache.get_many(["e1", "e2"]))
    await together.started.wait()
    assert cache.cancel_load(KEY) == 1
    with pytest.raises(LoadFailed):
        await both
    await until(lambda: raw("EXISTS", LEASE) == 0)
    assert await cache.get("e1") == Episode("e1", 2), "while the others are still loaded"
    other = asyncio.create_task(cache.get("e2"))
    together.go.set()
    assert await other == Episode("e2")
    assert raw("GET", KEY) == b'{"episode_id":"e1","version":2}'


@pytest.mark.parametrize("fails", [False, True])
async def test_of_a_key_of_a_batch_that_was_ended_nothing_is_left(room: Greenroom, server: Server, fails: bool) -> None:
    together, raw = Together(), server.raw()
    together.error = ValueError("no record") if fails else None
    cache = room.cache(EPISODE, load=Loads(), load_many=together, loader_deadline=timedelta(minutes=1))
    both = asyncio.create_task(cache.get_many(["e1", "e2"]))
    await together.started.wait()
    assert cache.cancel_load(KEY) == 1
    together.go.set()
    with pytest.raises(LoadFailed):
        await both
    await until(lambda: not cache._flights._tasks)
    await cache._backing.releases.settle(10)
    assert raw("EXISTS", KEY, LEASE, ABSENT) == 0
    assert room.counters.cache_events["cache_episode", "fill_refused"] == 0, "it is not even tried"
    assert cache._ladder.loads.steps.errors.of(KEY, "ValueError") is None
    assert not cache.is_near("e1")
    assert await cache.get("e1") == Episode("e1"), "no failure is remembered"


async def test_a_key_of_a_batch_that_is_ended_before_its_lease_is_not_loaded(valkey: Server, proxy: Proxy) -> None:
    together, raw = Together(), valkey.raw()
    async with Greenroom(proxy.address) as room:
        cache = room.cache(EPISODE, load=Loads(), load_many=together)
        held = proxy.hold(GET_OR_LEASE.sha, KEY)
        both = asyncio.create_task(cache.get_many(["e1", "e2"]))
        await held.reached.wait()
        assert cache.cancel_load(KEY) == 1
        held.release()
        with pytest.raises(LoadFailed):
            await both
        await together.started.wait()
        assert together.ids == ["e2"]
        await until(lambda: raw("EXISTS", LEASE) == 0)
        together.go.set()
        assert await cache.get("e2") == Episode("e2")


async def test_a_key_of_a_batch_that_waits_for_another_process_waits_no_more(room: Greenroom, server: Server) -> None:
    alone, together, theirs, raw = Loads(), Together(), Loads(), server.raw()
    theirs.go.clear()
    async with Greenroom(server.address) as other:
        elsewhere = other.cache(EPISODE, load=theirs, loader_deadline=timedelta(minutes=1))
        leading = asyncio.create_task(elsewhere.get("e1"))
        await theirs.started.wait()
        cache = room.cache(EPISODE, load=alone, load_many=together, loader_deadline=timedelta(minutes=1))
        both = asyncio.create_task(cache.get_many(["e1", "e2"]))
        await together.started.wait()
        await until(lambda: room.counters.cache_events["cache_episode", "lease_wait"] == 1)
        assert cache.cancel_load(KEY) == 1
        raw("DEL", LEASE)  # who waits would win it now
        with pytest.raises(LoadFailed):
            await both
        second = asyncio.create_task(cache.get("e2"))
        together.go.set()
        assert await second == Episode("e2"), "the others go on"
        await until(lambda: not cache._flights._tasks)
        assert alone.calls == []
        theirs.go.set()
        assert await leading == Episode("e1")
