"""A connection that is kept up: reconnect with backoff, handshake, breaker.

States: down (callers wait for the reconnect within their own deadline), up, and broken: after several failures in a
row callers fail at once, and the reconnect itself is the probe. Nobody above sees a socket.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from time import monotonic
from typing import Any, Protocol

from greenroom.clock import Clock
from greenroom.counters import Counters
from greenroom.engine.address import Address
from greenroom.engine.commands import Channel, Command
from greenroom.engine.deadline import before
from greenroom.engine.limits import Limits
from greenroom.engine.listener import KeyFilter
from greenroom.engine.protocol.wire import ReplyWatch
from greenroom.engine.scripts import Script
from greenroom.engine.transport.connection import Connection
from greenroom.engine.transport.handshake import is_replica, open_connection
from greenroom.errors import EngineError, EngineRefused, EngineUnavailable, GreenroomError
from greenroom.observe import Event, ServerConnected, ServerLost

log = logging.getLogger("greenroom.engine")

_MIN_UPTIME = 1.0
"""Seconds that a connection must have lasted to end a row of failures. A handshake alone proves little: who welcomes us
fifty times a second only to hang up would cost every call its deadline."""


_USES = {Channel.TRACKED: "cached values", Channel.PLAIN: "everything else"}
"""Each channel in an operator's words."""


class Locator(Protocol):
    """Says where a server is, for an address that leads now here and now there."""

    current: Address | None
    """Where it is by the newest answer; None before the first."""

    async def primary(self) -> Address:
        """Where it is now.

        Raises:
            EngineError: when that cannot be told.
        """


