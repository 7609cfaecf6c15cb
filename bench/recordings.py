"""What one 32 KB range of a recording costs in CPU: read from a file, by obstore from a directory, and from S3.

`python -m bench.recordings`. The S3 server is SeaweedFS on this machine; its own CPU is not counted.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from bench.common import Cost
from greenroom_platform.studio.recording_opening import open_recordings
from greenroom_platform.studio.recording_store import RecordingStore
from tests.support import s3_server

RANGE = 32 * 1024
SIZE = 2_000_000
"""Bytes of the recording: eight minutes."""
ROUNDS, READS = 5, 400
NAME = "p.1.webm"


async def measured(read: Callable[[int], Awaitable[object]]) -> Cost:
    """The median over the rounds, of this process with all its threads."""
    cpu, wall = [], []
    for _ in range(ROUNDS + 1):
        began, worked = time.perf_counter(), time.process_time()
        for number in range(READS):
            await read(number * 4096 % (SIZE - RANGE))
        cpu.append((time.process_time() - worked) / READS * 1e6)
        wall.append((time.perf_counter() - began) / READS * 1e6)
    # The first is a warm-up.
    return Cost(statistics.median(cpu[1:]), statistics.median(wall[1:]))


async def of_file(path: Path) -> Cost:
    """A file that stays open, read on a thread: as one host without an object store would do."""
    handle = os.open(path, os.O_RDONLY)
    try:
        return await measured(lambda at: asyncio.to_thread(os.pread, handle, RANGE, at))
    finally:
        os.close(handle)


async def of_store(store: RecordingStore) -> Cost:
    """A range of an object, as a listener's block is read."""
    await store.create(NAME, os.urandom(SIZE))
    try:
        return await measured(lambda at: store.get(NAME, at, at + RANGE))
    finally:
        await store.delete(NAME)


async def main() -> None:
    """Measure and print."""
    costs: dict[str, Cost] = {}
    with tempfile.TemporaryDirectory(prefix="greenroom-bench-") as name:
        directory = Path(name)
        (directory / "file").write_bytes(os.urandom(SIZE))
        costs["file"] = await of_file(directory / "file")
        costs["directory by obstore"] = await of_store(open_recordings(str(directory / "recordings"), None))
        (directory / "s3").mkdir()
        try:
            server = s3_server.start(directory / "s3")
        except s3_server.CannotRun as error:
            print(f"S3 is not measured: {error}")
        else:
            os.environ.update(server.environ)
            try:
                costs["S3 by obstore"] = await of_store(open_recordings(f"s3://{s3_server.BUCKET}/bench", None))
            finally:
                server.kill()
    print(f"a range of {RANGE // 1024} KB, {ROUNDS} rounds of {READS}, one after another")
    for kind, cost in costs.items():
        print(f"{kind:>22}: {cost.cpu:6.0f} µs CPU of this process, {cost.wall:6.0f} µs elapsed")


if __name__ == "__main__":
    asyncio.run(main())
