"""A replica of a node, read from as long as it is known to have all that its primary had a moment ago.

A replica answers whether or not its link to its primary is alive, and what it says may be of any age. So four times a
second the primary is asked how far its replication has come, over the tracked connection that carries all that this
process writes of cached keys, and then the replica, over the connection that carries its answers and pushes. Once the
replica has come as far, in the same history, it has everything that the primary had when it was asked, and the pushes
for that have been read. It is trusted until `Limits.max_staleness` after that moment, and what is near of it no
longer either.

    the link to the primary is half-open · a DEL is carried out there · the replica serves the old value for minutes
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace
from math import inf
from time import monotonic
from typing import Any

from greenroom.callbacks import nothing_async
from greenroom.clock import Clock
from greenroom.counters import Counters
from greenroom.engine.address import Address
from greenroom.engine.commands import Channel, Command, Hook
from greenroom.engine.limits import Limits
from greenroom.engine.protocol.info import fields
from greenroom.engine.server.node import Node, invalidations
from greenroom.engine.transport.connection import Connection
from greenroom.engine.transport.supervisor import SupervisedConnection
from greenroom.errors import EngineError, EngineUnavailable

log = logging.getLogger("greenroom.engine")

_QUESTION: tuple[Command, ...] = (("INFO", "replication"),)
_PAUSE = 0.01
"""Seconds before a replica that is a little behind is asked again."""


# docs/decisions/0017-replicas-are-trusted-by-offset.md
class Replica:
    """A replica that is read from; the `Source` of the near entries that came from it.

    Arguments:
        primary: the node whose keys it has, and what it is compared with.
        on_invalidate: called in reply order with each invalidated key, or None for all of its keys.
        on_lost: called when the connection ends.
    """

    def __init__(
        self,
        address: Address,
        primary: Node,
        *,
        on_invalidate: Callable[[bytes | None], None],
        on_lost: Callable[[], None],
        clock: Clock,
        counters: Counters,
        limits: Limits,
    ) -> None:
        self.primary = primary
        self.owns = primary.owns
        """True for the keys that it has."""
        self.as_of = -inf
        """When its primary had no more than it has, in seconds of `time.monotonic`; minus infinity: not known."""
        self._doubted = -inf
        self._since = monotonic()  # when it was begun with, or last doubted for nothing of its own
        self._on_lost = on_lost
        self._limits = limits
        # Half the time of a call, so that the primary can be asked within the other half.
        hurried = replace(limits, command_deadline=limits.command_deadline / 2)
        self._link = SupervisedConnection(
            address,
            Channel.TRACKED,
            scripts=(),
            owns=primary.owns,
            on_push=invalidations(str(address), counters, on_invalidate),
            on_lost=self._lost,
            before_connect=nothing_async,
            before_serving=_checked,
            clock=clock,
            counters=counters,
            limits=hurried,
            first=(("READONLY",),),
        )
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to connect; returns at once."""
        self._link.start()
        self._task = asyncio.get_running_loop().create_task(self._keep_comparing(), name="greenroom-replica")

    async def close(self) -> None:
        """End the connection."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        await self._link.close()

    def distrust(self) -> None:
        """Do not read here before it has been compared anew, by a question that is asked from now on."""
        self._since = monotonic()
        self._forget()

    @property
    def trusted(self) -> bool:
        """Whether it may be read from."""
        return monotonic() - self.as_of < self._limits.max_staleness

    @property
    def promising(self) -> bool:
        """Whether it is trusted, or has not had the time to connect and be compared."""
        # Prevents: another is chosen · it cannot be trusted yet · what the old one's end has us ask comes first, and
        # the next is chosen, ten times a second and for ever.
        return self.trusted or monotonic() - self._since < self._limits.handshake_deadline + self._limits.max_staleness

    def send(self, commands: tuple[Command, ...], hook: Hook | None) -> asyncio.Future[list[Any]] | None:
        """As `Engine.send`; the hook is given this replica as the source."""
        connection = self._link.connection
        if connection is None:
            return None
        if hook is None:
            return connection.issue(commands)
        return connection.issue(commands, lambda replies, _: hook(replies, self))

    # ------------------------------------------------------------------------------------------------

    def _forget(self) -> None:
        self.as_of, self._doubted = -inf, monotonic()

    def _lost(self) -> None:
        self._forget()
        self._on_lost()

    async def _keep_comparing(self) -> None:
        while True:
            replica, primary = self._link.connection, self.primary.connection(Channel.TRACKED)
            if replica is not None and primary is not None:
                try:
                    await self._compare(replica, primary)
                except EngineUnavailable:
                    pass  # of a connection that has ended, or will at its deadline
                except EngineError as error:
                    replica.abort(f"it cannot be compared with its primary: {error}")
                except Exception as error:  # whatever it is, nobody else would compare them again
                    log.exception("%s: comparing it with its primary failed", self._link.address)
                    replica.abort(f"it cannot be compared with its primary: {error}")
            await asyncio.sleep(self._limits.ping_after)

    async def _compare(self, replica: Connection, primary: Connection) -> None:
        asked = monotonic()
        (reply,) = await primary.issue(_QUESTION, urgent=True)
        if fields(reply).get("role") == "slave":
            return  # its own successor's: how far that one has come is not known
        history, goal = _position(reply, "master_repl_offset")
        while monotonic() - asked < self._limits.max_staleness:
            (reply,) = await replica.issue(_QUESTION, urgent=True)
            _follows(reply)
            same, reached = _position(reply, "slave_repl_offset")
            if same != history:
                raise _Apart("another primary's history")
            if reached >= goal:
                # Prevents: the primary has answered · its connection is lost, and a DEL with it · the replica answers
                # and is trusted before the next connection has carried the DEL.
                if asked > self._doubted:
                    self.as_of = asked
                return
            await asyncio.sleep(_PAUSE)


class _Apart(EngineError):
    """What a replica has is not what its primary has."""


async def _checked(connection: Connection) -> None:
    (reply,) = await connection.issue(_QUESTION)
    if isinstance(reply, Exception):
        raise reply
    _follows(reply)


def _follows(reply: Any) -> None:
    info = fields(reply)
    if info.get("role") != "slave" or info.get("master_link_status") != "up":
        raise _Apart("it does not follow its primary")


def _position(reply: Any, offset: str) -> tuple[str, int]:
    if isinstance(reply, Exception):
        raise reply
    info = fields(reply)
    try:
        return info["master_replid"], int(info[offset])
    except (KeyError, ValueError):
        raise _Apart("it does not tell how far it has come") from None
