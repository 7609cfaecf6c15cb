"""A thousand followers of one podcast in one process: reads of the record per change, and the time until it is seen."""

from __future__ import annotations

import asyncio
import statistics
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import uvloop

from greenroom_platform.platform import open_platform
from greenroom_platform.testing.records_changes import about
from tests.support.counted_tasks import CountedRecords

FOLLOWERS = 1000
CHANGES = 40


class Run(msgspec.Struct):
    """Reads of the record per change, and milliseconds from a change's commit to the sight of it.

    Arguments:
        first, last: of the first and the last follower who sees it; the median over the changes.
        slowest: of the last follower, over all changes.
    """

    reads: float
    first: float
    last: float
    slowest: float


async def measure(port: int, followers: int = FOLLOWERS) -> Run:
    """Change the estimate of a podcast again and again; the worker is a room of its own, as another process has."""
    with tempfile.TemporaryDirectory(prefix="greenroom-bench-") as directory:
        records = await CountedRecords.made(Path(directory) / "record.sqlite3")
        address = f"valkey://127.0.0.1:{port}"
        async with (
            open_platform(address, database=records) as platform,
            open_platform(address, database=records) as work,
        ):
            await records.put_topic("a", about("A"), datetime.now(UTC))
            podcast_id = (await work.generation.request("a")).task.podcast_id
            claim = await work.tasks.claim("bench", 600)
            assert claim is not None
            seen: list[float] = []
            everyone = asyncio.Event()

            async def follower() -> None:
                async for _ in platform.statuses.follow(podcast_id):
                    seen.append(time.perf_counter())
                    if len(seen) == followers:
                        everyone.set()

            following = [asyncio.create_task(follower()) for _ in range(followers)]
            await everyone.wait()
            records.tasks.reads = 0
            first, last = [], []
            for number in range(CHANGES):
                await asyncio.sleep(0.01)  # so that each change finds everyone waiting
                seen.clear()
                everyone.clear()
                estimated = datetime.now(UTC) + timedelta(seconds=number)
                told = await records.tasks.advance(claim, "audio_rendering", datetime.now(UTC), estimated=estimated)
                assert told.change is not None
                began = time.perf_counter()
                await work.changes.send(told.change)
                await everyone.wait()
                first.append((seen[0] - began) * 1000)
                last.append((seen[-1] - began) * 1000)
            reads = records.tasks.reads / CHANGES
            for one in following:
                one.cancel()
            await asyncio.wait(following)
        await records.close()
    return Run(reads, statistics.median(first), statistics.median(last), max(last))


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        run = runner.run(measure(int(sys.argv[1])))
    sys.stdout.write(msgspec.json.encode(run).decode())
