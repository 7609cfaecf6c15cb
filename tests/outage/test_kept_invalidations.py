"""An invalidation that the server did not carry out is sent before this process reads from it again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from greenroom.caching.drops import DROP
from greenroom.caching.invalidation import Backing
from greenroom.errors import EngineError
from tests.support.episode_caches import Back, Episode, Loads, cache_of, open_backing
from tests.support.outage_helpers import Shows, broken, pages_of
from tests.support.patience import until, wait_for
from tests.support.proxy import Proxy
from tests.support.real_servers import Server


@pytest.fixture
async def backing(proxy: Proxy) -> AsyncIterator[Backing]:
    backing = await open_backing(proxy.address)
    yield backing
    await backing.close()


async def test_when_one_key_of_a_group_cannot_be_dropped_all_of_them_are_kept(
    valkey: Server, proxy: Proxy, backing: Backing
) -> None:
    load = Shows()
    pages = pages_of(backing, load)
    numbers = [str(number) for number in range(3)]
    for number in numbers:
        await pages.get(show="s", number=number)
    held = proxy.hold(DROP.sha)
    load.version = 2
    dropping = asyncio.ensure_future(pages.invalidate_group(show="s"))
    await held.reached.wait()
    await proxy.down()
    with pytest.raises(EngineError):
        await dropping
    await proxy.up()
    await until(lambda: backing.engine.unavailable is None)
    for number in numbers:
        assert await pages.get(show="s", number=number) == Episode(f"s{number}", 2)


async def test_an_invalidation_that_fails_meanwhile_is_sent_before_serving(proxy: Proxy, backing: Backing) -> None:
    load = Loads()
    cache = cache_of(backing, load)
    await cache.get("e1")
    await cache.get("e2")
    await proxy.down()
    await broken(backing)
    with pytest.raises(EngineError):
        await cache.invalidate("e1")
    held = proxy.hold("DEL", "cache:episode:e1")
    await proxy.up()
    await held.reached.wait()
    load.version = 2
    with pytest.raises(EngineError):
        await cache.invalidate("e2")
    held.release()
    await until(lambda: backing.engine.unavailable is None)
    assert await cache.get("e2") == Episode("e2", 2)
    await until(lambda: backing.unsent == 0)


async def test_a_group_unreadable_before_serving_is_dropped_on_the_connection(proxy: Proxy, backing: Backing) -> None:
    load = Shows()
    pages = pages_of(backing, load)
    await pages.get(show="s", number="1")
    await proxy.down()
    await broken(backing)
    with pytest.raises(EngineError):
        await backing.drops.drop("cache:episode:e1")
    held = proxy.hold("DEL", "cache:episode:e1")
    await proxy.up()
    await held.reached.wait()
    load.version = 2
    with pytest.raises(EngineError):
        await pages.invalidate_group(show="s")
    held.release()
    await until(lambda: backing.engine.unavailable is None)
    assert await pages.get(show="s", number="1") == Episode("s1", 2)


async def test_a_server_that_refuses_an_invalidation_is_not_read_from_meanwhile(valkey: Server, back: Back) -> None:
    load = Loads()
    backing = await back(valkey)
    cache = cache_of(backing, load)
    await cache.get("e1")
    raw = valkey.raw()
    raw("CONFIG", "SET", "min-replicas-to-write", 1)
    load.version = 2
    with pytest.raises(EngineError):
        await cache.invalidate("e1")
    assert await cache.get("e1") == Episode("e1", 2)
    raw("CONFIG", "SET", "min-replicas-to-write", 0)
    async with asyncio.timeout(20):
        number = 1
        while backing.engine.unavailable is not None:  # until it has carried out a write again
            number += 1
            await cache.get(f"e{number}")
            await asyncio.sleep(0.01)
    assert await cache.get("e1") == Episode("e1", 2)
    wait_for(lambda: raw("GET", "cache:episode:e1") == b'{"episode_id":"e1","version":2}')


async def test_a_cancelled_invalidation_is_pending_until_its_reply_only(proxy: Proxy, backing: Backing) -> None:
    cache = cache_of(backing, Loads())
    held = proxy.hold("DEL")
    dropping = asyncio.ensure_future(cache.invalidate("e1"))
    await held.reached.wait()
    dropping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await dropping
    assert backing.unsent == 1
    held.release()
    await until(lambda: backing.unsent == 0)


async def test_another_drop_s_answer_does_not_settle_a_group_left_unread(backing: Backing) -> None:
    backing.groups.pending_reads.add("pages:s")
    await pages_of(backing, Shows()).invalidate_group(show="s")
    assert backing.groups.pending_reads == {"pages:s"}