class SupervisedConnection:
    """One supervised connection to one server.

    Arguments:
        address: the server.
        channel: TRACKED switches invalidation pushes on.
        scripts: loaded in each handshake, as they are then.
        owns: true for the keys that the server has.
        on_push: called with each push, in order with the replies; see `Wire`.
        on_lost: called when an established connection ends: pushes may have been missed from here on.
        before_connect: called before each attempt; raises to refuse it. The embedded server is started here.
        before_serving: called with each new connection before any caller gets it; what was kept is sent here.
        first: commands of the handshake besides.
        watch: told of what the server refuses and carries out, on each connection from its handshake on.
        on_primary: called with each connection whose server is no replica. Without it the server may be one; with it,
            another is looked for at the address. The nodes of a cluster are told by the cluster.
        locator: says where the server is, where its address does not: asked before each connection.
    """

    def __init__(
        self,
        address: Address,
        channel: Channel,
        *,
        scripts: Sequence[Script],
        owns: KeyFilter,
        on_push: Callable[[list[Any]], None] | None,
        on_lost: Callable[[], None],
        before_connect: Callable[[], Awaitable[None]],
        before_serving: Callable[[Connection], Awaitable[None]],
        clock: Clock,
        counters: Counters,
        limits: Limits,
        first: tuple[Command, ...] = (),
        watch: ReplyWatch | None = None,
        on_primary: Callable[[], None] | None = None,
        locator: Locator | None = None,
    ) -> None:
        self.address = address
        self._locator = locator
        self.leads_to = address
        """The server to which the newest attempt to connect went."""
        self.channel = channel
        self._first = first
        self._watch = watch
        self._on_primary = on_primary
        self._doubted = asyncio.Event()  # the role of the connection's server
        self._scripts = scripts
        self._owns = owns
        self._on_push = on_push
        self._on_lost = on_lost
        self._before_connect = before_connect
        self._before_serving = before_serving
        self._clock = clock
        self._counters = counters
        self._limits = limits
        counters.begin_server(str(address), (f"{channel.value}_connected", f"{channel.value}_lost"))
        self._failures = 0
        self._task: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()  # set, and replaced, at every change of state
        self.connection: Connection | None = None
        """The connection while the link is up."""
        self.unavailable: EngineError | None = None
        """Why the link is not up, once an attempt has failed."""

    @property
    def circuit_open(self) -> bool:
        """Whether calls fail at once."""
        return self.connection is None and self._failures >= self._limits.breaker_failures

    @property
    def at_a_replica(self) -> bool:
        """Whether the link leads to a replica, and should not."""
        return self._on_primary is not None and self.connection is not None and self.connection.is_replica

    def writes(self) -> None:
        """The server takes writes, whatever it has said of itself before; it is asked again anyway."""
        if self.connection is not None:
            self.connection.is_replica = False

    def doubt(self) -> None:
        """The server says that it is a replica: look soon."""
        self._doubted.set()

    def start(self) -> None:
        """Begin to connect; returns at once."""
        self._task = asyncio.get_running_loop().create_task(self._supervise(), name=f"greenroom-{self.channel.value}")

    async def close(self) -> None:
        """End the connection; every caller gets an error."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def settled(self) -> None:
        """Return when the first attempt has succeeded or failed."""
        while self.connection is None and self.unavailable is None:
            await self._changed.wait()

    async def ready(self, deadline: float) -> Connection:
        """The connection, waited for until `deadline`, in seconds of `time.monotonic`.

        Raises:
            EngineUnavailable: at once while the link is broken, else when it is not up in time.
            EngineRefused: when the server refuses the log-in.
        """
        try:
            async with before(deadline):
                while self.connection is None:
                    if self.circuit_open:
                        raise self._down()
                    await self._changed.wait()
                return self.connection
        except TimeoutError:
            raise self._down() from None

    def _down(self) -> EngineError:
        kind = EngineRefused if isinstance(self.unavailable, EngineRefused) else EngineUnavailable
        return kind(f"{self.address} is not reachable: {self.unavailable or 'still connecting'}")

    # ------------------------------------------------------------------------------------------------

    async def _supervise(self) -> None:
        try:
            while True:
                try:
                    await self._attempt()
                except Exception as error:  # whatever it is, nobody else would connect again
                    log.exception("%s (%s): connecting failed", self.address, self.channel.value)
                    if self.connection is not None:
                        self.connection.abort("keeping it failed")
                    self._failed(EngineUnavailable(_text(error)))
                await asyncio.sleep(self._limits.pause(self._failures, self._clock.random()))
        finally:
            if self.connection is not None:
                self.connection.abort("it was closed")
                self.connection = None
            self._failures = self._limits.breaker_failures
            self.unavailable = EngineUnavailable("it was closed")
            self._announce()

    async def _attempt(self) -> None:
        try:
            connection = await self._connect()
        except (OSError, TimeoutError, GreenroomError) as error:
            self._failed(error if isinstance(error, EngineError) else EngineUnavailable(_text(error)))
            return
        if self.unavailable:
            log.info("can use the server at %s for %s again", self.address, _USES[self.channel])
        self.unavailable = None
        if connection.lost.done():
            self._failed(EngineUnavailable(connection.reason))
            return
        self._count("connected")
        self.connection, connection.on_end = connection, self._ended
        began = monotonic()
        self._announce()
        self._tell(ServerConnected(str(self.address), self.channel.value))
        if self._on_primary is not None:
            if not connection.is_replica:
                self._on_primary()
            await self._follow_role(connection)
        await connection.lost
        if monotonic() - began >= _MIN_UPTIME:
            self._failures = 0
        self._failed(EngineUnavailable(connection.reason))

    async def _follow_role(self, connection: Connection) -> None:
        """Notice that the server has become a replica, and then that its address leads to a primary: go there.

        Prevents: a planned failover · the address leads to the new primary, open connections stay at the old · that
        one answers every write with READONLY, for as long as it lives. Or, where it was cut off from all but us, and
        does not know of the failover, it takes writes that are lost when it does.
        """
        while not connection.lost.done():
            if (connection.is_replica or self._is_elsewhere) and await self._leads_to_a_primary():
                connection.abort("its server is the primary no longer, and the address leads to one")
                return
            interval = self._limits.role_interval * (0.5 + self._clock.random() / 2)
            if connection.is_replica:
                await asyncio.wait([connection.lost], timeout=interval / 2)
            else:
                self._doubted.clear()
                with suppress(TimeoutError):
                    async with asyncio.timeout(interval):
                        await self._doubted.wait()
            try:
                # docs/decisions/0012-primaries-are-asked-each-second.md
                (hello,) = await connection.issue((("HELLO",),), urgent=True)
            except EngineError:
                continue  # of a connection that has ended
            if not isinstance(hello, EngineError):
                connection.is_replica = is_replica(hello)

    @property
    def _is_elsewhere(self) -> bool:
        """Whether the server is said to be at another place than the connection leads to."""
        current = None if self._locator is None else self._locator.current
        return current is not None and current.hosts != self.leads_to.hosts

    async def _located(self) -> Address:
        return self.address if self._locator is None else await self._locator.primary()

    async def _leads_to_a_primary(self) -> bool:
        latency = self._counters.commands[str(self.address)]
        try:
            there = await self._located()
            other = await open_connection(there, "greenroom-role", latency=latency, limits=self._limits)
        except (OSError, TimeoutError, GreenroomError):
            return False
        other.abort("it has said what it is")
        return not other.is_replica

    def _ended(self) -> None:
        reason = "" if self.connection is None else self.connection.reason
        # At once and not when the task wakes: a caller that repeats must not find the dead connection again.
        self.connection = None
        self._doubted.set()
        self._count("lost")
        try:
            self._on_lost()
        except Exception:  # those who wait for replies must be told all the same
            log.exception("%s (%s): what follows a lost connection failed", self.address, self.channel.value)
        self._tell(ServerLost(str(self.address), self.channel.value, reason))

    def _failed(self, error: EngineError) -> None:
        self._failures += 1
        # One line when trouble begins or changes, not one per attempt.
        if self.unavailable is None or str(self.unavailable) != str(error):
            log.warning("cannot use the server at %s for %s: %s", self.address, _USES[self.channel], error)
        self.unavailable = error
        self._announce()

    def _announce(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    def _tell(self, event: Event) -> None:
        if self._counters.events.any:
            self._counters.events.tell(event)

    def _count(self, event: str) -> None:
        self._counters.engine_events[str(self.address), f"{self.channel.value}_{event}"] += 1

    async def _connect(self) -> Connection:
        """Open, switch tracking on, load the scripts, and let what comes before all callers be done."""
        await self._before_connect()
        self.leads_to = there = await self._located()
        connection = await open_connection(
            there,
            f"greenroom-{self.channel.value}",
            self._first_commands(),
            on_push=self._on_push,
            heartbeat=True,
            latency=self._counters.commands[str(self.address)],
            limits=self._limits,
        )
        if self._locator is not None and connection.is_replica:
            # Nothing must be read there: sentinels name a server for a moment that is no primary yet, or no longer.
            connection.abort("it is a replica")
            raise EngineUnavailable(f"{there} is said to be the primary, and is a replica")
        connection.owns = self._owns
        connection.be_traced(self._counters.events, str(self.address), there)
        if self._watch is not None:
            self._watch.connected()
            connection.be_watched(self._watch)
        try:
            await self._before_serving(connection)
        except BaseException:
            connection.abort("what had to be sent first could not be sent")
            raise
        return connection

    def _first_commands(self) -> tuple[Command, ...]:
        commands: list[Command] = list(self._first)
        if self.channel is Channel.TRACKED:
            # Never NOLOOP: it saves our own pushes but silently ends the tracking of a key that we write.
            # docs/decisions/0001-no-noloop.md
            commands.append(("CLIENT", "TRACKING", "ON"))
        commands.extend(("SCRIPT", "LOAD", script.source) for script in self._scripts)
        return tuple(commands)


def _text(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "no answer to the handshake in time"
    return str(error) or type(error).__name__
