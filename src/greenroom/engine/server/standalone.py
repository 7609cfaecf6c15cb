"""The engine of one server."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from time import monotonic
from typing import Any

from greenroom.clock import SYSTEM, Clock
from greenroom.engine.address import Address
from greenroom.engine.deletions import Answered, Names, Queued, together
from greenroom.engine.engine import RETRY_PAUSE, Engine
from greenroom.engine.limits import Limits
from greenroom.engine.listener import EVERYTHING, KeyFilter, all_keys
from greenroom.engine.protocol.wire import Command, Hook, NotNow
from greenroom.engine.scripts import Script
from greenroom.engine.server.node import Node
from greenroom.engine.transport.connection import Connection, ConnectionLost, NotSent
from greenroom.engine.transport.supervisor import Channel
from greenroom.errors import EngineError, EngineUnavailable, InvalidInput
from greenroom.observe import Counters


async def _nothing(*_: object) -> None:
    """What most servers need before a connection."""


class Standalone(Engine):
    """The engine of one server.

    Arguments:
        scripts: loaded at every handshake.
        on_invalidate: called in reply order with each key whose tracked value changed; None for all keys.
        on_lost: called when invalidations may have been missed, with the keys that this concerns: here all.
        before_connect: called before each attempt to connect.
        before_use: called with each new connection of either lane, before anything else is sent on it.
        before_serving: called after that with each tracked connection, before any caller gets it.

    Raises:
        InvalidInput: for the address of a cluster.
    """

    def __init__(
        self,
        address: Address,
        *,
        scripts: Sequence[Script] = (),
        on_invalidate: Callable[[bytes | None], None] = lambda _: None,
        on_lost: Callable[[KeyFilter], None] = lambda _: None,
        before_connect: Callable[[], Awaitable[None]] = _nothing,
        before_use: Callable[[Connection], Awaitable[None]] = _nothing,
        before_serving: Callable[[Connection], Awaitable[None]] = _nothing,
        clock: Clock = SYSTEM,
        counters: Counters | None = None,
        limits: Limits | None = None,
    ) -> None:
        if address.cluster:
            raise InvalidInput("address", f"{address} is a cluster", "name one server")
        self.address = address
        self._limits = limits or Limits()
        self._node = Node(
            address,
            scripts=scripts,
            share=EVERYTHING,
            on_invalidate=on_invalidate,
            on_lost=lambda: on_lost(all_keys),
            before_connect=before_connect,
            before_use=before_use,
            before_serving=before_serving,
            clock=clock,
            counters=counters if counters is not None else Counters(),
            limits=self._limits,
            needs_primary=True,
        )

    async def start(self) -> None:
        self._node.start()
        await self._node.settled()

    async def close(self) -> None:
        await self._node.close()

    @property
    def unavailable(self) -> EngineError | None:
        return self._node.unavailable

    async def broadcast(self, *command: str | bytes | int) -> list[Any]:
        try:
            return [await self.execute(Channel.PLAIN, "", *command)]
        except EngineError:
            return []

    def reset(self, channel: Channel, key: str, reason: str) -> None:
        self._node.reset(channel, reason)

    def send(
        self, channel: Channel, key: str, commands: tuple[Command, ...], hook: Hook | None = None
    ) -> asyncio.Future[list[Any]] | None:
        return self._node.send(channel, commands, hook)

    def drop(self, keys: Sequence[str], names: Names, answered: Answered) -> list[Queued]:
        return [self._node.drop(keys, together(keys, names), answered)]

    def read(
        self, key: str, commands: tuple[Command, ...], hook: Hook | None = None
    ) -> asyncio.Future[list[Any]] | None:
        return self._node.send(Channel.TRACKED, commands, hook)

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
        end = deadline if deadline is not None else monotonic() + self._limits.command_deadline
        said: NotNow | None = None
        while True:
            try:
                return await self._node.once(
                    channel, commands, hook=hook, retry=retry, deadline=deadline, urgent=urgent
                )
            except NotNow as error:
                said = error
                if monotonic() + RETRY_PAUSE >= end:
                    raise
                await asyncio.sleep(RETRY_PAUSE)
            except EngineUnavailable as error:
                if not isinstance(error, ConnectionLost | NotSent) or monotonic() + RETRY_PAUSE >= end:
                    raise said or error from None  # the server's own words tell more than that time has run out
            deadline = end
