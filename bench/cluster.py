"""What a cluster of three costs its client: CPU per command against one server, in one run.

Each runs in a process of its own (`python -m bench.cluster NAME ADDRESS`) and prints its cost as JSON.
"""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import uvloop

from bench.common import BODY, KEYS, Cost, cost
from bench.hits import Read, unloaded
from greenroom import Greenroom
from greenroom.engine import Address, Channel, engine_at
from greenroom_platform.definitions import TOPIC as KEYSPACE
from greenroom_platform.models import Topic
from tests.support.real_cluster import Cluster
from tests.support.real_servers import valkey_binary

TURNS = 3
"""Processes of each kind, in turns, so that what else the machine does falls on both."""


@contextmanager
def cluster() -> Iterator[str]:
    """A cluster with the keys of the reading benchmarks; gives its address."""
    with tempfile.TemporaryDirectory(prefix="greenroom-bench-") as directory:
        one = Cluster(valkey_binary(), Path(directory), timeout=60_000)
        try:
            one.start()
            asyncio.run(_fill(one.address))
            yield one.address
        finally:
            one.stop()


async def _fill(address: str) -> None:
    engine = engine_at(Address.parse(address))
    await engine.start()
    for number in range(KEYS):
        key = f"cache:topic:t{number}"
        await engine.execute(Channel.PLAIN, key, "SET", key, BODY, "EX", 3600)
    await engine.close()


@asynccontextmanager
async def channel(address: str) -> AsyncIterator[Read]:
    """The engine alone: one GET and a decode."""
    engine = engine_at(Address.parse(address))
    await engine.start()
    decode = msgspec.json.Decoder(Topic).decode

    async def read(topic_id: str) -> Topic:
        key = "cache:topic:" + topic_id
        sent = engine.send(Channel.PLAIN, key, (("GET", key),))
        assert sent is not None
        return decode((await sent)[0])

    yield read
    await engine.close()


@asynccontextmanager
async def cache(address: str) -> AsyncIterator[Read]:
    """A cache with the near cache off."""
    async with Greenroom(address) as room:
        yield room.cache(KEYSPACE, load=unloaded, near_for=timedelta(0)).get


CONTENDERS: dict[str, Callable[[str], Any]] = {"engine": channel, "cache": cache}


def costs(name: str, address: str, clustered: str) -> tuple[list[float], list[float]]:
    """Client CPU per read in microseconds, of one server and of a cluster, of each turn."""
    found: dict[str, list[float]] = {address: [], clustered: []}
    for _ in range(TURNS):
        for at, costs in found.items():
            command = [sys.executable, "-m", "bench.cluster", name, at]
            run = subprocess.run(command, capture_output=True, check=True)
            costs.append(msgspec.json.decode(run.stdout, type=Cost).cpu)
    return found[address], found[clustered]


async def measure(name: str, address: str) -> None:
    """Print the cost of one contender."""
    async with CONTENDERS[name](address) as read:
        print(msgspec.json.encode(await cost(read)).decode())


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(measure(sys.argv[1], sys.argv[2]))
