"""The engine of one server."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from time import monotonic
from typing import Any

from greenroom.callbacks import nothing_async
from greenroom.clock import SYSTEM, Clock
from greenroom.counters import Counters
from greenroom.engine.address import Address
from greenroom.engine.commands import Channel, Command, Hook, ReadTogether
from greenroom.engine.deletions import Answered, Names, Queued, together
from greenroom.engine.engine import RETRY_PAUSE, Engine
from greenroom.engine.limits import Limits
from greenroom.engine.listener import Listener, Listeners, all_keys
from greenroom.engine.protocol.errors import ConnectionLost, NotNow, NotSent
from greenroom.engine.scripts import Script
from greenroom.engine.server.direct import DirectQuestions
from greenroom.engine.server.handover import ServerHandover
from greenroom.engine.server.node import Node
from greenroom.engine.transport.supervisor import Locator
from greenroom.errors import EngineError, EngineUnavailable, InvalidInput

_TOGETHER = 32
"""Commands of a batch that have one future: the others of a batch that is cut in the middle have had their replies."""


class Standalone(Engine):
    """The engine of one server.

    Arguments:
        before_connect: called before each attempt to connect.
        locator: says where the server is, where that can change; see `SupervisedConnection`.

    Raises:
        InvalidInput: for the address of a cluster.
    """

    def __init__(
        self,
        address: Address,
        *,
        before_connect: Callable[[], Awaitable[None]] = nothing_async,
        locator: Locator | None = None,
        clock: Clock = SYSTEM,
        counters: Counters | None = None,
        limits: Limits | None = None,
    ) -> None:
        if address.cluster:
            raise InvalidInput("address", f"{address} is a cluster", "name one server")
        self.address = address
        self.limits = limits or Limits()
        counters = counters if counters is not None else Counters()
        self._listeners = listeners = Listeners()
        self._node = Node(
            address,
            listeners=listeners,
            hand_over=lambda channel, connection: ServerHandover(connection, channel, str(address), all_keys),
            owns=all_keys,
            on_invalidate=listeners.keys_invalidated,
            on_lost=lambda: listeners.keys_lost(all_keys),
            before_connect=before_connect,
            clock=clock,
            counters=counters,
            limits=self.limits,
            needs_primary=True,
            locator=locator,
        )
        # Python's TLS cannot wait in the kernel.
        self._direct = DirectQuestions(self._node, counters, self.limits) if address.tls is None else None

    def add_listener(self, listener: Listener, scripts: Sequence[Script] = ()) -> None:
        self._listeners.add(listener, scripts)

    @property
    def direct(self) -> DirectQuestions | None:
        return self._direct

    async def start(self) -> None:
        self._listeners.closed = True
        self._node.start()
        await self._node.settled()

    async def close(self) -> None:
        if self._direct is not None:
            await self._direct.close()
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

    def read_together(self, keys: Sequence[str], commands: Sequence[Command]) -> list[ReadTogether]:
        sent: list[ReadTogether] = []
        try:
            for start in range(0, len(keys), _TOGETHER):
                part = tuple(commands[start : start + _TOGETHER])
                replies = self._node.send(Channel.TRACKED, part, None)
                sent.append(ReadTogether(range(start, start + len(part)), replies))
        except BaseException:
            for one in sent:
                one.abandon()
            raise
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
        end = deadline if deadline is not None else monotonic() + self.limits.command_deadline
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
