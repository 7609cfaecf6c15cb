"""Many values of a store at once, while a slot goes to another node."""

from __future__ import annotations

from datetime import timedelta

import pytest

from greenroom import Greenroom, Keyspace
from tests.support.cluster_slots import Move, atomic, classic, off_loop
from tests.support.real_cluster import Cluster, slot_of

COUNT = Keyspace("count:{name}", int, ttl=timedelta(minutes=10))
NAMES = [f"n{number}" for number in range(40)]


@pytest.mark.parametrize("move", [classic, atomic])
async def test_many_follow_a_slot_to_its_new_node(cluster: Cluster, move: Move) -> None:
    async def moved(name: str) -> None:
        slot = slot_of(COUNT.key(name))
        source = cluster.owner(COUNT.key(name))
        target = next(one for one in cluster.primaries if one is not source)
        await off_loop(move, cluster, slot, target)

    async with Greenroom(cluster.address, sessions=False) as room:
        numbers = room.store(COUNT, near_for=timedelta(0))
        await numbers.set_many(dict.fromkeys(NAMES, 1))
        await moved("n3")
        assert await numbers.get_many(NAMES) == [1] * 40
        await moved("n5")
        await numbers.set_many(dict.fromkeys(NAMES, 2))
        assert await numbers.get_many(NAMES) == [2] * 40
        await moved("n7")
        assert await numbers.delete_many(NAMES) == 40
        assert await numbers.get_many(NAMES) == [None] * 40
