"""`greenroom definitions --check OLD.json`: each difference is told by its place, and breaking ones fail."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple
from uuid import UUID

import msgspec
import pytest
from click.testing import CliRunner, Result
from pydantic import BaseModel, create_model

from greenroom import Keyspace, Keyspaces, Number, Text
from greenroom.cli.group import group
from greenroom.keyspace.json_schema import json_schemas
from greenroom.keyspace.schema_changes import changes

HOUR = timedelta(hours=1)
DEFINE = msgspec.defstruct


class Node(BaseModel):
    """A type that holds itself."""

    name: str
    parent: Node | None = None


class Priced(BaseModel):
    price: int


class Named(BaseModel):
    name: str


class Noticed(Named):
    note: str = ""


class Tree(BaseModel):
    """Of several alternatives with one label, one holds itself."""

    branches: list[Tree | Named | Priced]


class Titled(BaseModel):
    title: str


def model(type_: Any) -> Any:
    """A model of one member: pydantic tells apart what msgspec refuses in one union."""
    return create_model("Product", value=(type_, ...))


def keyspaces(type_: Any, text: str = "product:{sku}", **options: Any) -> Keyspaces:
    return Keyspaces(Keyspace(text, type_, ttl=HOUR, name="product", **options))


def told(old: Keyspaces, new: Keyspaces) -> list[str]:
    return [("! " if one.breaking else "") + str(one) for one in changes(json_schemas(old), json_schemas(new))]


def record(*members: Any, **config: Any) -> Any:
    return DEFINE("Product", list(members), **config)


def array(*names: str) -> Any:
    return record(*[(name, int) for name in names], array_like=True)


def named_tuple(*names: str) -> Any:
    return NamedTuple("Size", [(name, int) for name in names])


PLACED = [array, named_tuple]
"""Types whose members are told by their places."""
TURNED = (
    "! product: has the members height, width in that order, and had width, height: "
    "each side takes what the other has stored for other members"
)
TURNED_INSIDE = TURNED.replace("product:", "product.value:")
TAKEN = "each side takes the one for the other"

CARD, CASH = DEFINE("Card", [("number", str)], tag="card"), DEFINE("Cash", [("coins", int)], tag="cash")
COINLESS = DEFINE("Cash", [], tag="cash")

OF_TYPES: list[tuple[Any, Any, list[str]]] = [
    (int, str, ["! product: is string, and was integer: each side loads anew what the other has stored"]),
    (int, int | None, ["! product: is widened: processes of before refuse null, and load it anew"]),
    (int | None, int, ["! product: is narrowed: values of before with null are refused, and loaded anew"]),
    (Any, int, ["! product: is integer, and was anything: each side loads anew what the other has stored"]),
    (
        list[int],
        list[str],
        ["! product[]: is string, and was integer: each side loads anew what the other has stored"],
    ),
    (
        dict[str, int],
        dict[str, str],
        ["! product[...]: is string, and was integer: each side loads anew what the other has stored"],
    ),
    (
        tuple[int, str],
        tuple[int, int],
        ["! product[1]: is integer, and was string: each side loads anew what the other has stored"],
    ),
    (
        Literal["a", "b"],
        Literal["a", "c"],
        ['! product: is "a", "c", and was "a", "b": each side loads anew what the other has stored'],
    ),
    (
        Annotated[int, msgspec.Meta(ge=0)],
        Annotated[int, msgspec.Meta(ge=1)],
        ["! product: minimum is 1, and was 0: each side loads anew what the other has stored"],
    ),
    (
        str,
        Annotated[str, msgspec.Meta(max_length=9)],
        ["! product: maxLength is 9, and was none: each side loads anew what the other has stored"],
    ),
    (
        CARD | CASH,
        CARD | COINLESS,
        ["! product.coins: is gone: processes of before refuse values without it, and load them anew"],
    ),
    (
        CARD | CASH,
        CARD,
        ["! product: is narrowed: values of before with object type=cash are refused, and loaded anew"],
    ),
    (
        record(("sku", str)),
        record(("sku", str, "none")),
        [],
    ),
    (
        record(("sku", str)),
        record(("sku", str | msgspec.UnsetType, msgspec.UNSET)),
        ["! product.sku: may be left out now: processes of before refuse values without it"],
    ),
    (
        record(("sku", str, "none")),
        record(("sku", str)),
        ["! product.sku: is required now: values of before may lack it, and are loaded anew"],
    ),
    (
        record(("sku", str, "none")),
        record(("sku", str, "some")),
        ['product.sku: default is "some", and was "none"'],
    ),
    (
        record(("sku", str), ("note", str, "none")),
        record(("sku", str), forbid_unknown_fields=True),
        ["! product.note: is gone: values of before have it, are refused, and loaded anew"],
    ),
    (
        record(("inner", DEFINE("Inner", [("sku", int)]))),
        record(("inner", DEFINE("Inner", [("sku", str)]))),
        ["! product.inner.sku: is string, and was integer: each side loads anew what the other has stored"],
    ),
    (Node, Node, []),
    (
        list[Priced | Named],
        list[Titled | Priced],
        [
            "! product[].title: is new and required: values of before lack it, and are loaded anew",
            "! product[].name: is gone: processes of before refuse values without it, and load them anew",
        ],
    ),
    (list[Priced | Named], list[Named | Priced], []),
    (Tree | Named, Named | Tree, []),
    (
        list[Priced | Named],
        list[Priced | Noticed],
        ["product[].note: is new: values of before are read with its default until they are dropped"],
    ),
    (
        list[Priced | Named | Titled],
        list[Priced | Titled],
        ["! product[]: has other alternatives of object: each side loads anew what the other has stored"],
    ),
    (
        model(list[int] | list[str]),
        model(list[bool] | list[str]),
        ["! product.value[]: is boolean, and was integer: each side loads anew what the other has stored"],
    ),
    (
        model(date | time),
        model(datetime | time),
        ['! product.value: format is "date-time", and was "date": each side loads anew what the other has stored'],
    ),
    (
        model(dict[Literal["a"], int]),
        model(dict[Literal["b"], int]),
        ['! product.value: keys: is "b", and was "a": each side loads anew what the other has stored'],
    ),
    (
        dict[str, int],
        dict[int, int],
        ["! product: keys: is integer, and was string: each side loads anew what the other has stored"],
    ),
    (
        model(dict[str, int]),
        model(dict[int, int]),
        ["! product.value: keys: is integer, and was string: each side loads anew what the other has stored"],
    ),
    (
        dict[UUID, int],
        dict[date, int],
        ['! product: keys: format is "date", and was "uuid": each side loads anew what the other has stored'],
    ),
    (
        str,
        datetime,
        [
            '! product: x-greenroom is {"kind":"datetime","timezone":"optional"}, and was none: '
            "each side loads anew what the other has stored"
        ],
    ),
    (
        list[int],
        set[int],
        ["! product: uniqueItems is true, and was none: each side loads anew what the other has stored"],
    ),
    (
        dict[str, int],
        record(("sku", int, 0)),
        ["! product: is object, and was mapping: each side loads anew what the other has stored"],
    ),
    (
        record(("sku", int)),
        record(("sku", int, 0), omit_defaults=True),
        ["! product.sku: may be left out now: processes of before refuse values without it"],
    ),
    (
        dict[str, int],
        dict[Annotated[str, msgspec.Meta(max_length=3)], int],
        ["! product: keys: maxLength is 3, and was none: each side loads anew what the other has stored"],
    ),
    *[(placed("width", "height"), placed("height", "width"), [TURNED]) for placed in PLACED],
    *[(model(placed("width", "height")), model(placed("height", "width")), [TURNED_INSIDE]) for placed in PLACED[1:]],
    *[
        (placed("width", "height"), placed("width", "depth"), ["product[1]: is depth, and was height: " + TAKEN])
        for placed in PLACED
    ],
]


@pytest.mark.parametrize(("old", "new", "lines"), OF_TYPES)
def test_a_change_of_the_value_is_told_with_its_place(old: Any, new: Any, lines: list[str]) -> None:
    assert told(keyspaces(old), keyspaces(new)) == lines
    assert told(keyspaces(old), keyspaces(old)) == told(keyspaces(new), keyspaces(new)) == []


class Open(BaseModel, extra="allow"):
    """A model that keeps the members that it does not know."""

    sku: str


class Noted(Open):
    note: str = ""


def stored(type_: Any) -> Keyspaces:
    return Keyspaces(stores=[Keyspace("product:{sku}", type_, ttl=HOUR, name="product")])


def in_sessions(type_: Any) -> Keyspaces:
    return Keyspaces(sessions=Keyspace("product:{sku}", type_, ttl=HOUR, name="product"))


@pytest.mark.parametrize(
    ("declared", "old", "new", "lines"),
    [
        (
            stored,
            record(("sku", str)),
            record(("sku", str), ("note", str, "none")),
            ["! product.note: is new: a process of before that changes a value loses it"],
        ),
        (
            stored,
            record(("sku", str), ("note", str, "none")),
            record(("sku", str)),
            ["! product.note: is gone: a new process that changes a value loses it"],
        ),
        (stored, Open, Noted, ["product.note: is new: values of before are read with its default"]),
        (
            stored,
            record(("sku", str)),
            record(("sku", str), ("owner", str)),
            ["! product.owner: is new and required: values of before lack it, and are BrokenValue for their readers"],
        ),
        (
            stored,
            int,
            str,
            ["! product: is string, and was integer: what one side stores is BrokenValue for the other"],
        ),
        (stored, int, int | None, ["! product: is widened: processes of before refuse null with BrokenValue"]),
        (
            in_sessions,
            record(("user_id", str), ("note", str)),
            record(("user_id", str)),
            ["! product.note: is gone: processes of before refuse values without it with BrokenValue"],
        ),
        (
            in_sessions,
            record(("user_id", str)),
            record(("user_id", str), ("note", str, "none")),
            ["product.note: is new: values of before are read with its default"],
        ),
    ],
)
def test_what_has_no_loader_is_never_said_to_be_loaded_anew(
    declared: Callable[[Any], Keyspaces], old: Any, new: Any, lines: list[str]
) -> None:
    assert told(declared(old), declared(new)) == lines


def test_a_change_within_a_type_that_holds_itself_is_told_once() -> None:
    named = DEFINE("Node", [("name", int), ("parent", Any, None)])
    (line,) = [one for one in told(keyspaces(Node), keyspaces(named)) if "name" in one]
    assert line.startswith("! product.name: is integer, and was string")


PRODUCT = Keyspace("product:{sku}", int, ttl=HOUR)
PAGE = Keyspace("page:{sku}", int, ttl=HOUR)


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        (lambda: Keyspaces(PRODUCT, PAGE), lambda: Keyspaces(PRODUCT), "! page: is not declared any more"),
        (lambda: Keyspaces(PRODUCT), lambda: Keyspaces(PRODUCT, PAGE), None),
        (lambda: Keyspaces(PRODUCT), lambda: Keyspaces(stores=[PRODUCT]), "! product: is of a store, and was of a"),
        (
            lambda: keyspaces(int),
            lambda: keyspaces(int, "goods:{sku}"),
            "! product: its key is goods:<sku>, and was product:<sku>: each side drops its own keys only",
        ),
        (
            lambda: keyspaces(int, parts={"sku": Text()}),
            lambda: keyspaces(int, parts={"sku": UUID}),
            "! product: part sku: is a UUID, in lower case with hyphens, and was any text",
        ),
        (
            lambda: keyspaces(int, parts={"sku": Number(1, 9)}),
            lambda: keyspaces(int, parts={"sku": date}),
            "! product: part sku: is a date",
        ),
        (
            lambda: Keyspaces(PRODUCT, groups={"all": PRODUCT}),
            lambda: Keyspaces(PRODUCT),
            "! product: is not in the group all any more",
        ),
        (
            lambda: Keyspaces(PRODUCT, PAGE, groups={"all": [PRODUCT, PAGE]}),
            lambda: Keyspaces(PRODUCT, PAGE, groups={"all": PRODUCT}),
            "! page: is not in the group all any more",
        ),
        (
            lambda: Keyspaces(PRODUCT),
            lambda: Keyspaces(PRODUCT, groups={"all": PRODUCT}),
            "! product: is new in the group all: what is stored already, or by processes of before, is not in it",
        ),
        (
            lambda: Keyspaces(PRODUCT, PAGE, groups={"all": PRODUCT}),
            lambda: Keyspaces(PRODUCT, PAGE, groups={"all": [PRODUCT, PAGE]}),
            "! page: is new in the group all",
        ),
        (lambda: Keyspaces(PRODUCT), lambda: Keyspaces(PRODUCT, PAGE, groups={"all": PAGE}), None),
        (lambda: keyspaces(int, fresh=timedelta(minutes=1)), lambda: keyspaces(int), None),
    ],
)
def test_a_change_of_keys_and_groups_is_told(
    old: Callable[[], Keyspaces], new: Callable[[], Keyspaces], line: str | None
) -> None:
    found = told(old(), new())
    if line is None:
        assert found == []
    else:
        (one,) = found
        assert one.startswith(line)


# The command -----------------------------------------------------------------------------------------------


MODULE = """
from datetime import timedelta
import msgspec
from greenroom import Keyspace

