"""The handover of a cluster's node: what is redirected is sent where it belongs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from greenroom.engine.commands import Channel, Command
from greenroom.engine.listener import KeyFilter
from greenroom.engine.protocol.errors import Ask, Moved
from greenroom.engine.protocol.redirects import key_by_key, on_its_way
from greenroom.engine.scripts import Call
from greenroom.engine.server.handover import ServerHandover
from greenroom.engine.transport.connection import Connection
from greenroom.errors import EngineError, EngineUnavailable


class NodeHandover(ServerHandover):
    """A connection to a node of a cluster.

    Arguments:
        moved: told of a slot that has another owner.
        ask: sends a command to the node that has its key already, and returns the reply.
    """

    def __init__(
        self,
        connection: Connection,
        channel: Channel,
        server: str,
        owns: KeyFilter,
        *,
        moved: Callable[[Moved], None],
        ask: Callable[[Command, Ask], Awaitable[Any]],
    ) -> None:
        super().__init__(connection, channel, server, owns)
        self._moved = moved
        self._ask = ask

    async def _elsewhere(self, command: Command, error: EngineUnavailable) -> Any:
        if isinstance(error, Moved):
            self._moved(error)
            return error
        if isinstance(command, Call) or not on_its_way(error):
            return error
        reply: Any = error
        for one in key_by_key((command,)):
            (reply,) = await self._connection.issue((one,), urgent=True)
            if isinstance(reply, Ask):
                try:
                    reply = await self._ask(one, reply)
                except (OSError, TimeoutError, EngineError) as failure:
                    return EngineUnavailable(f"{error}: {failure or type(failure).__name__}")
            if isinstance(reply, Exception):
                return reply
        return reply
