"""The slots of a cluster and the nodes that own them, as this process knows it.

A slot has one owner at any moment. When that changes, what was read of it may have changed unseen, and the new owner
may lack what the old one had acknowledged: the layers above are told of both, before anything is sent there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from greenroom.engine.commands import Channel
from greenroom.engine.listener import KeyFilter
from greenroom.engine.protocol.hash_slot import SLOTS, slot_of
from greenroom.engine.protocol.topology import Endpoint, Topology
from greenroom.engine.server.node import Node
from greenroom.engine.transport.connection import Connection


class SlotMap:
    """Slot → node.

    Arguments:
        connect: makes a node that begins to connect.
        on_lost: called with keys that have a new owner.
        on_gained: called with the new owner, each connection to it, where there is one, and the keys; what is queued
            there goes before all that callers send.
    """

    def __init__(
        self,
        connect: Callable[[Endpoint], Node],
        on_lost: Callable[[KeyFilter], None],
        on_gained: Callable[[Node, Channel, Connection, KeyFilter], None],
    ) -> None:
        self._connect = connect
        self._on_lost = on_lost
        self._on_gained = on_gained
        self._nodes: dict[Endpoint, Node] = {}
        self._retiring: set[asyncio.Task[None]] = set()
        self.of_slot: list[Node | None] = [None] * SLOTS
        """The owner of each slot; None where none is known."""
        self.all: frozenset[Node | None] = frozenset((None,))
        """The owners of all slots."""

    @property
    def nodes(self) -> tuple[Node, ...]:
        """Every node that is connected to."""
        return tuple(self._nodes.values())

    def at(self, endpoint: Endpoint) -> Node:
        """The node there, connected to from now on."""
        node = self._nodes.get(endpoint)
        if node is None:
            node = self._nodes[endpoint] = self._connect(endpoint)
        return node

    def adopt(self, topology: Topology) -> None:
        """Take a view over. Slots that it gives no reachable owner keep theirs."""
        gained: dict[Node, set[int]] = {}
        for first, last, endpoint in topology.ranges:
            self._give(first, last, self.at(endpoint), gained)
        self._tell(gained)
        for endpoint, node in tuple(self._nodes.items()):
            # A primary without slots may be about to get some: who asks there must not find it gone.
            if node not in self.all and endpoint not in topology.primaries:
                del self._nodes[endpoint]
                task = asyncio.get_running_loop().create_task(node.retire())
                self._retiring.add(task)
                task.add_done_callback(self._retiring.discard)

    def move(self, slot: int, endpoint: Endpoint) -> None:
        """One slot has a new owner."""
        gained: dict[Node, set[int]] = {}
        self._give(slot, slot, self.at(endpoint), gained)
        self._tell(gained)

    async def close(self) -> None:
        """End every connection."""
        await asyncio.gather(*(node.close() for node in self._nodes.values()), *self._retiring)

    # ------------------------------------------------------------------------------------------------

    def _give(self, first: int, last: int, node: Node, gained: dict[Node, set[int]]) -> None:
        """A node owns these from now on."""
        before = self.of_slot[first : last + 1]
        kept = before.count(node)
        if kept == len(before):
            return
        slots = range(first, last + 1)
        # Thousands, where they are told at the first connection: none of them is looked at by itself then.
        taken = slots if not kept else (slot for slot, old in zip(slots, before, strict=True) if old is not node)
        gained.setdefault(node, set()).update(taken)
        self.of_slot[first : last + 1] = [node] * len(before)

    def _tell(self, gained: dict[Node, set[int]]) -> None:
        if not gained:
            return
        self.all = frozenset(self.of_slot)
        for node, slots in gained.items():
            owns = _in(slots)
            self._on_lost(owns)
            for channel in Channel:
                connection = node.connection(channel)
                if connection is not None:
                    self._on_gained(node, channel, connection, owns)


def _in(slots: set[int]) -> KeyFilter:
    return lambda key: slot_of(key) in slots
