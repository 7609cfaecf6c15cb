"""Groups of many keys: dropped together, each once, and none is lost where some of them fail."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenroom.caching import Cache
from greenroom.errors import EngineError, InvalidInput
from greenroom.keyspace import Keyspace, Number, Pattern
from tests.caches import Back
from tests.cluster import Cluster
from tests.races import PATIENT, Proxy, until
from tests.servers import Server
from tests.support.held import held_by, quiet

PAGES: Keyspace[tuple[int, ...]] = Keyspace(
    "cache:page:{show}:{n}", tuple[int, ...], ttl=timedelta(minutes=5), numbers={"n": Number(1, 10_000)}
)
LAST = 1200


class Pages:
    """A cache of pages whose record is a number."""

    def __init__(self) -> None:
        self.version = 1

    async def load(self, show: str, n: int) -> tuple[int, ...]:
        return (n, self.version)

    def cache(self, backing: Any) -> Cache[Any]:
        return Cache(PAGES, self.load, backing=backing, group="pages:{show}")


def parts(*numbers: int) -> list[dict[str, object]]:
    return [{"show": "s", "n": number} for number in numbers]


def calls(server: Server, command: str) -> int:
    lines = server.raw()("INFO", "commandstats").decode().splitlines()
    return sum(int(one.split("calls=")[1].split(",")[0]) for one in lines if one.startswith(f"cmdstat_{command}:"))


@pytest.mark.on_cluster
async def test_a_group_and_its_numbers_are_dropped(server: Server, back: Back) -> None:
    pages = Pages()
    ours, theirs = pages.cache(await back(server)), pages.cache(await back(server))
    some = parts(*range(1, 60))
    for cache in (ours, theirs, ours, theirs):
        await cache.get_many(some)
    server.raw()("SET", PAGES.key(show="s", n=900), b"[900,1]", "EX", 100)  # in no group
    pages.version = 2
    await ours.invalidate_numbered("n", range(1, LAST + 1), show="s")
    found = await ours.get_many(parts(*range(1, 60), 900))
    assert found == [(number, 2) for number in (*range(1, 60), 900)]
    assert held_by(ours._backing, ours) == {}


async def test_a_group_of_many_keys_takes_few_commands_and_each_key_one(valkey: Server, back: Back) -> None:
    cache = Pages().cache(await back(valkey))
    raw, group = valkey.raw(), cache._backing.groups.name("pages:s")
    for number in range(1, LAST + 1):
        raw("ZADD", group, number, PAGES.key(show="s", n=number))
    raw("CONFIG", "RESETSTAT")
    await cache.invalidate_numbered("n", range(1, LAST + 1), show="s")
    assert calls(valkey, "del") == 3
    assert len(cache._backing._kept) == LAST
    assert raw("EXISTS", group) == 0


async def test_many_are_forgotten_here_before_their_server_has_answered(valkey: Server, back: Back) -> None:
    async with Proxy(valkey) as proxy:
        cache = Pages().cache(await back(proxy, limits=PATIENT))
        await cache.get_many(parts(*range(1, 40)))
        assert len(cache._near) == 39
        delete = proxy.hold("DEL")
        drop = asyncio.create_task(cache.invalidate_numbered("n", range(1, 40), show="s"))
        await delete.reached.wait()
        assert len(cache._near) == 0
        delete.release()
        await drop


async def test_what_the_server_refuses_of_many_is_kept_and_sent_by_the_next_connection(
    valkey: Server, back: Back
) -> None:
    pages = Pages()
    cache = pages.cache(await back(valkey))
    some = parts(*range(1, 40))
    await cache.get_many(some)
    raw = valkey.raw()
    raw("CONFIG", "SET", "min-replicas-to-write", "1")
    pages.version = 2
    with pytest.raises(EngineError):
        await cache.invalidate_numbered("n", range(1, 40), show="s")
    assert cache._backing.unsent == 39
    assert await cache.get_many(some) == [(number, 2) for number in range(1, 40)]
    raw("CONFIG", "SET", "min-replicas-to-write", "0")
    await quiet(cache._backing.engine)
    await until(lambda: held_by(cache._backing, cache) == {})
    assert await cache.get_many(some) == [(number, 2) for number in range(1, 40)]
    assert raw("GET", PAGES.key(show="s", n=1)) == b"[1,2]"


async def test_what_has_moved_of_many_is_dropped_where_it_is(cluster: Cluster, back: Back) -> None:
    pages = Pages()
    cache = pages.cache(await back(cluster))
    some = parts(*range(1, 40))
    await cache.get_many(some)
    owners = cache._backing.engine._owners  # type: ignore[attr-defined]
    wrong = cluster.another(cluster.primaries[0])
    owners.of_slot[:] = [owners.at(("127.0.0.1", wrong.port))] * len(owners.of_slot)  # as if all were one node's
    pages.version = 2
    await cache.invalidate_numbered("n", range(1, 40), show="s")
    assert held_by(cache._backing, cache) == {}
    assert await cache.get_many(some) == [(number, 2) for number in range(1, 40)]


@given(first=st.integers(1, 10_000), count=st.integers(0, 40), before=st.booleans())
def test_numbered_keys_are_those_that_are_built_one_by_one(first: int, count: int, before: bool) -> None:
    numbers = range(first, min(first + count, 10_001))
    pattern = Pattern("p:{n}:{show}" if before else "p:{show}:{n}:x", numbers={"n": Number(1, 10_000)}, prefix="q:")
    assert pattern.numbered("n", numbers, show="s7") == [pattern.key(show="s7", n=number) for number in numbers]


@pytest.mark.parametrize("numbers", [range(3), range(9_990, 10_002)])
def test_numbers_out_of_their_bounds_are_refused(numbers: range) -> None:
    with pytest.raises(InvalidInput):
        PAGES.pattern.numbered("n", numbers, show="s")
