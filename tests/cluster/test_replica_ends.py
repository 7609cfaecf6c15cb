"""Replicas that die, stand still, follow another or take over: what was read there is read elsewhere, not loaded."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from greenroom.caching import Outcome
from greenroom.counters import Counters
from greenroom.engine import Channel, Limits
from greenroom.engine.protocol.hash_slot import slot_of
from tests.support.cluster_slots import BLIND, SOON, engine_of, ids_of, key_of, off_loop
from tests.support.episode_caches import Back, Loads, cache_of
from tests.support.held import quiet
from tests.support.patience import be_patient, until, wait_for
from tests.support.real_cluster import Cluster
from tests.support.replica_probe import TRUSTING, lagging, read_at_replica, reads_there, replica_of, version


@pytest.fixture
def steady(steady: Cluster) -> Cluster:
    """The cluster of the file, as if nobody had used it."""
    steady.fresh()
    return steady


async def test_a_replica_that_dies_costs_no_load(cluster: Cluster, back: Back, monkeypatch: pytest.MonkeyPatch) -> None:
    be_patient(monkeypatch)
    backing, load = await back(cluster, limits=SOON, replica_reads=True), Loads()
    cache = cache_of(backing, load)
    (episode,) = ids_of(cluster, cluster.primaries[0], 1)
    await read_at_replica(backing, cache, cluster.primaries[0], episode)
    cluster.replicas[0].kill()
    for _ in range(20):
        assert (await cache.get_result(episode)).outcome is Outcome.HIT
    assert load.calls == [episode]
    assert backing.engine.unavailable is None


async def test_a_replica_that_stands_still_leaves_half_the_time_to_the_primary(
    steady: Cluster, back: Back, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in real life, where it is half a second."""
    limits = Limits(topology_interval=0.2, command_deadline=4.0, ping_timeout=60)
    backing, load = await back(steady, limits=limits, replica_reads=True), Loads()
    cache = cache_of(backing, load)
    (episode,) = ids_of(steady, steady.primaries[0], 1)
    await read_at_replica(backing, cache, steady.primaries[0], episode)
    with steady.replicas[0].frozen():
        assert (await cache.get_result(episode)).outcome is Outcome.HIT
        assert (await cache.get_result(episode)).outcome is Outcome.HIT
    assert load.calls == [episode]


async def test_a_replica_that_follows_another_is_read_from_no_more(cluster: Cluster, back: Back) -> None:
    counters, load = Counters(), Loads()
    backing = await back(cluster, limits=BLIND, counters=counters, replica_reads=True)
    cache = cache_of(backing, load, near_for=30)
    (episode,) = ids_of(cluster, cluster.primaries[0], 1)
    await cache.get(episode)
    for key in cluster.primaries[1].keys(50):
        cluster.primaries[1].ok("SET", key, "so that it has come further")
    assert await off_loop(cluster.primaries[0].replicated)
    await until(lambda: reads_there(backing, episode))
    backing.near.clear()  # what was loaded here is near
    assert (await cache.get_result(episode)).outcome is Outcome.HIT
    found = replica_of(backing, episode)
    assert found is not None
    engine_of(backing)._discovery._adopt = lambda _: None  # nobody has heard of it yet
    await off_loop(cluster.follow, cluster.replicas[0], cluster.primaries[1])
    await until(lambda: not found.trusted)
    assert key_of(episode) not in set(backing.near)
    await off_loop(wait_for, lambda: cluster.replicas[0].synced)
    ended = counters.engine_events[cluster.replicas[0].address, "tracked_lost"]

    def looked_at_again() -> bool:
        assert not found.trusted
        return counters.engine_events[cluster.replicas[0].address, "tracked_lost"] > ended + 1

    await until(looked_at_again, 30)
    assert (await cache.get_result(episode)).outcome is Outcome.HIT
    assert load.calls == [episode]


