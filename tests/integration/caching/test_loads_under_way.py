"""What is being loaded can be seen, and ended: who waits gets an error, and the next caller begins anew."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta

import pytest

from greenroom import Greenroom
from greenroom.errors import LoadFailed
from tests.support.episode_caches import EPISODE, KEY, LEASE, Episode, Loads
from tests.support.patience import until
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
