"""Reads at the replicas of a real cluster: who is asked, what they lag, and that nobody misses what he did himself."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from greenroom import Greenroom
from greenroom.caching import Outcome
from greenroom.engine import Address, Channel, engine_at
from greenroom.engine.cluster.replica_reads import ReplicaReads
from greenroom.engine.protocol.topology import QUESTION, parse
from greenroom.errors import InvalidInput
from tests.support.cluster_slots import SOON, ids_of, key_of, off_loop, old
from tests.support.episode_caches import EPISODE, Back, Loads, cache_of
from tests.support.patience import until
from tests.support.real_cluster import Cluster
from tests.support.replica_probe import (
    TRUSTING,
    VERSION_2,
    calls_of,
    is_trusted,
    lagging,
    read_at_replica,
    reads_there,
    replica_of,
    reset,
    version,
)


@pytest.fixture
def steady(steady: Cluster) -> Cluster:
    """The cluster of the file, as if nobody had used it."""
    steady.fresh()
    return steady


def mapped(pairs: list[Any]) -> dict[bytes, Any]:
    """A reply that names its members one after another, as RESP3 has it."""
    return dict(zip(pairs[::2], pairs[1::2], strict=True))


# Who is asked ----------------------------------------------------------------------------------------


async def test_values_are_read_at_replicas_and_all_else_goes_to_primaries(steady: Cluster, back: Back) -> None:
    backing, load = await back(steady, limits=TRUSTING, replica_reads=True), Loads()
    cache = cache_of(backing, load)
    episodes = [one for member in steady.primaries for one in ids_of(steady, member, 5)]
    for one in episodes:
        await cache.get(one)
    assert await off_loop(lambda: all(one.replicated() for one in steady.primaries))
    await until(lambda: all(reads_there(backing, one) for one in episodes))
    reset(steady)
    assert [(await cache.get_result(one)).outcome for one in episodes] == [Outcome.HIT] * 15
    assert [one and one.version for one in await cache.get_many([{"episode_id": one} for one in episodes])] == [1] * 15
    asked = [[calls_of(one, "get") for one in members] for members in (steady.replicas, steady.primaries)]
    not_there = [one for one in episodes if not reads_there(backing, one)]
    assert [sum(calls) for calls in asked] == [30, 0], (asked, not_there)
    # An absence, a lease, a fill, a drop are none of a replica's business.
    load.version = 0
    await until(lambda: reads_there(backing, "nobody"))
    assert await cache.get("nobody") is None
    await cache.invalidate("nobody")
    assert sum(calls_of(one, "evalsha") for one in steady.primaries) == 2
    for replica in steady.replicas:
        assert calls_of(replica, "evalsha") == 0
        assert b"errorstat" not in replica("INFO", "errorstats")
    assert load.calls == [*episodes, "nobody"]


async def test_a_trusted_replica_is_kept_while_a_node_has_not_heard_of_it(steady: Cluster, back: Back) -> None:
    """Nodes hear of a replica in turns: the view of one may lack what the view of another has."""
    backing, load = await back(steady, limits=TRUSTING, replica_reads=True), Loads()
    cache = cache_of(backing, load)
    primary, (episode,) = steady.primaries[0], ids_of(steady, steady.primaries[0], 1)
    await read_at_replica(backing, cache, primary, episode)
    engine, there = backing.engine, ("127.0.0.1", steady.replicas[0].port)
    assert isinstance(engine, ReplicaReads)
    info, shards = [primary(*one) for one in QUESTION]
    maps = [mapped(shard) | {b"nodes": [mapped(one) for one in mapped(shard)[b"nodes"]]} for shard in shards]
    view = parse([info, maps], ("127.0.0.1", primary.port))
    # From here on nothing is awaited: what the nodes themselves say comes later.
    unheard = replace(view, replicas=dict.fromkeys(view.primaries, ()), unheard=frozenset((there,)))
    engine._adopt(unheard)
    assert reads_there(backing, episode)
    engine._adopt(replace(unheard, unheard=frozenset()))
    assert replica_of(backing, episode) is None


async def test_sessions_are_never_read_at_a_replica(steady: Cluster) -> None:
    async with Greenroom(steady.address, replica_reads=True) as room:
        reset(steady)
        for live, token in [await room.sessions.start(user_id="u1") for _ in range(20)]:
            assert await room.sessions.read(token) is not None
            await room.sessions.end(live.session_id)
        assert await room.sessions.active() == 0
    assert sum(calls_of(one, "mget", "evalsha", "zcount", "zrange", "time") for one in steady.replicas) == 0
    assert sum(calls_of(one, "mget") for one in steady.primaries) >= 20


async def test_nobody_reads_at_a_replica_who_was_not_told_to(steady: Cluster) -> None:
    async with Greenroom(steady.address) as room:
        cache = room.cache(EPISODE, load=Loads(), near_for=timedelta(0))
        await cache.get("e1")
        reset(steady)
        assert (await cache.get_result("e1")).outcome is Outcome.HIT
    assert sum(calls_of(one, "get", "readonly") for one in steady.replicas) == 0


async def test_a_replica_that_does_not_know_a_key_leaves_it_to_the_primary(steady: Cluster, back: Back) -> None:
    backing, load = await back(steady, limits=TRUSTING, replica_reads=True), Loads()
    cache = cache_of(backing, load)
    (episode,) = ids_of(steady, steady.primaries[0], 1)
    await until(lambda: reads_there(backing, episode))
    with lagging(steady.replicas[0]):
        steady.primaries[0].ok("SET", key_of(episode), old(episode), "EX", 1800)
        assert reads_there(backing, episode)
        assert (await cache.get_result(episode)).outcome is Outcome.HIT
    assert load.calls == []


def test_one_server_s_replicas_are_not_known() -> None:
    with pytest.raises(InvalidInput, match="replica_reads: valkey://localhost:6379 is one server"):
        engine_at(Address.parse("valkey://localhost"), replica_reads=True)


# What is behind --------------------------------------------------------------------------------------


@pytest.mark.parametrize("near_for", [0, 30])
async def test_a_process_never_reads_at_a_replica_what_it_has_dropped(
    steady: Cluster, back: Back, near_for: float
) -> None:
    backing, load = await back(steady, limits=TRUSTING, replica_reads=True), Loads()
    cache = cache_of(backing, load, near_for=near_for)
    (episode,) = ids_of(steady, steady.primaries[0], 1)
    await read_at_replica(backing, cache, steady.primaries[0], episode)
    backing.near.clear()
    assert (await cache.get_result(episode)).outcome is Outcome.HIT
    with lagging(steady.replicas[0]):
        load.version = 2
        dropping = asyncio.create_task(cache.invalidate(episode))
        await asyncio.sleep(0)
        assert await version(cache, episode) == 2  # from the call on
        await dropping
        for _ in range(3):
            assert await version(cache, episode) == 2
        assert not reads_there(backing, episode)
    await until(lambda: reads_there(backing, episode))
    assert await version(cache, episode) == 2


@pytest.mark.parametrize("marked", [False, True], ids=["among many", "marked"])
async def test_nor_what_it_has_dropped_with_many_others(steady: Cluster, back: Back, marked: bool) -> None:
    backing, load = await back(steady, limits=TRUSTING, replica_reads=True), Loads()
    cache = cache_of(backing, load)
    (episode,) = ids_of(steady, steady.primaries[0], 1)
    await read_at_replica(backing, cache, steady.primaries[0], episode)
    with lagging(steady.replicas[0]):
        load.version = 2
        if marked:
            await backing.outbox_drops.add([key_of(episode)])
            await backing.outbox_drops.send()
        else:
            await backing.drops.drop_many([key_of(episode)])
        assert not reads_there(backing, episode)
        assert await version(cache, episode) == 2
    await until(lambda: reads_there(backing, episode))
    assert await version(cache, episode) == 2


async def test_what_a_replica_answers_after_a_drop_made_here_is_not_kept_near(steady: Cluster, back: Back) -> None:
    """The read was sent before; the drop goes to the primary and so may overtake it."""
    backing, load = await back(steady, limits=TRUSTING, replica_reads=True), Loads()
    cache = cache_of(backing, load, near_for=30)
    (episode,) = ids_of(steady, steady.primaries[0], 1)
    await read_at_replica(backing, cache, steady.primaries[0], episode)
    backing.near.clear()
    replica = replica_of(backing, episode)
    assert replica is not None
    connection = replica._link.connection
    assert connection is not None
    with lagging(steady.replicas[0]):
        with steady.replicas[0].frozen():
            reading = asyncio.create_task(version(cache, episode))
            await until(lambda: connection.outstanding > 2)  # its two commands; one and a ping may be a comparison
            load.version = 2
            await cache.invalidate(episode)
        assert await reading == 1  # it began before
        assert replica.trusted
        assert await version(cache, episode) == 2


async def test_what_was_seen_at_the_primary_is_not_gone_again_at_the_replica(steady: Cluster, back: Back) -> None:
    backing, load = await back(steady, limits=TRUSTING, replica_reads=True), Loads()
    cache = cache_of(backing, load)
    (episode,) = ids_of(steady, steady.primaries[0], 1)
    await cache.get(episode)
    await backing.engine.execute(Channel.TRACKED, key_of(episode), "GET", key_of(episode))  # the primary tracks it
    assert await off_loop(steady.primaries[0].replicated)
    await until(lambda: reads_there(backing, episode))
    with lagging(steady.replicas[0]):
        steady.primaries[0].ok("SET", key_of(episode), VERSION_2 % episode.encode(), "EX", 1800)
        await until(lambda: not reads_there(backing, episode))  # the push has been read
        assert await version(cache, episode) == 2


@pytest.mark.parametrize("near_for", [0, 30])
async def test_a_replica_that_falls_behind_is_soon_not_read_from(steady: Cluster, back: Back, near_for: float) -> None:
    here, there = [await back(steady, limits=SOON, replica_reads=True) for _ in range(2)]
    load = Loads()
    cache, other = (cache_of(one, load, near_for=near_for) for one in (here, there))
    (episode,) = ids_of(steady, steady.primaries[0], 1)
    await other.get(episode)
    assert await off_loop(steady.primaries[0].replicated)
    await until(lambda: reads_there(here, episode))
    assert await version(cache, episode) == 1
    with lagging(steady.replicas[0]):
        load.version = 2
        await other.invalidate(episode)
        async with asyncio.timeout(10):
            while await version(cache, episode) == 1:  # the replica has it to the end
                await asyncio.sleep(0.001)
        assert not reads_there(here, episode)


async def test_a_push_of_the_replica_ends_what_is_near_of_it(steady: Cluster, back: Back) -> None:
    backing, load = await back(steady, limits=TRUSTING, replica_reads=True), Loads()
    cache = cache_of(backing, load, near_for=30)
    primary = steady.primaries[0]
    (episode,) = ids_of(steady, primary, 1)
    await until(lambda: reads_there(backing, episode))
    primary.ok("SET", key_of(episode), old(episode), "EX", 1800)
    assert await off_loop(primary.replicated)
    assert (await cache.get_result(episode)).outcome is Outcome.HIT
    assert (await cache.get_result(episode)).outcome is Outcome.NEAR
    primary.ok("SET", key_of(episode), VERSION_2 % episode.encode(), "EX", 1800)
    await until(lambda: key_of(episode) not in set(backing.near))
    assert await version(cache, episode) == 2


async def test_a_lost_primary_connection_makes_the_replica_be_compared_anew(steady: Cluster, back: Back) -> None:
    """What was sent on it may be lost; the next one carries it, and the replica must have that too."""
    backing = await back(steady, limits=TRUSTING, replica_reads=True)
    (episode,) = ids_of(steady, steady.primaries[0], 1)
    await until(lambda: reads_there(backing, episode))
    with lagging(steady.replicas[0]):
        steady.primaries[0].ok("SET", f"{{{key_of(episode)}}}x", "")  # from now on it is behind
        backing.engine.reset(Channel.TRACKED, key_of(episode), "a test wants it")
        assert not reads_there(backing, episode)
        await until(lambda: backing.engine.unavailable is None)
        await until(lambda: replica_of(backing, episode) is not None)
        with pytest.raises(TimeoutError):
            await until(lambda: is_trusted(backing, episode), 1)
    await until(lambda: is_trusted(backing, episode))
