"""Keys with parts of every kind, over a real server: what the loader is given, what stands there, and the groups."""

from __future__ import annotations

import enum
import re
from collections.abc import Callable
from datetime import date, timedelta
from typing import Any
from uuid import UUID

import msgspec
import pytest

from greenroom import Greenroom, Keyspace, Number, Outcome, Text
from greenroom.errors import InvalidInput
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


class Size(str, enum.Enum):  # noqa: UP042 - a StrEnum formats as its text
    """A text that formats as its name."""

    SMALL = "s"


class Page(enum.IntEnum):
    """A whole number that is not written as one."""

    FIRST = 1


@pytest.mark.parametrize(
    ("kind", "asked", "given"),
    [
        (str, [1, "1"], "1"),
        (str, [ID, str(ID)], str(ID)),
        (str, [Size.SMALL, "s"], "s"),
        (Text(), [Size.SMALL, "s"], "s"),
        (Number(1, 9), [Page.FIRST, 1], 1),
    ],
)
async def test_parts_that_make_one_key_are_one_question_to_the_loader(
    valkey: Server, kind: Any, asked: list[Any], given: object
) -> None:
    """Each way to ask is the first in turn: alone, with others, and past the cache."""
    keyspace = Keyspace("one:{part}", str, parts={"part": kind}, ttl=timedelta(minutes=1))
    seen: list[object] = []

    async def load(part: object) -> str:
        seen.append(part)
        return repr(part)

    async def load_many(parts: Any) -> list[str]:
        return [await load(part) for part in parts]

    room = Greenroom(valkey.address, sessions=False)
    one = room.cache(keyspace, load=load, load_many=load_many)
    async with room:
        for part in asked:
            await one.invalidate(part)
            assert await one.get(part) == repr(given)
            await one.invalidate(part)
            assert await one.get_many([part]) == [repr(given)]
            assert await one.load(part) == repr(given)
    assert {(type(value), value) for value in seen} == {(type(given), given)}


def takes_number(part: int) -> str | None: ...


def takes_uuid(part: UUID) -> str | None: ...


takes_uuid.__annotations__["part"] = UUID  # as in a module whose annotations are no texts


def takes_day(part: date) -> str | None: ...


@pytest.mark.parametrize(("load", "kind"), [(takes_number, "int"), (takes_uuid, "UUID"), (takes_day, "date")])
def test_a_loader_that_takes_no_text_needs_a_declared_part(load: Callable[..., Any], kind: str) -> None:
    room = Greenroom(sessions=False)
    words = f"load: takes part as {kind}, and a part of .* is text to it; declare it: parts={{'part': {kind}}}"
    with pytest.raises(InvalidInput, match=re.escape(words).replace(r"\.\*", ".*")):
        room.cached(Keyspace("one:{part}", str, ttl=timedelta(minutes=1)))(load)
    declared = {"int": int, "UUID": UUID, "date": date}[kind]
    room.cached(Keyspace("one:{part}", str, parts={"part": declared}, ttl=timedelta(minutes=1)))(load)
