"""The keys of one form on a server, or on every primary of a cluster: for operators, over connections of their own.

Programs never look for keys. This asks for a thousand places at a time, so that no server stands still.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from greenroom.callbacks import nothing
from greenroom.clock import SYSTEM
from greenroom.engine.address import Address
from greenroom.engine.commands import Command
from greenroom.engine.limits import Limits
from greenroom.engine.protocol.topology import QUESTION, parse
from greenroom.engine.transport.handshake import open_connection, with_remedy
from greenroom.errors import EngineError, EngineUnavailable
from greenroom.observe import Counters, Histogram

_COUNT = 1000
"""Places of a server's table that one command looks at."""


async def scan(address: Address, pattern: str) -> AsyncIterator[list[str]]:
    """Keys that match a pattern, some at a time; a key may come twice, and one that comes or goes meanwhile may not.

    Arguments:
        pattern: as the server matches it, with its wildcards.

    Raises:
        EngineError: when a server cannot be asked, or refuses.
    """
    for primary in await _primaries(address):
        async with _connected(primary) as ask:
            cursor: bytes | int = 0
            while True:
                ((cursor, keys),) = await ask((("SCAN", cursor, "MATCH", pattern, "COUNT", _COUNT),))
                yield [key.decode("utf-8", "replace") for key in keys]
                if cursor == b"0":
                    break


async def _primaries(address: Address) -> list[Address]:
    if address.sentinels is not None:
        return [await _watched(address)]
    if not address.cluster:
        return [address]
    failure: EngineError | None = None
    for host in address.hosts:
        try:
            async with _connected(replace(address, hosts=(host,), cluster=False)) as ask:
                replies = await ask(QUESTION)
        except EngineError as error:
            failure = error
        else:
            addresses = parse(replies, host, tls=address.tls is not None).primaries
            return [replace(address, hosts=(one,), cluster=False) for one in sorted(addresses)]
    raise failure or EngineUnavailable(f"{address} names no node")


async def _watched(address: Address) -> Address:
    """The primary that sentinels name."""
    from greenroom.engine.server.sentinels import SentinelWatch  # not with the module: few have sentinels

    watch = SentinelWatch(address, moved=nothing, clock=SYSTEM, counters=Counters(), limits=Limits())
    try:
        return await watch.primary()
    finally:
        await watch.close()


@asynccontextmanager
async def _connected(address: Address) -> AsyncIterator[Callable[[tuple[Command, ...]], Awaitable[list[Any]]]]:
    """Asks one server, over a connection of its own."""
    try:
        connection = await open_connection(address, "greenroom-scan", latency=Histogram(), limits=Limits())
    except (OSError, TimeoutError) as error:
        raise EngineUnavailable(f"{address} cannot be reached: {error or type(error).__name__}") from None

    async def ask(commands: tuple[Command, ...]) -> list[Any]:
        replies = await connection.issue(commands)
        for reply in replies:
            if isinstance(reply, EngineError):
                raise with_remedy(reply)
        return replies

    try:
        yield ask
    finally:
        connection.abort("it has answered")
