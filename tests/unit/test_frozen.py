"""Which types are immutable all the way down: for these alone one decoded value is given to many callers."""

# No `from __future__ import annotations`: the types here refer to one another as they are.

import dataclasses
import datetime
import decimal
import enum
import typing
import uuid
from typing import Annotated, Any, ClassVar, Generic, Literal, NamedTuple, NewType, Optional, TypedDict, TypeVar

import msgspec
import pydantic
import pytest

from greenroom.keyspace.frozen import is_frozen
from greenroom_platform.models import PodcastStatus, Session, Snippet, Topic

T = TypeVar("T")


class Colour(enum.Enum):
    RED = "red"


class Point(msgspec.Struct, frozen=True):
    x: int
    tags: tuple[str, ...] = ()


class Loose(msgspec.Struct):
    x: int


class WithList(msgspec.Struct, frozen=True):
    items: list[int]


class WithLoose(msgspec.Struct, frozen=True):
    inner: Loose


class ModelList(msgspec.Struct, frozen=True):
    model_names: list[str]


class Tree(msgspec.Struct, frozen=True):
    children: tuple["Tree", ...] = ()
    parent: Optional["Tree"] = None


class LooseTree(msgspec.Struct, frozen=True):
    children: list["LooseTree"]


class Left(msgspec.Struct, frozen=True):
    right: Optional["Right"]


class Right(msgspec.Struct, frozen=True):
    left: Left | None
    items: list[int]


class Box(msgspec.Struct, Generic[T], frozen=True):
    value: T
    more: tuple[T, ...] = ()


class BoxOfBoxes(msgspec.Struct, Generic[T], frozen=True):
    inner: Box[T]


class BareBox(msgspec.Struct, Generic[T], frozen=True):
    value: T
    inner: Box  # type: ignore[type-arg]


class WithClassVar(msgspec.Struct, frozen=True):
    cache: ClassVar[dict[str, int]] = {}
    x: int = 0


class Unknown(msgspec.Struct, frozen=True):
    later: "DefinedNowhere"  # type: ignore[name-defined]  # noqa: F821


@dataclasses.dataclass(frozen=True)
class Fixed:
    x: int
    when: datetime.datetime | None = None


@dataclasses.dataclass
class Open:
    x: int


@dataclasses.dataclass(frozen=True)
class FixedWithDict:
    x: dict[str, int]


class FixedModel(pydantic.BaseModel, frozen=True):
    x: int
    inner: Fixed | None = None


class OpenModel(pydantic.BaseModel):
    x: int


class FixedModelWithList(pydantic.BaseModel, frozen=True):
    x: list[int]


class FixedModelWithMore(pydantic.BaseModel, frozen=True, extra="allow"):
    x: int


class ModelBox(pydantic.BaseModel, Generic[T], frozen=True):
    value: T


class Pair(NamedTuple):
    x: int


class Open2(TypedDict):
    x: int


UserId = NewType("UserId", str)
Numbers = NewType("Numbers", list[int])

FROZEN: list[Any] = [
    str, bytes, int, float, complex, bool, type(None), datetime.datetime, datetime.date, datetime.time,
    datetime.timedelta, decimal.Decimal, uuid.UUID, Colour, Literal["a", 1], UserId,
    tuple[int, ...], tuple[int, str], tuple[()], frozenset[str], int | None, Optional[Point], str | Point,  # noqa: UP045
    Annotated[int, msgspec.Meta(ge=0)], tuple[Annotated[str, "x"] | None, ...],
    Point, tuple[Point, ...], Tree, WithClassVar, Fixed, tuple[Fixed, ...], FixedModel,
    Box[int], Box[tuple[Point, ...]], BoxOfBoxes[str], Box[UserId],
    Topic, tuple[Topic, ...], Snippet, PodcastStatus, Session,
]  # fmt: skip

NOT_FROZEN: list[Any] = [
    list[int], dict[str, int], set[int], bytearray, list, tuple, frozenset, object, Any, typing.Any,
    tuple[list[int], ...], int | list[int], dict[str, int] | None, Annotated[list[int], "x"], Numbers,
    Loose, WithList, WithLoose, ModelList, LooseTree, Left, Right, Unknown, tuple[Loose, ...],
    Open, FixedWithDict, OpenModel, FixedModelWithList, FixedModelWithMore, Open2,
    Box, Box[Any], Box[list[int]], BoxOfBoxes[Loose], BareBox[int], T, ModelBox[list[int]],
]  # fmt: skip


@pytest.mark.parametrize("type_", FROZEN, ids=str)
def test_a_type_whose_values_nobody_can_change_is_frozen(type_: Any) -> None:
    assert is_frozen(type_)


@pytest.mark.parametrize("type_", NOT_FROZEN, ids=str)
def test_a_type_with_anything_that_a_caller_could_change_is_not(type_: Any) -> None:
    assert not is_frozen(type_)


@pytest.mark.parametrize("type_", [Pair, ModelBox[int], Annotated[int, {}]], ids=str)
def test_what_is_not_understood_is_decoded_for_each_caller(type_: Any) -> None:
    # These could be shared: not to do so is never wrong.
    assert not is_frozen(type_)
