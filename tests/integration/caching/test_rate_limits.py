"""Rate limits of a room: so many in any time, over all processes, whatever the server's clock is read at."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from greenroom import Greenroom
from greenroom.errors import InvalidInput, RoomNotOpen
from tests.support.proxy import Proxy
from tests.support.real_servers import Server

HOUR = timedelta(hours=1)


@pytest.mark.parametrize("sessions", [True, False])
async def test_all_processes_together_do_no_more_than_the_limit(server: Server, sessions: bool) -> None:
    one, two = (Greenroom(server.address, sessions=sessions, prefix="p:") for _ in range(2))
    limits = [room.rate_limit("exports", 10, per=HOUR) for room in (one, two)]
    async with one, two:
        waits = await asyncio.gather(*(limit.count("u1") for limit in limits for _ in range(20)))
        assert waits.count(0) == 10
        assert all(3500 < wait <= 3600 for wait in waits if wait)
        assert await limits[0].count("u2") == 0
        await limits[1].take_back("u1")
        assert await limits[0].count("u1") == 0
        assert await limits[0].count("u1") > 0
        await limits[0].forget("u1")
        assert await limits[1].count("u1") == 0
        raw = server.raw()
        assert all(key.startswith(b"p:greenroom:attempts:{") for key in raw("KEYS", "*attempts*"))
        assert b"u1" not in b"".join(raw("KEYS", "*"))  # hashed: it may be an address
        raw.close()


@pytest.mark.one_kind
async def test_a_lost_reply_uncounts_no_second_attempt(server: Server) -> None:
    async with Proxy(server) as proxy, Greenroom(proxy.address, sessions=False) as room:
        limit = room.rate_limit("exports", 3, per=HOUR)
        assert [await limit.count("u") for _ in range(3)] == [0, 0, 0]
        proxy.cut_reply_to("LTRIM")
        await limit.take_back("u")
        await room.ready()
        waits = [await limit.count("u") for _ in range(3)]
        assert waits.count(0) == 1


async def test_after_its_time_it_may_be_done_again(server: Server) -> None:
    async with Greenroom(server.address, sessions=False) as room:
        limit = room.rate_limit("quick", 1, per=timedelta(milliseconds=50))
        assert await limit.count("u") == 0
        async with asyncio.timeout(30):
            while await limit.count("u"):
                await asyncio.sleep(0.01)


async def test_a_limit_that_cannot_be_is_refused_by_name() -> None:
    room = Greenroom(sessions=False)
    for kind, number, per, field in (
        ("a", 0, HOUR, "limit"),
        ("a", True, HOUR, "limit"),
        ("a", 1, 60, "per"),
        ("a:b", 1, HOUR, "kind"),
    ):
        with pytest.raises(InvalidInput) as caught:
            room.rate_limit(kind, number, per=per)  # type: ignore[arg-type]
        assert caught.value.field == field
    limit = room.rate_limit("a", 1, per=HOUR)
    assert room.rate_limit("a", 1, per=HOUR).bound == limit.bound
    with pytest.raises(InvalidInput, match="has another limit already: 1 in 1:00:00"):
        room.rate_limit("a", 2, per=HOUR)
    with pytest.raises(RoomNotOpen):
        await limit.count("u")
