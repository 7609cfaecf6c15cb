"""Values come back equal from their JSON, or are refused: by their type where it tells, else one by one."""

# No `from __future__ import annotations`: the types here refer to one another as they are.

import asyncio
import dataclasses
import enum
import math
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Annotated, Any, Generic, Literal, NamedTuple, Optional, TypeVar
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, SecretBytes, SecretStr
from typing_extensions import TypedDict

from greenroom.errors import BrokenValue, InvalidInput
from greenroom.keyspace import Keyspace

T = TypeVar("T")


def keyspace(type_: Any) -> Keyspace[Any]:
    return Keyspace("x:{a}", type_, ttl=timedelta(minutes=1))


def plain(value: Any) -> Any:
    """What a value is, class by class and without its own `__eq__`; independent of what the library compares by."""
    kind = type(value).__qualname__
    if isinstance(value, BaseModel):
        inner = {name: plain(one) for name, one in value.__dict__.items()}
        return kind, inner, plain(value.__pydantic_extra__), plain(value.__pydantic_private__)
    if isinstance(value, msgspec.Struct):
        return kind, {name: plain(getattr(value, name)) for name in value.__struct_fields__}
    if dataclasses.is_dataclass(value):
        return kind, {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, dict):
        return kind, {(type(key).__qualname__, key): plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return kind, [plain(one) for one in value]
    if isinstance(value, set | frozenset):
        return kind, sorted(repr(plain(one)) for one in value)
    if isinstance(value, datetime) and value.tzinfo is not None:
        return kind, value.astimezone(UTC)
    if isinstance(value, float | Decimal) and value != value:
        return kind, "nan"
    return kind, value


def assert_equal_or_refused(type_: Any, value: Any) -> bool:
    try:
        body, back = keyspace(type_).round_trip("x:1", value)
    except BrokenValue:
        return False
    assert plain(back) == plain(value)
    assert plain(keyspace(type_).decode("x:1", body)) == plain(value), "and for everybody who reads it"
    assert body != b"null"
    return True


# The types ---------------------------------------------------------------------------------------


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Rating(BaseModel):
    stars: int | None = 5
    note: str | None


class Aliased(BaseModel):
    sku: str = Field(alias="SKU")
    price: Decimal | None = Field(default=Decimal(1), validation_alias="Price", serialization_alias="PRICE")
    inner: Optional["Aliased"] = None


class Tagged(BaseModel):
    model_config = ConfigDict(populate_by_name=True, serialize_by_alias=True)
    many: list[Aliased] = Field(default=[], validation_alias=pydantic.AliasChoices("many", pydantic.AliasPath("a", 0)))


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    amount: int
    when: datetime
    days: frozenset[date] = frozenset()

    @pydantic.computed_field  # type: ignore[prop-decorator]
    @property
    def doubled(self) -> int:
        return self.amount * 2


class Cat(BaseModel):
    kind: Literal["cat"] = "cat"
    lives: int | None = 9


class Dog(BaseModel):
    kind: Literal["dog"] = "dog"
    name: str | None = "Rex"


class Owner(BaseModel):
    pet: Annotated[Cat | Dog, Field(discriminator="kind")]
    others: list[Cat | Dog] = []


class Box(BaseModel, Generic[T]):
    value: T | None = None
    more: tuple[T, ...] = ()


class More(BaseModel):
    model_config = ConfigDict(extra="allow")
    one: int = 1


class Names(pydantic.RootModel[dict[str, set[int]]]):
    pass


class Atoms(BaseModel):
    amount: Decimal = Decimal(1)
    id: UUID = UUID(int=1)
    colour: Colour = Colour.RED
    span: timedelta = timedelta(1)
    at: time | None = time(1)
    either: int | str | None = 1
    ratio: float | None = 0.5
    data: bytes = b"x"


class Raw(BaseModel):
    model_config = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64")
    data: bytes | None = b"x"


@pydantic.dataclasses.dataclass
class Coordinates:
    x: float | None = 1.0
    y: Optional["Coordinates"] = None


@dataclasses.dataclass(frozen=True)
class Holder:
    guest: Rating | None = None
    names: tuple[str, ...] = ("a",)


class Page(TypedDict):
    first: Rating
    rest: list[Rating]


class Point(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    first_name: str | None = "a"
    tags: list[str] = []
    by_number: dict[int, float | None] = {}


class Left(msgspec.Struct, tag=True):
    x: int | None = 0


class Right(msgspec.Struct, tag=True, array_like=False):
    y: tuple[int, str] = (1, "a")


class Things(msgspec.Struct):
    amount: Decimal = Decimal(1)
    when: datetime | None = None
    day: date = date(2026, 1, 1)
    at: time = time(1)
    span: timedelta = timedelta(1)
    id: UUID | None = UUID(int=1)
    data: bytes = b""
    colour: Colour = Colour.RED
    some: set[int] = set()
    fixed: frozenset[str] = frozenset()
    either: Left | Right | None = None
    unset: int | msgspec.UnsetType = msgspec.UNSET


class Row(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    a: int = 1
    b: dict[str, list[int]] = {}


class Pair(NamedTuple):
    x: int
    y: str | None = "b"


class Open(TypedDict, total=False):
    x: int
    y: list[str]


@dataclasses.dataclass
class Loose:
    x: int | None = 3
    later: datetime = datetime(2026, 1, 1)
    left_out_of_eq: str = dataclasses.field(default="", compare=False)


class Anything(msgspec.Struct):
    value: Any = None
    ratio: float | None = 0.5


# Their values ------------------------------------------------------------------------------------

TEXT = st.text(st.characters(codec="utf-8"), max_size=5)
INT = st.integers(-(2**53), 2**53)
FLOAT = st.floats(allow_nan=False, allow_infinity=False)
DECIMAL = st.decimals(allow_nan=False, allow_infinity=False, places=3)
NAIVE = st.datetimes(min_value=datetime(1900, 1, 1))
AWARE = st.datetimes(min_value=datetime(1900, 1, 1), timezones=st.sampled_from([UTC, timezone(timedelta(hours=-5))]))
SPAN = st.timedeltas(timedelta(days=-1000), timedelta(days=1000))
MAYBE_INT, MAYBE_TEXT, MAYBE_FLOAT = st.none() | INT, st.none() | TEXT, st.none() | FLOAT
COLOUR = st.sampled_from(Colour)

rating = st.builds(Rating, stars=MAYBE_INT, note=MAYBE_TEXT)
aliased = st.recursive(
    st.builds(lambda sku, price: Aliased.model_validate({"SKU": sku, "Price": price}), TEXT, st.none() | DECIMAL),
    lambda inner: st.builds(lambda sku, one: Aliased(SKU=sku, inner=one), TEXT, inner),
    max_leaves=3,
)
cat, dog = st.builds(Cat, lives=MAYBE_INT), st.builds(Dog, name=MAYBE_TEXT)
point = st.builds(
    Point,
    first_name=MAYBE_TEXT,
    tags=st.lists(TEXT, max_size=2),
    by_number=st.dictionaries(INT, MAYBE_FLOAT, max_size=2),
)
left, right = st.builds(Left, x=MAYBE_INT), st.builds(Right, y=st.tuples(INT, TEXT))

GOOD: dict[str, tuple[Any, st.SearchStrategy[Any]]] = {
    "nullable members": (Rating, rating),
    "aliases": (Aliased, aliased),
    "choices of aliases": (Tagged, st.builds(lambda many: Tagged(many=many), st.lists(aliased, max_size=2))),
    "strict with a computed member": (
        Strict,
        st.builds(Strict, amount=INT, when=AWARE | NAIVE, days=st.frozensets(st.dates(), max_size=2)),
    ),
    "discriminated union": (Owner, st.builds(Owner, pet=cat | dog, others=st.lists(cat | dog, max_size=2))),
    "generic": (Box[int], st.builds(Box[int], value=MAYBE_INT, more=st.lists(INT, max_size=2).map(tuple))),
    "generic of models": (Box[Rating], st.builds(Box[Rating], value=st.none() | rating)),
    "extra members": (More, st.fixed_dictionaries({"one": INT, "more": MAYBE_TEXT}).map(More.model_validate)),
    "root model": (Names, st.dictionaries(TEXT, st.sets(INT, max_size=3), max_size=2).map(Names)),
    "atoms": (
        Atoms,
        st.builds(
            Atoms, amount=DECIMAL, id=st.uuids(), colour=COLOUR, span=SPAN, at=st.none() | st.times(),
            either=st.none() | INT | TEXT, ratio=MAYBE_FLOAT, data=TEXT.map(str.encode),
        ),
    ),
    "bytes as base64": (Raw, st.builds(Raw, data=st.none() | st.binary(max_size=5))),
    "pydantic dataclass": (
        Coordinates,
        st.recursive(
            st.builds(Coordinates, x=MAYBE_FLOAT),
            lambda inner: st.builds(Coordinates, x=MAYBE_FLOAT, y=inner),
            max_leaves=3,
        ),
    ),
    "model in a dataclass": (Holder, st.builds(Holder, guest=st.none() | rating)),
    "models in a typed dictionary": (
        Page,
        st.fixed_dictionaries({"first": rating, "rest": st.lists(rating, max_size=2)}),
    ),
    "models in containers": (
        dict[str, tuple[Rating | None, ...]],
        st.dictionaries(TEXT, st.lists(st.none() | rating, max_size=2).map(tuple), max_size=2),
    ),
    "renamed struct without defaults": (Point, point),
    "tagged union": (Left | Right, left | right),
    "many kinds of members": (
        Things,
        st.builds(
            Things, amount=DECIMAL, when=st.none() | NAIVE | AWARE, day=st.dates(), at=st.times(), span=SPAN,
            id=st.none() | st.uuids(), data=st.binary(max_size=5), colour=COLOUR, some=st.sets(INT, max_size=3),
            fixed=st.frozensets(TEXT, max_size=3), either=st.none() | left | right, unset=INT | st.just(msgspec.UNSET),
        ),
    ),
    "struct as an array": (
        Row,
        st.builds(Row, a=INT, b=st.dictionaries(TEXT, st.lists(INT, max_size=2), max_size=2)),
    ),
    "named tuple": (Pair, st.builds(Pair, INT, MAYBE_TEXT)),
    "typed dictionary": (Open, st.fixed_dictionaries({}, optional={"x": INT, "y": st.lists(TEXT, max_size=2)})),
    "dataclass": (Loose, st.builds(Loose, x=MAYBE_INT, later=NAIVE | AWARE, left_out_of_eq=TEXT)),
    "keys that are times": (dict[datetime, int], st.dictionaries(NAIVE, INT, max_size=2)),
    "keys of an enumeration": (dict[Colour, int], st.dictionaries(COLOUR, INT, max_size=2)),
    "sets of tuples": (
        set[tuple[int, str]],
        st.sets(st.tuples(INT, TEXT), max_size=3),
    ),
}  # fmt: skip

JSON = st.recursive(
    st.none() | st.booleans() | INT | FLOAT | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
ODD = st.recursive(
    JSON
    | st.integers()
    | st.floats()
    | st.binary(max_size=3)
    | st.decimals()
    | AWARE
    | NAIVE
    | SPAN
    | COLOUR
    | rating
    | left
    | st.text(max_size=3),
    lambda inner: st.tuples(inner) | st.lists(inner, max_size=2) | st.sets(INT | TEXT, max_size=2)
    | st.dictionaries(TEXT | INT | st.floats() | st.booleans(), inner, max_size=2),
    max_leaves=6,
)  # fmt: skip
"""What a careless loader may return: all that has no JSON of its own, deep inside."""


@given(st.sampled_from(sorted(GOOD)), st.data())
def test_values_of_a_type_come_back_equal(name: str, data: st.DataObject) -> None:
    type_, values = GOOD[name]
    assert assert_equal_or_refused(type_, data.draw(values))


@given(JSON.filter(lambda value: value is not None))
def test_plain_json_comes_back_equal_from_any(value: Any) -> None:
    assert assert_equal_or_refused(Any, value)
    assert assert_equal_or_refused(Anything, Anything(value))
    assert assert_equal_or_refused(Box[Any], Box[Any](value=value))
    assert assert_equal_or_refused(Box, Box(value=value))


@given(ODD.filter(lambda value: value is not None), st.floats())
def test_whatever_a_loader_returns_comes_back_equal_or_is_refused(value: Any, ratio: float) -> None:
    assert_equal_or_refused(Any, value)
    assert_equal_or_refused(dict[str, Any], {"a": value})
    assert_equal_or_refused(Anything, Anything(value, ratio))
    assert_equal_or_refused(Box[Any], Box[Any](value=value, more=(value,)))
    assert_equal_or_refused(Atoms, Atoms(ratio=ratio))
    assert_equal_or_refused(More, More.model_validate({"more": value}))


# What only some values show ----------------------------------------------------------------------


class BigCat(Cat):
    weight: int = 100


class Base(msgspec.Struct):
    x: int = 1


class Sub(Base):
    y: int = 2


class Hidden(BaseModel):
    x: int = 1
    _seen: int = pydantic.PrivateAttr(default=0)


class SameShape(BaseModel):
    lives: int | None = 9


class Ambiguous(BaseModel):
    one: SameShape | BigCat | Cat


class Hashed(BaseModel):
    word: str

    @pydantic.field_validator("word", mode="before")
    @classmethod
    def hashed(cls, word: str) -> str:
        return f"hash of {word}"


class Sealed(BaseModel):
    word: SecretStr

    @pydantic.field_serializer("word")
    def revealed(self, word: SecretStr) -> str:
        return word.get_secret_value()


class Half(BaseModel):
    model_config = ConfigDict(ser_json_bytes="base64")
    data: bytes


class Either(BaseModel):
    when: datetime | str


@dataclasses.dataclass
class Counted:
    x: int
    total: int = dataclasses.field(default=0, init=False)


def hidden(seen: int) -> Hidden:
    model = Hidden()
    model._seen = seen
    return model


def counted(total: int) -> Counted:
    value = Counted(1)
    value.total = total
    return value


@pytest.mark.parametrize(
    ("type_", "value", "member"),
    [
        (Cat, BigCat(), "BigCat comes back as Cat"),
        (list[Cat], [BigCat()], r"BigCat comes back as Cat - at `\[0\]`"),
        (Base, Sub(), "Sub comes back as Base"),
        (Base | None, Sub(), "Sub comes back as Base"),
        (Hidden, hidden(3), "_seen"),
        (Hashed, Hashed(word="secret-value"), "word"),
        (Half, Half(data=b"secret-value"), "data"),
        (Atoms, Atoms(data=b"\xff"), "invalid utf-8"),
        (Atoms, Atoms(ratio=math.nan), "ratio"),
        (Atoms, Atoms(ratio=math.inf), "ratio"),
        (Ambiguous, Ambiguous(one=Cat()), "Cat comes back as BigCat - at `one`"),
        (Rating, Rating.model_construct(stars="secret-value", note=""), "Expected `int`.*stars"),
        (Rating, Rating.model_construct(stars=1), "note"),
        (Rating, {"stars": 1, "note": "secret-value"}, "Expected `Rating`"),
        (Anything, Anything(ratio=math.nan), "float comes back as NoneType - at `ratio`"),
        (Anything, Anything((1, 2)), "tuple comes back as list - at `value`"),
        (Anything, Anything({"a": [b"secret-value"]}), r"bytes comes back as str - at `value\[...\]\[0\]`"),
        (Anything, Anything({1: "a"}), "key of a dictionary"),
        (Anything, Anything(Colour.RED), "Colour comes back as str"),
        (Anything, Anything(Rating(note="")), "Rating"),
        (dict[str, float | None], {"a": math.inf}, "float comes back as NoneType"),
        (Base, {"x": 1, "password": "secret-value"}, "`password` is not a member of Base"),
        (float, 2**60 + 1, "int comes back as float"),
        (set[int], [1, 1], "set"),
        (datetime, "2026-01-01T00:00:00.1234567Z", "str comes back as datetime"),
        (Things, {"at": "01:02:03.0000000001"}, "str comes back as time - at `at`"),
        (timedelta, "PT0.1234567S", "str comes back as timedelta"),
    ],
)  # fmt: skip
def test_what_would_come_back_changed_is_refused_by_name(type_: Any, value: Any, member: str) -> None:
    with pytest.raises(BrokenValue, match=member) as caught:
        keyspace(type_).round_trip("x:1", value)
    assert "secret-value" not in str(caught.value)


BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    ("type_", "given_", "back"),
    [
        (Sealed, Sealed(word=SecretStr("w")), None),
        (Ambiguous, Ambiguous(one=SameShape()), None),
        (Either, Either(when=datetime(2026, 1, 1)), None),
        (Counted, counted(7), None),
        (Things, Things(amount=Decimal("NaN")), None),
        (Any, {"a": [1, {"b": None}]}, None),
        (datetime, datetime(2026, 10, 25, 2, 30, tzinfo=BERLIN), datetime(2026, 10, 25, 0, 30, tzinfo=UTC)),
        (datetime, datetime(2026, 10, 25, 2, 30, fold=1, tzinfo=BERLIN), datetime(2026, 10, 25, 1, 30, tzinfo=UTC)),
        (tuple[str, ...], ["a"], ("a",)),
        (Base, {"x": 2}, Base(2)),
        (Point, {"firstName": "b"}, Point("b")),
        (Things, {"id": str(UUID(int=3)), "some": [2, 1]}, Things(id=UUID(int=3), some={1, 2})),
        (Pair, [1, "c"], Pair(1, "c")),
        (float, 3, 3.0),
        (timedelta, "PT0.1234560S", timedelta(microseconds=123456)),
        (Loose, {"x": None}, Loose(None)),
    ],
)
def test_what_loses_nothing_comes_back_as_the_declared_type(type_: Any, given_: Any, back: Any) -> None:
    body, found = keyspace(type_).round_trip("x:1", given_)
    assert plain(found) == plain(given_ if back is None else back)
    assert plain(keyspace(type_).decode("x:1", body)) == plain(found)


def test_what_is_nested_beyond_reason_is_refused() -> None:
    nested: Any = []
    for _ in range(900):
        nested = [nested]
    with pytest.raises(BrokenValue, match="deep"):
        keyspace(Any).round_trip("x:1", [nested, math.nan])


# What the type tells -----------------------------------------------------------------------------


class Excluded(BaseModel):
    name: str
    password: str = Field(default="", exclude=True)


class Account(BaseModel):
    token: SecretStr | None = None


class Keys(BaseModel):
    accounts: list[Account] = []


class Unlocked(BaseModel):
    key: list[SecretBytes]


class Machine(BaseModel):
    model_config = ConfigDict(arbitrary_types_allowed=True)
    event: asyncio.Event


class Calls(BaseModel):
    call: Callable[[], int] | None = None


class Undefined(BaseModel):
    later: "DefinedNowhere"  # type: ignore[name-defined]  # noqa: F821


class Struct(msgspec.Struct):
    event: asyncio.Event | None = None


class StructOfModels(msgspec.Struct):
    guest: Rating | None = None


@dataclasses.dataclass
class Lazy:
    numbers: Iterator[int]


class Unresolved(msgspec.Struct):
    later: "DefinedNowhere"  # type: ignore[name-defined]  # noqa: F821


@pytest.mark.parametrize(
    ("type_", "words"),
    [
        (Excluded, "exclude=True.*`Excluded.password`"),
        (tuple[Excluded, ...], "`Excluded.password`"),
        (Account, "SecretStr as asterisks.*`Account.token`"),
        (Keys, "`Account.token`"),
        (Unlocked, "SecretBytes as asterisks.*`Unlocked.key`"),
        (dict[str, SecretStr], "SecretStr as asterisks"),
        (Machine, "Event.*`Machine.event`"),
        (Calls, "Callable.*`Calls.call`"),
        (Undefined, "name 'DefinedNowhere' is not defined"),
        (StructOfModels, "pydantic-core schema for .*StructOfModels"),
        (tuple[Rating, Base], "pydantic-core schema for .*Base"),
        (Struct, "Event cannot be stored.*`Struct.event`"),
        (asyncio.Event, "Event cannot be stored"),
        (list[complex], "complex cannot be stored"),
        (Lazy, "Iterator cannot be stored.*`Lazy.numbers`"),
        (Unresolved, "DefinedNowhere"),
        (dict[tuple[int, int], str], "no keys of that type"),
        (dict[bool, str], "no keys of that type"),
        (set[list[int]], "set cannot hold"),
        (frozenset[dict[str, int]], "set cannot hold"),
        (Base | Loose, "Type unions may not contain"),
        (str | datetime, "Type unions may not contain"),
        (Literal[1.5], "Literal may only contain"),
        ("Rating", "not supported"),
        (3, "not supported"),
    ],
    ids=str,
)
def test_a_type_that_can_never_be_stored_is_refused_by_name(type_: Any, words: str) -> None:
    with pytest.raises(InvalidInput, match=words) as caught:
        keyspace(type_)
    assert caught.value.field == "type"
    assert "\n" not in str(caught.value)


def test_json_that_no_value_can_be_made_of_is_broken_in_its_words() -> None:
    class Picky(msgspec.Struct):
        x: int

        def __post_init__(self) -> None:
            raise KeyError("secret-value")

    with pytest.raises(BrokenValue, match="KeyError") as caught:
        keyspace(Picky).decode("x:1", b'{"x":1}')
    assert "secret-value" not in str(caught.value)
    with pytest.raises(BrokenValue):
        keyspace(set[Any]).decode("x:1", b"[[1]]")

    class Failing(BaseModel):
        x: int

        @pydantic.field_validator("x")
        @classmethod
        def fail(cls, x: int) -> int:
            raise KeyError("secret-value")

    with pytest.raises(BrokenValue, match="KeyError"):
        keyspace(Failing).decode("x:1", b'{"x":1}')
