"""`--check` over pairs of types: what it calls harmless, each side reads as the other wrote it."""

# No `from __future__ import annotations`: the types here refer to one another as they are.

import enum
import itertools
import json
from collections import deque
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Annotated, Any, Literal, NamedTuple
from uuid import UUID

import msgspec
import pydantic
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import Meta
from pydantic import BaseModel, Field, Json, StringConstraints, create_model
from typing_extensions import TypedDict

from greenroom import Keyspace, Keyspaces
from greenroom.errors import BrokenValue
from greenroom.keyspace.json_schema import json_schemas
from greenroom.keyspace.schema_changes import changes

SMALL = st.integers(-3, 300)
TEXT = st.text(max_size=6)
DATES = st.dates(date(1990, 1, 1), date(2040, 1, 1))
NAIVE = st.datetimes(datetime(1990, 1, 1), datetime(2040, 1, 1))
AWARE = NAIVE.map(lambda one: one.replace(tzinfo=UTC))
TIMES = st.times()
SPANS = st.timedeltas(timedelta(seconds=-90), timedelta(days=9))
NUMBERS = st.floats(-9, 9)
AMOUNTS = st.decimals("-9", "99", places=2)
TOGETHER = 10
"""Types whose values are drawn at once."""
Pair = tuple[Any, st.SearchStrategy[Any]]


class Letter(enum.Enum):
    A = "a"
    B = "b"


class Grade(enum.IntEnum):
    ONE = 1
    TWO = 2


class Point(NamedTuple):
    x: int
    y: int


class Sized(TypedDict):
    size: int


ATOMS: list[Pair] = [
    (int, SMALL),
    (str, TEXT | SMALL.map(str) | DATES.map(str) | st.sampled_from("ab")),
    (float, NUMBERS),
    (bool, st.booleans()),
    (bytes, st.binary(max_size=5)),
    (date, DATES),
    (timedelta, SPANS),
    (UUID, st.uuids()),
    (Decimal, AMOUNTS),
    (Literal["a"], st.just("a")),
    (Literal["a", "b"], st.sampled_from("ab")),
    (Literal[1, 2], st.sampled_from([1, 2])),
    (Literal["1", "2"], st.sampled_from("12")),
    (Letter, st.sampled_from(Letter)),
    (Grade, st.sampled_from(Grade)),
]
DATED: list[Pair] = [(datetime, NAIVE | AWARE), (time, TIMES | TIMES.map(lambda one: one.replace(tzinfo=UTC)))]
OPEN: list[Pair] = [*ATOMS, *DATED, (int | None, SMALL | st.none()), (Any, SMALL | TEXT | st.lists(SMALL, max_size=3))]
BOUND: list[Pair] = [
    (Annotated[int, Meta(ge=1)], st.integers(1, 300)),
    (Annotated[int, Meta(multiple_of=2)], SMALL.map(lambda one: one * 2)),
    (Annotated[str, Meta(max_length=2)], st.text(max_size=2)),
    (Annotated[str, Meta(pattern="^a")], TEXT.map(lambda one: "a" + one)),
    (Annotated[datetime, Meta(tz=True)], AWARE),
    (Annotated[datetime, Meta(tz=False)], NAIVE),
    (Annotated[time, Meta(tz=False)], TIMES),
    (Annotated[list[int], Meta(max_length=1)], st.lists(SMALL, max_size=1)),
    (Annotated[dict[str, int], Meta(min_length=1)], st.dictionaries(TEXT, SMALL, min_size=1, max_size=2)),
]
PYDANTIC_BOUND: list[Pair] = [
    (Annotated[int, Field(ge=1)], st.integers(1, 300)),
    (Annotated[str, Field(max_length=2)], st.text(max_size=2)),
    (Annotated[str, StringConstraints(pattern="^a")], st.just("abc")),
    (Annotated[str, StringConstraints(to_lower=True)], TEXT.map(str.lower)),
    (Annotated[str, StringConstraints(strip_whitespace=True)], TEXT.map(str.strip)),
    (Annotated[date, Field(gt=date(2000, 1, 1))], st.dates(date(2001, 1, 1), date(2040, 1, 1))),
    (Annotated[Decimal, Field(max_digits=3, decimal_places=1)], st.decimals("-9", "9", places=1)),
    (Annotated[Decimal, Field(ge=1)], st.decimals("1", "9", places=1)),
    (Annotated[timedelta, Field(le=timedelta(seconds=90))], st.timedeltas(timedelta(0), timedelta(seconds=90))),
    (pydantic.AwareDatetime, AWARE),
    (pydantic.NaiveDatetime, NAIVE),
    (pydantic.PastDate, st.dates(date(1990, 1, 1), date(2020, 1, 1))),
    (Json[int], SMALL.map(str)),
    (Json[str], TEXT.map(json.dumps)),
    (deque[int], st.lists(SMALL, max_size=3).map(deque)),
    (Annotated[deque[int], Field(max_length=1)], st.lists(SMALL, max_size=1).map(deque)),
]


