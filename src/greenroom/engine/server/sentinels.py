"""Where the primary is, as its sentinels say it: asked before each connection, and once a second while one is open.

A sentinel is believed by its configuration epoch, the number that a failover counts up and that sentinels agree by.
Prevents: a failover has given the primary's place to another server · one sentinel was cut off meanwhile · it answers
first, and names the old one · that still answers too, as the primary that it was.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any, NamedTuple

from greenroom.clock import Clock
from greenroom.counters import Counters
from greenroom.engine.address import Address
from greenroom.engine.limits import Limits
from greenroom.engine.transport.connection import Connection
from greenroom.engine.transport.handshake import open_connection
from greenroom.errors import CommandFailed, EngineError, EngineRefused, EngineUnavailable

log = logging.getLogger("greenroom.engine")


class _View(NamedTuple):
    """What one sentinel says; of two views that with the greater epoch is the newer."""

    epoch: int
    host: str
    port: int


class _Sentinel:
    """One sentinel, over a connection that is made when it is asked.

    Arguments:
        address: the sentinel's own.
    """

    def __init__(self, address: Address, name: str, counters: Counters, limits: Limits) -> None:
        self._address = address
        self._name = name
        self._counters = counters
        self._limits = limits
        self._connection: Connection | None = None
        self.asking: asyncio.Task[_View] | None = None
        """The newest question."""

    def ask(self) -> asyncio.Task[_View]:
        """The question under way who the primary is, or a new one; its error is an EngineError.

        Prevents: a sentinel hangs, each question takes a second to fail, and more than one is asked in that time · the
        questions pile up. Or two find no connection · each makes one · one of them is never closed.
        """
        if self.asking is None or self.asking.done():
            self.asking = asyncio.get_running_loop().create_task(self._ask())
            self.asking.add_done_callback(_looked_at)
        return self.asking

    async def _ask(self) -> _View:
        try:
            if self._connection is None or self._connection.lost.done():
                self._connection = await self._connect()
            (reply,) = await self._connection.issue((("SENTINEL", "MASTER", self._name),))
        except (OSError, TimeoutError) as error:
            raise EngineUnavailable(f"{self._address}: {error or type(error).__name__}") from None
        except EngineError as error:
            raise self._told(error) from None
        if isinstance(reply, EngineError):
            raise self._told(reply)
        return self._view(reply)

    def close(self) -> None:
        if self._connection is not None:
            self._connection.abort("it was closed")

    async def _connect(self) -> Connection:
        latency = self._counters.commands[str(self._address)]
        return await open_connection(self._address, "greenroom-sentinel", latency=latency, limits=self._limits)

    def _told(self, error: EngineError) -> EngineError:
        kind = next((one for one in (EngineRefused, CommandFailed) if isinstance(error, one)), EngineUnavailable)
        return kind(f"{self._address}: {error}")

    def _view(self, reply: dict[bytes, Any]) -> _View:
        try:
            return _View(int(reply[b"config-epoch"]), reply[b"ip"].decode(), int(reply[b"port"]))
        except (KeyError, ValueError, AttributeError, TypeError):
            raise EngineUnavailable(f"{self._address}: its answer names no primary") from None


def _looked_at(task: asyncio.Task[_View]) -> None:
    if not task.cancelled():
        task.exception()  # or it would be logged where nobody waits for it any more


class SentinelWatch:
    """The sentinels of one primary, asked by one process.

    Arguments:
        address: that of the sentinels, with the name of the primary.
        moved: called when they name another primary than they did.
    """

    def __init__(
        self, address: Address, *, moved: Callable[[], None], clock: Clock, counters: Counters, limits: Limits
    ) -> None:
        assert address.sentinels is not None
        self._address = address
        self._moved = moved
        self._clock = clock
        self._limits = limits
        named = address.sentinels
        own = replace(address, sentinels=None, database=0, username=named.username, password=named.password)
        self._sentinels = [
            _Sentinel(replace(own, hosts=(host,)), named.name, counters, limits) for host in address.hosts
        ]
        self._epoch = 0
        self._task: asyncio.Task[None] | None = None
        self.current: Address | None = None
        """The primary by the newest answer."""

    def start(self) -> None:
        """Begin to ask once in a while; returns at once."""
        self._task = asyncio.get_running_loop().create_task(self._watch(), name="greenroom-sentinels")

    async def close(self) -> None:
        """Ask no more."""
        tasks = [task for task in (self._task, *(one.asking for one in self._sentinels)) if task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        for sentinel in self._sentinels:
            sentinel.close()

    async def primary(self) -> Address:
        """The primary's address, by the newest of the answers of most sentinels, or of all that answer in time.

        Raises:
            EngineUnavailable: when none of them says, or a few that are behind.
            EngineRefused: when each that answers refuses us, or knows no primary of that name.
        """
        waiting = {sentinel.ask() for sentinel in self._sentinels}
        views: list[_View] = []
        errors: list[EngineError] = []
        with suppress(TimeoutError):
            async with asyncio.timeout(self._limits.handshake_deadline + self._limits.command_deadline):
                while waiting:
                    answered, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                    for one in answered:
                        try:
                            views.append(one.result())
                        except EngineError as error:
                            errors.append(error)
                    # Not all of them: one that hangs would cost each failover its whole deadline. But all where those
                    # know of less than was known: most are behind for a moment after each failover.
                    # docs/decisions/0094-most-sentinels-name-the-primary.md
                    if len(views) * 2 > len(self._sentinels) and max(views).epoch >= self._epoch:
                        break
        if not views:
            raise self._unknown(errors)
        newest = max(views)
        if newest.epoch < self._epoch and len(views) * 2 <= len(self._sentinels):
            # Prevents: it was told of a failover · most sentinels are away · the one that was cut off is asked alone,
            # and names the old primary.
            raise EngineUnavailable("the sentinels that answer do not know of the newest failover")
        self._epoch = newest.epoch
        before, self.current = self.current, replace(self._address, hosts=(newest[1:],), sentinels=None)
        if before is not None and before.hosts != self.current.hosts:
            log.info("%s: the primary is %s:%d now", self._address, newest.host, newest.port)
            self._moved()
        return self.current

    def _unknown(self, errors: list[EngineError]) -> EngineError:
        """Why no primary is known. What the sentinels themselves have said tells more than that others are away."""
        said = [error for error in errors if isinstance(error, EngineRefused | CommandFailed)]
        text = " · ".join(str(error) for error in said or errors) or "none of them answers in time"
        if not said:
            return EngineUnavailable(f"no sentinel says where the primary is: {text}")
        assert self._address.sentinels is not None
        if any(isinstance(error, EngineRefused) for error in said):
            return EngineRefused(f"{text} (that of the sentinels: ?sentinel_user=…&sentinel_password=…)")
        remedy = "correct the name at the end of the address to that of `sentinel monitor`"
        return EngineRefused(f"no primary is named {self._address.sentinels.name!r}: {text}; {remedy}")

    async def _watch(self) -> None:
        """Ask while nothing else does: an old primary that is cut off from the sentinels answers us all the same."""
        while True:
            await asyncio.sleep(self._limits.role_interval * (0.5 + self._clock.random() / 2))
            with suppress(EngineError):
                await self.primary()
