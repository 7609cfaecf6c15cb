"""What goes wrong in a round, at random: connections, the server, whole processes."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections.abc import Awaitable, Callable

from torture.history import DRIVER, Journal, Refused, RolledBack, now
from torture.proxy import Proxy
from torture.server import LastingServer

_PAUSES = (0.05, 0.3, 0.6, 0.9, 1.6)
"""Seconds that something stands still, at most: within all deadlines, about them, and past a lease's life."""


class Faults:
    """Does harm for a while; everything runs again when that is over.

    Arguments:
        ways: each process's way to the server.
        pids: each process's id.
    """

    def __init__(
        self, server: LastingServer, ways: list[Proxy], pids: list[int], journal: Journal, chance: random.Random
    ) -> None:
        self._server = server
        self._ways = ways
        self._pids = pids
        self._journal = journal
        self._chance = chance
        self.done = 0

    async def run(self, seconds: float) -> None:
        """One fault after the other, some at the same time, for so many seconds and until all are over."""
        end = now() + seconds
        kinds: list[Callable[[], Awaitable[None]]] = [
            self._cut,
            self._freeze,
            self._partition,
            self._lag,
            self._stop_server,
            self._restart,
            self._stop_process,
            self._flush,
            self._refuse_writes,
        ]
        weights = [4, 4, 2, 2, 3, 3, 2, 1, 2]
        async with asyncio.TaskGroup() as group:
            while now() < end:
                await asyncio.sleep(self._chance.expovariate(1 / 0.6))
                self.done += 1
                (fault,) = self._chance.choices(kinds, weights)
                if fault in (self._restart, self._stop_server) or self._chance.random() < 0.7:
                    await fault()
                else:
                    group.create_task(fault())  # type: ignore[arg-type]

    # ------------------------------------------------------------------------------------------------

    def _way(self) -> tuple[int, Proxy]:
        number = self._chance.randrange(len(self._ways))
        return number, self._ways[number]

    def _pause(self) -> float:
        return self._chance.random() * self._chance.choice(_PAUSES)

    async def _cut(self) -> None:
        number, way = self._way()
        self._journal.fault(f"cut the connections of process {number}")
        way.cut()

    async def _freeze(self) -> None:
        number, way = self._way()
        seconds, which = self._pause(), self._chance.choice(("both", "to the server", "from the server"))
        self._journal.fault(f"freeze process {number}, {which}, for {seconds:.2f} s")
        way.freeze(to_server=which != "from the server", to_client=which != "to the server")
        await asyncio.sleep(seconds)
        way.thaw()
        if self._chance.random() < 0.2:
            way.cut()

    async def _partition(self) -> None:
        number, way = self._way()
        seconds = 2 * self._pause()
        self._journal.fault(f"part process {number} from the server for {seconds:.2f} s")
        way.open = False
        way.cut()
        await asyncio.sleep(seconds)
        way.open = True

    async def _lag(self) -> None:
        number, way = self._way()
        seconds, way.lag = self._pause(), 0.1 * self._chance.random()
        self._journal.fault(f"delay process {number} by up to {way.lag:.3f} s for {seconds:.2f} s")
        await asyncio.sleep(seconds)
        way.lag = 0.0

    async def _stop_server(self) -> None:
        seconds = self._pause()
        self._journal.fault(f"stop the server for {seconds:.2f} s")
        self._server.signal(signal.SIGSTOP)
        await asyncio.sleep(seconds)
        self._server.signal(signal.SIGCONT)

    async def _stop_process(self) -> None:
        number = self._chance.randrange(len(self._pids))
        seconds = 1.5 * self._pause()
        self._journal.fault(f"stop process {number} for {seconds:.2f} s")
        os.kill(self._pids[number], signal.SIGSTOP)
        await asyncio.sleep(seconds)
        os.kill(self._pids[number], signal.SIGCONT)

    async def _flush(self) -> None:
        self._journal.fault("flush the server")
        await asyncio.to_thread(self._command, "FLUSHALL")

    async def _refuse_writes(self) -> None:
        """Short of replicas it takes no write, short of memory none that may grow: DEL then works."""
        seconds = self._pause()
        setting = self._chance.choice(("min-replicas-to-write", "maxmemory"))
        self._journal.fault(f"set the server's {setting} to 1 for {seconds:.2f} s")
        began = now()
        await asyncio.to_thread(self._command, "CONFIG", "SET", setting, 1)
        await asyncio.sleep(seconds)
        await asyncio.to_thread(self._command, "CONFIG", "SET", setting, 0)
        if setting == "min-replicas-to-write":
            self._journal.add(Refused(DRIVER, began, now()))

    def _command(self, *command: str | int) -> None:
        try:
            raw = self._server.raw()
            raw(*command)
            raw.close()
        except OSError:
            pass  # it is down, and forgets its settings

    async def _restart(self) -> None:
        seconds = self._pause()
        how = self._chance.choice(("as it was", "empty", "with older data"))
        written = self._server.written()
        if how == "with older data":
            await asyncio.sleep(1.5 * self._chance.random())
        self._journal.fault(f"kill the server; it comes back {how} after {seconds:.2f} s")
        await asyncio.to_thread(self._server.kill)
        killed = now()
        if how == "empty":
            self._server.empty()
        elif how == "with older data":
            self._server.go_back(written)
        await asyncio.sleep(seconds)
        await asyncio.to_thread(self._server.start)
        if how == "with older data":
            self._journal.add(RolledBack(DRIVER, killed, now()))
