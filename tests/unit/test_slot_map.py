"""Which keys have a new owner is told of them, and of no other."""

from __future__ import annotations

from typing import Any, cast

from greenroom.engine.cluster.slot_map import SlotMap
from greenroom.engine.listener import KeyFilter
from greenroom.engine.protocol.hash_slot import SLOTS, slot_of
from greenroom.engine.protocol.topology import Endpoint, Topology
from greenroom.engine.server.node import Node

A, B = ("127.0.0.1", 1), ("127.0.0.1", 2)
KEYS = [f"k{number}" for number in range(1000)]


class Unconnected:
    """A node that no connection leads to yet."""

    def connection(self, _: object) -> None:
        return None


def view(*ranges: tuple[int, int, Endpoint]) -> Topology:
    nodes = frozenset((A, B))
    return Topology(ranges, nodes, nodes, {}, frozenset(), 1)


def test_a_view_tells_of_the_slots_that_have_moved_and_of_no_other() -> None:
    told: list[KeyFilter] = []

    def no_connection(*_: Any) -> None:
        raise AssertionError("there is none")

    slots = SlotMap(lambda _: cast(Node, Unconnected()), told.append, no_connection)
    half = SLOTS // 2
    slots.adopt(view((0, half - 1, A), (half, SLOTS - 1, B)))
    assert all(any(owns(key) for owns in told) for key in KEYS)
    told.clear()
    slots.adopt(view((0, half - 1, A), (half, SLOTS - 1, B)))
    assert told == []
    slots.adopt(view((0, half + 99, A), (half + 100, SLOTS - 1, B)))
    (owns,) = told
    moved = range(half, half + 100)
    assert [key for key in KEYS if owns(key)] == [key for key in KEYS if slot_of(key) in moved]
    assert [slots.of_slot[slot] for slot in (0, half, half + 99, half + 100, SLOTS - 1)] == [
        *[slots.at(A)] * 3,
        *[slots.at(B)] * 2,
    ]
    told.clear()
    slots.move(half, A)
    assert told == []
    slots.move(half, B)
    (owns,) = told
    assert all(owns(key) == (slot_of(key) == half) for key in KEYS)
