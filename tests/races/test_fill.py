"""Loads, writes and invalidations of several processes in forced orders: no stale fill, nobody on an old flight."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from greenroom.caching import Outcome
from greenroom.caching.lease import FILL, FILL_ABSENCE, GET_OR_LEASE
from greenroom.counters import Counters
from tests.support.episode_caches import ABSENT, KEY, LEASE, Back, Episode, Loads, cache_of, settled
from tests.support.patience import PATIENT
from tests.support.proxy import Proxy
from tests.support.real_servers import Server

pytestmark = pytest.mark.on_cluster

FOR_EVER = 600.0
"""Seconds of a loader's deadline, and so of a lease: who waits for its end fails the test."""


async def held(back: Back, through: Server | Proxy, **options: Any) -> tuple[Any, Loads]:
    """A process whose loader begins and does not end."""
    load = Loads()
    load.go.clear()
    cache = cache_of(await back(through, limits=PATIENT), load, loader_deadline=FOR_EVER, **options)
    return cache, load


# A late fill ---------------------------------------------------------------------------------------


async def test_what_was_loaded_before_an_invalidation_is_not_stored_after_it(
    server: Server, proxy: Proxy, back: Back
) -> None:
    counters = Counters()
    load = Loads()
    ours = cache_of(await back(proxy, counters=counters, limits=PATIENT), load)
    theirs = cache_of(await back(server), load)
    fill = proxy.hold("EVALSHA", FILL.sha)
    early = asyncio.create_task(ours.get_result("e1"))
    await fill.reached.wait()  # the old value is loaded, and on its way
    load.version = 2
    await theirs.invalidate("e1")
    fill.release()
    read = await early
    assert (read.value, read.outcome, read.stored) == (Episode("e1", 1), Outcome.LOADED, False)
    assert server.raw()("DBSIZE") == 0
    assert counters.cache_events["cache_episode", "fill_refused"] == 1
    assert await theirs.get("e1") == await ours.get("e1") == Episode("e1", 2)


async def test_a_load_past_its_lease_stores_nothing_and_ends_no_other_lease(server: Server, back: Back) -> None:
    slow, slow_load = await held(back, server)
    late = asyncio.create_task(slow.get_result("e1"))
    await slow_load.started.wait()
    server.raw()("DEL", LEASE)  # as its end does
    quick, quick_load = await held(back, server)
    quick_load.version = 2
    current = asyncio.create_task(quick.get_result("e1"))
    await quick_load.started.wait()
    slow_load.go.set()
    assert not (await late).stored
    assert server.raw()("EXISTS", LEASE) == 1
    quick_load.go.set()
    assert (await current).stored
    assert await slow.get("e1") == Episode("e1", 2)


async def test_an_absence_found_before_a_creation_is_not_remembered_after_it(
    server: Server, proxy: Proxy, back: Back
) -> None:
    load = Loads()
    load.version = 0
    ours = cache_of(await back(proxy, limits=PATIENT), load)
    theirs = cache_of(await back(server), load)
    fill = proxy.hold("EVALSHA", FILL_ABSENCE.sha)
    early = asyncio.create_task(ours.get_result("e1"))
    await fill.reached.wait()
    load.version = 1
    await theirs.invalidate("e1")
    fill.release()
    assert ((await early).value, (await early).stored) == (None, False)
    assert server.raw()("EXISTS", ABSENT) == 0
    assert await ours.get("e1") == await theirs.get("e1") == Episode("e1", 1)


@pytest.mark.parametrize("version", [1, 0], ids=["a value", "an absence"])
async def test_a_load_does_not_overwrite_a_foreign_value_written_since_it_began(
    server: Server, back: Back, version: int
) -> None:
    cache, load = await held(back, server)
    load.version = version
    early = asyncio.create_task(cache.get_result("e1"))
    await load.started.wait()
    raw = server.raw()
    raw("SET", KEY, b'{"episode_id":"e1","version":9}', "EX", 600)
    load.go.set()
    assert not (await early).stored
    assert raw("KEYS", "*") == [KEY.encode()]  # nor does a lease stay behind
    assert await cache.get("e1") == Episode("e1", 9)


# Old flights ---------------------------------------------------------------------------------------


async def test_no_process_joins_a_load_begun_before_an_invalidation(server: Server, back: Back) -> None:
    ours, load = await held(back, server)
    theirs = cache_of(await back(server), Loads())
    early = asyncio.create_task(ours.get_result("e1"))
    await load.started.wait()
    load.version = 2
    load.started.clear()
    await theirs.invalidate("e1")
    await settled(ours)
    late = asyncio.create_task(ours.get_result("e1"))
    async with asyncio.timeout(10):
        await load.started.wait()
    load.go.set()
    assert ((await late).value, (await late).stored) == (Episode("e1", 2), True)
    assert ((await early).value, (await early).stored) == (Episode("e1", 1), False)


