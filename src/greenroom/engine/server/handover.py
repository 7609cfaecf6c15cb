"""What listeners are given of a connection: the `Handover` of one server, and what a cluster's adds to it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from greenroom.engine.commands import Channel, Command
from greenroom.engine.listener import KeyFilter
from greenroom.engine.transport.connection import Connection
from greenroom.errors import EngineError, EngineUnavailable


class ServerHandover:
    """A connection to a server that has no others beside it.

    Arguments:
        server: its address, without a password.
        owns: true for the keys that are handed over.
    """

    def __init__(self, connection: Connection, channel: Channel, server: str, owns: KeyFilter) -> None:
        self._connection = connection
        self.channel = channel
        self.server = server
        self.owns = owns

    @property
    def ended(self) -> bool:
        return self._connection.lost.done()

    async def run(self, commands: Sequence[Command]) -> list[Any]:
        replies = await self._connection.issue(tuple(commands), urgent=True)
        for at, reply in enumerate(replies):
            if isinstance(reply, EngineUnavailable):
                replies[at] = await self._elsewhere(commands[at], reply)
        return replies

    def queue(self, commands: Sequence[Command], answered: Callable[[list[Any]], None]) -> None:
        if not commands:
            return
        try:
            queued = self._connection.issue(tuple(commands), lambda replies, _: answered(replies), urgent=True)
        except EngineError:
            return  # it has ended: the next one is handed over anew
        queued.add_done_callback(asyncio.Future.exception)  # so it is when the connection ends before the replies

    def abandon(self, reason: str) -> None:
        self._connection.abort(reason)

    async def _elsewhere(self, command: Command, error: EngineUnavailable) -> Any:
        """The reply to a command that this server has turned away."""
        return error
