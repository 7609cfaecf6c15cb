"""Loaders belong to the room and to no caller: they run in its context, and end with it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from contextvars import ContextVar
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from greenroom import Greenroom, Keyspace
from greenroom.errors import LoadFailed, RoomClosed
from greenroom.progress import Order
from tests.support.real_servers import Server

MINUTES = timedelta(minutes=5)
TENANT = ContextVar("tenant", default="none")
ORDER = Order("queued", "ready", failure="error")


class Show(msgspec.Struct, frozen=True):
    show_id: str
    status: str = "queued"


SHOW = Keyspace("show:{show_id}", Show, ttl=MINUTES)


@pytest.mark.own_limits
async def test_loaders_run_in_the_context_in_which_the_room_was_opened(valkey: Server) -> None:
    seen: list[str] = []

    async def loads(show_id: str) -> Show:
        seen.append(TENANT.get())
        TENANT.set("of another load")
        return Show(show_id, "ready")

    def loads_plainly(show_id: str) -> Show:
        seen.append(TENANT.get())
        return Show(show_id, "ready")

    async def loads_many(ids: Sequence[str]) -> list[Show]:
        return [await loads(one) for one in ids[:1]] + [Show(one) for one in ids[1:]]

    def status(show: Show) -> str:
        seen.append(TENANT.get())
        return show.status

    stale = Keyspace("stale:{id}", Show, ttl=MINUTES, fresh=timedelta(milliseconds=1), jitter=0.0)
    TENANT.set("of the opening")
    refreshed = asyncio.Event()

    async def refreshes(id: str) -> Show:
        seen.append(TENANT.get())
        if len(seen) > 1:
            refreshed.set()
        return Show(id)

    async with Greenroom(valkey.address, sessions=False) as room, asyncio.timeout(30):
        one = room.cache(SHOW, load=loads)
        plain = room.cache(Keyspace("plain:{id}", Show, ttl=MINUTES), load=loads_plainly)
        many = room.cache(Keyspace("many:{id}", Show, ttl=MINUTES), load=loads, load_many=loads_many)
        old = room.cache(stale, load=refreshes)
        jobs = room.progress(Keyspace("jobs:{id}", Show, ttl=MINUTES), load=loads, order=ORDER, status=status)
        TENANT.set("of the first caller")
        for ask in (
            lambda: one.get("a"),
            lambda: one.get_result("b"),
            lambda: one.get_many(["c"]),
            lambda: plain.get("a"),
            lambda: many.get_many(["a", "b"]),
        ):
            await ask()
        assert seen == ["of the opening"] * 5
        seen.clear()
        assert [one async for one in jobs.follow("a")] == [Show("a", "ready")]
        assert seen[:2] == ["of the opening"] * 2, "the load, and the status of what it has found"
        seen.clear()
        while not refreshed.is_set():
            await old.get("a")
        assert set(seen) == {"of the opening"}


async def test_a_load_under_way_when_the_room_closes_ends_with_room_closed(valkey: Server) -> None:
    began = asyncio.Event()

    async def hangs(show_id: str) -> Show:
        began.set()
        await asyncio.Event().wait()
        raise AssertionError

    async def hangs_for_many(ids: Sequence[str]) -> list[Show]:
        return [await hangs(one) for one in ids]

    room = Greenroom(valkey.address, sessions=False)
    one = room.cache(SHOW, load=hangs)
    many = room.cache(Keyspace("many:{id}", Show, ttl=MINUTES), load=hangs, load_many=hangs_for_many)
    asks: tuple[Callable[[], Coroutine[Any, Any, object]], ...] = (
        lambda: one.get("a"),
        lambda: one.get_many(["a", "b"]),
        lambda: many.get_many(["a", "b"]),
    )
    for ask in asks:
        began.clear()
        async with room, asyncio.timeout(30):
            callers = [asyncio.create_task(ask()) for _ in range(2)]
            cancelled = asyncio.create_task(ask())
            await began.wait()
            cancelled.cancel()
        async with asyncio.timeout(30):
            results = await asyncio.gather(*callers, cancelled, return_exceptions=True)
        assert [type(result) for result in results] == [RoomClosed, RoomClosed, asyncio.CancelledError]


@pytest.mark.parametrize("together", [True, False])
async def test_a_loader_that_is_cancelled_by_itself_fails_and_cancels_no_caller(valkey: Server, together: bool) -> None:
    async def cancelled(parts: object) -> Any:
        await asyncio.sleep(0)
        raise asyncio.CancelledError

    async with Greenroom(valkey.address, sessions=False) as room, asyncio.timeout(30):
        cache = room.cache(SHOW, load=cancelled, load_many=cancelled)
        with pytest.raises(LoadFailed, match="CancelledError"):
            await (cache.get_many(["a", "b"]) if together else cache.get("a"))
