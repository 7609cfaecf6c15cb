"""What goes wrong in a round, at random: connections, servers, whole processes."""

from __future__ import annotations

import asyncio
import random
import signal
from collections.abc import Awaitable, Callable, Collection

from torture.crew import Crew
from torture.ground import Ground, Victim
from torture.history import DRIVER, Emptied, Refused, RolledBack, now
from torture.journal import Journal
from torture.proxy import Proxy
from torture.server import LastingServer

_PAUSES = (0.05, 0.3, 0.6, 0.9, 1.6)
"""Seconds that something stands still, at most: within all deadlines, about them, and past a lease's life."""
_DEAF = 2.5
"""Seconds for which nothing comes from a server that takes everything."""

KINDS: dict[str, float] = {
    "cut": 4,
    "freeze": 4,
    "deafen": 1,
    "partition": 2,
    "lag": 2,
    "stop_server": 3,
    "restart": 3,
    "stop_process": 2,
    "kill_process": 1.5,
    "flush": 1,
    "refuse_writes": 2,
}
"""Every kind of fault, with how often it happens beside the others."""
_ALONE = frozenset({"restart", "stop_server", "kill_process"})


class Faults:
    """Does harm for a while; everything runs again when that is over.

    Arguments:
        only: the kinds of harm; all by default.
        pause: seconds between two, on average.
    """

    def __init__(
        self,
        ground: Ground,
        crew: Crew,
        journal: Journal,
        chance: random.Random,
        *,
        only: Collection[str] = (),
        pause: float = 0.6,
    ) -> None:
        self._ground = ground
        self._crew = crew
        self._journal = journal
        self._chance = chance
        self._only = only
        self._mean = pause
        self.done = 0

    async def run(self, seconds: float) -> None:
        """One fault after the other, some at the same time, for so many seconds and until all are over."""
        end = now() + seconds
        of_ways = {"cut", "freeze", "deafen", "partition", "lag"}
        names = [
            name
            for name in KINDS
            if (not self._only or name in self._only) and (self._ground.ways[0] or name not in of_ways)
        ]
        async with asyncio.TaskGroup() as group:
            while now() < end:
                await asyncio.sleep(self._chance.expovariate(1 / self._mean))
                self.done += 1
                (name,) = self._chance.choices(names, [KINDS[one] for one in names])
                fault: Callable[[], Awaitable[None]] = getattr(self, f"_{name}")
                if name in _ALONE or self._chance.random() < 0.7:
                    await fault()
                else:
                    group.create_task(fault())  # type: ignore[arg-type]

    # ------------------------------------------------------------------------------------------------

    def _way(self) -> tuple[int, Proxy]:
        number = self._chance.randrange(len(self._ground.ways))
        return number, self._chance.choice(self._ground.ways[number])

    def _victim(self) -> Victim:
        return self._chance.choice(self._ground.victims)

    def _pause(self) -> float:
        return self._chance.random() * self._chance.choice(_PAUSES)

    async def _cut(self) -> None:
        place, way = self._way()
        with self._journal.fault(f"cut the connections at place {place}"):
            way.cut()

    async def _freeze(self) -> None:
        place, way = self._way()
        seconds, which = self._pause(), self._chance.choice(("both", "to the server", "from the server"))
        with self._journal.fault(f"freeze place {place}, {which}, for {seconds:.2f} s"):
            way.freeze(to_server=which != "from the server", to_client=which != "to the server")
            await asyncio.sleep(seconds)
            way.thaw()
            if self._chance.random() < 0.2:
                way.cut()

    async def _deafen(self) -> None:
        """A firewall that has forgotten the connections: nothing comes, and nobody is told that it does not."""
        place, way = self._way()
        with self._journal.fault(f"deafen place {place} for {_DEAF:.2f} s"):
            way.freeze(to_server=False)
            await asyncio.sleep(_DEAF)
            way.thaw()

    async def _partition(self) -> None:
        place, way = self._way()
        seconds = 2 * self._pause()
        with self._journal.fault(f"part place {place} from the server for {seconds:.2f} s"):
            way.open = False
            way.cut()
            await asyncio.sleep(seconds)
            way.open = True

    async def _lag(self) -> None:
        place, way = self._way()
        seconds, way.lag = self._pause(), 0.1 * self._chance.random()
        with self._journal.fault(f"delay place {place} by up to {way.lag:.3f} s for {seconds:.2f} s"):
            await asyncio.sleep(seconds)
            way.lag = 0.0

    async def _stop_server(self) -> None:
        seconds, victim = self._pause(), self._victim()
        with self._journal.fault(f"stop the server {victim.node} for {seconds:.2f} s"):
            victim.signal(signal.SIGSTOP)
            await asyncio.sleep(seconds)
            victim.signal(signal.SIGCONT)

    async def _stop_process(self) -> None:
        place, seconds = self._chance.randrange(len(self._crew)), 1.5 * self._pause()
        with self._journal.fault(f"stop the process at place {place} for {seconds:.2f} s"):
            self._crew.signal(place, signal.SIGSTOP)
            await asyncio.sleep(seconds)
            self._crew.signal(place, signal.SIGCONT)

    async def _kill_process(self) -> None:
        place = self._chance.randrange(len(self._crew))
        with self._journal.fault(f"kill the process at place {place}"):
            await self._crew.kill(place)
        await self._crew.replace(place)

    async def _flush(self) -> None:
        victim = self._victim()
        began = now()
        with self._journal.fault(f"flush the server {victim.node}"):
            await asyncio.to_thread(_command, victim, "FLUSHALL")
        self._journal.add(Emptied(DRIVER, began, now(), victim.node))

    async def _refuse_writes(self) -> None:
        """Short of replicas it takes no write, short of memory none that may grow: DEL then works."""
        seconds, victim = self._pause(), self._victim()
        setting = self._chance.choice(("min-replicas-to-write", "maxmemory"))
        with self._journal.fault(f"set {setting} of the server {victim.node} to 1 for {seconds:.2f} s"):
            began = now()
            await asyncio.to_thread(_command, victim, "CONFIG", "SET", setting, 1)
            await asyncio.sleep(seconds)
            await asyncio.to_thread(_command, victim, "CONFIG", "SET", setting, 0)
            if setting == "min-replicas-to-write":
                self._journal.add(Refused(DRIVER, began, now()))

    async def _restart(self) -> None:
        seconds, victim = self._pause(), self._victim()
        how = self._chance.choice(("as it was", "empty", "with older data"))
        if not isinstance(victim, LastingServer):
            how = "as it was"
        since = now()
        written = victim.written() if isinstance(victim, LastingServer) else 0
        if how == "with older data":
            await asyncio.sleep(1.5 * self._chance.random())
        with self._journal.fault(f"kill the server {victim.node}; it comes back {how} after {seconds:.2f} s"):
            killed = now()
            await asyncio.to_thread(victim.kill)
            if isinstance(victim, LastingServer):
                if how == "empty":
                    victim.empty()
                elif how == "with older data":
                    victim.go_back(written)
            await asyncio.sleep(seconds)
            await asyncio.to_thread(victim.start)
            if how == "with older data":
                self._journal.add(RolledBack(DRIVER, killed, now(), victim.node, since))
            elif how == "empty":
                self._journal.add(Emptied(DRIVER, killed, now(), victim.node))


def _command(victim: Victim, *command: str | int) -> None:
    try:
        raw = victim.raw()
        raw(*command)
        raw.close()
    except OSError:
        pass  # it is down, and forgets its settings