async def test_an_invalidation_ends_the_wait_for_a_load_begun_before_it(server: Server, back: Back) -> None:
    theirs, old = await held(back, server)
    early = asyncio.create_task(theirs.get_result("e1"))
    await old.started.wait()
    load, counters = Loads(), Counters()
    ours = cache_of(await back(server, counters=counters), load, loader_deadline=FOR_EVER)
    waiting = asyncio.create_task(ours.get_result("e1"))
    async with asyncio.timeout(10):
        while not counters.cache_events["cache_episode", "lease_wait"]:
            await asyncio.sleep(0)
        load.version = 2
        await cache_of(await back(server), Loads()).invalidate("e1")
        late = asyncio.create_task(ours.get_result("e1"))
        assert (await waiting).value == (await late).value == Episode("e1", 2)
    assert load.calls == ["e1"]
    old.go.set()
    assert ((await early).value, (await early).stored) == (Episode("e1", 1), False)
    assert await theirs.get("e1") == Episode("e1", 2)


async def test_nobody_joins_in_the_own_process_from_the_invalidation_s_call_on(proxy: Proxy, back: Back) -> None:
    cache, load = await held(back, proxy)
    early = asyncio.create_task(cache.get_result("e1"))
    await load.started.wait()
    load.version = 2
    load.go.set()
    load.started.clear()
    delete = proxy.hold("DEL")
    drop = asyncio.create_task(cache.invalidate("e1"))
    await delete.reached.wait()  # no server knows of it yet
    late = asyncio.create_task(cache.get_result("e1"))
    assert (await early).value == Episode("e1", 1)
    delete.release()
    await drop
    assert (await late).value == Episode("e1", 2)


async def test_a_foreign_deletion_of_key_lease_and_absence_ends_shared_loads(server: Server, back: Back) -> None:
    cache, load = await held(back, server)
    early = asyncio.create_task(cache.get_result("e1"))
    await load.started.wait()
    load.version = 2
    load.started.clear()
    server.raw()("DEL", KEY, LEASE, ABSENT)
    await settled(cache)
    late = asyncio.create_task(cache.get_result("e1"))
    async with asyncio.timeout(10):
        await load.started.wait()
    load.go.set()
    assert ((await late).value, (await late).stored) == (Episode("e1", 2), True)
    assert not (await early).stored


# Waiting -------------------------------------------------------------------------------------------


async def test_a_waiter_told_to_wait_and_pushed_in_one_read_does_not_sleep(
    server: Server, proxy: Proxy, back: Back
) -> None:
    theirs, old = await held(back, server)
    early = asyncio.create_task(theirs.get_result("e1"))
    await old.started.wait()
    ours = cache_of(await back(proxy, limits=PATIENT), Loads(), loader_deadline=FOR_EVER)
    ask = proxy.hold("EVALSHA", GET_OR_LEASE.sha)
    waiting = asyncio.create_task(ours.get_result("e1"))
    await ask.reached.wait()
    replies = proxy.hold_replies()
    ask.release()
    await replies.have("wait")
    old.go.set()
    await early
    await replies.have("invalidate", LEASE)
    replies.release()
    async with asyncio.timeout(10):
        assert (await waiting).outcome is Outcome.SHARED


async def test_a_waiter_takes_what_a_foreign_writer_brings_meanwhile(server: Server, back: Back) -> None:
    theirs, old = await held(back, server)
    early = asyncio.create_task(theirs.get_result("e1"))
    await old.started.wait()
    counters = Counters()
    ours = cache_of(await back(server, counters=counters), Loads(), loader_deadline=FOR_EVER)
    waiting = asyncio.create_task(ours.get_result("e1"))
    async with asyncio.timeout(10):
        while not counters.cache_events["cache_episode", "lease_wait"]:
            await asyncio.sleep(0)
        server.raw()("SET", KEY, b'{"episode_id":"e1","version":9}', "EX", 600)
        assert (await waiting).value == Episode("e1", 9)
    old.go.set()
    assert not (await early).stored


async def test_a_lost_reply_that_gave_the_lease_still_means_one_load(proxy: Proxy, back: Back) -> None:
    load = Loads()
    cache = cache_of(await back(proxy, limits=PATIENT), load, loader_deadline=FOR_EVER)
    proxy.cut_reply_to("EVALSHA", GET_OR_LEASE.sha)
    async with asyncio.timeout(10):
        read = await cache.get_result("e1")
    assert (read.outcome, read.stored, load.calls) == (Outcome.LOADED, True, ["e1"])
