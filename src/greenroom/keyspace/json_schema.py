"""JSON Schemas (2020-12) of keyspaces, in a form that generators of code take: one document, each type in it once.

What msgspec and pydantic write is changed in two ways. A reference has no words beside it, and a member no title:
`json-schema-to-typescript` and its like make another type of each.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from greenroom.keyspace.derived_keys import derived_key
from greenroom.keyspace.keyspace import Keyspace
from greenroom.keyspace.pattern import Pattern
from greenroom.keyspace.registry import Keyspaces
from greenroom.keyspace.schema_words import KEYS, OWN, Schema

DIALECT = "https://json-schema.org/draft/2020-12/schema"
ABOUT = OWN
"""The member of the document that tells of keys, kinds, lifetimes and groups."""

_LISTS = frozenset({"anyOf", "oneOf", "allOf", "prefixItems"})
_MAPS = frozenset({"properties", "patternProperties", "$defs", "dependentSchemas"})
_ONES = frozenset(
    {"items", "additionalProperties", "contains", "propertyNames", "contentSchema", "not", "if", "then", "else", KEYS}
)
_LOCAL = "#/$defs/"


def json_schemas(keyspaces: Keyspaces) -> Schema:
    """Under `properties` a schema for the values of each keyspace, by its name; `x-greenroom` tells the rest."""
    definitions: Schema = {}
    properties: Schema = {}
    for keyspace in keyspaces:
        schema = keyspace.codec.schema()
        own = schema.pop("$defs", {})
        if "properties" in schema and schema.get("title"):  # a model that nothing refers to: a type as any other
            name = schema["title"]
            own, schema = {**own, name: schema}, {"$ref": _LOCAL + name}
        schema, own = _renamed(schema, own, definitions, keyspace.name)
        definitions.update(own)
        schema = _tidied(schema)
        if "$ref" not in schema:
            schema = {"description": f"The value of {key_format(keyspace)}", **schema}
        properties[keyspace.name] = schema
    for name, definition in definitions.items():
        title = definition.get("title", name)
        definitions[name] = {"title": keyspaces.titles.get(name, title), **_tidied(definition)}
    return {
        "$schema": DIALECT,
        "type": "object",
        "properties": properties,
        "$defs": definitions,
        ABOUT: _about(keyspaces),
    }


def key_format(keyspace: Keyspace[Any]) -> str:
    """The key format as the specification writes it, as `cache:episode:<episode_id>`."""
    return keyspace.pattern.prefix + angled(keyspace.pattern)


def angled(pattern: Pattern) -> str:
    """A format with `<name>` for each part, and without the prefix."""
    return pattern.text.replace("{", "<").replace("}", ">")


def prefix_of(keyspaces: Keyspaces) -> str:
    """What stands before the keys."""
    return next((one.pattern.prefix for one in keyspaces), "")


def _about(keyspaces: Keyspaces) -> Schema:
    prefix = prefix_of(keyspaces)
    return {
        "keyspaces": {
            one.name: {
                "kind": keyspaces.kind(one),
                "key": key_format(one),
                "parts": {name: part.described() for name, part in one.pattern.parts.items()},
                "version": one.version,
                "ttl_seconds": one.lifetime.ttl.total_seconds(),
            }
            for one in keyspaces
        },
        "groups": {
            angled(group.pattern): {
                "key": derived_key(prefix, "group", angled(group.pattern)),
                "keyspaces": [one.name for one in group.keyspaces],
            }
            for group in keyspaces.groups
        },
    }


def walk(schema: Any, change: Callable[[Schema], Schema]) -> Any:
    """A schema with each schema in it changed, the innermost first; defaults and constants are none."""
    if not isinstance(schema, dict):
        return schema
    changed: Schema = {}
    for word, value in schema.items():
        if word in _LISTS:
            changed[word] = [walk(one, change) for one in value]
        elif word in _MAPS:
            changed[word] = {name: walk(one, change) for name, one in value.items()}
        else:
            changed[word] = walk(value, change) if word in _ONES else value
    return change(changed)


def references(schema: Any) -> set[str]:
    """The names of the definitions that a schema refers to."""
    names = set[str]()

    def note(one: Schema) -> Schema:
        if "$ref" in one:
            names.add(one["$ref"].removeprefix(_LOCAL))
        return one

    walk(schema, note)
    return names


def _tidied(schema: Schema) -> Schema:
    """Without the titles of members, and without words beside a reference."""

    def tidy(one: Schema) -> Schema:
        one = {word: value for word, value in one.items() if word != "title"}
        if "$ref" in one and len(one) > 1:
            return {"allOf": [{"$ref": one.pop("$ref")}], **one}
        return one

    tidied: Schema = walk(schema, tidy)
    return tidied


def _renamed(schema: Schema, own: Schema, known: Mapping[str, Any], keyspace: str) -> tuple[Schema, Schema]:
    """The schema of a keyspace and its definitions, where another keyspace has other ones of the same names."""
    differing = {name for name, definition in own.items() if name in known and known[name] != definition}
    # Whoever refers to one that is renamed becomes another one too.
    while more := {name for name in own if name not in differing and references(own[name]) & differing}:
        differing |= more
    names = {name: f"{name}_{keyspace}" for name in differing}

    def rename(one: Schema) -> Schema:
        if "$ref" in one:
            one = {**one, "$ref": _new_reference(one["$ref"], names)}
        if "mapping" in (discriminator := one.get("discriminator", {})):
            mapping = {tag: _new_reference(to, names) for tag, to in discriminator["mapping"].items()}
            one = {**one, "discriminator": {**discriminator, "mapping": mapping}}
        return one

    return walk(schema, rename), {names.get(name, name): walk(one, rename) for name, one in own.items()}


def _new_reference(reference: str, names: Mapping[str, str]) -> str:
    name = reference.removeprefix(_LOCAL)
    return _LOCAL + names.get(name, name)
