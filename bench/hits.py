"""Hits in the server and in the process: Greenroom, and what one would otherwise write or import.

Each contender runs in a process of its own (`python -m bench.hits NAME PORT`) and prints its cost as JSON.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import msgspec
import uvloop

from bench.common import BODY, KEYS, TOPIC, cost, cost_together
from greenroom import Greenroom
from greenroom.engine import Address, Channel
from greenroom.engine.server.standalone import Standalone
from greenroom_platform.definitions import TOPIC as KEYSPACE
from greenroom_platform.models import Topic

Read = Callable[[str], Awaitable[object]]


async def unloaded(_: str) -> None:
    """A loader that is never called."""
    raise AssertionError("every read of this benchmark is a hit")


@asynccontextmanager
async def bare(port: int) -> AsyncIterator[Read]:
    """The engine alone: one multiplexed GET and a decode."""
    engine = Standalone(Address.parse(f"valkey://127.0.0.1:{port}"))
    await engine.start()
    decode = msgspec.json.Decoder(Topic).decode

    async def read(topic_id: str) -> Topic:
        sent = engine.send(Channel.PLAIN, "", (("GET", "cache:topic:" + topic_id),))
        assert sent is not None
        return decode((await sent)[0])

    yield read
    await engine.close()


@asynccontextmanager
async def greenroom(port: int) -> AsyncIterator[Read]:
    """A cache with the near cache off."""
    async with Greenroom(f"valkey://127.0.0.1:{port}") as room:
        yield room.cache(KEYSPACE, load=unloaded, near_for=timedelta(0)).get


@asynccontextmanager
async def together(port: int) -> AsyncIterator[Callable[[list[str]], Awaitable[object]]]:
    """The same, where each reader asks for all its keys at once."""
    async with Greenroom(f"valkey://127.0.0.1:{port}") as room:
        yield room.cache(KEYSPACE, load=unloaded, near_for=timedelta(0)).get_many


@asynccontextmanager
async def redis_py(port: int) -> AsyncIterator[Read]:
    """redis-py and msgspec by hand."""
    from redis.asyncio import Redis

    client = Redis(port=port)
    decode = msgspec.json.Decoder(Topic).decode

    async def read(topic_id: str) -> Topic:
        body = await client.get("cache:topic:" + topic_id)
        assert isinstance(body, bytes)
        return decode(body)

    yield read
    await client.aclose()


@asynccontextmanager
async def glide(port: int) -> AsyncIterator[Read]:
    """valkey-glide and msgspec by hand."""
    from glide import GlideClient, GlideClientConfiguration, NodeAddress

    client = await GlideClient.create(GlideClientConfiguration([NodeAddress("127.0.0.1", port)]))
    decode = msgspec.json.Decoder(Topic).decode

    async def read(topic_id: str) -> Topic:
        body = await client.get("cache:topic:" + topic_id)
        assert isinstance(body, bytes)
        return decode(body)

    yield read
    await client.close()


@asynccontextmanager
async def fastapi_sdk(port: int) -> AsyncIterator[Read]:
    """The official FastAPI SDK's cache backend with a pydantic model."""
    from datetime import datetime

    from pydantic import BaseModel
    from redis.asyncio import Redis
    from redis_fastapi import CacheBackend, pydantic_model_coder

    class Model(BaseModel):
        topic_id: str
        display_name: str
        description: str
        keywords: list[str]
        created_at: datetime
        updated_at: datetime

    client = Redis(port=port)
    backend = CacheBackend(client, coder=pydantic_model_coder(Model))
    for number in range(KEYS):
        await backend.set(f"t{number}", Model.model_validate_json(BODY), ttl=3600)
    yield backend.get
    await client.aclose()


@asynccontextmanager
async def near_greenroom(port: int) -> AsyncIterator[Read]:
    """A cache whose every read is a near hit."""
    async with Greenroom(f"valkey://127.0.0.1:{port}") as room:
        cache = room.cache(KEYSPACE, load=unloaded, near_for=timedelta(seconds=3600))
        for number in range(KEYS):
            await cache.get(f"t{number}")
        yield cache.get


@asynccontextmanager
async def near_cashews(port: int) -> AsyncIterator[Read]:
    """cashews' memory tier."""
    from cashews import Cache

    cache = Cache()
    cache.setup("mem://?size=10000")

    async def read(topic_id: str) -> Topic:
        return TOPIC

    through: Any = cache(ttl=3600, key="topic:{topic_id}")
    yield through(read)
    await cache.close()


@asynccontextmanager
async def near_aiocache(port: int) -> AsyncIterator[Read]:
    """aiocache's memory tier."""
    from aiocache import Cache, cached

    async def read(topic_id: str) -> Topic:
        return TOPIC

    yield cached(ttl=3600, cache=Cache.MEMORY, key_builder=lambda _, topic_id: f"topic:{topic_id}")(read)


@asynccontextmanager
async def admitting(port: int) -> AsyncIterator[tuple[Read, Callable[[], None]]]:
    """A cache with the near cache on and empty: each read is PTTL, GET and an insertion."""
    async with Greenroom(f"valkey://127.0.0.1:{port}") as room:
        cache = room.cache(KEYSPACE, load=unloaded)
        yield cache.get, room.forget_near


CONTENDERS: dict[str, Callable[[int], Any]] = {
    "bare": bare,
    "greenroom": greenroom,
    "together": together,
    "admitting": admitting,
    "redis-py": redis_py,
    "valkey-glide": glide,
    "fastapi-redis-sdk": fastapi_sdk,
    "near greenroom": near_greenroom,
    "near cashews": near_cashews,
    "near aiocache": near_aiocache,
}


async def measure(name: str, port: int) -> None:
    """Print the cost of one contender."""
    async with CONTENDERS[name](port) as contender:
        read, before = contender if isinstance(contender, tuple) else (contender, None)
        measured = cost_together(read) if name == "together" else cost(read, before=before)
        print(msgspec.json.encode(await measured).decode())


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(measure(sys.argv[1], int(sys.argv[2])))
