"""Reads whose callers, tasks or connections are lost at every await in turn: no lease, place or task is left behind."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest

from greenroom.caching import Cache
from greenroom.counters import Counters
from tests.support.episode_caches import KEY, LEASE, Episode, Loads, cache_of, open_backing
from tests.support.every_await import FAULTS, Fault, at_every_await
from tests.support.held import cut, held_by, quiet
from tests.support.real_servers import Server

IDS = ["e1", "e2"]
DEAD = b"b" * 32 + b":"
"""The lease of a process that is dead."""
Read = Callable[["Reads"], Coroutine[Any, Any, Any]]


class Reads:
    """A process that reads, and another that reads next."""

    def __init__(self, server: Server, ours: Cache[Any], theirs: Cache[Any], load: Loads, read: Read) -> None:
        self.raw = server.raw()
        self.ours = ours
        self.load = load
        self._theirs = theirs
        self._read = read

    def operation(self) -> Coroutine[Any, Any, Any]:
        return self._read(self)

    def cut(self) -> None:
        cut(self.ours._backing.engine)

    async def check(self) -> None:
        await quiet(self.ours._backing.engine)
        assert held_by(self.ours._backing, self.ours) == {}
        leases = {name: self.raw("GET", name) for name in self.raw("KEYS", "lease:*")}
        assert all(value.startswith((b"failed:", DEAD)) for value in leases.values()), leases
        self.load.error = None
        self.raw("DEL", *leases, "none")
        waits = self._theirs._backing.counters.cache_events
        for one in IDS:
            assert await self._theirs.get(one) == await self.ours.get(one) == Episode(one, self.load.version)
        assert not waits["cache_episode", "lease_wait"]


@asynccontextmanager
async def reads(
    server: Server, read: Read, begin: Callable[[Reads], None] | None = None, **options: Any
) -> AsyncIterator[Reads]:
    async with AsyncExitStack() as stack:
        load, caches = Loads(), list[Cache[Any]]()

        async def load_many(ids: Any) -> list[Episode | None]:
            return [await load(one) for one in ids]

        for _ in range(2):
            backing = await open_backing(server.address, counters=Counters())
            stack.push_async_callback(backing.close)
            caches.append(cache_of(backing, load, near_for=30, load_many=load_many, **options))
        trial = Reads(server, caches[0], caches[1], load, read)
        trial.raw("FLUSHALL")
        await caches[0].get("warm")
        if begin is not None:
            begin(trial)
        yield trial
        trial.raw.close()


async def get(trial: Reads) -> None:
    await trial.ours.get("e1")


async def get_many(trial: Reads) -> None:
    await trial.ours.get_many([{"episode_id": one} for one in IDS])


def stale(trial: Reads) -> None:
    """An old value, past its soft lifetime."""
    trial.raw("SET", KEY, b'{"episode_id":"e1","version":1}', "PX", 60_000)


def failing(trial: Reads) -> None:
    trial.load.error = ValueError()


def leased(trial: Reads) -> None:
    """Another process had the lease, and is dead."""
    trial.raw("SET", LEASE, DEAD, "PX", 100)


GROUP = {"groups": ["episodes:{episode_id}"]}


@pytest.mark.parametrize("fault", FAULTS, ids=str)
@pytest.mark.parametrize(
    ("read", "begin", "options"),
    [
        (get, None, {}),
        (get, None, GROUP),
        (get, stale, {}),
        (get, failing, {}),
        (get, leased, {}),
        (get_many, None, GROUP),
        (get_many, failing, {}),
    ],
    ids=["get", "get in a group", "get stale", "get failing", "get after a wait", "get_many", "get_many failing"],
)
async def test_a_read_lost_at_any_await_leaves_nothing_held(
    valkey: Server, fault: Fault, read: Read, begin: Any, options: dict[str, Any]
) -> None:
    awaits = await at_every_await(lambda: reads(valkey, read, begin, **options), fault)
    assert awaits >= 3
