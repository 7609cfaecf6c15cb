"""One server, seen through its two connections."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from math import inf
from time import monotonic
from typing import Any

from greenroom.clock import Clock
from greenroom.counters import Counters
from greenroom.engine.address import Address
from greenroom.engine.commands import Channel, Command, Hook
from greenroom.engine.deadline import before
from greenroom.engine.deletions import Answered, Queued
from greenroom.engine.limits import Limits
from greenroom.engine.listener import Handover, KeyFilter, Listeners
from greenroom.engine.protocol.errors import ConnectionLost, NoReply
from greenroom.engine.server.refusals import Refusals
from greenroom.engine.transport.connection import Connection
from greenroom.engine.transport.handshake import with_remedy
from greenroom.engine.transport.supervisor import Locator, SupervisedConnection
from greenroom.errors import EngineError, EngineRefused, EngineUnavailable, OutcomeUnknown

log = logging.getLogger("greenroom.engine")


class Node:
    """Sends commands to one server.

    Arguments:
        owns: true for the keys that it has.
        on_invalidate: called in reply order with each invalidated key, or None for all of this node's keys.
        on_lost: called when the tracked connection ends.
        before_connect: see `SupervisedConnection`.
        listeners: told of each new connection before any caller gets it; their scripts are loaded on it.
        hand_over: makes what they are given of it.
        needs_primary: whether another server is looked for at the address when this one has become a replica.
        locator: see `SupervisedConnection`.
    """

    def __init__(
        self,
        address: Address,
        *,
        listeners: Listeners,
        hand_over: Callable[[Channel, Connection], Handover],
        owns: KeyFilter,
        on_invalidate: Callable[[bytes | None], None],
        on_lost: Callable[[], None],
        before_connect: Callable[[], Awaitable[None]],
        clock: Clock,
        counters: Counters,
        limits: Limits,
        needs_primary: bool = False,
        locator: Locator | None = None,
    ) -> None:
        self.address = address
        self.owns = owns
        """True for the keys that it has."""
        self.refuses_until = -inf
        """Until then, in seconds of `time.monotonic`, a refusal for the cluster's sake is not worth another try."""
        self._limits = limits
        self._name = str(address)
        self._refused: set[str] = set()
        self._refusals = Refusals(written=self._written, doubted=self.doubt)

        async def before_serving(channel: Channel, connection: Connection) -> None:
            await listeners.hand_over(hand_over(channel, connection))

        def link(
            channel: Channel, on_push: Callable[[list[Any]], None] | None, lost: Callable[[], None]
        ) -> SupervisedConnection:
            return SupervisedConnection(
                address,
                channel,
                scripts=listeners.scripts,
                owns=owns,
                on_push=on_push,
                on_lost=lost,
                before_connect=before_connect,
                before_serving=partial(before_serving, channel),
                clock=clock,
                counters=counters,
                limits=limits,
                watch=self._refusals,
                on_primary=self._refusals.new_primary if needs_primary else None,
                locator=locator,
            )

        self._links = {
            Channel.TRACKED: link(Channel.TRACKED, invalidations(self._name, counters, on_invalidate), on_lost),
            Channel.PLAIN: link(Channel.PLAIN, None, lambda: None),
        }

    def start(self) -> None:
        """Begin to connect; returns at once."""
        for link in self._links.values():
            link.start()

    async def settled(self) -> None:
        """Return when both connections have been tried once."""
        await asyncio.gather(*(link.settled() for link in self._links.values()))

    async def close(self) -> None:
        """End both connections."""
        await asyncio.gather(*(link.close() for link in self._links.values()))

    @property
    def unreachable(self) -> EngineError | None:
        """Why the server, which it names, cannot be asked at the moment; None while both connections are up."""
        for link in self._links.values():
            if link.connection is None:
                return self._named(link.unavailable or EngineUnavailable("still connecting"))
        return None

    @property
    def unavailable(self) -> EngineError | None:
        """Why the server is of no use at the moment: it cannot be asked, or refuses what it is asked for."""
        error = self._refusals.error
        if error is None and any(link.at_a_replica for link in self._links.values()):
            error = EngineUnavailable("it is a replica, which takes no writes")
        return self.unreachable or (error and self._named(error))

    def send(
        self, channel: Channel, commands: tuple[Command, ...], hook: Hook | None
    ) -> asyncio.Future[list[Any]] | None:
        """Queue commands on the connection, if there is one; see `Engine.send`."""
        connection = self._links[channel].connection
        return None if connection is None else connection.issue(commands, hook)

    def drop(self, keys: Sequence[str], commands: tuple[Command, ...], answered: Answered) -> Queued:
        """Queue the deletion of keys; see `Engine.drop`."""
        try:
            sent = self.send(Channel.TRACKED, commands, partial(answered, keys))
        except EngineError as error:
            return Queued(keys, error)
        return Queued(keys, EngineUnavailable(f"{self._name} is not connected") if sent is None else sent)

    def reset(self, channel: Channel, reason: str) -> None:
        """End the connection, if there is one; see `Engine.reset`."""
        connection = self._links[channel].connection
        if connection is not None:
            connection.abort(reason)

    def doubt(self) -> None:
        """Look soon whether the server is the primary."""
        for link in self._links.values():
            link.doubt()

    def connection(self, channel: Channel) -> Connection | None:
        """The connection, if there is one that serves."""
        return self._links[channel].connection

    @property
    def leads_to(self) -> Address:
        """The server of the tracked connection."""
        return self._links[Channel.TRACKED].leads_to

    async def once(
        self,
        channel: Channel,
        commands: tuple[Command, ...],
        *,
        hook: Hook | None,
        retry: bool,
        deadline: float | None,
        urgent: bool = False,
    ) -> list[Any]:
        """Send commands together on one connection, when it is up, and return their replies.

        Arguments: as `Engine.execute_all`.

        Raises:
            ConnectionLost, NotSent, NotNow, NotHere: they may be sent again, here or elsewhere.
            NoReply: the connection is busy with what others have asked for.
            EngineUnavailable: when there is no connection, or no reply in time.
            EngineError: as `Engine.execute_all`.
        """
        link = self._links[channel]
        try:
            if deadline is None and link.connection is not None:
                # Without a timer of its own: the connection's look at its oldest write keeps the deadline.
                return self._checked(await link.connection.issue(commands, hook, urgent=urgent))
            if deadline is None:
                deadline = monotonic() + self._limits.command_deadline
            connection = await link.ready(deadline)
            async with before(deadline):
                return self._checked(await connection.issue(commands, hook, urgent=urgent))
        except TimeoutError:
            if not retry:
                raise OutcomeUnknown(f"{self._name}: no reply within the call's deadline") from None
            raise EngineUnavailable(f"{self._name}: no reply within the call's deadline") from None
        except (ConnectionLost, NoReply) as error:
            # Written, no reply, and a second time could differ from the first: only the caller can find out.
            if not retry:
                raise OutcomeUnknown(f"{self._name}: {error}; it may have been carried out") from error
            raise

    async def retire(self) -> None:
        """Let what was sent be answered, then end both connections."""
        for link in self._links.values():
            if link.connection is not None:
                with suppress(EngineError, TimeoutError):
                    async with asyncio.timeout(self._limits.command_deadline):
                        await link.connection.issue((("PING",),), urgent=True)
        await self.close()

    # ------------------------------------------------------------------------------------------------

    def _named(self, error: EngineError) -> EngineError:
        kind = EngineRefused if isinstance(error, EngineRefused) else EngineUnavailable
        return kind(f"{self._name}: {error}")

    def _written(self) -> None:
        for link in self._links.values():
            link.writes()

    def _checked(self, replies: list[Any]) -> list[Any]:
        for reply in replies:
            if isinstance(reply, EngineRefused) and str(reply) not in self._refused:
                # Once: it is the same for every call, and callers go on without the server, or tell nobody why they
                # cannot.
                self._refused.add(str(reply))
                log.warning("%s: %s", self._name, with_remedy(reply))
            if isinstance(reply, Exception):
                raise reply
        return replies


def invalidations(
    name: str, counters: Counters, on_invalidate: Callable[[bytes | None], None]
) -> Callable[[list[Any]], None]:
    """What a tracked connection does with a push: count it under the server's name and tell each key; None is all."""
    counters.begin_server(name, ("flush", "push"))

    def push(push: list[Any]) -> None:
        if push[1] is None:
            counters.engine_events[name, "flush"] += 1
            on_invalidate(None)
            return
        counters.engine_events[name, "push"] += len(push[1])
        for key in push[1]:
            on_invalidate(key)

    return push
