"""What a cluster of three costs a client beside one server: reads by the lane alone, and hits of a cache.

Each run is a process of its own (`python -m bench.cluster NAME ADDRESS`) and prints its cost as JSON.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import msgspec
import uvloop

from bench.common import BODY, KEYS, cost
from greenroom import Greenroom, Topic
from greenroom.engine import Address, Lane
from greenroom.engine.choice import engine_at
from greenroom.podcast.definitions import TOPIC
from tests.cluster import Cluster
from tests.servers import valkey_binary

Read = Callable[[str], Awaitable[object]]


@contextmanager
def cluster() -> Iterator[Cluster]:
    """Three primaries with a replica each, and the keys of the reading benchmarks."""
    with tempfile.TemporaryDirectory(prefix="greenroom-bench-") as directory:
        one = Cluster(valkey_binary(), Path(directory))
        one.start()
        try:
            asyncio.run(_fill(one.address))
            yield one
        finally:
            one.stop()


async def _fill(address: str) -> None:
    engine = engine_at(Address.parse(address))
    await engine.start()
    for number in range(KEYS):
        key = f"cache:topic:t{number}"
        await engine.execute(Lane.PLAIN, key, "SET", key, BODY, "EX", "3600")
    await engine.close()


@asynccontextmanager
async def lane(address: str) -> AsyncIterator[Read]:
    """The engine lane alone: a GET and a decode."""
    engine = engine_at(Address.parse(address))
    await engine.start()
    decode = msgspec.json.Decoder(Topic).decode

    async def read(topic_id: str) -> Topic:
        key = "cache:topic:" + topic_id
        return decode(await engine.execute(Lane.PLAIN, key, "GET", key))

    yield read
    await engine.close()


@asynccontextmanager
async def cache(address: str) -> AsyncIterator[Read]:
    """A cache with the near cache off."""

    async def none(_: str) -> None:
        raise AssertionError("every read of this benchmark is a hit")

    async with Greenroom.open(address) as room:
        yield room.cache(TOPIC, load=none, near_for=0).get


CONTENDERS = {"lane": lane, "cache": cache}


async def main() -> None:
    """Print the cost of one contender."""
    logging.disable(logging.WARNING)
    async with CONTENDERS[sys.argv[1]](sys.argv[2]) as read:
        sys.stdout.buffer.write(msgspec.json.encode(await cost(read)))


if __name__ == "__main__":
    uvloop.run(main())
