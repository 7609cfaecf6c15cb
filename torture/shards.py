"""What goes wrong on a cluster: primaries die, freeze and hand over, slots go to and fro, a shard is lost with all."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Collection

from tests.support.patience import wait_for
from tests.support.real_cluster import Cluster, Member, slot_of
from torture.caches import KEYS
from torture.crew import Crew
from torture.history import DRIVER, RolledBack, Unsettled, now
from torture.journal import Journal
from torture.keeper import Keeper

FROZEN = 10.0
"""Seconds for which a node stands still."""
GONE = 2.0
"""Seconds for which a shard has no node, at least."""
BEHIND = 0.8
"""Seconds for which a replica hears nothing of its primary before that dies: less than it takes to be given up."""
LAGS = 4.0
"""Seconds for which a replica lags behind."""
_ANY_COVERAGE = ("--cluster-require-full-coverage", "no")
"""A shard that is gone takes no other with it."""
_SETTLED = 60.0

Harm = Callable[[], Awaitable[None]]


class Shards:
    """Does harm to a cluster, one thing after the other; all runs again after each.

    Arguments:
        keeper: is told what is done to which shard, and tells when it serves again.
        only: the names of the kinds of harm; all by default.
    """

    def __init__(
        self,
        cluster: Cluster,
        keeper: Keeper,
        crew: Crew,
        journal: Journal,
        chance: random.Random,
        *,
        only: Collection[str] = (),
    ) -> None:
        self._cluster = cluster
        self._keeper = keeper
        self._crew = crew
        self._journal = journal
        self._chance = chance
        self.recoveries: list[tuple[str, float]] = []
        """What was done, and after how many seconds the shard was served again."""
        kinds = [self.kill, self.kill_behind, self.migrate, self.hand_over, self.freeze, self.lose]
        kinds += [self.lag, self.kill_process]
        self.kinds: tuple[Harm, ...] = tuple(kind for kind in kinds if not only or kind.__name__ in only)

    async def run(self, seconds: float) -> None:
        """Each harm once, and again in any order while there is time."""
        end = now() + seconds
        kinds = list(self.kinds)
        while kinds or now() < end:
            kind = kinds.pop(self._chance.randrange(len(kinds))) if kinds else self._chance.choice(self.kinds)
            with self._journal.fault(kind.__name__):
                await kind()
            await asyncio.sleep(self._chance.random())

    async def prepare(self) -> None:
        """Let a shard that is gone take no other with it."""
        for one in self._cluster.members:
            one.ok("CONFIG", "SET", _ANY_COVERAGE[0].removeprefix("--"), _ANY_COVERAGE[1])

    # ------------------------------------------------------------------------------------------------

    async def kill(self) -> None:
        """A primary dies; its replica takes its place, and it comes back as that one's replica."""
        shard, primary, replica = await self._shard()
        await self._replaced("kill a primary", shard, replica, primary.kill)
        await self._back(primary)
        self._well()

    async def kill_behind(self) -> None:
        """A primary dies whose replica has not heard of it for a while."""
        shard, primary, replica = await self._shard()
        with replica.frozen():
            # Prevents that what it has not read yet is in its kernel's hands.
            await asyncio.to_thread(primary, "CLIENT", "KILL", "TYPE", "replica")
            await asyncio.sleep(BEHIND)
            self._harm("kill a primary whose replica is behind", shard)
            began = now()
            await asyncio.to_thread(primary.kill)
        await asyncio.to_thread(wait_for, lambda: replica.role == "master", _SETTLED)
        self._rolled_back(began, replica)
        self.recoveries.append(("kill a primary, its replica behind", await self._keeper.recovered(shard, began)))
        await self._back(primary)
        self._well()

    async def lag(self) -> None:
        """A replica answers, and carries nothing more out of what its primary sends."""
        _, _, replica = await self._shard()
        await asyncio.to_thread(replica.ok, "CLIENT", "PAUSE", 60_000, "WRITE")
        await asyncio.sleep(LAGS)
        await asyncio.to_thread(replica.ok, "CLIENT", "UNPAUSE")

    async def kill_process(self) -> None:
        """A process is killed, and another takes its place."""
        place = self._chance.randrange(len(self._crew))
        await self._crew.kill(place)
        await self._crew.replace(place)

    async def freeze(self) -> None:
        """A primary stands still; its replica takes its place, and it finds out when it goes on."""
        shard, primary, replica = await self._shard()
        began = now()
        with primary.frozen():
            await self._replaced("freeze a primary", shard, replica, lambda: None)
            await asyncio.sleep(max(0.0, began + FROZEN - now()))
        await self._settled()
        self._well()

    async def hand_over(self) -> None:
        """A replica takes its primary's place, as planned."""
        shard, primary, _ = await self._shard()
        self._harm("hand a shard over", shard)
        began = now()
        await asyncio.to_thread(self._cluster.fail_over, primary)
        await self._settled()
        self._journal.add(Unsettled(DRIVER, began, now()))
        self.recoveries.append(("handed over", await self._keeper.recovered(shard, began)))
        self._well()

    async def migrate(self) -> None:
        """Slots go to another node and back, key by key and at once."""
        for how in (self._cluster.migrate, self._at_once):
            slot = slot_of(self._chance.choice(KEYS))
            home = await asyncio.to_thread(self._cluster.owner, slot)
            away = await asyncio.to_thread(self._cluster.another, home)
            for target in (away, home):
                began = now()
                await asyncio.to_thread(how, slot, target)
                self._journal.add(Unsettled(DRIVER, began, now()))
                await asyncio.sleep(0.3 * self._chance.random())

    async def lose(self) -> None:
        """All replicas of a shard die, then its primary, which comes back without anything."""
        shard, primary, replica = await self._shard()
        await asyncio.to_thread(replica.kill)
        began = now()
        await self._keeper.recovered(shard, began)  # it serves without
        self._harm(f"kill {primary.port}, whose replica is dead", shard)
        began = now()
        await asyncio.to_thread(primary.kill)
        self._keeper.lose(shard)
        await asyncio.sleep(GONE)
        back = now()
        await asyncio.to_thread(self._cluster.restart, primary, *_ANY_COVERAGE)
        await self._back(replica)
        self._rolled_back(began, primary)
        self.recoveries.append(("gone, and back empty", await self._keeper.recovered(shard, back)))
        self._well()

    # ------------------------------------------------------------------------------------------------

    async def _shard(self) -> tuple[int, Member, Member]:
        """Any shard, with its primary and its replica."""
        await self._settled()
        shard = self._chance.randrange(3)
        primary = await asyncio.to_thread(self._cluster.owner, 16384 * shard // 3 + 1)
        return shard, primary, await asyncio.to_thread(self._cluster.replica_of, primary)

    async def _replaced(self, what: str, shard: int, replica: Member, how: Callable[[], None]) -> None:
        self._harm(what, shard)
        began = now()
        await asyncio.to_thread(how)
        gone = now()  # who asked before that may have been answered by the primary
        await asyncio.to_thread(wait_for, lambda: replica.role == "master", _SETTLED)
        self._rolled_back(began, replica)
        self.recoveries.append((what, await self._keeper.recovered(shard, gone)))

    def _rolled_back(self, began: float, node: Member) -> None:
        self._journal.add(RolledBack(DRIVER, began, now(), node.address))
        self._journal.add(Unsettled(DRIVER, began, now()))

    def _at_once(self, slot: int, target: Member) -> None:
        self._cluster.move([slot], target)

    async def _back(self, member: Member) -> None:
        await asyncio.to_thread(self._cluster.restart, member, *_ANY_COVERAGE)
        await self._settled()

    async def _settled(self) -> None:
        await asyncio.to_thread(self._cluster.settle)

    def _harm(self, what: str, shard: int) -> None:
        with self._journal.fault(f"{what}: shard {shard}"):
            """Its beginning."""
        self._keeper.era += 1
        self._keeper.ill = {shard}

    def _well(self) -> None:
        self._keeper.era += 1
        self._keeper.ill = set()
