"""The engine of a cluster: each key's commands go to the node that owns its slot, wherever that has gone."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from time import monotonic
from typing import Any, cast

from greenroom.callbacks import nothing_async
from greenroom.clock import SYSTEM, Clock
from greenroom.counters import Counters
from greenroom.engine.address import Address
from greenroom.engine.cluster.discovery import Discovery
from greenroom.engine.cluster.handover import NodeHandover
from greenroom.engine.cluster.slot_map import SlotMap
from greenroom.engine.commands import Channel, Command, Hook
from greenroom.engine.deletions import Answered, Names, Queued, each
from greenroom.engine.engine import RETRY_PAUSE, Engine
from greenroom.engine.limits import Limits
from greenroom.engine.listener import KeyFilter, Listener, Listeners
from greenroom.engine.protocol.errors import Ask, ConnectionLost, Moved, NotHere, NotNow, NotSent
from greenroom.engine.protocol.hash_slot import slot_of, spread_tags
from greenroom.engine.protocol.redirects import asking, hook_of, key_by_key, unasked
from greenroom.engine.protocol.topology import Endpoint, Topology
from greenroom.engine.scripts import Script
from greenroom.engine.server.node import Node
from greenroom.engine.transport.connection import Connection
from greenroom.engine.transport.handshake import open_connection
from greenroom.errors import CommandFailed, EngineError, EngineUnavailable, InvalidInput


class Clustered(Engine):
    """The engine of a cluster.

    Arguments:
        address: some of its nodes; the others are asked for.

    Raises:
        InvalidInput: for the address of one server.
    """

    def __init__(
        self,
        address: Address,
        *,
        clock: Clock = SYSTEM,
        counters: Counters | None = None,
        limits: Limits | None = None,
    ) -> None:
        if not address.cluster:
            raise InvalidInput("address", f"{address} is one server", "name a cluster, as valkey+cluster://host:port")
        self.address = address
        self._listeners = Listeners()
        self._clock = clock
        self._counters = counters if counters is not None else Counters()
        self.limits = limits or Limits()
        self._owners = SlotMap(self._connect, self._moved_away, self._taken_over)
        self._discovery = Discovery(
            address,
            nodes=lambda: self._owners.nodes,
            adopt=self._adopt,
            whole=lambda: self._unreachable is None,
            clock=clock,
            counters=self._counters,
            limits=self.limits,
        )

    @property
    def tags(self) -> tuple[str, ...]:
        return spread_tags()

    def add_listener(self, listener: Listener, scripts: Sequence[Script] = ()) -> None:
        self._listeners.add(listener, scripts)

    async def start(self) -> None:
        self._listeners.closed = True
        self._discovery.start()
        await self._discovery.asked(monotonic() + self.limits.handshake_deadline)
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
        answers = await asyncio.gather(*(one for one in sent if one is not None), return_exceptions=True)
        return [
            replies[0] for replies in answers if isinstance(replies, list) and not isinstance(replies[0], Exception)
        ]

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
        end = deadline if deadline is not None else monotonic() + self.limits.command_deadline
        redirected = False
        down: NotNow | None = None
        while True:
            node = self._owners.of_slot[slot] or await self._found(slot, end)
            try:
                return await node.once(channel, commands, hook=hook, retry=retry, deadline=deadline, urgent=urgent)
            except Ask as ask:
                target = self._owners.at(self._endpoint(node, ask))
                self._count(node, "ask")
                try:
                    replies = await target.once(
                        channel, asking(commands), hook=hook_of(hook), retry=retry, deadline=end, urgent=urgent
                    )
                    return unasked(replies)
                except (ConnectionLost, NotSent, NotNow, NotHere) as error:
                    failure: EngineUnavailable = error
            except EngineUnavailable as error:
                failure = error
            deadline, pause = end, RETRY_PAUSE
            match failure:
                case Moved():
                    self._moved(node, failure)
                    pause = RETRY_PAUSE if redirected else 0.0  # two in a row: the nodes disagree
                    redirected = True
                    down = None
                case NotNow(code="TRYAGAIN") if hook is None and any(command[0] == "MGET" for command in commands):
                    return await self._one_by_one(channel, key, commands, retry=retry, deadline=end, urgent=urgent)
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
        node.refuses_until = monotonic() + self.limits.probe_max
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
    async def _one_by_one(
        self, channel: Channel, key: str, commands: tuple[Command, ...], *, retry: bool, deadline: float, urgent: bool
    ) -> list[Any]:
        """Reads of a slot some of whose keys have moved: each key is read, in their order, where it is by then."""
        replies: list[Any] = []
        for command in commands:
            if command[0] == "MGET":
                read = partial(self._text, channel, key, retry=retry, deadline=deadline, urgent=urgent)
                replies.append([await read(name) for name in command[1:]])
            else:
                replies += await self.execute_all(
                    channel, key, (command,), retry=retry, deadline=deadline, urgent=urgent
                )
        return replies

    async def _text(
        self, channel: Channel, key: str, name: str | bytes | int, *, retry: bool, deadline: float, urgent: bool
    ) -> bytes | None:
        """What MGET says of one key: nothing where it is of another type."""
        command: Command = ("GET", name)
        try:
            (reply,) = await self.execute_all(channel, key, (command,), retry=retry, deadline=deadline, urgent=urgent)
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
        node: Node = Node(
            self._address_of(endpoint),
            listeners=self._listeners,
            hand_over=lambda channel, connection: self._hand_over(node, channel, connection, node.owns),
            owns=lambda key: self._owners.of_slot[slot_of(key)] is node,
            on_invalidate=lambda name: self._pushed(node, name),
            on_lost=lambda: self._disconnected(node),
            before_connect=nothing_async,
            clock=self._clock,
            counters=self._counters,
            limits=self.limits,
        )
        self._counters.begin_server(str(node.address), ("ask", "moved"))
        node.start()
        return node

    def _adopt(self, topology: Topology) -> None:
        self._owners.adopt(topology)

    def _moved_away(self, owns: KeyFilter) -> None:
        self._listeners.keys_lost(owns)

    def _taken_over(self, node: Node, channel: Channel, connection: Connection, owns: KeyFilter) -> None:
        self._listeners.keys_gained(self._hand_over(node, channel, connection, owns))

    def _hand_over(self, node: Node, channel: Channel, connection: Connection, owns: KeyFilter) -> NodeHandover:
        moved, ask = partial(self._moved, node), partial(self._asked, node)
        return NodeHandover(connection, channel, str(node.address), owns, moved=moved, ask=ask)

    async def _asked(self, node: Node, command: Command, ask: Ask) -> Any:
        # Over a connection of its own. Two nodes that exchange slots would wait for one another's to serve.
        address, latency = self._address_of(self._endpoint(node, ask)), self._counters.commands[str(node.address)]
        target = await open_connection(address, "greenroom-ask", latency=latency, limits=self.limits)
        try:
            return (await target.issue(asking((command,))))[1]
        finally:
            target.abort("it has answered")

    def _pushed(self, node: Node, name: bytes | None) -> None:
        if name is None:
            self._listeners.keys_lost(node.owns)
        else:
            self._listeners.keys_invalidated(name)

    def _disconnected(self, node: Node) -> None:
        self._listeners.keys_lost(node.owns)
        self._discovery.hint()

    def _moved(self, node: Node, moved: NotHere) -> None:
        self._count(node, "moved")
        self._owners.move(moved.slot, self._endpoint(node, moved))
        self._discovery.hint()

    def _endpoint(self, node: Node, redirect: NotHere) -> Endpoint:
        return redirect.host if redirect.host not in ("", "?") else node.address.hosts[0][0], redirect.port

    def _address_of(self, endpoint: Endpoint) -> Address:
        return replace(self.address, hosts=(endpoint,), cluster=False)

    def _count(self, node: Node, event: str) -> None:
        self._counters.engine_events[str(node.address), event] += 1
