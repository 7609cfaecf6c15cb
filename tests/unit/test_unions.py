"""A union of two types with one form in JSON: a value of the one never comes back as the other."""

# No `from __future__ import annotations`: the types here are made of others at run time.

import collections
import dataclasses
import enum
import itertools
import pathlib
import re
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from ipaddress import IPv4Address, IPv4Network
from typing import Any, Generic, Literal, NamedTuple, TypeVar
from uuid import UUID

import msgspec
import pydantic
import pytest
from pydantic import BaseModel, create_model
from typing_extensions import TypedDict

from greenroom.errors import BrokenValue, InvalidInput
from greenroom.keyspace import Keyspace

T = TypeVar("T")


class Word(enum.Enum):
    A = "a"
    DAY = "2026-01-01"


class Text(enum.StrEnum):
    A = "a"


class Number(enum.IntEnum):
    ONE = 1


class Narrow(BaseModel):
    a: int


class Wide(BaseModel):
    a: int
    b: int = 0


@dataclasses.dataclass(frozen=True)
class Data:
    a: int


class Struct(msgspec.Struct, frozen=True):
    a: int


class Dict(TypedDict):
    a: int


class Pair(NamedTuple):
    a: int
    b: int


class Given(UUID):
    """A driver's own class of UUID, as asyncpg has one."""


class Holder(BaseModel, Generic[T]):
    p: T


ID = UUID(int=7)

# Of each type values that another type would read from their JSON.
ATOMS: dict[Any, list[Any]] = {
    str: ["a", "2026-01-01", "2026-01-01T00:00:00Z", "01:02:03", "P1D", "1.1", "1", str(ID), "1.2.3.4", "a/b", "true"],
    int: [1, 5, 0],
    float: [1.5, 86400.0, 1.0],
    bool: [True, False],
    bytes: [b"a", b"1.1", b"2026-01-01"],
    date: [date(2026, 1, 1)],
    datetime: [datetime(2026, 1, 1), datetime(2026, 1, 1, tzinfo=UTC)],
    time: [time(1, 2, 3)],
    timedelta: [timedelta(1), timedelta(0, 5)],
    Decimal: [Decimal("1.1"), Decimal(1), Decimal("1.10")],
    UUID: [ID],
    pathlib.Path: [pathlib.Path("a/b"), pathlib.Path("a")],
    IPv4Address: [IPv4Address("1.2.3.4")],
    IPv4Network: [IPv4Network("1.2.3.4")],
    Word: [Word.A, Word.DAY],
    Text: [Text.A],
    Number: [Number.ONE],
    Literal["a", 1]: ["a", 1],
    re.Pattern: [re.compile("a")],
    type(None): [None],
}
CONTAINERS: dict[Any, list[Any]] = {
    list[int]: [[1, 2]],
    tuple[int, ...]: [(1, 2)],
    set[int]: [{1, 2}],
    frozenset[int]: [frozenset({1, 2})],
    Pair: [Pair(1, 2)],
    dict[str, int]: [{"a": 1}, {"a": 1, "b": 0}],
    Dict: [{"a": 1}],
    Data: [Data(1)],
    list[date]: [[date(2026, 1, 1)]],
    list[str]: [["2026-01-01"], ["a"], []],
    set[Text]: [{Text.A}],
    set[str]: [{"a"}],
    dict[Text, int]: [{Text.A: 1}],
    dict[date, int]: [{date(2026, 1, 1): 1}],
}
MODELS: dict[Any, list[Any]] = {Narrow: [Narrow(a=1)], Wide: [Wide(a=1), Wide(a=1, b=2)]}
ORDERED: dict[Any, list[Any]] = {
    collections.deque[int]: [collections.deque([1, 2])],
    collections.OrderedDict[str, int]: [collections.OrderedDict(a=1)],
}


def as_written(value: Any) -> Any:
    """A value with the class of each part; independent of what the library compares by."""
    kind = type(value)
    if isinstance(value, BaseModel):
        return kind, {name: as_written(one) for name, one in value.__dict__.items()}
    if isinstance(value, dict):
        return kind, [(as_written(key), as_written(one)) for key, one in value.items()]
    if isinstance(value, list | tuple | set | frozenset | collections.deque):
        return kind, [as_written(one) for one in value]
    return kind, value


def name_of(type_: Any) -> str:
    return str(type_.__name__ if isinstance(type_, type) and not hasattr(type_, "__args__") else type_)


@pytest.mark.parametrize("first", [*ATOMS, *CONTAINERS, *MODELS, *ORDERED], ids=name_of)
def test_a_member_of_a_pydantic_union_keeps_its_type_or_is_refused(first: Any) -> None:
    types = {**ATOMS, **CONTAINERS, **MODELS, **ORDERED}
    kept = 0
    for second in types:
        model = create_model("Model", p=(first | second, ...))
        codec = Keyspace("x:{a}", model, ttl=timedelta(1))
        for value in itertools.chain(types[first], types[second]):
            # As a loader sets it that does not validate; and by either order of the union.
            try:
                back: Any = codec.round_trip("x:1", model.model_construct(p=value))[1]
            except BrokenValue:
                continue
            kept += 1
            if (type(value), type(back.p)) == (int, float):  # an int is a float to Python's types, and equals it
                continue
            assert as_written(back.p) == as_written(value), (first, second)
    assert kept > len(types), "most come back"


