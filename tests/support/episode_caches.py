"""What tests of caches share: a small keyspace, a loader under control, and caches over a real server."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import msgspec

from greenroom.caching import Cache
from greenroom.caching.declaration_checks import declared_loader
from greenroom.caching.invalidation import Backing
from greenroom.caching.threads import LoaderThreads
from greenroom.clock import SYSTEM, Clock
from greenroom.counters import Counters
from greenroom.engine import Address, Channel, engine_at
from greenroom.keyspace import Keyspace

Back = Callable[..., Awaitable[Backing]]


class Episode(msgspec.Struct, frozen=True):
    episode_id: str
    version: int = 1


EPISODE = Keyspace("cache:episode:{episode_id}", Episode, ttl=timedelta(minutes=30), fresh=timedelta(minutes=15))
KEY = "cache:episode:e1"
LEASE = "lease:{cache:episode:e1}"
ABSENT = "absent:{cache:episode:e1}"


class Loads:
    """A loader that counts, and stops where a test wants it to."""

    def __init__(self) -> None:
        self.calls: list[Any] = []
        self.started = asyncio.Event()
        self.go = asyncio.Event()
        self.go.set()
        self.version = 1
        self.error: Exception | None = None

    async def __call__(self, episode_id: str) -> Episode | None:
        self.calls.append(episode_id)
        version = self.version
        self.started.set()
        await self.go.wait()
        if self.error is not None:
            raise self.error
        return Episode(episode_id, version) if version else None


def cache_of(backing: Backing, load: Any, keyspace: Keyspace[Any] = EPISODE, **options: Any) -> Cache[Any]:
    """A cache that keeps nothing near, unless the test asks for it."""
    options.setdefault("near_for", 0)
    return Cache(keyspace, declared_loader(keyspace, load, LoaderThreads), backing=backing, **options)


async def settled(cache: Cache[Any]) -> None:
    """Return when the pushes of all that was written to `KEY`'s server have been read: they precede a later reply."""
    await cache._backing.engine.execute(Channel.TRACKED, KEY, "PING")


async def open_backing(
    address: str, *, prefix: str = "", clock: Clock = SYSTEM, counters: Counters | None = None, **options: Any
) -> Backing:
    """A backing as a room makes it, its engine started."""
    counters = counters if counters is not None else Counters()
    engine = engine_at(Address.parse(address), clock=clock, counters=counters, **options)
    backing = Backing(engine, prefix, clock, counters)
    await engine.start()
    return backing
