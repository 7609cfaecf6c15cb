"""A cluster whose cached values are read at replicas: one per shard and process, the primary where none is to be had.

Nobody above notices but by its bound: what is read may be as old as `Limits.max_staleness`, and older than what the
primary has given a moment before. Without more, a process would not see its own writes:

    DEL is acknowledged · the replica has not carried it out yet · the old value is read there, and kept near

So what this process has sent about a key, or was pushed of it by the primary, sends its reads of that key to the
primary until the replica is known to have come further.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from math import inf
from time import monotonic
from typing import Any

from greenroom.clock import SYSTEM, Clock
from greenroom.counters import Counters
from greenroom.engine.address import Address
from greenroom.engine.cluster.cluster import Clustered
from greenroom.engine.cluster.replica import Replica
from greenroom.engine.commands import Channel, Command, Hook
from greenroom.engine.deletions import Answered, Names, Queued
from greenroom.engine.limits import Limits
from greenroom.engine.listener import KeyFilter
from greenroom.engine.protocol.hash_slot import slot_of
from greenroom.engine.protocol.topology import Endpoint, Topology
from greenroom.engine.server.node import Node
from greenroom.errors import EngineError, Overloaded


class ReplicaReads(Clustered):
    """As `Clustered`, with `read` at replicas."""

    def __init__(
        self,
        address: Address,
        *,
        clock: Clock = SYSTEM,
        counters: Counters | None = None,
        limits: Limits | None = None,
    ) -> None:
        super().__init__(address, clock=clock, counters=counters, limits=limits)
        self._replicas: dict[Node, tuple[Endpoint, Replica]] = {}
        self._touched = _Touched(self.limits.max_staleness)
        self._retiring: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        await super().close()
        await asyncio.gather(*(replica.close() for _, replica in self._replicas.values()), *self._retiring)

    def read(
        self, key: str, commands: tuple[Command, ...], hook: Hook | None = None
    ) -> asyncio.Future[list[Any]] | None:
        node = self._owners.of_slot[slot_of(key)]
        if node is None:
            return None
        pair = self._replicas.get(node)
        if pair is not None and pair[1].trusted and self._touched.before(key, pair[1].as_of):
            try:
                sent = pair[1].send(commands, None if hook is None else self._unless_touched(key, pair[1], hook))
            except Overloaded:
                sent = None  # one that stands still: its primary may well take more
            if sent is not None:
                return sent
        return node.send(Channel.TRACKED, commands, hook)

    def send(
        self, channel: Channel, key: str, commands: tuple[Command, ...], hook: Hook | None = None
    ) -> asyncio.Future[list[Any]] | None:
        if channel is not Channel.TRACKED:
            return super().send(channel, key, commands, hook)
        self._touched.begin(key)
        sent = None
        try:
            sent = super().send(channel, key, commands, hook)
        finally:
            if sent is None:
                self._touched.end(key)
        # Before the callers who wait for the replies go on: callbacks run in the order in which they were added.
        if sent is not None:
            sent.add_done_callback(lambda _: self._touched.end(key))
        return sent

    def drop(self, keys: Sequence[str], names: Names, answered: Answered) -> list[Queued]:
        for key in keys:
            self._touched.begin(key)
        sent = super().drop(keys, names, answered)
        for part in sent:
            if isinstance(part.replies, EngineError):
                self._end_all(part.keys)
            else:
                part.replies.add_done_callback(partial(self._answered, part.keys))
        return sent

    async def execute_all(
        self,
        channel: Channel,
        key: str,
        commands: tuple[Command, ...],
        *,
        hook: Hook | None = None,
        retry: bool = True,
        deadline: float | None = None,
        urgent: bool = False,
    ) -> list[Any]:
        with self._touched.under_way(key) if channel is Channel.TRACKED else nullcontext():
            return await super().execute_all(
                channel, key, commands, hook=hook, retry=retry, deadline=deadline, urgent=urgent
            )

    # ------------------------------------------------------------------------------------------------

    def _answered(self, keys: Sequence[str], _: object) -> None:
        self._end_all(keys)

    def _end_all(self, keys: Sequence[str]) -> None:
        for key in keys:
            self._touched.end(key)

    def _unless_touched(self, key: str, replica: Replica, hook: Hook) -> Hook:
        # Prevents: a read is on its way to the replica · a DEL is sent to the primary and acknowledged, the near entry
        # is gone · the replica answers with the old value, which is kept near until its push comes.
        def call(replies: list[Any], source: Any) -> None:
            if self._touched.before(key, replica.as_of):
                hook(replies, source)

        return call

    def _adopt(self, topology: Topology) -> None:
        super()._adopt(topology)
        replicas: dict[Node, tuple[Endpoint, Replica]] = {}
        for node in self._owners.all:
            if node is not None and (chosen := self._chosen(node, topology)) is not None:
                replicas[node] = chosen
        kept = {replica for _, replica in replicas.values()}
        for _, replica in self._replicas.values():
            if replica not in kept:
                task = asyncio.get_running_loop().create_task(replica.close())
                self._retiring.add(task)
                task.add_done_callback(self._retiring.discard)
        self._replicas = replicas

    def _chosen(self, node: Node, topology: Topology) -> tuple[Endpoint, Replica] | None:
        """The replica that a node has here, as long as there is no better one; any other."""
        choice = topology.replicas.get(node.address.hosts[0], ())
        had = self._replicas.get(node)
        # Prevents: the nodes are asked in turns · one has not heard of the replica yet · all reads go to the primary
        # until another is asked.
        if had is not None and had[0] in topology.unheard and had[1].trusted:
            return had
        if had is not None and had[0] in choice and (had[1].promising or len(choice) == 1):
            return had
        others = [one for one in choice if had is None or one != had[0]]
        if not others:
            return None
        endpoint = others[int(self._clock.random() * len(others))]
        return endpoint, self._replica_at(endpoint, node)

    def _replica_at(self, endpoint: Endpoint, primary: Node) -> Replica:
        replica = Replica(
            self._address_of(endpoint),
            primary,
            on_invalidate=lambda name: super(ReplicaReads, self)._pushed(primary, name),
            on_lost=lambda: super(ReplicaReads, self)._disconnected(primary),
            clock=self._clock,
            counters=self._counters,
            limits=self.limits,
        )
        replica.start()
        return replica

    def _moved_away(self, owns: KeyFilter) -> None:
        # Prevents: a node takes a slot over, and is sent what is kept of its keys · its replica is read from before it
        # has carried that out.
        for _, replica in self._replicas.values():
            replica.distrust()
        super()._moved_away(owns)

    def _pushed(self, node: Node, name: bytes | None) -> None:
        if name is not None:
            self._touched.add(name.decode("utf-8", "replace"))
        elif node in self._replicas:
            self._replicas[node][1].distrust()
        super()._pushed(node, name)

    def _disconnected(self, node: Node) -> None:
        # Prevents: a DEL is lost with the connection · the replica is trusted before the next one has carried it.
        if node in self._replicas:
            self._replicas[node][1].distrust()
        super()._disconnected(node)


# docs/decisions/0018-touched-keys-are-read-at-the-primary.md
class _Touched:
    """Keys whose reads must be as new as their primary, each with the moment.

    Arguments:
        trust: seconds after which that no longer matters: a trusted replica has been compared later.
    """

    def __init__(self, trust: float) -> None:
        self._trust = trust
        self._sending: dict[str, int] = {}
        self._last: dict[str, float] = {}
        self._order: deque[tuple[float, str]] = deque()

    def before(self, key: str, moment: float) -> bool:
        """Whether all that concerns a key was done before a moment."""
        return key not in self._sending and self._last.get(key, -inf) < moment

    def add(self, key: str) -> None:
        """Something was heard of a key."""
        now = monotonic()
        self._last[key] = now
        self._order.append((now, key))
        while self._order[0][0] < now - self._trust:
            at, oldest = self._order.popleft()
            if self._last.get(oldest) == at:
                del self._last[oldest]

    @contextmanager
    def under_way(self, key: str) -> Iterator[None]:
        """Around what is sent about a key."""
        self.begin(key)
        try:
            yield
        finally:
            self.end(key)

    def begin(self, key: str) -> None:
        """Something about a key is sent."""
        self._sending[key] = self._sending.get(key, 0) + 1

    def end(self, key: str) -> None:
        """It was answered, or has failed."""
        self.add(key)
        self._sending[key] -= 1
        if not self._sending[key]:
            del self._sending[key]
