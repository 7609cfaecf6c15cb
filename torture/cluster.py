"""One round on a cluster: some processes with caches and two with sessions, while its nodes come and go."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Collection
from contextlib import AsyncExitStack
from pathlib import Path

from tests.support.real_cluster import Cluster
from tests.support.real_servers import valkey_binary
from torture import podcasts
from torture.crew import Crew
from torture.history import DRIVER
from torture.journal import Journal
from torture.keeper import Keeper
from torture.record import Record
from torture.round import PROCESSES, Result, judged, report_record, report_server, write_down
from torture.shards import Shards


async def run_cluster_round(
    directory: Path, seed: str, seconds: float, *, only: Collection[str] = (), replicas: bool = False, **plan: object
) -> Result:
    """Run one round in an empty directory. Every harm is done, however long that takes.

    Arguments: as `run_round`, and
        only: the kinds of harm; all by default.
        replicas: whether values are read at replicas.
    """
    record = Record.create(directory / "record")
    journal = Journal(directory / "driver.ndjson", DRIVER)
    write_down(record, journal)
    await podcasts.prepare(directory / "podcasts.sqlite3")
    servers = directory / "cluster"
    servers.mkdir()
    cluster = Cluster(valkey_binary(), servers)
    async with AsyncExitStack() as stack:
        stack.callback(cluster.stop)
        await asyncio.to_thread(cluster.start)
        chance = random.Random(f"{seed} cluster")
        keeper = await Keeper.opened(cluster, stack, chance)
        # Sessions are the keeper's: what is promised of them where nodes come and go is another thing.
        told = {**plan, "session_clients": 0, "replicas": replicas}
        crew = await Crew.spawned([{"address": cluster.address}] * PROCESSES, directory, seed, journal, stack, told)
        shards = Shards(cluster, keeper, crew, journal, chance, only=only)
        await shards.prepare()
        await crew.told_all("start")
        await keeper.start()
        await shards.run(seconds)
        await keeper.finish()
        await crew.told_all("finish")
        report_record(record, directory, journal)
        await crew.told_all("report")
        report_server(cluster.raw(), journal)
        await crew.end()
    record.close()
    journal.close()
    result = judged(directory, cluster=True, replicas=replicas)
    result.counts.update(keeper.counts)
    result.counts["faults"] = len(shards.recoveries)
    recovered = [f"{what}: served again after {after:.2f} s" for what, after in shards.recoveries]
    return result._replace(wrong=keeper.wrong, recovered=recovered)
