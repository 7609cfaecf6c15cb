"""What tests of outages share: an address where nobody listens, the breaker, reads to be answered in time, pages."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from time import monotonic
from typing import Any

from greenroom.caching import Cache, CacheResult, Outcome
from greenroom.caching.invalidation import Backing
from greenroom.engine import Channel
from greenroom.engine.transport.supervisor import SupervisedConnection
from greenroom.keyspace import Keyspace
from tests.support.episode_caches import Episode
from tests.support.patience import until
from tests.support.real_servers import free_port

BOUND = 20.0
"""Seconds that a read may take whose loader takes none: half a second of commands, one to notice, a busy machine."""


PAGE = Keyspace("cache:page:{show}:{number}", Episode, ttl=timedelta(minutes=30))


class Shows:
    """A loader of pages, all of one version."""

    def __init__(self) -> None:
        self.version = 1

    async def __call__(self, show: str, number: str) -> Episode:
        return Episode(f"{show}{number}", self.version)


def pages_of(backing: Backing, load: Shows) -> Cache[Episode]:
    return Cache(PAGE, load, backing=backing, groups=["pages:{show}"], near_for=0)


class Nowhere:
    """A server that is not there."""

    def __init__(self) -> None:
        self.address = f"valkey://127.0.0.1:{free_port()}"


def link_of(backing: Backing) -> SupervisedConnection:
    """The tracked connection's link."""
    return backing.engine._node._links[Channel.TRACKED]  # type: ignore[attr-defined, no-any-return]


async def broken(backing: Backing) -> Backing:
    """Return when calls fail at once."""
    await until(lambda: link_of(backing).circuit_open, 20)
    return backing


async def connected(backing: Backing) -> None:
    """Return when the server can be asked."""
    await until(lambda: link_of(backing).connection is not None, 20)


async def answered(cache: Cache[Any], *ids: str) -> list[CacheResult[Episode]]:
    """Read these together; each has its value, in time."""

    async def one(episode_id: str) -> CacheResult[Episode]:
        began = monotonic()
        read: CacheResult[Episode] = await cache.get_result(episode_id)
        assert monotonic() - began < BOUND
        assert read.value == Episode(episode_id)
        return read

    return list(await asyncio.gather(*(one(episode_id) for episode_id in ids)))


def outcomes(reads: list[CacheResult[Episode]]) -> set[Outcome]:
    """How reads were answered."""
    return {read.outcome for read in reads}


async def until_hit(cache: Cache[Any], episode_id: str = "e1") -> None:
    """Read until the server answers again."""
    async with asyncio.timeout(20):
        while outcomes(await answered(cache, episode_id)) != {Outcome.HIT}:
            await asyncio.sleep(0.01)
