"""Which node has a key, and the ways in which a slot goes from one node to another."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from greenroom.caching.invalidation import Backing
from greenroom.engine import Limits
from greenroom.engine.cluster.cluster import Clustered
from tests.support.episode_caches import EPISODE
from tests.support.real_cluster import Cluster, Member, slot_of

OLD = b'{"episode_id":"%s","version":1}'
SOON = Limits(topology_interval=0.2)
"""For an engine that finds changes out by itself while a test waits."""
BLIND = Limits(topology_interval=60)
"""For one that finds them out by what its calls are answered."""

Move = Callable[[Cluster, int, Member], None]


def key_of(episode_id: str) -> str:
    return EPISODE.key(episode_id=episode_id)


def ids_of(cluster: Cluster, member: Member, number: int) -> list[str]:
    """So many episodes whose keys a node owns."""
    names = (f"e{n}" for n in range(10**6))
    owned = (name for name in names if cluster.owner(key_of(name)) is member)
    return [next(owned) for _ in range(number)]


def engine_of(backing: Backing) -> Clustered:
    assert isinstance(backing.engine, Clustered)
    return backing.engine


def old(episode_id: str) -> bytes:
    return OLD % episode_id.encode()


def classic(cluster: Cluster, slot: int, target: Member) -> None:
    cluster.migrate(slot, target)


def atomic(cluster: Cluster, slot: int, target: Member) -> None:
    cluster.move([slot], target)


def failover(cluster: Cluster, slot: int, _: Member) -> None:
    cluster.fail_over(cluster.owner(slot))


def port_of(engine: Clustered, key: str) -> int:
    """Where the engine sends a key's commands."""
    node = engine._owners.of_slot[slot_of(key)]
    assert node is not None
    return node.address.hosts[0][1]


async def off_loop(work: Callable[..., Any], *args: Any) -> Any:
    """Do something blocking while the loop goes on."""
    return await asyncio.get_running_loop().run_in_executor(None, work, *args)
