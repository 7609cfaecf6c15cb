"""Loads that hold no lease although the server answers: nobody joins one, nor is given its value, after a change."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from greenroom.caching import Outcome
from greenroom.caching.ladder import _unreadable
from tests.support.episode_caches import KEY, Back, Episode, Loads, cache_of, settled
from tests.support.patience import PATIENT, until
from tests.support.real_servers import Server

pytestmark = pytest.mark.on_cluster

GROUP = "episodes:{episode_id}"


@pytest.fixture
def full(server: Server) -> Iterator[None]:
    """The server has no memory left."""
    raw = server.raw()
    raw("CONFIG", "SET", "maxmemory", "1")
    yield
    raw("CONFIG", "SET", "maxmemory", "0")
    raw.close()


@pytest.mark.usefixtures("full")
@pytest.mark.parametrize("who", ["another process", "this process", "this process, its group"])
async def test_out_of_memory_nobody_joins_a_load_begun_before_an_invalidation(
    server: Server, back: Back, who: str
) -> None:
    load = Loads()
    load.go.clear()
    ours = cache_of(await back(server), load, groups=[GROUP])
    theirs = cache_of(await back(server), Loads(), groups=[GROUP])
    early = asyncio.create_task(ours.get_result("e1"))
    await load.started.wait()
    load.version = 2
    if who == "another process":
        await theirs.invalidate("e1")
    elif who == "this process":
        await ours.invalidate("e1")
    else:
        await ours.invalidate_group(episode_id="e1")
    await settled(ours)
    late = asyncio.create_task(ours.get_result("e1"))
    await until(lambda: len(load.calls) == 2)
    load.go.set()
    assert (await early).value == Episode("e1", 1)
    assert (await late).value == Episode("e1", 2)


@pytest.mark.usefixtures("full")
@pytest.mark.parametrize("groups", [[], [GROUP]])
async def test_out_of_memory_a_batch_keeps_nothing_and_nobody_joins_it(
    server: Server, back: Back, groups: list[str]
) -> None:
    load = Loads()

    async def load_many(ids: Any) -> list[Episode | None]:
        return [await load(one) for one in ids]

    cache = cache_of(await back(server), load, load_many=load_many, groups=groups)
    load.go.clear()
    early = asyncio.create_task(cache.get_results([{"episode_id": "e1"}]))
    await load.started.wait()
    load.version = 2
    late = asyncio.create_task(cache.get_results([{"episode_id": "e1"}]))
    await until(lambda: len(load.calls) == 2)
    load.go.set()
    assert [((await one)[0].value, (await one)[0].outcome) for one in (early, late)] == [
        (Episode("e1", 1), Outcome.LOADED),
        (Episode("e1", 2), Outcome.LOADED),
    ]
    load.version = 3
    assert (await cache.get_many([{"episode_id": "e1"}])) == [Episode("e1", 3)]


@pytest.mark.parametrize("many", [False, True])
async def test_nobody_joins_the_load_of_a_page_that_could_not_be_registered(
    server: Server, back: Back, many: bool
) -> None:
    load, raw = Loads(), server.raw()
    load.go.clear()

    async def load_many(ids: Any) -> list[Episode | None]:
        return [await load(one) for one in ids]

    cache = cache_of(await back(server, limits=PATIENT), load, load_many=load_many, groups=[GROUP])

    async def read() -> Any:
        return (await cache.get_results([{"episode_id": "e1"}]))[0] if many else await cache.get_result("e1")

    raw("ACL", "SETUSER", "default", "-zadd")
    try:
        early = asyncio.create_task(read())
        await load.started.wait()
        load.version = 2
        await cache_of(await back(server), Loads()).invalidate("e1")
        late = asyncio.create_task(read())
        await until(lambda: len(load.calls) == 2)
        load.go.set()
        assert ((await early).value, (await early).stored) == (Episode("e1", 1), False)
        assert (await late).value == Episode("e1", 2)
    finally:
        raw("ACL", "SETUSER", "default", "+zadd")
    assert cache._fallback.empty


async def test_a_drop_of_a_group_reaches_what_is_loaded_here_without_the_server(server: Server, back: Back) -> None:
    load = Loads()
    load.go.clear()
    cache = cache_of(await back(server), load, groups=[GROUP])
    # As where its own server cannot be asked, and its group's can.
    cache._ladder.loads.begin(KEY, {"episode_id": "e1"}, _unreadable())
    await load.started.wait()
    load.version = 2
    await cache.invalidate_group(episode_id="e1")
    load.go.set()
    assert await cache.get("e1") == Episode("e1", 2)
    await until(lambda: not cache._flights._tasks)
    assert cache._fallback.empty
