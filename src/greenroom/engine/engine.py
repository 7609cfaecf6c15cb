"""What the rooms above see of the key-value servers: commands go to the server that owns a key, wherever that is."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Protocol

from greenroom.engine.address import Address
from greenroom.engine.commands import Channel, Command, Hook, ReadTogether
from greenroom.engine.deletions import Answered, Names, Queued
from greenroom.engine.limits import Limits
from greenroom.engine.listener import Listener
from greenroom.engine.scripts import Script
from greenroom.errors import CommandFailed, EngineError

RETRY_PAUSE = 0.02
"""Seconds before a command is repeated that a server could not carry out at that moment."""


class Direct(Protocol):
    """Questions that a thread asks by itself."""

    def ask(self, commands: tuple[Command, ...]) -> list[Any] | None:
        """The replies, as `Engine.send` gives them; None where nothing can be asked so at the moment.

        Raises:
            EngineUnavailable: when it was asked, and has not answered within the time of a command.
        """

    @property
    def due(self) -> bool:
        """Whether `open` would connect."""
        return False

    def open(self) -> None:
        """Begin to connect, where that is due; in the event loop."""

    def count(self) -> None:
        """Add what was asked since to the counters of commands; in the event loop."""


class Engine(Protocol):
    """One server or many; callers cannot tell.

    Every call names the key that decides which server it goes to. `deadline` is when the caller's own budget ends, in
    seconds of `time.monotonic`; without it each call has the command deadline. Raised by every call:

        EngineUnavailable: the server is not reachable or did not answer in time.
        OutcomeUnknown: the connection was lost after a command with `retry=False` was written.
        EngineRefused: the server refuses us for good.
        Overloaded: too many commands are outstanding.
        CommandFailed: the server answered with an error.
    """

    limits: Limits

    @property
    def call_budget(self) -> float:
        """Seconds that all engine calls of one library call may take together."""
        return self.limits.command_deadline

    address: Address
    """Of the server, or of some nodes of the cluster."""

    @property
    def tags(self) -> tuple[str, ...]:
        """Texts whose slots lie on all nodes: of keys with one of them each in braces, every node has some.

        None where there is one server. A node with less than a thirtieth of all slots may have none.
        """
        return ()

    def add_listener(self, listener: Listener, scripts: Sequence[Script] = ()) -> None:
        """Have a listener told of keys and connections; before the engine is started only.

        Arguments:
            scripts: those that it runs, loaded at every handshake.
        """

    async def execute(
        self,
        channel: Channel,
        key: str,
        *command: str | bytes | int,
        retry: bool = True,
        deadline: float | None = None,
    ) -> Any:
        """Send one command and return its reply. `retry` says that doing it twice is as good as once."""
        return (await self.execute_all(channel, key, (command,), retry=retry, deadline=deadline))[0]

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
        """Send commands that follow one another on one connection and return their replies.

        `hook` is called with the replies in the socket's reader, before anything later on the wire is looked at.
        What is `urgent` is never refused as overloaded. A DEL of several keys may be carried out key by key, in their
        order, while they are on their way to another server.
        """
        raise NotImplementedError

    async def broadcast(self, *command: str | bytes | int) -> list[Any]:
        """Send a command that concerns no key to every server; returns the replies of those that can be asked."""
        raise NotImplementedError

    async def run(
        self,
        channel: Channel,
        script: Script,
        keys: Sequence[str],
        args: Sequence[str | bytes | int],
        *,
        hook: Hook | None = None,
        retry: bool = True,
        deadline: float | None = None,
        urgent: bool = False,
    ) -> Any:
        """Run a script on the server of `keys`, which all hash to one slot, loading it where it is not known."""
        call = script.call(keys, args)
        key = keys[0]
        try:
            return (
                await self.execute_all(channel, key, (call,), hook=hook, retry=retry, deadline=deadline, urgent=urgent)
            )[0]
        except CommandFailed as error:
            if error.code != "NOSCRIPT":
                raise
        both: tuple[Command, ...] = (("SCRIPT", "LOAD", script.source), call)
        return (await self.execute_all(channel, key, both, hook=hook, retry=retry, deadline=deadline, urgent=urgent))[
            -1
        ]

    def send(
        self, channel: Channel, key: str, commands: tuple[Command, ...], hook: Hook | None = None
    ) -> asyncio.Future[list[Any]] | None:
        """The quick way of what is read most: queue commands and return the future of their replies.

        None where there is no connection at the moment. Nothing is repeated and error replies are items of the list:
        a caller that finds an `EngineUnavailable` or `EngineRefused` goes on with `execute_all`: a refusal is
        told there.

        Raises:
            Overloaded: when too many commands are outstanding.
        """

    def drop(self, keys: Sequence[str], names: Names, answered: Answered) -> list[Queued]:
        """Queue the deletion of many keys on their servers' tracked connections; see `Queued`.

        Nothing is repeated, as with `send`. What is queued together has one future; it is too much where more commands
        are outstanding than may be.
        """
        raise NotImplementedError

    def read(
        self, key: str, commands: tuple[Command, ...], hook: Hook | None = None
    ) -> asyncio.Future[list[Any]] | None:
        """As `send` on the tracked channel, for reads of cached values: a replica may answer, where that is wanted.

        It may know nothing of a key that its primary has. The hook is given what the value is as new as.
        """
        raise NotImplementedError

    def read_together(self, keys: Sequence[str], commands: Sequence[Command]) -> list[ReadTogether]:
        """As `read` of many keys, of one command each and without a hook; at one server some of them have one future.

        Raises:
            Overloaded: when too many commands are outstanding.
        """
        sent: list[ReadTogether] = []
        try:
            for number, (key, command) in enumerate(zip(keys, commands, strict=True)):
                sent.append(ReadTogether((number,), self.read(key, (command,))))
        except BaseException:
            for one in sent:
                one.abandon()
            raise
        return sent

    @property
    def direct(self) -> Direct | None:
        """How a thread asks by itself, without the event loop; None where no thread can."""
        return None

    def reset(self, channel: Channel, key: str, reason: str) -> None:
        """End the connection, if there is one, to the server of `key`: the next one carries first what is kept."""

    @property
    def unavailable(self) -> EngineError | None:
        """Why calls would fail at the moment, with the address of the server; None while all is well."""

    async def start(self) -> None:
        """Begin to connect; return when the first attempt has succeeded or failed."""

    async def close(self) -> None:
        """End every connection."""


async def start_within(engine: Engine, seconds: float) -> None:
    """Start an engine and wait a bounded time for its first attempt; it goes on connecting either way."""
    try:
        async with asyncio.timeout(seconds):
            await engine.start()
    except TimeoutError:
        pass
