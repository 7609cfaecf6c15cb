"""Asks a cluster who owns what: at the start, after every hint that it has changed, and now and then without one.

Without one, because a process that only serves what it has near sends nothing that could be redirected.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from greenroom.clock import Clock
from greenroom.counters import Counters
from greenroom.engine.address import Address
from greenroom.engine.commands import Channel
from greenroom.engine.deadline import before
from greenroom.engine.limits import Limits
from greenroom.engine.protocol.topology import QUESTION, Endpoint, Topology, parse
from greenroom.engine.server.node import Node
from greenroom.engine.transport.handshake import open_connection
from greenroom.errors import EngineError, EngineRefused, EngineUnavailable, GreenroomError

log = logging.getLogger("greenroom.engine")

_STRANGERS = 5
"""Nodes without a connection that are asked at once."""


class Discovery:
    """The questions of one process to one cluster.

    Arguments:
        address: the nodes known from the start.
        nodes: those connected to at the moment.
        adopt: called with every view that is not older than the last.
        whole: whether all is well, so that there is no hurry to ask again.
    """

    def __init__(
        self,
        address: Address,
        *,
        nodes: Callable[[], Sequence[Node]],
        adopt: Callable[[Topology], None],
        whole: Callable[[], bool],
        clock: Clock,
        counters: Counters,
        limits: Limits,
    ) -> None:
        self._address = address
        self._nodes = nodes
        self._adopt = adopt
        self._whole = whole
        self._clock = clock
        self._counters = counters
        self._limits = limits
        self._strangers: set[Endpoint] = set(address.hosts)
        self._epoch = 0
        self._failures = 0
        self._hint = asyncio.Event()
        self._changed = asyncio.Event()  # set, and replaced, after every question
        self._task: asyncio.Task[None] | None = None
        self.unavailable: EngineError | None = None
        """Why nobody could be asked the last time."""

    def start(self) -> None:
        """Begin to ask; returns at once."""
        self._task = asyncio.get_running_loop().create_task(self._keep_asking(), name="greenroom-discovery")

    async def close(self) -> None:
        """Ask no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        self.unavailable, self._failures = EngineUnavailable("it was closed"), self._limits.breaker_failures
        self._announce()

    def hint(self) -> None:
        """Something tells that the view is out of date: ask soon."""
        self._hint.set()

    async def asked(self, deadline: float) -> bool:
        """Wait for the next question; False where that is not worth it, several in a row having failed, or too long."""
        if self._failures >= self._limits.breaker_failures:
            return False
        try:
            async with before(deadline):
                await self._changed.wait()
        except TimeoutError:
            return False
        return True

    # ------------------------------------------------------------------------------------------------

    async def _keep_asking(self) -> None:
        while True:
            self._hint.clear()
            try:
                await self._ask()
            except EngineError as error:
                self._failures += 1
                if str(self.unavailable) != str(error):
                    log.warning("%s: %s", self._address, error)
                self.unavailable = error
            except Exception as error:  # whatever it is, nobody else would ask again
                log.exception("%s: asking for the owners of slots failed", self._address)
                self._failures += 1
                self.unavailable = EngineUnavailable(f"asking who owns what failed: {error}")
            else:
                if self.unavailable is not None:
                    log.info("%s answers again which node owns which slots", self._address)
                self.unavailable, self._failures = None, 0
            self._announce()
            try:
                async with asyncio.timeout(self._pause()):
                    await self._hint.wait()
                await asyncio.sleep(self._clock.random() * self._limits.topology_pause)
            except TimeoutError:
                pass

    def _pause(self) -> float:
        if self.unavailable is not None:
            return self._limits.pause(self._failures, self._clock.random())
        if not self._whole():
            return self._limits.pause(self._limits.breaker_failures, self._clock.random())
        return self._limits.topology_interval * (0.5 + self._clock.random())

    async def _ask(self) -> None:
        """Take the first view that is not older than the last; where all are, the cluster has begun anew."""
        older: list[Topology] = []
        for node in self._in_any_order(self._nodes()):
            # A frozen node is given up when its connection is.
            view = await self._of_node(node)
            if view is not None and self._taken(view, older):
                return
        error: BaseException | None = None
        strangers = self._in_any_order(sorted(self._strangers))[:_STRANGERS]
        for one in await asyncio.gather(*map(self._of_stranger, strangers), return_exceptions=True):
            if isinstance(one, Topology):
                if self._taken(one, older):
                    return
            elif isinstance(one, OSError | TimeoutError | GreenroomError):
                error = one
            else:
                raise one
        if older:
            self._epoch = 0
            self._taken(max(older, key=lambda view: view.epoch), [])
        elif isinstance(error, EngineRefused):
            raise error
        else:
            reason = str(error) or "no answer in time"
            raise EngineUnavailable(f"no node of {self._address} can be asked who owns what: {reason}")

    def _taken(self, view: Topology, older: list[Topology]) -> bool:
        # Prevents: a primary is cut off from the others but not from us · they put its replica in its place · it is
        # asked, says that all is as it was, and its old values are served.
        if view.epoch < self._epoch:
            older.append(view)
            return False
        self._epoch = view.epoch
        self._strangers = set(self._address.hosts) | view.nodes
        self._adopt(view)
        return True

    async def _of_node(self, node: Node) -> Topology | None:
        try:
            sent = node.send(Channel.PLAIN, QUESTION, None)
            return None if sent is None else self._view(await sent, node.address.hosts[0])
        except EngineError as error:
            log.debug("asking %s who owns what: %s", node.address, error)
            return None

    async def _of_stranger(self, endpoint: Endpoint) -> Topology:
        at = replace(self._address, hosts=(endpoint,), cluster=False)
        latency = self._counters.commands[str(self._address)]
        connection = await open_connection(at, "greenroom-discovery", latency=latency, limits=self._limits)
        try:
            return self._view(await connection.issue(QUESTION), endpoint)
        finally:
            connection.abort("it has said who owns what")

    def _view(self, replies: list[Any], endpoint: Endpoint) -> Topology:
        for reply in replies:
            if isinstance(reply, EngineError):
                raise reply
        return parse(replies, endpoint, tls=self._address.tls is not None)

    def _in_any_order(self, these: Sequence[Any]) -> list[Any]:
        return sorted(these, key=lambda _: self._clock.random())

    def _announce(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
