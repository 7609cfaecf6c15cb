"""The alternatives of a JSON Schema, each with a label: a value of one label fits no alternative of another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from greenroom.keyspace.schema_words import OWN, Schema

MAPPING = "mapping"
"""Of objects whose members have no names of their own: who reads one as an object with members loses all others."""
_UNIONS = ("anyOf", "oneOf", "allOf")


def by_label(schema: Any, definitions: Mapping[str, Schema]) -> dict[str, list[Schema]]:
    """The alternatives of a schema, by what tells them apart; without references."""
    labelled: dict[str, list[Schema]] = {}
    for one in _alternatives(schema, definitions):
        for label in _labels(one):
            labelled.setdefault(label, []).append(one)
    return labelled


def _alternatives(schema: Any, definitions: Mapping[str, Schema]) -> Iterator[Schema]:
    """The schemas of which a value fits one, without references."""
    if "$ref" in schema:
        yield from _alternatives(definitions[schema["$ref"].rsplit("/", 1)[1]], definitions)
        return
    several = [one for word in _UNIONS for one in schema.get(word, ())]
    several += [{**schema, "type": one} for one in schema["type"]] if isinstance(schema.get("type"), list) else []
    if not several:
        yield schema
    for one in several:
        yield from _alternatives(one, definitions)


def _labels(schema: Schema) -> list[str]:
    """What tells one alternative from the others: its type, its tag, or its constants."""
    if "enum" in schema or "const" in schema:
        values = schema.get("enum", [schema.get("const")])
        return [msgspec.json.encode(one).decode() for one in values]
    tags = [name for name, member in schema.get("properties", {}).items() if _constant(member) is not None]
    label: str = schema.get("type", "anything")
    if label == "object" and "properties" not in schema:
        return [MAPPING]
    return [" ".join([label, *(f"{name}={_constant(schema['properties'][name])}" for name in tags)])]


def _constant(member: Schema) -> str | None:
    values = [member["const"]] if "const" in member else member.get("enum", ())
    return str(values[0]) if len(values) == 1 else None


def union_words(schema: Any, definitions: Mapping[str, Schema]) -> list[Any]:
    """What the unions say of themselves in which the alternatives of a schema stand."""
    if "$ref" in schema:
        return union_words(definitions[schema["$ref"].rsplit("/", 1)[1]], definitions)
    several = [one for word in _UNIONS for one in schema.get(word, ())]
    own = [schema[OWN]] if several and OWN in schema else []
    return own + [word for one in several for word in union_words(one, definitions)]
