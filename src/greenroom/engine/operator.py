"""Servers as operators look at them: over connections of their own, at a bounded pace, at a replica where there is one.

Programs never do this: they have no SCAN and ask for keys that they know. What stands here is for commands that people
run beside them, and that must not slow them down.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

from greenroom.callbacks import nothing
from greenroom.clock import SYSTEM, Clock
from greenroom.counters import Counters, Histogram
from greenroom.engine.address import Address
from greenroom.engine.commands import Command
from greenroom.engine.limits import Limits
from greenroom.engine.protocol.hash_slot import slot_of as slot_of
from greenroom.engine.protocol.info import fields
from greenroom.engine.protocol.topology import QUESTION, parse
from greenroom.engine.transport.connection import Connection
from greenroom.engine.transport.handshake import open_connection, with_remedy
from greenroom.errors import EngineError, EngineUnavailable

Sleep = Callable[[float], Awaitable[None]]
"""Waits so many seconds; a test does its part of an interleaving in it."""
_NAME = "greenroom-operator"
_REPLICAS = 16
"""Replicas that INFO numbers, of which one is looked for."""


@dataclass(frozen=True, slots=True)
class Shard:
    """One server, or one shard of a cluster.

    Arguments:
        primary: where its keys are written.
        replica: one that has them too; None where none is known.
        slots: the first and last of each range of slots of a cluster; empty of one server, which has all keys.
    """

    primary: Address
    replica: Address | None = None
    slots: tuple[tuple[int, int], ...] = ()

    def owns(self, key: str) -> bool:
        """Whether a key is here."""
        if not self.slots:
            return True
        slot = slot_of(key)
        return any(first <= slot <= last for first, last in self.slots)


class Pace:
    """At most so many calls a second, of all servers together.

    Arguments:
        rate: calls a second.
    """

    def __init__(self, rate: float, *, clock: Clock = SYSTEM, sleep: Sleep = asyncio.sleep) -> None:
        self._apart = 1.0 / rate
        self._clock = clock
        self._sleep = sleep
        self._next = 0.0

    async def wait(self) -> None:
        """Wait until the next call may be made."""
        now = self._clock.monotonic()
        due = max(now, self._next)
        self._next = due + self._apart
        if due > now:
            await self._sleep(due - now)


class OperatorConnection:
    """A connection of an operator to one server.

    Arguments:
        shard: whose keys it sees.
        address: of the server that answers: the replica, or the primary.
    """

    def __init__(self, shard: Shard, address: Address, connection: Connection, pace: Pace | None) -> None:
        self.shard = shard
        self.address = address
        self.at_replica = connection.is_replica
        """Whether a replica answers, which may be behind its primary."""
        self._connection = connection
        self._pace = pace

    async def replies(self, *commands: Command) -> list[Any]:
        """What the server answers to each command, an error as an item of the list.

        Raises:
            EngineError: when it does not answer.
        """
        if self._pace is not None:
            await self._pace.wait()
        return await self._connection.issue(commands)

    async def ask(self, *command: str | bytes | int) -> Any:
        """The reply to one command.

        Raises:
            EngineError: when the server does not answer, or refuses.
        """
        (reply,) = await self.replies(command)
        if isinstance(reply, EngineError):
            raise with_remedy(reply)
        return reply

    async def info(self, *sections: str) -> dict[str, str]:
        """What the server tells of itself, by name; raises as `ask`."""
        told: dict[str, str] = {}
        for section in sections:
            told |= fields(await self.ask("INFO", section))
        return told


async def find_shards(address: Address) -> list[Shard]:
    """The servers behind an address: one, that which sentinels name, or each shard of a cluster.

    Raises:
        EngineError: when they cannot be asked.
    """
    if address.cluster:
        return await _of_cluster(address)
    if address.sentinels is not None:
        address = await _watched(address)
    async with looking(Shard(address)) as look:
        return [Shard(address, _replica(address, await look.info("replication")))]


@asynccontextmanager
async def looking(
    shard: Shard,
    *,
    at_replica: bool = False,
    pace: Pace | None = None,
    limits: Limits | None = None,
    on_push: Callable[[list[Any]], None] | None = None,
    commands: tuple[Command, ...] = (),
) -> AsyncIterator[OperatorConnection]:
    """OperatorConnection at a server for as long as the block lasts.

    Arguments:
        at_replica: whether a replica is asked where there is one and it answers.
        pace: how often it may be asked.
        on_push: called with what the server sends unasked.
        commands: sent after the log-in.

    Raises:
        EngineError: when it cannot be reached, or refuses the log-in.
    """
    limits = limits or Limits()
    connection, address = None, shard.primary
    if at_replica and shard.replica is not None:
        more: tuple[Command, ...] = (*commands, ("READONLY",)) if shard.slots else commands
        try:
            connection = await _connected(shard.replica, more, on_push, limits)
            address = shard.replica
        except EngineError:  # its address may be known inside of the server's network only: the primary is asked
            connection = None
    if connection is None:
        connection = await _connected(address, commands, on_push, limits)
    try:
        yield OperatorConnection(shard, address, connection, pace)
    finally:
        connection.abort("it has answered")


async def _connected(
    address: Address, commands: tuple[Command, ...], on_push: Callable[[list[Any]], None] | None, limits: Limits
) -> Connection:
    try:
        return await open_connection(address, _NAME, commands, on_push=on_push, latency=Histogram(), limits=limits)
    except (OSError, TimeoutError) as error:
        raise EngineUnavailable(f"{address} cannot be reached: {error or type(error).__name__}") from None


async def _of_cluster(address: Address) -> list[Shard]:
    failure: EngineError | None = None
    for host in address.hosts:
        try:
            async with looking(Shard(replace(address, hosts=(host,), cluster=False))) as look:
                replies = await look.replies(*QUESTION)
                for reply in replies:
                    if isinstance(reply, EngineError):
                        raise with_remedy(reply)
        except EngineError as error:
            failure = error
            continue
        topology = parse(replies, host, tls=address.tls is not None)
        found = []
        for primary in sorted(topology.primaries):
            ranges = tuple((first, last) for first, last, owner in topology.ranges if owner == primary)
            replicas = sorted(topology.replicas.get(primary, ()))
            follower = replace(address, hosts=(replicas[0],), cluster=False) if replicas else None
            # A primary without slots has no keys.
            if ranges:
                found.append(Shard(replace(address, hosts=(primary,), cluster=False), follower, ranges))
        return found
    raise failure or EngineUnavailable(f"{address} names no node")


async def _watched(address: Address) -> Address:
    """The primary that sentinels name."""
    from greenroom.engine.server.sentinels import SentinelWatch  # not with the module: few have sentinels

    watch = SentinelWatch(address, moved=nothing, clock=SYSTEM, counters=Counters(), limits=Limits())
    try:
        return await watch.primary()
    finally:
        await watch.close()


def _replica(address: Address, told: dict[str, str]) -> Address | None:
    """A replica that a primary says is online."""
    for number in range(_REPLICAS):
        one = dict(pair.partition("=")[::2] for pair in told.get(f"slave{number}", "").split(","))
        if one.get("state") == "online" and one.get("ip") and one.get("port", "").isdecimal():
            return replace(address, hosts=((one["ip"], int(one["port"])),), path=None)
    return None
