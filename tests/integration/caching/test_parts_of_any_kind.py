"""Keys with parts of every kind, over a real server: what the loader is given, what stands there, and the groups."""

from __future__ import annotations

import enum
import re
from collections.abc import Callable
from datetime import date, datetime, timedelta
from typing import Any, NewType
from uuid import UUID

import msgspec
import pytest

from greenroom import Greenroom, Keyspace, Number, Outcome, Text
from greenroom.errors import InvalidInput
from greenroom.keyspace.parts import Day, Uuid, Word
from tests.support.real_servers import Server

ID = UUID("0123abcd-0000-4000-8000-0000000000ff")
DAY = date(2026, 11, 29)
Sku = NewType("Sku", int)


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


def takes_text(part: str) -> str | None: ...


def takes_float(part: float) -> str | None: ...


def takes_moment(part: datetime) -> str | None: ...


def takes_own(part: Sku) -> str | None: ...


KINDS: dict[str, Any] = {"int": int, "UUID": UUID, "date": date}


def one_part(**parts: Any) -> Keyspace[str]:
    return Keyspace("one:{part}", str, parts=parts, ttl=timedelta(minutes=1))


def declare(how: str, keyspace: Keyspace[Any], load: Callable[..., Any]) -> None:
    room = Greenroom(sessions=False)
    if how == "cached":
        room.cached(keyspace)(load)
    else:
        room.cache(keyspace, load=load)


@pytest.mark.parametrize("how", ["cached", "cache"])
@pytest.mark.parametrize(("load", "kind"), [(takes_number, "int"), (takes_uuid, "UUID"), (takes_day, "date")])
def test_a_loader_that_takes_no_text_needs_a_declared_part(how: str, load: Callable[..., Any], kind: str) -> None:
    words = (
        f"load: takes part as {kind}, and part of <Keyspace one:{{part}}> is not declared, and so is text to it; "
        f"annotate it as str, or declare the part: parts={{'part': {kind}}}"
    )
    with pytest.raises(InvalidInput, match=re.escape(words).replace(re.escape("<Keyspace one:{part}>"), ".*")):
        declare(how, one_part(), load)
    declare(how, one_part(part=KINDS[kind]), load)


@pytest.mark.parametrize("how", ["cached", "cache"])
@pytest.mark.parametrize(
    ("part", "load", "words"),
    [
        (int, takes_text, "takes part as str, and part of .* is int to it; annotate it as int$"),
        (int, takes_uuid, r"takes part as UUID, .* annotate it as int, or declare the part: parts={'part': UUID}"),
        (Number(1, 9), takes_text, "is int to it; annotate it as int$"),
        (UUID, takes_text, "is UUID to it; annotate it as UUID$"),
        (date, takes_moment, "takes part as datetime, and part of .* is date to it; annotate it as date$"),
        (Text(), takes_number, "takes part as int, and part of .* is str to it"),
        (str, takes_float, "takes part as float, and part of .* is not declared, .*; annotate it as str$"),
    ],
)
def test_a_loader_that_takes_a_part_as_another_type_is_refused(
    how: str, part: Any, load: Callable[..., Any], words: str
) -> None:
    with pytest.raises(InvalidInput, match=words) as caught:
        declare(how, one_part(part=part), load)
    assert caught.value.field == "load"


@pytest.mark.parametrize("how", ["cached", "cache"])
@pytest.mark.parametrize(
    ("part", "load"),
    [
        *[(int, takes_number), (int, takes_float), (int, takes_own), (Text(), takes_own)],
        *[(str, takes_text), (Word(), takes_text), (Uuid(), takes_uuid), (Day(), takes_day)],
    ],
)
def test_a_loader_with_a_fitting_or_an_own_annotation_is_taken(how: str, part: Any, load: Callable[..., Any]) -> None:
    declare(how, one_part(part=part), load)


def test_of_several_parts_each_is_compared_by_its_name() -> None:
    def load(number: str, show_id: str) -> str | None: ...

    keyspace = Keyspace("two:{show_id}:{number}", str, parts={"number": int}, ttl=timedelta(minutes=1))
    with pytest.raises(InvalidInput, match=r"takes number as str, and number of .* is int to it"):
        declare("cache", keyspace, load)


def test_one_part_is_compared_whatever_the_loader_calls_it() -> None:
    def load(identity: int) -> str | None: ...

    with pytest.raises(InvalidInput, match=r"takes identity as int, and part of .* is not declared"):
        declare("cache", one_part(), load)
