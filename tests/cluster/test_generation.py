"""A dropped keyspace on a cluster: each node tells of the drop by itself, whatever becomes of the others."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from greenroom.caching.keyspace_drops import GENERATION
from greenroom.engine import Limits
from greenroom.engine.protocol.hash_slot import SLOTS, slot_of, spread_tags
from greenroom.errors import EngineError
from tests.support.cluster_slots import BLIND, SOON, Move, atomic, classic, ids_of, key_of, off_loop, old
from tests.support.episode_caches import Back, Episode, Loads, cache_of
from tests.support.patience import eventually, until
from tests.support.proxy import ClusterProxy, Proxy
from tests.support.real_cluster import Cluster

TRUTH = "greenroom:generation:{cache:episode:{episode_id}}"
QUICK = Limits(probe_min=0.02, probe_max=0.05)


def known(cache: Any) -> str:
    """The generation that a process knows."""
    return str(cache._remote.generation.current)


def elsewhere(cluster: Cluster) -> str:
    """An episode whose key is on another node than the truth."""
    owner = cluster.owner(TRUTH)
    (other, *_) = (member for member in cluster.primaries if member is not owner)
    return ids_of(cluster, other, 1)[0]


def way_to_the_truth(proxy: Proxy, cluster: Cluster) -> Proxy:
    """What stands before the node with the truth."""
    (way,) = (one for one in proxy.ways if one._server.port == cluster.owner(TRUTH).port)
    return way


def test_every_node_of_a_usual_cluster_has_copies(steady: Cluster) -> None:
    assert sorted(slot_of(tag) * 32 // SLOTS for tag in spread_tags()) == list(range(32))
    owners = [steady.owner(f"greenroom:generation:{{{tag}}}:x") for tag in spread_tags()]
    assert set(owners) == set(steady.primaries)


async def test_a_process_cut_off_from_the_truth_hears_of_a_drop_elsewhere(steady: Cluster, back: Back) -> None:
    steady.fresh()
    load, one = Loads(), elsewhere(steady)
    async with ClusterProxy(steady, key_of(one)) as proxy:
        reading = cache_of(await back(proxy, limits=QUICK), load, near_for=30)
        dropping = cache_of(await back(steady), load)
        await reading.get(one)
        await way_to_the_truth(proxy, steady).down()
        await until(lambda: reading._backing.engine.unavailable is not None)
        load.version = 2
        await dropping.drop_keyspace()
        await until(lambda: known(reading) == known(dropping))
        assert key_of(one) not in set(reading._near)
        assert await reading.get(one) == Episode(one, 2)


async def test_copies_are_written_after_the_truth(steady: Cluster, back: Back) -> None:
    """Prevents: the copies are written · a process connects to the truth, which is old · the truth is written: it has
    heard of neither."""
    steady.fresh()
    written: list[tuple[bytes, bool]] = []
    async with ClusterProxy(steady) as proxy:
        dropping = cache_of(await back(proxy), Loads())

        async def noted(command: list[bytes]) -> None:
            if command[:2] == [b"EVALSHA", GENERATION.sha.encode()] and any(command[4:]):  # else it only asks
                written.append((command[3], steady.owner(TRUTH)("GET", TRUTH) is not None))

        proxy.gate = noted
        await dropping.drop_keyspace()
        proxy.gate = None
    names = [name.decode() for name, _ in written]
    assert names[0] == TRUTH
    assert set(names) == set(dropping._remote.generation.names)
    assert all(there for name, there in written if name.decode() != TRUTH)


async def test_a_process_that_starts_without_the_truth_reads_a_copy(steady: Cluster, back: Back) -> None:
    steady.fresh()
    load, one = Loads(), elsewhere(steady)
    dropping = cache_of(await back(steady), load)
    await dropping.get(one)
    load.version = 2
    await dropping.drop_keyspace()
    async with ClusterProxy(steady, key_of(one)) as proxy:
        await way_to_the_truth(proxy, steady).down()
        starting = cache_of(await back(proxy, limits=QUICK), load)
        assert await starting.get(one) == Episode(one, 2)
        assert known(starting) == known(dropping)


async def test_a_drop_whose_truth_is_away_counts_here_on_every_node(steady: Cluster, back: Back) -> None:
    steady.fresh()
    load, one = Loads(), elsewhere(steady)
    async with ClusterProxy(steady, key_of(one)) as proxy:
        dropping = cache_of(await back(proxy, limits=QUICK), load, near_for=30)
        await dropping.get(one)
        way = way_to_the_truth(proxy, steady)
        await way.down()
        await until(lambda: dropping._backing.engine.unavailable is not None)
        load.version = 2
        with pytest.raises(EngineError):
            await dropping.drop_keyspace()
        assert await dropping.get(one) == Episode(one, 2)
        await way.up()
        await until(lambda: known(dropping) and not dropping._remote.generation.pending)
        assert await dropping.get(one) == Episode(one, 2)


async def test_a_read_under_way_while_the_truth_is_away_leaves_nothing_near(steady: Cluster, back: Back) -> None:
    """Prevents: a value is asked for · the keyspace is dropped, and no server knows · the old one is kept."""
    steady.fresh()
    load, one = Loads(), elsewhere(steady)
    async with ClusterProxy(steady, key_of(one)) as proxy:
        dropping = cache_of(await back(proxy, limits=QUICK), load, near_for=30)
        await dropping.get(one)
        await way_to_the_truth(proxy, steady).down()
        await until(lambda: dropping._backing.engine.unavailable is not None)
        dropping._near.clear()
        question = proxy.hold("GET", key_of(one))
        early = asyncio.create_task(dropping.get(one))
        await question.reached.wait()
        load.version = 2
        with pytest.raises(EngineError):
            await dropping.drop_keyspace()
        question.release()
        assert await early in (Episode(one, 1), Episode(one, 2))  # begun before the call
        assert key_of(one) not in set(dropping._near)
        assert await dropping.get(one) == Episode(one, 2)


async def test_replicas_give_no_value_of_before_a_drop_that_was_heard_of(steady: Cluster, back: Back) -> None:
    steady.fresh()
    load, one = Loads(), elsewhere(steady)
    reading = cache_of(await back(steady, replica_reads=True), load)
    dropping = cache_of(await back(steady), load)
    await reading.get(one)
    load.version = 2
    await dropping.drop_keyspace()
    await until(lambda: known(reading) == known(dropping))
    for _ in range(20):
        assert await reading.get(one) == Episode(one, 2)


# Slots that move ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("move", [classic, atomic])
async def test_a_slot_that_moves_after_a_drop_brings_no_value_of_before_it(
    cluster: Cluster, back: Back, move: Move
) -> None:
    """Prevents: the keyspace is dropped · a value of before it goes to another node · that node knows of no drop."""
    load = Loads()
    one = elsewhere(cluster)
    reading, dropping = [cache_of(await back(cluster, limits=BLIND), load, near_for=30) for _ in range(2)]
    await reading.get(one)
    source = cluster.owner(key_of(one))
    load.version = 2
    await dropping.drop_keyspace()
    await until(lambda: known(reading) == known(dropping))
    (target,) = (member for member in cluster.primaries if member not in (source, cluster.owner(TRUTH)))
    await off_loop(move, cluster, slot_of(key_of(one)), target)
    assert target("GET", key_of(one)) == old(one)
    assert await reading.get(one) == await dropping.get(one) == Episode(one, 2)


@pytest.mark.parametrize("move", [classic, atomic])
async def test_a_drop_is_heard_of_though_the_truth_s_slot_moved_unseen(
    cluster: Cluster, back: Back, move: Move
) -> None:
    """Prevents: the truth goes to another node · who dropped knows where, who reads does not · no push reaches him."""
    load = Loads()
    one = elsewhere(cluster)
    reading = cache_of(await back(cluster, limits=BLIND), load, near_for=30)
    dropping = cache_of(await back(cluster, limits=SOON), load)
    await reading.get(one)
    source = cluster.owner(TRUTH)
    (target,) = (member for member in cluster.primaries if member not in (source, cluster.owner(key_of(one))))
    await off_loop(move, cluster, slot_of(TRUTH), target)
    load.version = 2
    await dropping.drop_keyspace()
    await until(lambda: known(reading) == known(dropping))
    assert await reading.get(one) == Episode(one, 2)


@pytest.mark.parametrize("move", [classic, atomic])
async def test_a_fill_that_its_slot_overtakes_is_not_current_after_a_drop(
    cluster: Cluster, back: Back, move: Move
) -> None:
    """Prevents: a load begins · the keyspace is dropped · the slot moves, with the lease · the old value is stored."""
    load, slow = Loads(), Loads()
    slow.go.clear()
    one = elsewhere(cluster)
    loading = cache_of(await back(cluster, limits=BLIND), slow, loader_deadline=600)
    dropping = cache_of(await back(cluster, limits=BLIND), load)
    early = asyncio.create_task(loading.get_result(one))
    await slow.started.wait()
    load.version = 2
    await dropping.drop_keyspace()
    source = cluster.owner(key_of(one))
    (target,) = (member for member in cluster.primaries if member not in (source, cluster.owner(TRUTH)))
    await off_loop(move, cluster, slot_of(key_of(one)), target)
    slow.go.set()
    assert (await early).value == Episode(one, 1)
    slow.version = 2
    assert await dropping.get(one) == Episode(one, 2)
    await until(lambda: known(loading) == known(dropping))
    assert await loading.get(one) == Episode(one, 2)


async def test_a_truth_that_its_node_has_lost_is_whole_again_for_who_starts(cluster: Cluster, back: Back) -> None:
    """Prevents: the truth's node fails over to a replica without it · who starts takes old values for current."""
    load = Loads()
    one = elsewhere(cluster)
    dropping = cache_of(await back(cluster, limits=SOON), load)
    await dropping.get(one)
    primary = cluster.owner(TRUTH)
    replica = cluster.replica_of(primary)
    load.version = 2
    with replica.frozen():
        primary("CLIENT", "KILL", "TYPE", "replica")
        await dropping.drop_keyspace()
        primary.kill()
    await eventually(lambda: replica.role == "master", 60)
    await eventually(lambda: replica("GET", TRUTH) == known(dropping).encode(), 30)
    starting = cache_of(await back(cluster, limits=SOON), load)
    assert await starting.get(one) == Episode(one, 2)