@pytest.mark.parametrize("first", [*ATOMS, *CONTAINERS, Struct], ids=name_of)
def test_a_union_of_msgspec_keeps_the_type_or_is_refused(first: Any) -> None:
    types = {**ATOMS, **CONTAINERS, Struct: [Struct(1)]}
    for second in types:
        union = first | second
        for type_, wrapped in ((union, False), (list[union], True)):  # type: ignore[valid-type]
            try:
                codec = Keyspace("x:{a}", type_, ttl=timedelta(1))
            except InvalidInput:
                continue  # as most of them: it has a rule of its own against two types of one form
            for value in itertools.chain(types[first], types[second]):
                whole = [value] if wrapped else value
                try:
                    back = codec.round_trip("x:1", whole)[1]
                except BrokenValue:
                    continue
                assert as_written(back) == as_written(whole), type_


DAY = "2026-01-01"


@pytest.mark.parametrize(
    ("type_", "value", "where"),
    [
        (Holder[date | str], Holder[date | str](p=DAY), "str comes back as date - at `p`"),
        (Holder[UUID | str], Holder[UUID | str](p=str(ID)), "str comes back as UUID - at `p`"),
        (Holder[date | str | None], Holder[date | str | None](p=DAY), "at `p`"),
        (Holder[list[date | str]], Holder[list[date | str]](p=["a", DAY]), r"at `p\[1\]`"),
        (Holder[dict[str, date | str]], Holder[dict[str, date | str]](p={"a": DAY}), r"at `p\[...\]`"),
        (Holder[set[Text | str]], Holder[set[Text | str]](p={Text.A}), "set comes back changed - at `p`"),
        (Holder[dict[Text | str, int]], Holder[dict[Text | str, int]](p={Text.A: 1}), "Text as key of a dictionary"),
        (Holder[tuple[date | str, int]], Holder[tuple[date | str, int]](p=(DAY, 1)), r"at `p\[0\]`"),
        (Holder[Holder[date | str]], Holder[Holder[date | str]](p=Holder[date | str](p=DAY)), "at `p.p`"),
        (Holder[Narrow | dict[str, int]], Holder[Narrow | dict[str, int]](p={"a": 1}), "dict comes back as Narrow"),
        (list[Narrow | dict[str, int]], [{"a": 1}], r"dict comes back as Narrow - at `\[0\]`"),
        (Holder[Any], Holder[Any](p=Number.ONE), "Number comes back as int"),
    ],
    ids=lambda one: str(one)[:40],
)
def test_what_a_union_would_read_as_another_type_names_the_member(type_: Any, value: Any, where: str) -> None:
    with pytest.raises(BrokenValue, match=where) as caught:
        Keyspace("x:{a}", type_, ttl=timedelta(1)).round_trip("x:1", value)
    assert DAY not in str(caught.value)


class Extra(BaseModel):
    model_config = pydantic.ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, date | str]


@dataclasses.dataclass
class HeldByData:
    p: Narrow | dict[str, int] | str


class HeldByDict(TypedDict):
    p: Narrow | date | str


@pydantic.dataclasses.dataclass
class HeldByPydantic:
    p: date | str


class Root(pydantic.RootModel[date | str]):
    pass


@pytest.mark.parametrize(
    ("type_", "value", "kept"),
    [
        (Extra, Extra.model_validate({"more": DAY}), False),
        (Extra, Extra.model_validate({"more": "words"}), True),
        (HeldByData, HeldByData({"a": 1}), False),
        (HeldByData, HeldByData(Narrow(a=1)), True),
        (HeldByDict, {"p": DAY}, False),
        (HeldByDict, {"p": "words"}, True),
        (HeldByPydantic, HeldByPydantic(DAY), False),
        (HeldByPydantic, HeldByPydantic(date(2026, 1, 1)), True),
        (Root, Root(DAY), False),
        (Root, Root("words"), True),
        (Holder[UUID], Holder[UUID].model_construct(p=Given(int=7)), True),
    ],
    ids=lambda one: str(one)[:40],
)
def test_a_union_in_any_kind_of_class_is_held_to_its_word(type_: Any, value: Any, kept: bool) -> None:
    keyspace = Keyspace("x:{a}", type_, ttl=timedelta(1))
    if kept:
        assert keyspace.round_trip("x:1", value)[1] == value
    else:
        with pytest.raises(BrokenValue, match="comes back as"):
            keyspace.round_trip("x:1", value)
