"""The slowest answer while a primary of a cluster dies and its replica takes over: `python -m bench.failover`.

Half of the reads ask for values that the cluster has, half for pages that nobody has asked for: those are put into
groups, and so need two nodes. Each primary is killed in its turn.
"""

from __future__ import annotations

import asyncio
import logging
import random
import sys
import tempfile
import time
from datetime import timedelta
from pathlib import Path

from greenroom import Greenroom, Keyspace
from greenroom.caching import Cache
from greenroom.errors import GreenroomError
from tests.support.real_cluster import Cluster, Member
from tests.support.real_servers import valkey_binary

READERS = 32
VALUES = 300
GROUPS = 30
PAUSE = 0.002
"""Seconds between two reads of a reader: what is measured is the failover, and no overload."""
AFTERWARDS = 2.0
"""Seconds for which is read on when the cluster is whole again."""
VALUE = Keyspace("bench:value:{number}", str, ttl=timedelta(hours=1))
PAGE = Keyspace("bench:page:{show}:{number}", str, ttl=timedelta(hours=1))


async def _value(number: str) -> str:
    return number


async def _page(show: str, number: str) -> str:
    return f"{show} {number}"


class Readers:
    """Reads without end, and how long the slowest took.

    Arguments:
        room: whose caches are read, nothing of it near.
    """

    def __init__(self, room: Greenroom) -> None:
        self._values: Cache[str] = room.cache(VALUE, load=_value, near_for=timedelta(0))
        self._pages: Cache[str] = room.cache(PAGE, load=_page, near_for=timedelta(0), groups=["bench-pages:{show}"])
        self._asked = 0
        self._tasks: list[asyncio.Task[None]] = []
        self.reads = self.failed = 0
        self.slowest = 0.0

    def start(self) -> None:
        """Begin to read."""
        self._tasks = [asyncio.create_task(self._reader(random.Random(number))) for number in range(READERS)]

    async def stop(self) -> None:
        """Let each reader end its read."""
        tasks, self._tasks = self._tasks, []
        await asyncio.gather(*tasks)

    async def _reader(self, chance: random.Random) -> None:
        while self._tasks:
            self._asked += 1
            began = time.monotonic()
            try:
                if self._asked % 2:
                    await self._values.get(str(chance.randrange(VALUES)))
                else:
                    await self._pages.get(show=str(chance.randrange(GROUPS)), number=str(self._asked))
            except GreenroomError:
                self.failed += 1
            self.slowest = max(self.slowest, time.monotonic() - began)
            self.reads += 1
            await asyncio.sleep(PAUSE)


async def killed(cluster: Cluster, room: Greenroom, victim: Member) -> tuple[Readers, float]:
    """Read while a primary is killed; returns the readers, and the seconds until all could be asked again."""
    readers = Readers(room)
    readers.start()
    await asyncio.sleep(1.0)
    replica = await asyncio.to_thread(cluster.replica_of, victim)
    began = time.monotonic()
    victim.kill()
    while await asyncio.to_thread(lambda: replica.role) != "master" or room.unavailable is not None:
        await asyncio.sleep(0.02)
    whole = time.monotonic() - began
    await asyncio.sleep(AFTERWARDS)
    await readers.stop()
    await asyncio.to_thread(cluster.restart, victim)
    await asyncio.to_thread(cluster.settle)
    return readers, whole


async def measure(cluster: Cluster) -> None:
    """Print a line for each primary, and the slowest of all."""
    slowest = 0.0
    async with Greenroom(cluster.address) as room:
        values: Cache[str] = room.cache(VALUE, load=_value, near_for=timedelta(0))
        await values.get_many([{"number": str(number)} for number in range(VALUES)])
        for number, victim in enumerate(cluster.primaries, 1):
            readers, whole = await killed(cluster, room, victim)
            slowest = max(slowest, readers.slowest)
            sys.stdout.write(
                f"primary {number} killed: {readers.reads:,} reads, {readers.failed} failed, slowest "
                f"{readers.slowest:.2f} s; all could be asked again after {whole:.1f} s\n"
            )
    sys.stdout.write(f"slowest answer around a killed primary: {slowest:.2f} s\n")


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory(prefix="greenroom-bench-") as directory:
        one = Cluster(valkey_binary(), Path(directory))
        try:
            one.start()
            asyncio.run(measure(one))
        finally:
            one.stop()
