"""A cold key that 4 processes with 250 callers each miss together; `python -m bench.cold PORT RUN` is one of them."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from datetime import timedelta

import msgspec
import uvloop

from greenroom import Greenroom, Keyspace
from tests.support.real_servers import Server

PROCESSES = 4
CALLERS = 250
LOAD = 0.1
"""Seconds that the load takes."""


class Value(msgspec.Struct, frozen=True):
    """When the load ended, in seconds of the machine's monotonic clock."""

    ended: float


COLD = Keyspace("cache:cold:{run}", Value, ttl=timedelta(minutes=1))


class Run(msgspec.Struct):
    """Loads in all processes, and milliseconds from the end of the load to the last caller's answer."""

    loads: int
    slowest: float


async def member(port: int, run: str) -> None:
    """One process: says that it is ready, waits for a line, reads with many callers, says what came of it."""
    loads = 0

    async def load(_: str) -> Value:
        nonlocal loads
        loads += 1
        await asyncio.sleep(LOAD)
        return Value(time.monotonic())

    async with Greenroom(f"valkey://127.0.0.1:{port}") as room:
        cache = room.cache(COLD, load=load)
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)

        async def caller() -> float:
            value = await cache.get(run)
            assert value is not None
            return time.monotonic() - value.ended

        late = max(await asyncio.gather(*(caller() for _ in range(CALLERS))))
    sys.stdout.write(msgspec.json.encode(Run(loads, late * 1000)).decode() + "\n")


def once(server: Server, run: str) -> Run:
    """One cold key, read by all processes."""
    command = [sys.executable, "-m", "bench.cold", str(server.port), run]
    members = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(PROCESSES)
    ]
    for one in members:
        assert one.stdout is not None
        one.stdout.readline()
    results: list[Run] = []
    for one in members:
        assert one.stdin is not None
        one.stdin.write("go\n")
        one.stdin.flush()
    for one in members:
        results.append(msgspec.json.decode(one.communicate()[0], type=Run))
    return Run(sum(one.loads for one in results), max(one.slowest for one in results))


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(member(int(sys.argv[1]), sys.argv[2]))
