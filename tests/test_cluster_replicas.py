"""Reads at the replicas of a real cluster: what they lag is bounded, and a process never misses what it did itself."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from greenroom import Greenroom
from greenroom.caching import Cache, Outcome, stored
from greenroom.caching.backing import Backing
from greenroom.engine import Address, Lane, Limits, engine_at
from greenroom.engine.replica import Replica
from greenroom.engine.replica_reads import ReplicaReads
from greenroom.engine.slots import slot_of
from greenroom.errors import InvalidInput
from greenroom.observe import Counters
from tests.caches import EPISODE, Back, Loads, cache_of
from tests.cluster import Cluster, Member
from tests.races import be_patient, until
from tests.servers import wait_for
from tests.test_cluster_caches import BLIND, engine_of, ids_of, key_of, old
from tests.test_cluster_engine import off_loop

TRUSTING = Limits(survey=0.2, command_deadline=120, silence_deadline=60)
"""For an engine that relies on a replica for a minute, however far that is behind."""
SOON = Limits(survey=0.2)
VERSION_2 = b'{"episode_id":"%s","version":2}'


def replica_of(backing: Backing, episode: str) -> Replica | None:
    """The replica that a process reads an episode at."""
    engine = backing.engine
    assert isinstance(engine, ReplicaReads)
    node = engine._owners.of_slot[slot_of(key_of(episode))]
    assert node is not None
    found = engine._replicas.get(node)
    return None if found is None else found[1]


def reads_there(backing: Backing, episode: str) -> bool:
    """Whether the next read of an episode is the replica's to answer."""
    engine, replica = backing.engine, replica_of(backing, episode)
    assert isinstance(engine, ReplicaReads)
    return replica is not None and replica.trusted and engine._touched.before(key_of(episode), replica.heard)


async def version(cache: Cache[Any], episode: str) -> object:
    """Which version a read gives."""
    return getattr(await cache.get(episode), "version", None)


@contextmanager
def lagging(replica: Member) -> Iterator[None]:
    """A replica that answers, and carries nothing more out of what its primary sends."""
    replica.ok("CLIENT", "PAUSE", 600_000, "WRITE")
    try:
        yield
    finally:
        replica.ok("CLIENT", "UNPAUSE")


def calls_of(member: Member, *commands: str) -> int:
    """How often these commands were called at a node."""
    stats = member("INFO", "commandstats").decode().splitlines()
    counts = dict(line.removeprefix("cmdstat_").split(":calls=") for line in stats if ":calls=" in line)
    return sum(int(counts[name].partition(",")[0]) for name in commands if name in counts)


def reset(cluster: Cluster) -> None:
    """Count every node's calls from now on."""
    for one in cluster.members:
        one.ok("CONFIG", "RESETSTAT")


@pytest.fixture
def steady(steady: Cluster) -> Cluster:
    """The cluster of the file, as if nobody had used it."""
    steady.fresh()
    return steady


# Who is asked ----------------------------------------------------------------------------------------


async def test_values_are_read_at_replicas_and_all_else_goes_to_primaries(steady: Cluster, back: Back) -> None:
    backing, load = await back(steady, limits=SOON, replica_reads=True), Loads()
    cache = cache_of(backing, load)
    episodes = [one for member in steady.primaries for one in ids_of(steady, member, 5)]
    for one in episodes:
        await cache.get(one)
    assert await off_loop(lambda: all(one.replicated() for one in steady.primaries))
    await until(lambda: all(reads_there(backing, one) for one in episodes))
    reset(steady)
    assert [(await cache.read(one)).outcome for one in episodes] == [Outcome.HIT] * 15
    assert [one and one.version for one in await cache.get_many([{"episode_id": one} for one in episodes])] == [1] * 15
    assert sum(calls_of(one, "get") for one in steady.replicas) == 30
    assert sum(calls_of(one, "get") for one in steady.primaries) == 0
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


async def test_sessions_are_never_read_at_a_replica(steady: Cluster) -> None:
    async with Greenroom.open(steady.address, replica_reads=True) as room:
        reset(steady)
        for live, token in [await room.sessions.start(user_id="u1") for _ in range(20)]:
            assert await room.sessions.read(token) is not None
            await room.sessions.end(live.session_id)
        assert await room.sessions.active() == 0
    assert sum(calls_of(one, "mget", "evalsha", "zcount", "zrange", "time") for one in steady.replicas) == 0
    assert sum(calls_of(one, "mget") for one in steady.primaries) >= 20


async def test_nobody_reads_at_a_replica_who_was_not_told_to(steady: Cluster) -> None:
    async with Greenroom.open(steady.address) as room:
        cache = room.cache(EPISODE, load=Loads(), near_for=0)
        await cache.get("e1")
        reset(steady)
        assert (await cache.read("e1")).outcome is Outcome.HIT
    assert sum(calls_of(one, "get", "readonly") for one in steady.replicas) == 0


async def test_a_replica_that_does_not_know_a_key_leaves_it_to_the_primary(steady: Cluster, back: Back) -> None:
    backing, load = await back(steady, limits=TRUSTING, replica_reads=True), Loads()
    cache = cache_of(backing, load)
    (episode,) = ids_of(steady, steady.primaries[0], 1)
    await until(lambda: reads_there(backing, episode))
    with lagging(steady.replicas[0]):
        steady.primaries[0].ok("SET", key_of(episode), old(episode), "EX", 1800)
        assert reads_there(backing, episode)
        assert (await cache.read(episode)).outcome is Outcome.HIT
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
    await cache.get(episode)
    assert await off_loop(steady.primaries[0].replicated)
    await until(lambda: reads_there(backing, episode))
    assert (await cache.read(episode)).outcome is Outcome.HIT
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


