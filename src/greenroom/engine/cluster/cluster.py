"""The engine of a cluster: each key's commands go to the node that owns its slot, wherever that has gone."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from time import monotonic
from typing import Any, cast

from greenroom.clock import SYSTEM, Clock
from greenroom.engine.address import Address
from greenroom.engine.cluster.discovery import Discovery
from greenroom.engine.cluster.slot_map import SlotMap
from greenroom.engine.deletions import Answered, Names, Queued, each
from greenroom.engine.engine import RETRY_PAUSE, Engine
from greenroom.engine.limits import Limits
from greenroom.engine.listener import KeyFilter
from greenroom.engine.protocol.hash_slot import slot_of
from greenroom.engine.protocol.redirects import asking, hook_of, key_by_key, unasked
from greenroom.engine.protocol.topology import Endpoint, Topology
from greenroom.engine.protocol.wire import Ask, Command, Hook, Moved, NotHere, NotNow
from greenroom.engine.scripts import Script
from greenroom.engine.server.node import Node
from greenroom.engine.transport.connection import Connection, ConnectionLost, NotSent
from greenroom.engine.transport.handshake import open_connection
from greenroom.engine.transport.supervisor import Channel
from greenroom.errors import CommandFailed, EngineError, EngineUnavailable, InvalidInput
from greenroom.observe import Counters


async def _nothing(*_: object) -> None:
    """What most nodes need before a connection, and most connections before they serve."""


class Clustered(Engine):
    """The engine of a cluster.

    Arguments:
        address: some of its nodes; the others are asked for.
        scripts: loaded at every handshake.
        on_invalidate: called in reply order with each key whose tracked value changed.
        on_lost: called when invalidations may have been missed, with the keys that this concerns.
        on_gained: called when a node has taken slots over, with each of its connections and the keys; what is queued
            there goes before all that callers send.
        before_use: called with each new connection of either lane before anything else is sent on it; its `share` is
            the node's.
        before_serving: called after that with each tracked connection, before any caller gets it.

    Raises:
        InvalidInput: for the address of one server.
    """

    def __init__(
        self,
        address: Address,
        *,
        scripts: Sequence[Script] = (),
        on_invalidate: Callable[[bytes | None], None] = lambda _: None,
        on_lost: Callable[[KeyFilter], None] = lambda _: None,
        on_gained: Callable[[Channel, Connection, KeyFilter], None] = lambda *_: None,
        before_use: Callable[[Connection], Awaitable[None]] = _nothing,
        before_serving: Callable[[Connection], Awaitable[None]] = _nothing,
        clock: Clock = SYSTEM,
        counters: Counters | None = None,
        limits: Limits | None = None,
    ) -> None:
        if not address.cluster:
            raise InvalidInput("address", f"{address} is one server", "name a cluster, as valkey+cluster://host:port")
        self.address = address
        self._scripts = scripts
        self._on_invalidate = on_invalidate
        self._on_lost = on_lost
        self._before_use = before_use
        self._before_serving = before_serving
        self._clock = clock
        self._counters = counters if counters is not None else Counters()
        self._limits = limits or Limits()
        self._owners = SlotMap(self._connect, self._moved_away, on_gained)
        self._discovery = Discovery(
            address,
            nodes=lambda: self._owners.nodes,
            adopt=self._adopt,
            whole=lambda: self._unreachable is None,
            clock=clock,
            counters=self._counters,
            limits=self._limits,
        )

    async def start(self) -> None:
        self._discovery.start()
        await self._discovery.asked(monotonic() + self._limits.handshake_deadline)
        await asyncio.gather(*(node.settled() for node in self._owners.nodes))

    async def close(self) -> None:
        await self._discovery.close()
        await self._owners.close()

    @property
    def unavailable(self) -> EngineError | None:
        troubles = (node.unavailable for node in self._owners.all if node is not None)
        return self._unreachable or next((one for one in troubles if one is not None), None)

    async def broadcast(self, *command: str | bytes | int) -> list[Any]:
        sent = (node.send(Channel.PLAIN, (command,), None) for node in self._owners.all if node is not None)
        found = await asyncio.gather(*(one for one in sent if one is not None), return_exceptions=True)
        return [replies[0] for replies in found if isinstance(replies, list) and not isinstance(replies[0], Exception)]

    def reset(self, channel: Channel, key: str, reason: str) -> None:
        node = self._owners.of_slot[slot_of(key)]
        if node is not None:
            node.reset(channel, reason)

    def send(
        self, channel: Channel, key: str, commands: tuple[Command, ...], hook: Hook | None = None
    ) -> asyncio.Future[list[Any]] | None:
        node = self._owners.of_slot[slot_of(key)]
        return None if node is None else node.send(channel, commands, hook)

    def drop(self, keys: Sequence[str], names: Names, answered: Answered) -> list[Queued]:
        parts: dict[Node | None, list[str]] = {}
        for key in keys:
            parts.setdefault(self._owners.of_slot[slot_of(key)], []).append(key)
        nowhere = EngineUnavailable(f"{self.address}: not every slot has an owner")
        return [
            Queued(part, nowhere) if node is None else node.drop(part, each(part, names), answered)
            for node, part in parts.items()
        ]

    def read(
        self, key: str, commands: tuple[Command, ...], hook: Hook | None = None
    ) -> asyncio.Future[list[Any]] | None:
        node = self._owners.of_slot[slot_of(key)]
        return None if node is None else node.send(Channel.TRACKED, commands, hook)

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
        slot = slot_of(key)
        end = deadline if deadline is not None else monotonic() + self._limits.command_deadline
        redirected = False
        down: NotNow | None = None
        while True:
            node = self._owners.of_slot[slot] or await self._found(slot, end)
            try:
                return await node.once(channel, commands, hook=hook, retry=retry, deadline=deadline, urgent=urgent)
            except Ask as ask:
                number = len(commands)
                target = self._owners.at(self._endpoint(node, ask))
                self._count(node, "ask")
                try:
                    replies = await target.once(
                        channel, asking(commands), hook=hook_of(hook, number), retry=retry, deadline=end, urgent=urgent
                    )
                    return unasked(replies, number)
                except (ConnectionLost, NotSent, NotNow, NotHere) as error:
                    failure: EngineUnavailable = error
            except EngineUnavailable as error:
                failure = error
            deadline, pause = end, RETRY_PAUSE
            match failure:
                case Moved():
                    self._moved(node, failure)
                    pause = RETRY_PAUSE if redirected else 0.0  # the second time somebody is mistaken
                    redirected = True
                    down = None
                case NotNow(code="TRYAGAIN") if hook is None and any(command[0] == "MGET" for command in commands):
                    return await self._one_by_one(channel, key, commands, retry=retry, until=end, urgent=urgent)
                case NotNow(code="TRYAGAIN"):
                    commands = key_by_key(commands)
                case NotNow(code="CLUSTERDOWN"):
                    self._discovery.hint()
                    # Not for every call its whole deadline, while a shard is lost and takes the others along.
                    if monotonic() < node.refuses_until:
                        raise failure
                    down = failure
                case NotNow():
                    self._discovery.hint()
                case Ask():
                    pass
                case ConnectionLost() | NotSent():
                    pause = 0.0  # the next connection is waited for
                case _:
                    self._discovery.hint()
                    if self._owners.of_slot[slot] is node:
                        raise self._given_up(node, failure, down, end)
                    pause = 0.0
            if monotonic() + RETRY_PAUSE >= end:
                raise self._given_up(node, failure, down, end)
            if pause:
                await asyncio.sleep(pause)

    # ------------------------------------------------------------------------------------------------

    def _given_up(self, node: Node, failure: EngineUnavailable, down: NotNow | None, end: float) -> EngineUnavailable:
        """What a call fails with at a node; one that has spent its deadline on a cluster that is down says so.

        The deadline mostly comes between a refusal and the answer to the next attempt. Were that "no reply in time",
        nothing would be noted, and each of the next calls would spend its deadline as well.
        """
        if down is None or monotonic() + RETRY_PAUSE < end:
            return failure
        node.refuses_until = monotonic() + self._limits.probe_max
        return down

    @property
    def _unreachable(self) -> EngineError | None:
        """Why a part of the cluster cannot be asked."""
        for node in self._owners.all:
            if node is None:
                return self._discovery.unavailable or EngineUnavailable(f"{self.address}: not every slot has an owner")
            if node.unreachable is not None:
                return node.unreachable
        return None

    # docs/decisions/0016-sessions-are-read-key-by-key.md
    async def _one_by_one(self, channel: Channel, key: str, commands: tuple[Command, ...], **options: Any) -> list[Any]:
        """Reads of a slot some of whose keys have moved: each key is read, in their order, where it is by then."""
        replies: list[Any] = []
        for command in commands:
            if command[0] == "MGET":
                replies.append([await self._text(channel, key, name, **options) for name in command[1:]])
            else:
                replies += await self.execute_all(channel, key, (command,), **options)
        return replies

    async def _text(self, channel: Channel, key: str, name: str | bytes | int, **options: Any) -> bytes | None:
        """What MGET says of one key: nothing where it is of another type."""
        try:
            (reply,) = await self.execute_all(channel, key, (("GET", name),), **options)
        except CommandFailed as error:
            if not error.of_another_type:
                raise
            return None
        return cast("bytes | None", reply)

    async def _found(self, slot: int, deadline: float) -> Node:
        """The owner of a slot that has none yet; the cluster may not have been asked."""
        while (node := self._owners.of_slot[slot]) is None:
            known = len(self._owners.all) > 1
            if known or not await self._discovery.asked(deadline):
                raise self._unreachable or EngineUnavailable(f"{self.address}: slot {slot} has no owner")
        return node

    def _connect(self, endpoint: Endpoint) -> Node:
        part = _Part(self)
        node = part.node = Node(
            self._address_of(endpoint),
            scripts=self._scripts,
            share=part,
            on_invalidate=lambda name: self._pushed(node, name),
            on_lost=lambda: self._disconnected(node),
            before_connect=_nothing,
            before_use=self._before_use,
            before_serving=self._before_serving,
            clock=self._clock,
            counters=self._counters,
            limits=self._limits,
        )
        node.start()
        return node

    def _adopt(self, topology: Topology) -> None:
        self._owners.adopt(topology)

    def _moved_away(self, owns: KeyFilter) -> None:
        self._on_lost(owns)

    def _pushed(self, node: Node, name: bytes | None) -> None:
        if name is None:
            self._on_lost(node.share.owns)
        else:
            self._on_invalidate(name)

    def _disconnected(self, node: Node) -> None:
        self._on_lost(node.share.owns)
        self._discovery.hint()

    def _moved(self, node: Node, moved: NotHere) -> None:
        self._count(node, "moved")
        self._owners.move(moved.slot, self._endpoint(node, moved))
        self._discovery.hint()

    def _endpoint(self, node: Node, told: NotHere) -> Endpoint:
        return told.host if told.host not in ("", "?") else node.address.hosts[0][0], told.port

    def _address_of(self, endpoint: Endpoint) -> Address:
        return replace(self.address, hosts=(endpoint,), cluster=False)

    def _count(self, node: Node, event: str) -> None:
        self._counters.engine_events[str(node.address), event] += 1


class _Part:
    """The share of one node."""

    node: Node

    def __init__(self, cluster: Clustered) -> None:
        self._cluster = cluster

    def owns(self, key: str) -> bool:
        return self._cluster._owners.of_slot[slot_of(key)] is self.node

    async def follow(self, connection: Connection, command: Command, error: EngineUnavailable) -> Any:
        cluster = self._cluster
        if isinstance(error, Moved):
            cluster._moved(self.node, error)
            raise error
        if not isinstance(error, Ask) and not (isinstance(error, NotNow) and error.code == "TRYAGAIN"):
            raise error
        reply: Any = None
        for one in key_by_key((command,)):
            (reply,) = await connection.issue((one,), urgent=True)
            if isinstance(reply, Ask):
                reply = await self._at_target(one, cluster._endpoint(self.node, reply))
            if isinstance(reply, Exception):
                raise reply
        return reply

    async def _at_target(self, command: Command, endpoint: Endpoint) -> Any:
        # Over a connection of its own. Two nodes that exchange slots would wait for one another's to serve.
        cluster = self._cluster
        address, latency = cluster._address_of(endpoint), cluster._counters.commands[str(self.node.address)]
        target = await open_connection(address, "greenroom-ask", latency=latency, limits=cluster._limits)
        try:
            return (await target.issue(asking((command,))))[1]
        finally:
            target.abort("it has answered")
