"""An invalidation that the server did not carry out is sent before this process reads from it again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from greenroom.caching.drops import DROP
from greenroom.caching.invalidation import Backing
from greenroom.engine.unacknowledged import RECENT
from greenroom.errors import EngineError
from greenroom.keyspace import Keyspace
from greenroom.testing.clock import ManualClock
from tests.support.episode_caches import ABSENT, KEY, Back, Episode, Loads, cache_of, open_backing
from tests.support.outage_helpers import PAGE, Shows, broken, pages_of
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


# For how long ------------------------------------------------------------------------------------

BRIEF = Keyspace("cache:episode:{episode_id}", Episode, ttl=timedelta(seconds=10))
"""Its values live for less time than an absence, and than an acknowledged drop is repeated."""


async def test_a_drop_is_kept_while_an_absence_from_before_it_can_be_there(
    valkey: Server, proxy: Proxy, back: Back
) -> None:
    clock, theirs = ManualClock(), Loads()
    theirs.version = 0
    mine = cache_of(await back(proxy, clock=clock), Loads(), BRIEF)
    assert await cache_of(await back(valkey), theirs, BRIEF).get("e1") is None
    await proxy.down()
    with pytest.raises(EngineError):
        await mine.invalidate("e1")
    clock.advance(25)
    await proxy.up()
    await until(lambda: mine._backing.engine.unavailable is None)
    assert await mine.get("e1") == Episode("e1")


@pytest.mark.parametrize("many", [False, True])
async def test_a_drop_is_kept_while_what_was_being_loaded_elsewhere_can_be_there(
    valkey: Server, proxy: Proxy, back: Back, many: bool
) -> None:
    clock, mine, theirs = ManualClock(), Loads(), Loads()
    keyspace = Keyspace("cache:episode:{episode_id}", Episode, ttl=timedelta(minutes=1))
    here = cache_of(await back(proxy, clock=clock), mine, keyspace, loader_deadline=20)
    theirs.go.clear()
    loading = asyncio.ensure_future(cache_of(await back(valkey), theirs, keyspace, loader_deadline=20).get_result("e1"))
    await theirs.started.wait()
    mine.version = 2
    await proxy.down()
    with pytest.raises(EngineError):
        await (here.invalidate_many(["e1"]) if many else here.invalidate("e1"))
    clock.advance(21)  # the loader's deadline, and what the storing may take: a call's time, or the life of the lease
    theirs.go.set()
    assert (await loading).stored
    clock.advance(keyspace.lifetime.ttl)
    await proxy.up()
    await until(lambda: here._backing.engine.unavailable is None)
    assert await here.get("e1") == Episode("e1", 2)


async def test_a_shared_group_is_kept_for_the_longest_lifetime_of_its_caches(proxy: Proxy, back: Back) -> None:
    clock, load = ManualClock(), Shows()
    backing = await back(proxy, clock=clock)
    pages = pages_of(backing, load)
    brief = Keyspace("cache:cover:{show}", Episode, ttl=timedelta(minutes=5))
    covers = cache_of(backing, Loads(), brief, groups=["pages:{show}"])
    await pages.get(show="s", number="1")
    held = proxy.hold(DROP.sha)
    load.version = 2
    dropping = asyncio.ensure_future(covers.invalidate_group(show="s"))
    await held.reached.wait()
    await proxy.down()
    with pytest.raises(EngineError):
        await dropping
    clock.advance(PAGE.lifetime.ttl - timedelta(seconds=1))
    await proxy.up()
    await until(lambda: backing.engine.unavailable is None)
    assert await pages.get(show="s", number="1") == Episode("s1", 2)


async def test_a_drop_of_what_lives_briefly_is_repeated_for_as_long_as_any(
    valkey: Server, proxy: Proxy, back: Back
) -> None:
    clock, raw = ManualClock(), valkey.raw()
    backing = await back(proxy, clock=clock)
    await cache_of(backing, Loads(), BRIEF).invalidate("e1")
    clock.advance(RECENT - 1)
    await proxy.down()
    await until(lambda: backing.engine.unavailable is not None)
    raw("SET", ABSENT, "1", "EX", 60)  # as a successor has it that had not heard of the drop
    await proxy.up()
    await until(lambda: backing.engine.unavailable is None)
    assert not raw("EXISTS", ABSENT)
    assert not raw("EXISTS", KEY)
