"""The contract between an engine and what stands on it: what a listener is told, and what it may send first.

A listener is added before the engine starts. It never has a raw connection: a `Handover` stands for one that does not
serve yet, or whose server has taken keys over, and sends what must go before all that callers send.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from greenroom.engine.commands import Channel, Command
from greenroom.engine.scripts import Script

KeyFilter = Callable[[str], bool]
"""True for the keys that an event concerns."""


def all_keys(key: str) -> bool:
    """All keys are meant."""
    return True


class Handover(Protocol):
    """A connection on which a listener may send something before callers do."""

    @property
    def channel(self) -> Channel:
        """Which of its server's connections it is."""

    @property
    def server(self) -> str:
        """The address of its server, without a password."""

    @property
    def owns(self) -> KeyFilter:
        """True for the keys that are handed over: those that the server has now, or those that it has taken over."""

    @property
    def ended(self) -> bool:
        """Whether the connection has ended: the next one is handed over anew."""

    async def run(self, commands: Sequence[Command]) -> list[Any]:
        """Send commands together and return their replies; an error among them is an item.

        A slot that is on its way to another server must not keep its old one from serving all others. So a command
        that is redirected is sent where it belongs, a DEL of several keys one by one. A script is not: its keys may be
        on both servers, and neither carries it out until its slot has arrived.

        Raises:
            EngineError: when the connection has ended.
        """

    def queue(self, commands: Sequence[Command], answered: Callable[[list[Any]], None]) -> None:
        """Queue commands and return at once; on a connection that has ended nothing is done.

        Arguments:
            answered: called in the socket's reader with the replies; an error among them is an item.
        """

    def abandon(self, reason: str) -> None:
        """End the connection: the next one carries first what is kept for it."""


class Listener:
    """What an engine tells of keys and connections. A subclass overrides what concerns it."""

    def keys_invalidated(self, name: bytes | None) -> None:
        """A key that was read on a tracked connection has changed; None: any may have.

        In the socket's reader and in the order of the wire.
        """

    def keys_lost(self, owns: KeyFilter) -> None:
        """A tracked connection ended, or the keys have another server: they may have changed unseen."""

    def keys_gained(self, handover: Handover) -> None:
        """A connection serves these keys from now on: its server has taken them over, or it is new itself.

        What is queued now goes before all that callers send. Of a new connection of either channel it is called last,
        after every listener's `before_use` and `before_serving` and with the same handover; nothing is awaited between
        it and the first caller.
        """

    async def before_use(self, handover: Handover) -> None:
        """A new connection of either channel: nothing else was sent on it.

        Raises:
            EngineError: when what must go first could not be sent; the connection is then not used.
        """

    async def before_serving(self, handover: Handover) -> None:
        """A new tracked connection after `before_use`, with the same handover; no caller has it yet.

        Raises: as `before_use`.
        """


class Listeners(Listener):
    """All listeners of one engine, told in the order in which they were added."""

    def __init__(self) -> None:
        self._all: list[Listener] = []
        self.scripts: list[Script] = []
        """Those that they run, loaded at every handshake."""
        self.closed = False
        """Whether the engine has started: who came now would have missed something."""

    def add(self, listener: Listener, scripts: Sequence[Script]) -> None:
        """See `Engine.add_listener`."""
        if self.closed:
            raise RuntimeError("add listeners before the engine is started")
        self._all.append(listener)
        self.scripts += [script for script in scripts if script not in self.scripts]

    def keys_invalidated(self, name: bytes | None) -> None:
        for one in self._all:
            one.keys_invalidated(name)

    def keys_lost(self, owns: KeyFilter) -> None:
        for one in self._all:
            one.keys_lost(owns)

    def keys_gained(self, handover: Handover) -> None:
        for one in self._all:
            one.keys_gained(handover)

    async def before_use(self, handover: Handover) -> None:
        for one in self._all:
            await one.before_use(handover)

    async def before_serving(self, handover: Handover) -> None:
        for one in self._all:
            await one.before_serving(handover)

    async def hand_over(self, handover: Handover) -> None:
        """Let each listener send what must go first on a new connection.

        Prevents: a listener has sent what it kept · another one sends · a drop finds no connection, fails, and is kept
        · the connection serves without it, and the dropped value is read. So all of them look once more at the end,
        when no other waits.
        """
        await self.before_use(handover)
        if handover.channel is Channel.TRACKED:
            await self.before_serving(handover)
        self.keys_gained(handover)
