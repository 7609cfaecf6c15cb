"""A store without its server: no write is sent twice or later, and nothing old is answered."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest

from greenroom import Greenroom, Keyspace, Store
from greenroom.errors import EngineUnavailable, OutcomeUnknown
from tests.support.patience import until
from tests.support.real_servers import Server

COUNT = Keyspace("count:{day}", int, ttl=timedelta(minutes=10))
Call = Callable[[Store[int]], Awaitable[object]]


async def conditional(store: Store[int]) -> object:
    return await store._tier.compare_and_set("count:d", b"1", 2, 60_000)


UNCERTAIN: dict[str, Call] = {
    "set": lambda store: store.set(5, day="d"),
    "add": lambda store: store.add(5, day="e"),
    "increment": lambda store: store.increment(day="d"),
    "compare_and_set": conditional,
}
CERTAIN: dict[str, Call] = {"delete": lambda store: store.delete("d"), "touch": lambda store: store.touch("d")}


@pytest.mark.one_kind
@pytest.mark.parametrize("name", UNCERTAIN)
async def test_a_write_without_an_answer_is_of_unknown_outcome(server: Server, name: str) -> None:
    async with Greenroom(server.address, sessions=False) as room:
        store = room.store(COUNT)
        await store.set(1, day="d")
        await store.increment(create=False, day="z")  # the server knows the scripts
        await conditional(store)
        assert await store.get("d") == await store.get("d") == 2
        with server.frozen():
            with pytest.raises(OutcomeUnknown):
                await UNCERTAIN[name](store)
            with pytest.raises(EngineUnavailable):
                await store.get("d")  # and not the old value of this process


@pytest.mark.one_kind
@pytest.mark.parametrize("name", CERTAIN)
async def test_what_may_be_repeated_says_that_the_server_is_away(server: Server, name: str) -> None:
    async with Greenroom(server.address, sessions=False) as room:
        with server.frozen(), pytest.raises(EngineUnavailable):
            await CERTAIN[name](room.store(COUNT))


async def test_no_delete_is_kept_for_the_servers_return(server: Server) -> None:
    """A delete is not acknowledged · a set is, at the successor · the delete, sent again, would lose it."""
    async with Greenroom(server.address, sessions=False) as room:
        store = room.store(COUNT)
        await store.set(1, day="d")
        server.kill()
        await until(lambda: room.unavailable is not None)
        with pytest.raises(EngineUnavailable):
            await store.delete("d")
        server.start()
        raw = server.raw()
        raw("SET", "count:d", "7", "PX", 60_000)
        await until(lambda: room.unavailable is None)
        assert await store.get("d") == 7
        assert raw("GET", "count:d") == b"7"
        raw.close()
