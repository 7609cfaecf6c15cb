"""The store for Litestar: its interface, and Litestar's own response cache, sessions and rate limits on it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any

import pytest
from litestar import Litestar, Request, get, post
from litestar.middleware.rate_limit import RateLimitConfig
from litestar.middleware.session.server_side import ServerSideSessionConfig
from litestar.params import FromQuery
from litestar.stores.registry import StoreRegistry

from greenroom import Greenroom
from greenroom.errors import EngineError, InvalidInput
from greenroom.integrations.litestar import GreenroomPlugin
from greenroom.integrations.litestar_store import GENERATIONS, GreenroomStore
from greenroom.testing.http import http_client
from tests.support.patience import until
from tests.support.real_servers import Raw, Server


@pytest.fixture
async def rooms(valkey: Server) -> AsyncIterator[list[Greenroom]]:
    """Two rooms, one as each process has."""
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(Greenroom(valkey.address)) for _ in range(2)]


@pytest.fixture
async def stores(rooms: list[Greenroom]) -> list[GreenroomStore]:
    return [GreenroomStore(room) for room in rooms]


@pytest.mark.parametrize("key", ["a", "", "with space/ü", "x" * 300, "a:b*?"])
async def test_what_is_set_is_got_in_each_process_until_it_is_deleted(stores: list[GreenroomStore], key: str) -> None:
    one, two = stores
    assert (await one.get(key), await one.exists(key)) == (None, False)
    await one.delete(key)
    for value in (b"\x00\xff", "text", b""):
        await one.set(key, value)
        data = value.encode() if isinstance(value, str) else value
        assert await one.get(key) == data
        async with asyncio.timeout(30):
            while await two.get(key) != data:
                await asyncio.sleep(0)
        assert await two.exists(key)
    await two.delete(key)
    assert (await two.get(key), await two.exists(key)) == (None, False)


async def test_a_value_is_gone_after_its_time(stores: list[GreenroomStore], rooms: list[Greenroom]) -> None:
    store = stores[0]
    await store.set("a", b"1", expires_in=timedelta(milliseconds=1))
    async with asyncio.timeout(30):
        while await store.exists("a"):
            await asyncio.sleep(0.001)
    for nothing in (0, -1, timedelta(0)):
        await store.set("a", b"1")
        await store.set("a", b"2", expires_in=nothing)
        assert await store.get("a") is None


async def test_it_says_how_long_a_value_lives_and_renews_it(stores: list[GreenroomStore]) -> None:
    store = stores[0]
    assert await store.expires_in("a") is None
    await store.set("a", b"1", expires_in=1000)
    assert await store.expires_in("a") in range(940, 1001)
    assert await store.get("a") == b"1"
    assert await store.expires_in("a") in range(940, 1001)
    assert await store.get("a", renew_for=10_000) == b"1"
    assert await store.expires_in("a") in range(9940, 10_001)
    assert await store.get("a", renew_for=timedelta(days=2)) == b"1"
    assert await store.expires_in("a") in range(2 * 86400 - 60, 2 * 86400 + 1)
    assert await store.get("nothing", renew_for=5) is None
    assert await store.get("a", renew_for=10**15) == b"1"  # above what a timedelta holds: for ever
    await store.set("a", b"2", expires_in=1000)
    assert await store.get("a", renew_for=-1) == b"2"
    async with asyncio.timeout(30):
        while await store.exists("a"):
            await asyncio.sleep(0.001)


@pytest.mark.parametrize(
    ("field", "value", "options"),
    [("value", 5, {}), ("expires_in", b"", {"expires_in": "5"}), ("expires_in", b"", {"expires_in": True})],
)
async def test_what_is_no_value_and_no_time_is_named(
    stores: list[GreenroomStore], field: str, value: Any, options: dict[str, Any]
) -> None:
    with pytest.raises(InvalidInput, match=f"{field}: is "):
        await stores[0].set("a", value, **options)
    with pytest.raises(InvalidInput, match="renew_for: is str, no time; give seconds"):
        await stores[0].get("a", renew_for="5")  # type: ignore[arg-type]


async def test_what_was_given_no_time_has_none_and_is_not_renewed(stores: list[GreenroomStore]) -> None:
    store = stores[0]
    await store.set("a", b"1")
    assert await store.get("a", renew_for=10) == b"1"
    assert await store.expires_in("a") is None
    await store.set("a", b"1", expires_in=1000)
    await store.set("a", b"2")
    assert await store.expires_in("a") is None


async def test_delete_all_empties_a_namespace_and_those_below(stores: list[GreenroomStore]) -> None:
    one, two = stores
    parent, other = one.with_namespace("parent"), one.with_namespace("other")
    child = parent.with_namespace("child")
    deep = child
    for _ in range(20):
        deep = deep.with_namespace("deeper")
    for store in (one, parent, other, child, deep):
        await store.set("a", b"1")
    assert await deep.get("a") == b"1"
    await child.delete_all()
    assert [await store.get("a") for store in (one, parent, other, child)] == [b"1", b"1", b"1", None]
    assert await deep.get("a") is None
    await child.set("a", b"2")
    seen = two.with_namespace("parent").with_namespace("child")
    assert await seen.get("a") == b"2"
    await parent.delete_all()
    assert [await store.get("a") for store in (one, parent, other, child)] == [b"1", None, b"1", None]
    async with asyncio.timeout(30):
        while await seen.get("a") is not None:
            await asyncio.sleep(0)


async def test_a_generation_that_is_evicted_brings_nothing_back(stores: list[GreenroomStore], valkey: Server) -> None:
    store = stores[0]
    await store.set("a", b"deleted")
    await store.delete_all()
    raw = Raw(valkey.port)
    assert raw("DEL", GENERATIONS.key(space="LITESTAR")) == 1
    raw.close()
    await until(lambda: store._room.state().near_entries == 0)
    assert await store.get("a") is None


async def test_without_the_server_it_raises_or_counts_as_empty(
    rooms: list[Greenroom], stores: list[GreenroomStore], valkey: Server
) -> None:
    strict, lax = stores[0], GreenroomStore(rooms[0], misses=True)
    valkey.kill()
    await lax.set("a", b"1")
    assert (await lax.get("a"), await lax.exists("a"), await lax.expires_in("a")) == (None, False, None)
    for call in (
        strict.set("a", b"1"),
        strict.get("a"),
        strict.exists("a"),
        strict.expires_in("a"),
        lax.delete("a"),
        lax.delete_all(),
        lax.with_namespace("b").delete("a"),
    ):
        with pytest.raises(EngineError):
            await call


def test_a_namespace_that_cannot_be_is_refused() -> None:
    room = Greenroom(sessions=False)
    with pytest.raises(InvalidInput, match="namespace"):
        GreenroomStore(room, "")
    with pytest.raises(InvalidInput, match="namespace"):
        GreenroomStore(room).with_namespace("")


# Litestar's own -----------------------------------------------------------------------------------


@pytest.fixture
async def clients(valkey: Server) -> AsyncIterator[list[Any]]:
    """Clients of two processes that serve one application."""
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(http_client(application(valkey.address))) for _ in range(2)]
        yield clients


def application(address: str) -> Litestar:
    room = Greenroom(address)
    calls = 0

    @get("/cached", cache=60)
    async def cached() -> str:
        nonlocal calls
        calls += 1
        return f"{id(room)} {calls}"

    @post("/basket")
    async def put(request: Request[Any, Any, Any], item: FromQuery[str]) -> list[str]:
        basket = [*request.session.get("basket", []), item]
        request.session["basket"] = basket
        return basket

    @post("/log-out")
    async def log_out(request: Request[Any, Any, Any]) -> None:
        request.clear_session()

    limited = RateLimitConfig(("minute", 3), exclude=["/cached", "/basket", "/log-out"])

    @get("/limited")
    async def rare() -> None: ...

    store = GreenroomStore(room)
    return Litestar(
        [cached, put, log_out, rare],
        plugins=[GreenroomPlugin(room)],
        stores=StoreRegistry(default_factory=store.with_namespace),
        middleware=[ServerSideSessionConfig(renew_on_access=True).middleware, limited.middleware],
    )


async def test_litestars_response_cache_is_shared_by_its_processes(clients: list[Any]) -> None:
    answers = [(await client.get("/cached")).text for client in (*clients, *clients)]
    assert len(set(answers)) == 1


async def test_litestars_sessions_go_on_in_another_process_and_end(clients: list[Any]) -> None:
    one, two = clients
    assert (await one.post("/basket?item=tea")).json() == ["tea"]
    two.cookies.update(one.cookies)
    assert (await two.post("/basket?item=milk")).json() == ["tea", "milk"]
    assert (await one.post("/basket?item=salt")).json() == ["tea", "milk", "salt"]
    await two.post("/log-out")
    assert (await one.post("/basket?item=tea")).json() == ["tea"]


async def test_litestars_rate_limit_counts_in_all_processes(clients: list[Any]) -> None:
    one, two = clients
    statuses = [(await client.get("/limited")).status_code for client in (one, two, one, two, one)]
    assert statuses == [200, 200, 200, 429, 429]
