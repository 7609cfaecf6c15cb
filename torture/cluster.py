"""One round on a cluster: some processes with caches and two with sessions, while its nodes come and go."""

from __future__ import annotations

import asyncio
import random
from contextlib import AsyncExitStack
from pathlib import Path

from tests.support.real_cluster import Cluster
from tests.support.real_servers import valkey_binary
from torture.history import DRIVER, Journal
from torture.keeper import Keeper
from torture.record import Record
from torture.round import Result, judged, processes_of, report_server, told_all, write_down
from torture.shards import Shards


async def run_cluster_round(
    directory: Path, seed: str, seconds: float, *, replicas: bool = False, **plan: object
) -> Result:
    """Run one round in an empty directory. Every harm is done, however long that takes.

    Arguments: as `run_round`, and
        replicas: whether values are read at replicas.
    """
    record = Record.create(directory / "record")
    journal = Journal(directory / "driver.ndjson", DRIVER)
    write_down(record, journal)
    servers = directory / "cluster"
    servers.mkdir()
    cluster = Cluster(valkey_binary(), servers)
    async with AsyncExitStack() as stack:
        stack.callback(cluster.stop)
        await asyncio.to_thread(cluster.start)
        chance = random.Random(f"{seed} cluster")
        keeper = await Keeper.opened(cluster, stack, chance)
        shards = Shards(cluster, keeper, journal, chance)
        await shards.prepare()
        processes = await processes_of([cluster.address] * 3, directory, seed, stack, {"replicas": replicas, **plan})
        await told_all(processes, "start")
        await keeper.start()
        await shards.run(seconds)
        await keeper.finish()
        await told_all(processes, "finish")
        await told_all(processes, "report")
        report_server(cluster.raw(), journal)
        for process in processes:
            await process.end()
    record.close()
    journal.close()
    result = judged(directory, cluster=True, replicas=replicas)
    result.counts.update(keeper.counts)
    result.counts["faults"] = len(shards.recoveries)
    recovered = [f"{what}: served again after {after:.2f} s" for what, after in shards.recoveries]
    return result._replace(wrong=keeper.wrong, recovered=recovered)
