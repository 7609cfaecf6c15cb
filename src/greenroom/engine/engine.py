"""What the rooms above see of the key-value servers: commands go to the server that owns a key, wherever that is."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

from greenroom.clock import SYSTEM, Clock
from greenroom.engine.address import Address
from greenroom.engine.connection import Connection
from greenroom.engine.limits import Limits
from greenroom.engine.link import Lane
from greenroom.engine.node import Node
from greenroom.engine.scripts import Script
from greenroom.engine.wire import Command, Hook
from greenroom.errors import EngineError, InvalidInput
from greenroom.observe import Counters


class Engine(Protocol):
    """One server or many; callers cannot tell.

    Every call names the key that decides which server it goes to. `until` is when the caller's own budget ends, in
    seconds of `time.monotonic`; without it each call has the command deadline. Raised by every call:

        EngineUnavailable: the server is not reachable or did not answer in time.
        OutcomeUnknown: the connection was lost after a command with `retry=False` was written.
        EngineRefused: the server refuses us for good.
        Overloaded: too many commands are outstanding.
        CommandFailed: the server answered with an error.
    """

    async def execute(
        self,
        lane: Lane,
        key: str,
        *command: str | bytes | int,
        retry: bool = True,
        until: float | None = None,
    ) -> Any:
        """Send one command and return its reply. `retry` says that doing it twice is as good as once."""

    async def execute_all(
        self,
        lane: Lane,
        key: str,
        commands: tuple[Command, ...],
        *,
        hook: Hook | None = None,
        retry: bool = True,
        until: float | None = None,
        urgent: bool = False,
    ) -> list[Any]:
        """Send commands that follow one another on one connection and return their replies.

        `hook` is called with the replies in the socket's reader, before anything later on the wire is looked at.
        What is `urgent` is never refused as overloaded.
        """

    async def run(
        self,
        lane: Lane,
        script: Script,
        keys: Sequence[str],
        args: Sequence[str | bytes | int],
        *,
        hook: Hook | None = None,
        retry: bool = True,
        until: float | None = None,
        urgent: bool = False,
    ) -> Any:
        """Run a script on the server of `keys`, which all hash to one slot."""

    def send(
        self, lane: Lane, key: str, commands: tuple[Command, ...], hook: Hook | None = None
    ) -> asyncio.Future[list[Any]] | None:
        """The quick way of what is read most: queue commands and return the future of their replies.

        None where there is no connection at the moment. Nothing is repeated and error replies are items of the list:
        whoever gets an `EngineUnavailable` from the future goes on with `execute_all`.

        Raises:
            Overloaded: when too many commands are outstanding.
        """

    def renew(self, lane: Lane, key: str, reason: str) -> None:
        """End the connection, if there is one, to the server of `key`: the next one carries first what it owes."""

    @property
    def trouble(self) -> EngineError | None:
        """Why calls would fail at the moment; None while all is well."""

    async def start(self) -> None:
        """Begin to connect; return when the first attempt has succeeded or failed."""

    async def close(self) -> None:
        """End every connection."""


async def _nothing(*_: object) -> None:
    """What most servers need before a connection."""


class Standalone:
    """The engine of one server.

    Arguments:
        scripts: loaded at every handshake.
        on_invalidate: called in reply order with each key whose tracked value changed; None for all keys.
        on_lost: called when invalidations may have been missed.
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
        on_lost: Callable[[], None] = lambda: None,
        before_connect: Callable[[], Awaitable[None]] = _nothing,
        before_use: Callable[[Connection], Awaitable[None]] = _nothing,
        before_serving: Callable[[Connection], Awaitable[None]] = _nothing,
        clock: Clock = SYSTEM,
        counters: Counters | None = None,
        limits: Limits | None = None,
    ) -> None:
        if address.cluster:
            raise InvalidInput("address", f"{address} is a cluster", "name one server; clusters come later")
        self.address = address
        self._node = Node(
            address,
            scripts=scripts,
            on_invalidate=on_invalidate,
            on_lost=on_lost,
            before_connect=before_connect,
            before_use=before_use,
            before_serving=before_serving,
            clock=clock,
            counters=counters if counters is not None else Counters(),
            limits=limits or Limits(),
        )

    async def start(self) -> None:
        self._node.start()
        await self._node.settled()

    async def close(self) -> None:
        await self._node.close()

    @property
    def trouble(self) -> EngineError | None:
        return self._node.trouble

    def renew(self, lane: Lane, key: str, reason: str) -> None:
        self._node.renew(lane, reason)

    def send(
        self, lane: Lane, key: str, commands: tuple[Command, ...], hook: Hook | None = None
    ) -> asyncio.Future[list[Any]] | None:
        return self._node.send(lane, commands, hook)

    async def execute(
        self,
        lane: Lane,
        key: str,
        *command: str | bytes | int,
        retry: bool = True,
        until: float | None = None,
    ) -> Any:
        return (await self._node.execute_all(lane, (command,), hook=None, retry=retry, until=until))[0]

    async def execute_all(
        self,
        lane: Lane,
        key: str,
        commands: tuple[Command, ...],
        *,
        hook: Hook | None = None,
        retry: bool = True,
        until: float | None = None,
        urgent: bool = False,
    ) -> list[Any]:
        return await self._node.execute_all(lane, commands, hook=hook, retry=retry, until=until, urgent=urgent)

    async def run(
        self,
        lane: Lane,
        script: Script,
        keys: Sequence[str],
        args: Sequence[str | bytes | int],
        *,
        hook: Hook | None = None,
        retry: bool = True,
        until: float | None = None,
        urgent: bool = False,
    ) -> Any:
        return await self._node.run(lane, script, keys, args, hook=hook, retry=retry, until=until, urgent=urgent)


async def settle(engine: Engine, seconds: float) -> None:
    """Start an engine and wait a bounded time for its first attempt; it goes on connecting either way."""
    try:
        async with asyncio.timeout(seconds):
            await engine.start()
    except TimeoutError:
        pass