def fields(type_: Any, *, optional: bool, **options: Any) -> Any:
    default = [msgspec.field(default=None)] if optional else []
    return msgspec.defstruct("Value", [("first", type_ | None if optional else type_, *default)], **options)


def containers(type_: Any, values: st.SearchStrategy[Any]) -> Iterator[Pair]:
    """What may hold a type: its values, or its keys."""
    several = st.lists(values, max_size=3)
    yield list[type_], several
    yield dict[str, type_], st.dictionaries(TEXT, values, max_size=2)
    yield tuple[type_, ...], several.map(tuple)
    yield tuple[type_], st.tuples(values)
    yield tuple[type_, int], st.tuples(values, SMALL)


def hashed(type_: Any, values: st.SearchStrategy[Any]) -> Iterator[Pair]:
    yield set[type_], st.sets(values, max_size=3)
    yield frozenset[type_], st.frozensets(values, max_size=3)
    yield dict[type_, int], st.dictionaries(values, SMALL, max_size=2)


def structs(type_: Any, values: st.SearchStrategy[Any]) -> Iterator[Pair]:
    for options in ({}, {"array_like": True}, {"tag": "a"}, {"forbid_unknown_fields": True}, {"omit_defaults": True}):
        for optional in (False, True):
            one = fields(type_, optional=optional, **options)
            yield one, (values | st.none() if optional else values).map(one)


def models(type_: Any, values: st.SearchStrategy[Any]) -> Iterator[Pair]:
    yield create_model("Value", first=(type_, ...)), st.fixed_dictionaries({"first": values})
    yield create_model("Value", first=(type_ | None, None)), st.fixed_dictionaries({"first": values | st.none()})


class Ignoring(BaseModel, extra="ignore"):
    first: int = 1


class Forbidding(BaseModel, extra="forbid"):
    first: int = 1


class Allowing(BaseModel, extra="allow"):
    first: int = 1


class AllowingNumbers(BaseModel, extra="allow"):
    __pydantic_extra__: dict[str, int] = Field(init=False)
    first: int = 1


MORE = st.sampled_from(["more", "other"])
EXTRAS: list[Pair] = [
    (Ignoring, st.fixed_dictionaries({"first": SMALL})),
    (Forbidding, st.fixed_dictionaries({"first": SMALL})),
    (Allowing, st.dictionaries(MORE, SMALL | TEXT, max_size=2)),
    (AllowingNumbers, st.dictionaries(MORE, SMALL, max_size=2)),
]


def msgspec_pairs() -> list[Pair]:
    found = [*OPEN, *BOUND, (Point, st.builds(Point, SMALL, SMALL)), (Sized, st.fixed_dictionaries({"size": SMALL}))]
    for type_, values in [*ATOMS, *DATED, *BOUND[:7]]:
        found += hashed(type_, values) if type_ is not bool else ()
    for type_, values in [(int, SMALL), (str, TEXT), BOUND[0], (date, DATES), DATED[0], (list[int], st.lists(SMALL))]:
        found += [*containers(type_, values), *structs(type_, values)]
    found.append((list[dict[int, str]], st.lists(st.dictionaries(SMALL, TEXT, max_size=2), max_size=2)))
    found.append((list[dict[str, str]], st.lists(st.dictionaries(TEXT, TEXT, max_size=2), max_size=2)))
    found.append((dict[int, str] | int, st.dictionaries(SMALL, TEXT, max_size=2) | SMALL))
    found.append((dict[str, str] | int, st.dictionaries(TEXT, TEXT, max_size=2) | SMALL))
    return found


