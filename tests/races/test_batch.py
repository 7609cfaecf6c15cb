"""`get_many` of several processes under invalidations: each key once, and nothing stale."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from typing import Any

import pytest

from greenroom.caching import Cache
from greenroom.caching.lease import FILL
from tests.support.episode_caches import Back, Episode, Loads, cache_of, settled
from tests.support.patience import PATIENT
from tests.support.proxy import Proxy, proxy_of
from tests.support.real_servers import Server

pytestmark = pytest.mark.on_cluster

FOR_EVER = 600.0
"""Seconds of a loader's deadline, and so of a lease: who waits for its end fails the test."""


@pytest.fixture
async def proxies(server: Server) -> AsyncIterator[list[Proxy]]:
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(proxy_of(server)) for _ in range(2)]


class Batches:
    """A batch loader that tells what it was asked for, and stops where a test wants it to."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []
        self.started = asyncio.Event()
        self.go = asyncio.Event()
        self.go.set()
        self.version = 1

    async def __call__(self, ids: Sequence[str]) -> list[Episode]:
        self.calls.append(list(ids))
        version = self.version
        self.started.set()
        await self.go.wait()
        return [Episode(one, version) for one in ids]


async def process(back: Back, through: Server | Proxy, batches: Batches, load: Loads | None = None) -> Cache[Any]:
    backing = await back(through, limits=PATIENT)
    return cache_of(backing, load or Loads(), load_many=batches, loader_deadline=FOR_EVER)


def wanted(ids: str) -> list[dict[str, object]]:
    return [{"episode_id": one} for one in ids]


async def test_whatever_several_processes_want_each_key_is_loaded_once(server: Server, back: Back) -> None:
    batches = [Batches() for _ in range(4)]
    single = Loads()
    processes = [await process(back, server, one, single) for one in batches]
    asked = ["abcdef", "fedcba", "cdefab", "badcfe", "ace", "bdf", "ab", "fe"]
    async with asyncio.timeout(10):
        answers = await asyncio.gather(
            *(processes[number % 4].get_many(wanted(ids)) for number, ids in enumerate(asked))
        )
    assert answers == [[Episode(one) for one in ids] for ids in asked]
    assert Counter(one for batch in batches for call in batch.calls for one in call) == Counter("abcdef")
    assert single.calls == []


async def test_of_a_batch_only_what_was_invalidated_meanwhile_is_not_stored(
    server: Server, proxies: list[Proxy], back: Back
) -> None:
    batches = Batches()
    ours = await process(back, proxies[0], batches)
    theirs = await process(back, server, Batches())
    fill = proxies[0].hold("EVALSHA", FILL.sha, "cache:episode:b")
    early = asyncio.create_task(ours.get_results(wanted("abc")))
    await fill.reached.wait()
    batches.version = 2
    await theirs.invalidate("b")
    fill.release()
    assert [(read.value.version, read.stored) for read in await early if read.value] == [
        (1, True),
        (1, False),
        (1, True),
    ]
    assert [value and value.version for value in await ours.get_many(wanted("abc"))] == [1, 2, 1]


async def test_no_batch_joins_what_loads_since_before_an_invalidation(server: Server, back: Back) -> None:
    batches = Batches()
    batches.go.clear()
    ours = await process(back, server, batches)
    early = asyncio.create_task(ours.get_many(wanted("ab")))
    await batches.started.wait()
    batches.version = 2
    await (await process(back, server, Batches())).invalidate("a")
    await settled(ours)
    batches.started.clear()
    late = asyncio.create_task(ours.get_many(wanted("ab")))
    async with asyncio.timeout(10):
        await batches.started.wait()
    batches.go.set()
    assert await late == [Episode("a", 2), Episode("b", 1)]  # b's flight has begun before, and so has its caller's
    assert await early == [Episode("a", 1), Episode("b", 1)]
    assert batches.calls == [["a", "b"], ["a"]]


async def test_who_waits_for_a_key_of_a_batch_that_was_invalidated_loads_it_anew(server: Server, back: Back) -> None:
    old, single = Batches(), Loads()
    old.go.clear()
    theirs = await process(back, server, old)
    early = asyncio.create_task(theirs.get_many(wanted("ab")))
    await old.started.wait()
    batches = Batches()
    ours = await process(back, server, batches, single)
    single.version = batches.version = 2
    waiting = asyncio.create_task(ours.get_many(wanted("abc")))
    await batches.started.wait()  # c is won; a and b are theirs
    await ours.invalidate("a")
    await (await process(back, server, Batches())).invalidate("b")
    async with asyncio.timeout(10):
        assert await waiting == [Episode("a", 2), Episode("b", 2), Episode("c", 2)]
    assert (batches.calls, sorted(single.calls)) == ([["c"]], ["a", "b"])
    old.go.set()
    assert await early == [Episode("a", 1), Episode("b", 1)]
    assert await theirs.get_many(wanted("ab")) == [Episode("a", 2), Episode("b", 2)]
