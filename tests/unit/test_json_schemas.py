"""JSON Schemas and shapes of keyspaces: what generators of code take, and what a reader of the Markdown sees."""

from __future__ import annotations

import enum
from collections.abc import Iterator
from datetime import timedelta
from typing import Annotated, Any, Literal

import msgspec
import pytest
from pydantic import BaseModel, Field

from greenroom import Keyspace, Keyspaces
from greenroom.keyspace.docgen import markdown
from greenroom.keyspace.json_schema import json_schemas

HOUR = timedelta(hours=1)


class Size(enum.Enum):
    """How large."""

    SMALL = "s"
    LARGE = "l"


class Speed(enum.Enum):
    """How fast."""

    FAST = 1
    SLOW = 0


class Maker(BaseModel):
    """Who makes it."""

    name: str = Field(description="As on the box.")


class Offer(BaseModel):
    """What is offered."""

    sku: str = Field(description="The number on the box.")
    title: str
    discount: int | None
    maker: Maker = Field(description="Who makes it.")
    size: Size = Size.SMALL
    parent: Offer | None = None
    places: tuple[int, str] = (1, "a")
    by_day: dict[str, Maker] = {}


class Card(msgspec.Struct, tag="card"):
    """Paid by card."""

    number: str


class Cash(msgspec.Struct, tag="cash"):
    """Paid in cash."""


class Bill(msgspec.Struct):
    """What is to be paid."""

    paid: Card | Cash
    card: Card = msgspec.field(default_factory=lambda: Card("0"))
    speed: Speed = Speed.SLOW
    state: Literal["open", "closed"] = "open"
    note: Annotated[str, msgspec.Meta(description="Said by the buyer.")] | None = None
    more: Any = None
    left: list[int] | msgspec.UnsetType = msgspec.UNSET


def schemas_in(schema: Any) -> Iterator[dict[str, Any]]:
    if isinstance(schema, list):
        for one in schema:
            yield from schemas_in(one)
    elif isinstance(schema, dict):
        yield schema
        for word, one in schema.items():
            if word in ("properties", "$defs"):
                yield from schemas_in(list(one.values()))
            elif word not in ("default", "enum", "const", "x-greenroom"):
                yield from schemas_in(one)


def keyspace(type_: Any, name: str) -> Keyspace[Any]:
    return Keyspace(f"{name}:{{id}}", type_, ttl=HOUR)


@pytest.mark.parametrize("type_", [Offer, list[Offer], Bill, Card | Cash, Maker, Offer | None])
def test_no_word_stands_beside_a_reference_and_no_member_has_a_title(type_: Any) -> None:
    document = json_schemas(Keyspaces(keyspace(type_, "one"), keyspace(Offer, "other")))
    for schema in schemas_in(document):
        assert "$ref" not in schema or len(schema) == 1, schema
    for definition in document["$defs"].values():
        assert isinstance(definition["title"], str)
        for member in definition.get("properties", {}).values():
            assert "title" not in member
    assert set(document["$defs"]["Offer"]["properties"]) >= {"title"}, "a member of that name stays"
    assert document["$defs"]["Offer"]["properties"]["maker"] == {
        "allOf": [{"$ref": "#/$defs/Maker"}],
        "description": "Who makes it.",
    }


def test_a_type_is_there_once_however_many_keyspaces_have_it() -> None:
    document = json_schemas(Keyspaces(keyspace(Offer, "one"), keyspace(list[Offer], "many"), keyspace(Maker, "maker")))
    assert set(document["$defs"]) == {"Offer", "Maker", "Size"}
    assert document["properties"]["one"] == {"$ref": "#/$defs/Offer"}
    assert document["properties"]["maker"] == {"$ref": "#/$defs/Maker"}
    assert document["properties"]["many"]["items"] == {"$ref": "#/$defs/Offer"}


def test_two_types_of_one_name_stay_two() -> None:
    first = msgspec.defstruct("Maker", [("name", int)])
    of_first = msgspec.defstruct("Box", [("maker", first)])
    second = msgspec.defstruct("Maker", [("name", str), ("born", int)])
    of_second = msgspec.defstruct("Box", [("maker", second)])
    document = json_schemas(Keyspaces(keyspace(of_first, "one"), keyspace(of_second, "other")))
    (one, other) = (document["properties"][name]["$ref"].rsplit("/", 1)[1] for name in ("one", "other"))
    assert one != other, "whoever holds one of two types is two types as well"
    makers = [document["$defs"][name]["properties"]["maker"]["$ref"].rsplit("/", 1)[1] for name in (one, other)]
    assert [document["$defs"][name]["properties"]["name"]["type"] for name in makers] == ["integer", "string"]


def test_tags_of_a_renamed_union_lead_to_its_own_types() -> None:
    other = msgspec.defstruct("Card", [("holder", str)], tag="card")
    cash = msgspec.defstruct("Cash", [("coins", int)], tag="cash")
    document = json_schemas(Keyspaces(keyspace(Card | Cash, "one"), keyspace(other | cash, "other")))
    mapping = document["properties"]["other"]["discriminator"]["mapping"]
    assert "holder" in document["$defs"][mapping["card"].rsplit("/", 1)[1]]["properties"]


def shape(type_: Any) -> str:
    return markdown(Keyspaces(keyspace(type_, "one"))).split("```")[1].strip()


def test_markdown_tells_nullable_members_choices_and_recursive_types() -> None:
    assert shape(Offer).splitlines() == [
        "{",
        '  "sku": "string",',
        '  "title": "string",',
        '  "discount": "integer | null",',
        '  "maker": {',
        '    "name": "string"',
        "  },",
        '  "size": "one of "s", "l"",  // default "s"',
        '  "parent": "Offer | null",  // default null',
        '  "places": ["integer", "string"],  // default [1,"a"]',
        '  "by_day": {"...": {',
        '    "name": "string"',
        "  }}  // default {}",
        "}",
    ]


def test_markdown_tells_unions_optional_members_and_anything() -> None:
    assert shape(Bill).splitlines() == [
        "{",
        '  "paid": {',
        '    "type": "one of "card"",',
        '    "number": "string"',
        "  } | {",
        '    "type": "one of "cash""',
        "  },",
        '  "card": {',
        '    "type": "one of "card"",',
        '    "number": "string"',
        "  },  // optional",
        '  "speed": "one of 0, 1",  // default 0',
        '  "state": "one of "closed", "open"",  // default "open"',
        '  "note": "string | null",  // default null',
        '  "more": "any",  // default null',
        '  "left": ["integer"]  // optional',
        "}",
    ]
    assert shape(int | None) == '"integer | null"'
    assert shape(dict[str, Any]) == '"object"'