def pydantic_pairs() -> list[Pair]:
    inner = [*OPEN, *PYDANTIC_BOUND]
    for type_, values in [*ATOMS, *DATED, *PYDANTIC_BOUND[:6]]:
        # pydantic reads no `dict[Literal[1], X]` that it has written: no value of that type is ever stored.
        inner += hashed(type_, values) if type_ != Literal[1, 2] else ()
    for type_, values in [(int, SMALL), (str, TEXT), PYDANTIC_BOUND[0]]:
        inner += containers(type_, values)
    found = list(EXTRAS)
    for type_, values in inner:
        found += itertools.islice(models(type_, values), 1)
    for type_, values in [(int, SMALL), (str, TEXT)]:
        found += models(type_, values)
    return found


def keyspace(type_: Any) -> Keyspace[Any]:
    return Keyspace("value:{a}", type_, ttl=timedelta(minutes=1), name="value")


def canonical(data: Any, *, unordered: bool) -> Any:
    """What JSON says; of a set the order says nothing."""
    if isinstance(data, list):
        items = [canonical(one, unordered=unordered) for one in data]
        return sorted(items, key=json.dumps) if unordered else items
    if isinstance(data, dict):
        return {name: canonical(one, unordered=unordered) for name, one in data.items()}
    return type(data).__name__, data


class Declared:
    """A type with some bodies that are stored of it."""

    def __init__(self, type_: Any, values: list[Any]) -> None:
        self.type = type_
        self.keyspace = keyspace(type_)
        self.schemas = json.loads(msgspec.json.encode(json_schemas(Keyspaces(self.keyspace))))
        self.unordered = '"uniqueItems"' in json.dumps(self.schemas)
        self.has_members = isinstance(type_, type) and issubclass(type_, BaseModel | msgspec.Struct)
        self.bodies: list[bytes] = []
        for value in values:
            given = type_(**value) if isinstance(value, dict) and isinstance(type_, type(BaseModel)) else value
            try:
                self.bodies.append(self.keyspace.round_trip("value:1", given)[0])
            except BrokenValue:
                continue

    def reads(self, body: bytes, of: "Declared") -> bool:
        """Whether it reads what another has stored as what it is, and would write it so too."""
        try:
            again = self.keyspace.codec.encode(self.keyspace.decode("value:1", body))
        except BrokenValue:
            return False
        before, after = json.loads(body), json.loads(again)
        if self.has_members and of.has_members:  # a member that only one of them knows is told, and harmless
            before, after = (
                {name: one[name] for name in one if name in before and name in after} for one in (before, after)
            )
        unordered = self.unordered and of.unordered
        return bool(canonical(before, unordered=unordered) == canonical(after, unordered=unordered))


def unseen(pairs: list[Declared]) -> list[str]:
    """The pairs of which one side misreads the other, and nothing breaking is told."""
    found = []
    for old, new in itertools.permutations(pairs, 2):
        if any(change.breaking for change in changes(old.schemas, new.schemas)):
            continue
        found += [
            f"{reader.type} misreads {body!r} of {writer.type}"
            for writer, reader in ((old, new), (new, old))
            for body in writer.bodies
            if not reader.reads(body, writer)
        ][:1]
    return found


def drawn(values: st.SearchStrategy[Any]) -> list[Any]:
    """Some values of a strategy."""
    found: list[Any] = []

    @settings(max_examples=10, database=None, deadline=None, suppress_health_check=list(HealthCheck))
    @given(values)
    def note(value: Any) -> None:
        found.append(value)

    note()
    return found


def batched(pairs: list[Pair]) -> Iterator[list[Pair]]:
    return (pairs[first : first + TOGETHER] for first in range(0, len(pairs), TOGETHER))


@pytest.mark.parametrize("pairs", [msgspec_pairs, pydantic_pairs], ids=["msgspec", "pydantic"])
def test_what_is_told_as_harmless_is_read_by_both_sides(pairs: Callable[[], list[Pair]]) -> None:
    declared = []
    # Drawn for some types together: a run of hypothesis for each would take three times as long.
    for some in batched(pairs()):
        examples = drawn(st.tuples(*(values for _, values in some)))
        declared += [Declared(type_, [one[n] for one in examples]) for n, (type_, _) in enumerate(some)]
    assert unseen(declared) == []