async def test_a_primary_that_has_handed_over_is_no_measure_of_its_replica(cluster: Cluster, back: Back) -> None:
    cluster.follow(cluster.replicas[1], cluster.primaries[0])
    cluster.settle()
    backing = await back(cluster, limits=SOON, replica_reads=True)
    (episode,) = ids_of(cluster, cluster.primaries[0], 1)
    await until(lambda: reads_there(backing, episode))
    engine_of(backing)._discovery._adopt = lambda _: None  # nobody has heard of it yet
    found = replica_of(backing, episode)
    assert found is not None
    successor = next(one for one in cluster.replicas[:2] if one.address != str(found._link.address))
    successor.ok("CLUSTER", "FAILOVER")
    await off_loop(wait_for, lambda: successor.role == "master")
    await off_loop(cluster.settle)  # both follow it
    await until(lambda: not found.trusted)


async def test_of_two_replicas_one_is_soon_read_from_again(cluster: Cluster, back: Back) -> None:
    """And not one after the other tried, each given up before it can be trusted."""
    cluster.follow(cluster.replicas[1], cluster.primaries[0])
    cluster.settle()
    backing = await back(cluster, limits=SOON, replica_reads=True)
    (episode,) = ids_of(cluster, cluster.primaries[0], 1)
    await until(lambda: reads_there(backing, episode))
    backing.engine.reset(Channel.TRACKED, key_of(episode), "a test wants it")
    assert not reads_there(backing, episode)
    await until(lambda: reads_there(backing, episode))
    found = replica_of(backing, episode)
    assert found is not None
    next(one for one in cluster.replicas if one.address == str(found._link.address)).kill()
    await until(lambda: not found.trusted)
    await until(lambda: reads_there(backing, episode), 30)
    assert replica_of(backing, episode) is not found


async def test_reads_that_a_replica_takes_no_more_of_are_the_primary_s(steady: Cluster, back: Back) -> None:
    limits = replace(TRUSTING, outstanding=5)
    backing, load = await back(steady, limits=limits, replica_reads=True), Loads()
    cache = cache_of(backing, load)
    (episode,) = ids_of(steady, steady.primaries[0], 1)
    await quiet(backing.engine)  # a new connection asks for the generations of keyspaces
    await read_at_replica(backing, cache, steady.primaries[0], episode)
    with steady.replicas[0].frozen():
        waiting = [asyncio.create_task(version(cache, episode)) for _ in range(5)]
        await until(lambda: any(task.done() for task in waiting))
        assert reads_there(backing, episode)
        assert (await cache.get_result(episode)).outcome is Outcome.HIT
    assert await asyncio.gather(*waiting) == [1] * 5
    assert load.calls == [episode]


async def test_a_replica_of_a_primary_that_takes_a_slot_over_is_compared_anew(steady: Cluster, back: Back) -> None:
    """The primary is then sent what was dropped of that slot; its replica must have that too."""
    backing = await back(steady, limits=replace(TRUSTING, topology_interval=60), replica_reads=True)
    source, target = steady.primaries[:2]
    (moving,), (staying,) = ids_of(steady, source, 1), ids_of(steady, target, 1)
    await until(lambda: reads_there(backing, staying))
    with lagging(steady.replicas[1]):
        target.ok("SET", f"{{{key_of(staying)}}}x", "")  # from now on it is behind
        assert reads_there(backing, staying)
        # As told by MOVED: a real move waits for the replicas.
        engine_of(backing)._owners.move(slot_of(key_of(moving)), ("127.0.0.1", target.port))
        assert not reads_there(backing, staying)
    await until(lambda: reads_there(backing, staying))


async def test_after_a_failover_the_new_pair_serves_and_nothing_dropped_is_back(cluster: Cluster, back: Back) -> None:
    backing, load = await back(cluster, limits=SOON, replica_reads=True), Loads()
    cache = cache_of(backing, load, near_for=30)
    (episode,) = ids_of(cluster, cluster.primaries[0], 1)
    await cache.get(episode)
    await until(lambda: reads_there(backing, episode))
    failing = asyncio.create_task(off_loop(cluster.fail_over, cluster.primaries[0]))
    while not failing.done():
        load.version += 1
        await cache.invalidate(episode)
        assert await version(cache, episode) == load.version
    await until(lambda: reads_there(backing, episode), 30)
    assert await version(cache, episode) == load.version
