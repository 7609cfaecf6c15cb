"""What a dropped keyspace stands on, one guard at a time: questions that must be asked, and asked again."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from greenroom.caching import Cache
from greenroom.caching.keyspace_drops import GENERATION
from greenroom.caching.lease import GET_OR_LEASE
from greenroom.engine import Limits
from greenroom.errors import EngineError
from greenroom.keyspace import Keyspace
from tests.support.episode_caches import KEY, Back, Episode, Loads, cache_of, settled
from tests.support.full_server import full
from tests.support.patience import PATIENT, until
from tests.support.proxy import Proxy
from tests.support.real_servers import Server

BRIEF: Keyspace[Episode] = Keyspace("cache:episode:{episode_id}", Episode, ttl=timedelta(minutes=30))
OTHER: Keyspace[Episode] = Keyspace("cache:other:{episode_id}", Episode, ttl=timedelta(minutes=30))
TRUTH = "greenroom:generation:{cache:episode:{episode_id}}"
NEWER = "8000000000000000-0f"
SOON = Limits(probe_min=0.02, probe_max=0.05)


def known(cache: Cache[Any]) -> str:
    """The generation that a process knows."""
    return cache._remote.generation.current


def connections(server: Server) -> set[str]:
    """The names of all connections but the one that asks."""
    raw = server.raw()
    own = str(raw("CLIENT", "ID"))
    ids = {line.split()[0].partition("=")[2] for line in bytes(raw("CLIENT", "LIST")).decode().splitlines()}
    return ids - {own}


async def test_a_keyspace_declared_during_a_handshake_is_asked_for(server: Server, proxy: Proxy, back: Back) -> None:
    """Prevents: a new connection has asked for all · a keyspace is declared, and has no connection to ask on · the
    connection serves, and the values of before a drop count as current."""
    load = Loads()
    dropping = cache_of(await back(server, limits=PATIENT), load, BRIEF)
    await dropping.get("e1")
    load.version = 2
    await dropping.drop_keyspace()
    backing = await back(proxy, limits=SOON)
    cache_of(backing, load, OTHER)
    question = proxy.hold("EVALSHA", GENERATION.sha)
    await proxy.all_cut()
    await question.reached.wait()
    starting = cache_of(backing, load, BRIEF)
    assert not known(starting)
    question.release()
    await until(lambda: backing.engine.unavailable is None)
    assert await starting.get("e1") == Episode("e1", 2)
    await until(lambda: known(starting) == known(dropping))


async def test_a_generation_that_is_flushed_away_is_written_back(server: Server, back: Back) -> None:
    """Prevents: all is flushed, which is one push for all keys · a process starts, and is told of no drop."""
    cache = cache_of(await back(server, limits=PATIENT), Loads(), BRIEF)
    await cache.drop_keyspace()
    raw = server.raw()
    raw("FLUSHALL")
    await until(lambda: raw("GET", TRUTH) == known(cache).encode())


async def test_a_cancelled_drop_ends_no_connection(server: Server, proxy: Proxy, back: Back) -> None:
    """Prevents: a drop is cancelled under way · it counts as owed · the connection is ended for it, and so is all that
    others wait for."""
    cache = cache_of(await back(proxy, limits=PATIENT), Loads(), BRIEF, near_for=30)
    await cache.get("e1")
    before = connections(server)
    begin = proxy.hold("EVALSHA", GENERATION.sha)
    drop = asyncio.create_task(cache.drop_keyspace())
    await begin.reached.wait()
    drop.cancel()
    await asyncio.wait([drop])
    assert drop.cancelled()
    begin.release()
    await until(lambda: known(cache) and not cache._remote.generation.pending)
    await cache.get("e1")
    assert connections(server) >= before


async def test_a_drop_that_a_full_server_refuses_is_carried_out_later(server: Server, back: Back) -> None:
    load = Loads()
    ours, theirs = [cache_of(await back(server, limits=SOON), load, BRIEF) for _ in range(2)]
    await theirs.get("e1")
    load.version = 2
    with full(server):
        with pytest.raises(EngineError):
            await ours.drop_keyspace()
        assert await ours.get("e1") == Episode("e1", 2)
    await until(lambda: known(ours) and not ours._remote.generation.pending)
    await until(lambda: known(theirs) == known(ours))
    assert await theirs.get("e1") == await ours.get("e1") == Episode("e1", 2)


async def test_a_question_that_is_answered_by_an_error_is_asked_again(server: Server, back: Back) -> None:
    """Prevents: the server forgets its scripts · a drop made elsewhere is pushed · the question for it is an error, and
    the drop is never heard of."""
    cache = cache_of(await back(server, limits=PATIENT), Loads(), BRIEF)
    raw = server.raw()
    raw("SCRIPT", "FLUSH")
    raw("SET", TRUTH, NEWER)
    await until(lambda: known(cache) == NEWER)


async def test_a_question_that_is_one_too_many_is_asked_all_the_same(server: Server, proxy: Proxy, back: Back) -> None:
    """Prevents: more is under way than may be · a drop made elsewhere is pushed · nobody asks for it any more."""
    limits = Limits(command_deadline=60, handshake_deadline=60, ping_after=60, ping_timeout=60, outstanding=4)
    cache = cache_of(await back(proxy, limits=limits), Loads(), BRIEF)
    await settled(cache)
    question = proxy.hold("GET", KEY)
    reads = [asyncio.create_task(cache.get("e1"))]
    await question.reached.wait()
    reads += [asyncio.create_task(cache.get(f"e{number}")) for number in range(2, 9)]
    await asyncio.sleep(0)
    server.raw()("SET", TRUTH, NEWER)
    await until(lambda: len(cache._backing.generations.detached) > 0)
    question.release()
    await until(lambda: known(cache) == NEWER)
    await asyncio.gather(*reads, return_exceptions=True)


async def test_an_absence_read_while_a_drop_is_called_is_not_kept(server: Server, proxy: Proxy, back: Back) -> None:
    """Prevents: an absence is asked for · the keyspace is dropped here · the reply comes, and is kept near: from the
    call on nothing of before it may be read here."""
    load = Loads()
    load.version = 0
    cache = cache_of(await back(proxy, limits=PATIENT), load, BRIEF, near_for=30)
    assert await cache.get("e1") is None
    cache._near.clear()
    asked = proxy.hold("EVALSHA", GET_OR_LEASE.sha)
    early = asyncio.create_task(cache.get("e1"))
    await asked.reached.wait()
    begin = proxy.hold("EVALSHA", GENERATION.sha)
    drop = asyncio.create_task(cache.drop_keyspace())
    await asyncio.sleep(0)
    asked.release()
    await begin.reached.wait()
    assert await early is None, "it was asked before the call"
    assert KEY not in set(cache._near)
    begin.release()
    await drop


async def test_a_value_read_while_a_drop_is_called_is_not_kept(server: Server, proxy: Proxy, back: Back) -> None:
    """Prevents: as the last, of a value."""
    cache = cache_of(await back(proxy, limits=PATIENT), Loads(), BRIEF, near_for=30)
    await cache.get("e1")
    cache._near.clear()
    asked = proxy.hold("GET", KEY)
    early = asyncio.create_task(cache.get("e1"))
    await asked.reached.wait()
    begin = proxy.hold("EVALSHA", GENERATION.sha)
    drop = asyncio.create_task(cache.drop_keyspace())
    await asyncio.sleep(0)
    asked.release()
    await begin.reached.wait()
    assert await early == Episode("e1", 1), "it was asked before the call"
    assert KEY not in set(cache._near)
    begin.release()
    await drop
