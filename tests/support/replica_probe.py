"""What tests of reads at replicas share: who is read from, one that lags, and what each node was asked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from greenroom.caching import Cache
from greenroom.caching.invalidation import Backing
from greenroom.engine import Limits
from greenroom.engine.cluster.replica import Replica
from greenroom.engine.cluster.replica_reads import ReplicaReads
from greenroom.engine.protocol.hash_slot import slot_of
from tests.support.cluster_slots import key_of, off_loop
from tests.support.patience import until
from tests.support.real_cluster import Cluster, Member

TRUSTING = Limits(topology_interval=0.2, command_deadline=120, ping_timeout=60)
"""For an engine that relies on a replica for a minute, however far that is behind."""
VERSION_2 = b'{"episode_id":"%s","version":2}'


def replica_of(backing: Backing, episode: str) -> Replica | None:
    """The replica that a process reads an episode at."""
    engine = backing.engine
    assert isinstance(engine, ReplicaReads)
    node = engine._owners.of_slot[slot_of(key_of(episode))]
    assert node is not None
    found = engine._replicas.get(node)
    return None if found is None else found[1]


def trusted_replica(backing: Backing, episode: str) -> Replica | None:
    """The replica to read an episode at, once it has been found to have what its primary has."""
    # None is used for a moment while the engine learns anew who owns what.
    replica = replica_of(backing, episode)
    return None if replica is None or not replica.trusted else replica


def is_trusted(backing: Backing, episode: str) -> bool:
    """Whether there is a trusted replica to read an episode at."""
    return trusted_replica(backing, episode) is not None


def reads_there(backing: Backing, episode: str) -> bool:
    """Whether the next read of an episode is the replica's to answer."""
    engine, replica = backing.engine, trusted_replica(backing, episode)
    assert isinstance(engine, ReplicaReads)
    return replica is not None and engine._touched.before(key_of(episode), replica.as_of)


async def version(cache: Cache[Any], episode: str) -> object:
    """Which version a read gives."""
    return getattr(await cache.get(episode), "version", None)


async def read_at_replica(backing: Backing, cache: Cache[Any], primary: Member, episode: str) -> None:
    """Load an episode, and return when its primary's replica has it and is the one to be asked."""
    await cache.get(episode)
    assert await off_loop(primary.replicated)
    await until(lambda: reads_there(backing, episode))


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
