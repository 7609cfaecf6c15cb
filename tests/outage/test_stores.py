"""A store without its server: no write is sent twice or later, and nothing old is answered."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest

from greenroom import Greenroom, Keyspace, Store
from greenroom.engine import Channel
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
    "set_many": lambda store: store.set_many({"a": 1, "b": 2}),
}
CERTAIN: dict[str, Call] = {"delete": lambda store: store.delete("d"), "touch": lambda store: store.touch("d")}
CERTAIN |= {
    "get_many": lambda store: store.get_many(["a", "b"]),
    "delete_many": lambda store: store.delete_many(["a", "b"]),
}


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


MANY: dict[str, tuple[Call, object, list[int | None]]] = {
    "get_many": (lambda store: store.get_many(["a", "b"]), [1, 2], [1, 2]),
    "delete_many": (lambda store: store.delete_many(["a", "b"]), 2, [None, None]),
    "set_many": (lambda store: store.set_many({"a": 3, "b": 4}), None, [3, 4]),
}


@pytest.mark.one_kind
@pytest.mark.parametrize("name", MANY)
async def test_many_that_were_not_sent_yet_are_sent_on_the_next_connection(server: Server, name: str) -> None:
    call, answer, then = MANY[name]
    async with Greenroom(server.address, sessions=False) as room:
        store = room.store(COUNT)
        await store.set_many({"a": 1, "b": 2})
        asked = asyncio.ensure_future(call(store))
        await asyncio.sleep(0)  # queued, and not written
        room.engine.reset(Channel.TRACKED, "count:a", "of this test")
        assert await asked == answer
        assert await store.get_many(["a", "b"]) == then


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
