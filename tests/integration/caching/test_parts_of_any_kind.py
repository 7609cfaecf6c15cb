"""Keys with parts of every kind, over a real server: what the loader is given, what stands there, and the groups."""

from __future__ import annotations

from datetime import date, timedelta
from uuid import UUID

import msgspec

from greenroom import Greenroom, Keyspace, Number, Outcome, Text
from tests.support.real_servers import Server

ID = UUID("0123abcd-0000-4000-8000-0000000000ff")
DAY = date(2026, 11, 29)


class Visit(msgspec.Struct, frozen=True):
    text: str


VISIT = Keyspace(
    "visits:{shop}:{number}:{id}:{day}:{query}",
    Visit,
    parts={"number": Number(1, 9), "id": UUID, "day": date, "query": Text()},
    ttl=timedelta(minutes=1),
)
ASKED = "s1", 7, ID, DAY, "red shoes, 50 % off"
KEY = "visits:s1:7:0123abcd-0000-4000-8000-0000000000ff:2026-11-29:red%20shoes%2C%2050%20%25%20off"


async def test_a_loader_is_given_the_parts_as_they_were_asked_for(valkey: Server) -> None:
    given: list[tuple[object, ...]] = []

    room = Greenroom(valkey.address, sessions=False)

    @room.cached(VISIT, groups=["days:{day}", "queries:{query}"])
    async def visit(shop: str, number: int, id: UUID, day: date, query: str) -> Visit | None:
        given.append((shop, number, id, day, query))
        return Visit(query)

    async with room:
        assert await visit(*ASKED) == Visit(ASKED[-1])
        assert given == [ASKED]
        assert valkey.raw()("GET", KEY) == b'{"text":"red shoes, 50 % off"}'
        assert (await visit.get_result(*ASKED)).outcome is Outcome.NEAR
        assert await visit.get_many([ASKED, (*ASKED[:-1], "x" * 200)]) == [Visit(ASKED[-1]), Visit("x" * 200)]
        async with room.changing(visit.of(*ASKED)):
            pass
        assert (await visit.get_result(*ASKED)).outcome is Outcome.LOADED
        for group, parts in (("days:{day}", {"day": DAY}), ("queries:{query}", {"query": ASKED[-1]})):
            await visit.get(*ASKED)
            await visit.invalidate_group(group, **parts)
            assert (await visit.get_result(*ASKED)).outcome is Outcome.LOADED


async def test_one_part_of_each_kind_is_given_by_position(valkey: Server) -> None:
    async with Greenroom(valkey.address, sessions=False) as room:
        for kind, part, key in (
            (UUID, ID, f"one_uuid:{ID}"),
            (date, DAY, "one_date:2026-11-29"),
            (int, -5, "one_int:-5"),
            (Text(), "a b", "one_text:a%20b"),
            (str, "a-b", "one_str:a-b"),
        ):
            name = key.partition(":")[0]
            keyspace = Keyspace(f"{name}:{{part}}", str, parts={"part": kind}, ttl=timedelta(minutes=1))
            given: list[object] = []

            async def load(part: object, given: list[object] = given) -> str:
                given.append(part)
                return repr(part)

            cache = room.cache(keyspace, load=load)
            assert await cache.get_many([part]) == [await cache(part)] == [repr(part)]
            assert given == [part]
            assert valkey.raw()("EXISTS", key) == 1