async def test_what_a_replica_answers_after_a_drop_made_here_is_not_kept_near(steady: Cluster, back: Back) -> None:
    """The read was sent before; the drop goes to the primary and so may overtake it."""
    backing, load = await back(steady, limits=TRUSTING, replica_reads=True), Loads()
    cache = cache_of(backing, load, near_for=30)
    (episode,) = ids_of(steady, steady.primaries[0], 1)
    await cache.get(episode)
    assert await off_loop(steady.primaries[0].replicated)
    await until(lambda: reads_there(backing, episode))
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
    await backing.engine.execute(Lane.TRACKED, key_of(episode), "GET", key_of(episode))  # the primary tracks it
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
                await asyncio.sleep(0)
        assert not reads_there(here, episode)


async def test_a_push_of_the_replica_ends_what_is_near_of_it(steady: Cluster, back: Back) -> None:
    backing, load = await back(steady, limits=TRUSTING, replica_reads=True), Loads()
    cache = cache_of(backing, load, near_for=30)
    primary = steady.primaries[0]
    (episode,) = ids_of(steady, primary, 1)
    await until(lambda: reads_there(backing, episode))
    primary.ok("SET", key_of(episode), old(episode), "EX", 1800)
    assert await off_loop(primary.replicated)
    assert (await cache.read(episode)).outcome is Outcome.HIT
    assert (await cache.read(episode)).outcome is Outcome.NEAR
    primary.ok("SET", key_of(episode), VERSION_2 % episode.encode(), "EX", 1800)
    await until(lambda: key_of(episode) not in set(backing.near))
    assert await version(cache, episode) == 2


async def test_after_a_loss_of_the_primary_s_connection_the_replica_is_compared_anew(
    steady: Cluster, back: Back
) -> None:
    """What was sent on it may be lost; the next one carries it, and the replica must have that too."""
    backing = await back(steady, limits=TRUSTING, replica_reads=True)
    (episode,) = ids_of(steady, steady.primaries[0], 1)
    await until(lambda: reads_there(backing, episode))
    with lagging(steady.replicas[0]):
        steady.primaries[0].ok("SET", f"{{{key_of(episode)}}}x", "")  # from now on it is behind
        backing.engine.renew(Lane.TRACKED, key_of(episode), "a test wants it")
        assert not reads_there(backing, episode)
        await until(lambda: backing.engine.trouble is None)
        replica = replica_of(backing, episode)
        assert replica is not None
        with pytest.raises(TimeoutError):
            await until(lambda: replica.trusted, 1)
    await until(lambda: replica.trusted)


# What ends -------------------------------------------------------------------------------------------


async def test_a_replica_that_dies_costs_no_load(cluster: Cluster, back: Back, monkeypatch: pytest.MonkeyPatch) -> None:
    be_patient(monkeypatch)
    backing, load = await back(cluster, limits=SOON, replica_reads=True), Loads()
    cache = cache_of(backing, load)
    (episode,) = ids_of(cluster, cluster.primaries[0], 1)
    await cache.get(episode)
    assert await off_loop(cluster.primaries[0].replicated)
    await until(lambda: reads_there(backing, episode))
    cluster.replicas[0].kill()
    for _ in range(20):
        assert (await cache.read(episode)).outcome is Outcome.HIT
    assert load.calls == [episode]
    assert backing.engine.trouble is None


async def test_a_replica_that_stands_still_leaves_half_the_time_to_the_primary(
    steady: Cluster, back: Back, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in real life, where it is half a second."""
    monkeypatch.setattr(stored, "COMMANDS", 4.0)
    limits = Limits(survey=0.2, command_deadline=4.0, silence_deadline=60)
    backing, load = await back(steady, limits=limits, replica_reads=True), Loads()
    cache = cache_of(backing, load)
    (episode,) = ids_of(steady, steady.primaries[0], 1)
    await cache.get(episode)
    assert await off_loop(steady.primaries[0].replicated)
    await until(lambda: reads_there(backing, episode))
    with steady.replicas[0].frozen():
        assert (await cache.read(episode)).outcome is Outcome.HIT
        assert (await cache.read(episode)).outcome is Outcome.HIT
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
    assert (await cache.read(episode)).outcome is Outcome.HIT
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
    assert (await cache.read(episode)).outcome is Outcome.HIT
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
    backing.engine.renew(Lane.TRACKED, key_of(episode), "a test wants it")
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
    await cache.get(episode)
    assert await off_loop(steady.primaries[0].replicated)
    await until(lambda: reads_there(backing, episode))
    with steady.replicas[0].frozen():
        waiting = [asyncio.create_task(version(cache, episode)) for _ in range(5)]
        await until(lambda: any(task.done() for task in waiting))
        assert reads_there(backing, episode)
        assert (await cache.read(episode)).outcome is Outcome.HIT
    assert await asyncio.gather(*waiting) == [1] * 5
    assert load.calls == [episode]


async def test_a_replica_of_a_primary_that_takes_a_slot_over_is_compared_anew(steady: Cluster, back: Back) -> None:
    """The primary is then sent what was dropped of that slot; its replica must have that too."""
    backing = await back(steady, limits=replace(TRUSTING, survey=60), replica_reads=True)
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