class Product(msgspec.Struct):
    sku: str
    {member}

PRODUCT = Keyspace("product:{{sku}}", Product, ttl=timedelta(hours=1))
"""


def run(*arguments: str) -> Result:
    return CliRunner().invoke(group, ["definitions", *arguments], catch_exceptions=False)


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], str]:
    monkeypatch.chdir(tmp_path)

    def written(name: str, member: str) -> str:
        (tmp_path / f"{name}.py").write_text(MODULE.format(member=member))
        return f"{name}:PRODUCT"

    return written


def test_the_command_fails_on_a_breaking_change_and_says_which(program: Any, tmp_path: Path) -> None:
    old = run(program("shopcheck_old", "note: str = ''"), "--json-schema")
    Path("old.json").write_text(old.stdout)
    same = run(program("shopcheck_same", "note: str = ''"), "--check", "old.json")
    assert (same.exit_code, same.stdout, same.stderr) == (0, "", "")
    fine = run(program("shopcheck_fine", "note: str = ''; more: int = 0"), "--check", "old.json")
    assert (fine.exit_code, fine.stderr) == (0, "")
    assert fine.stdout == ("product.more: is new: values of before are read with its default until they are dropped\n")
    bad = run(program("shopcheck_bad", "price: int"), "--check", "old.json")
    assert bad.exit_code == 2
    assert bad.stdout.splitlines() == [
        "breaking: product.price: is new and required: values of before lack it, and are loaded anew",
        "product.note: is gone: processes of before read its default",
    ]
    assert bad.stderr == "greenroom: 1 breaking change since old.json\n"


def test_a_default_that_json_spells_in_another_way_has_not_changed(program: Any) -> None:
    name = program("shopcheck_default", "notes: tuple[str, ...] = ()")
    Path("old.json").write_text(run(name, "--json-schema").stdout)
    assert run(name, "--check", "old.json").stdout == ""


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "old.json cannot be read: No such file or directory; name a file that `greenroom definitions"),
        ("nothing", "old.json is not JSON: "),
        ("[]", "old.json has no x-greenroom; name a file that"),
        ('{"properties": {}}', "old.json has no x-greenroom"),
        ('{"properties": {}, "x-greenroom": {}}', "old.json is not as it was printed: Object missing required field"),
        (
            '{"properties": {}, "x-greenroom": {"keyspaces": {"product": {}}, "groups": {}}}',
            "old.json is not as it was printed: Object missing required field `kind` - at `",
        ),
        (
            '{"properties": {"product": 7}, "x-greenroom": {"keyspaces": {}, "groups": {}}}',
            "old.json is not as it was printed: Expected `object`, got `int`",
        ),
    ],
)
def test_a_file_that_is_no_such_document_is_refused(program: Any, content: str | None, words: str) -> None:
    if content is not None:
        Path("old.json").write_text(content)
    result = run(program("shopcheck_file", "note: str = ''"), "--check", "old.json")
    assert result.exit_code == 1
    assert result.stderr.startswith(f"greenroom: --check: {words}")
