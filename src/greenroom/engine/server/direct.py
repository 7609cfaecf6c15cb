"""What a thread asks one server by itself, while nobody else asks: no other thread need be woken for it."""

from __future__ import annotations

import asyncio
import logging
from time import monotonic
from typing import Any, NamedTuple

from greenroom.counters import Counters, Histogram
from greenroom.engine.commands import Channel, Command
from greenroom.engine.limits import Limits
from greenroom.engine.protocol.info import fields
from greenroom.engine.server.node import Node
from greenroom.engine.transport.connection import Connection
from greenroom.engine.transport.direct import DirectConnection, open_direct
from greenroom.errors import EngineError, EngineUnavailable

log = logging.getLogger("greenroom.engine")

_WHO: Command = ("INFO", "server")
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 60.0
"""Seconds after a failure, to connect or to be answered in time; they double until a question is answered."""


class _Open(NamedTuple):
    """A connection, and those of the event loop beside which it was opened."""

    direct: DirectConnection
    tracked: Connection
    plain: Connection


# docs/decisions/0121-a-lone-thread-asks-the-server-itself.md
class DirectQuestions:
    """Questions of any thread, one at a time, on a connection of their own beside those of the event loop.

    Each comes after all of the loop's commands. Prevents: a write was sent, and not answered in time · whoever wrote
    looks whether it was carried out · his question overtakes the write, and finds the old value · the write is carried
    out. So it is asked only while every command of the loop has been answered.

    The connection belongs to those of the loop that were there when it was opened. Prevents: the server is replaced by
    another · the loop goes on with that one · a thread asks the old one, which knows nothing of what was written since.
    """

    def __init__(self, node: Node, counters: Counters, limits: Limits) -> None:
        self._node = node
        self._counters = counters
        self._events = counters.events
        # Two threads that add to one number lose counts: who asks adds to the one, the loop what is new to the room's.
        self._asked, self._counted = Histogram(), Histogram()
        self._limits = limits
        self._open: _Open | None = None
        self._opening: asyncio.Task[None] | None = None
        self._not_before = 0.0
        self._pause = _FIRST_PAUSE

    # In any thread ------------------------------------------------------------------------------------

    def ask(self, commands: tuple[Command, ...]) -> list[Any] | None:
        """See `Direct`."""
        opened = self._open
        if opened is None:
            return None
        direct, tracked, plain = opened
        if tracked.outstanding or plain.outstanding or not self._beside(opened):
            return None
        if self._events.instruments:
            return None  # they are told by the loop
        try:
            replies = direct.ask(commands)
        except EngineUnavailable:
            self._later()
            raise
        if replies is not None:
            self._pause = _FIRST_PAUSE
        return replies

    @property
    def due(self) -> bool:
        """See `Direct`."""
        if self._opening is not None or self._events.instruments or monotonic() < self._not_before:
            return False
        opened = self._open
        return opened is None or opened.direct.over or opened.direct.idle or not self._beside(opened)

    def _later(self) -> None:
        self._not_before = monotonic() + self._pause
        self._pause = min(2 * self._pause, _LONGEST_PAUSE)

    def _beside(self, opened: _Open) -> bool:
        node = self._node
        return node.connection(Channel.TRACKED) is opened.tracked and node.connection(Channel.PLAIN) is opened.plain

    # In the loop --------------------------------------------------------------------------------------

    def open(self) -> None:
        """See `Direct`."""
        if self.due:
            self._opening = asyncio.get_running_loop().create_task(self._connect())

    def count(self) -> None:
        """See `Direct`."""
        counted, total = self._counters.commands[str(self._node.address)], self._asked.total
        for place, number in enumerate(self._asked.counts):
            counted.counts[place] += number - self._counted.counts[place]
            self._counted.counts[place] = number
        counted.total += total - self._counted.total
        self._counted.total = total

    async def close(self) -> None:
        """End the connection; none is opened any more."""
        self._not_before = float("inf")
        if self._opening is not None:
            self._opening.cancel()
            await asyncio.wait([self._opening])
        self._end()
        self.count()

    async def _connect(self) -> None:
        self._end()
        try:
            tracked, plain = self._node.connection(Channel.TRACKED), self._node.connection(Channel.PLAIN)
            if tracked is None or plain is None:
                raise EngineUnavailable("it is not connected")
            run_ids = {_run_id((await one.issue((_WHO,)))[0]) for one in (tracked, plain)}
            direct, (info,) = await open_direct(
                self._node.leads_to, "greenroom-direct", (_WHO,), latency=self._asked, limits=self._limits
            )
            if run_ids != {_run_id(info)} or None in run_ids:
                direct.close()
                raise EngineUnavailable("the address leads to another server now")
        except (OSError, TimeoutError, EngineError) as error:
            self._later()
            log.debug("no thread can ask %s by itself: %s", self._node.address, error)
        else:
            self._open = _Open(direct, tracked, plain)
        finally:
            self._opening = None

    def _end(self) -> None:
        opened, self._open = self._open, None
        if opened is not None:
            opened.direct.close()


def _run_id(info: object) -> str | None:
    """By which a server is known from another, also from one that has taken its address."""
    return fields(info).get("run_id")
