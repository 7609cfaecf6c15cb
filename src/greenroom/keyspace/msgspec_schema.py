"""msgspec's JSON Schema of a type, with what it leaves out: kinds of keys, of times, and members left unwritten.

Two types with one schema would be taken for one by `greenroom definitions --check`, though one refuses what the other
stores: `dict[str, X]` and `dict[int, X]`, `str` and `datetime`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
from msgspec import inspect

from greenroom.keyspace.schema_words import OMITS, OWN, PLACES, Schema, property_names

_TIMEZONE = {None: "optional", True: "required", False: "none"}
_BOUNDS = {
    "ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum", "lt": "exclusiveMaximum", "multiple_of": "multipleOf",
    "min_length": "minLength", "max_length": "maxLength", "pattern": "pattern",
}  # fmt: skip
_ATOMS: dict[type[inspect.Type], Schema] = {
    inspect.StrType: {"type": "string"},
    inspect.IntType: {"type": "integer"},
    inspect.FloatType: {"type": "number"},
    inspect.BytesType: {"type": "string", "contentEncoding": "base64"},
    inspect.DateType: {"type": "string", "format": "date"},
    inspect.TimeDeltaType: {"type": "string", "format": "duration"},
    inspect.UUIDType: {"type": "string", "format": "uuid"},
    inspect.DecimalType: {"type": "string", "format": "decimal"},
    inspect.DateTimeType: {"type": "string"},
    inspect.TimeType: {"type": "string"},
}
_WITH_MEMBERS = (inspect.StructType, inspect.DataclassType, inspect.TypedDictType, inspect.NamedTupleType)


def schema_of(type_: Any) -> Schema:
    """The JSON Schema (2020-12) of a type that msgspec knows."""
    schema = msgspec.json.schema(type_)
    _complete(inspect.type_info(type_), schema, schema.get("$defs", {}), set())
    return schema


def _complete(node: inspect.Type, schema: Any, definitions: Schema, seen: set[int]) -> None:
    """Put into a schema what of its type is not in it; of a type that holds itself once."""
    while isinstance(node, inspect.Metadata):
        node = node.type
    if not isinstance(schema, dict):
        return
    if "$ref" in schema:
        schema = definitions[schema["$ref"].rsplit("/", 1)[1]]
    if id(schema) in seen:
        return
    seen.add(id(schema))
    if isinstance(node, inspect.DateTimeType | inspect.TimeType):
        schema[OWN] = _of_time(node)
    elif isinstance(node, inspect.DictType) and (names := property_names(_key(node.key_type))):
        schema["propertyNames"] = {**names, **schema.get("propertyNames", {})}
    elif isinstance(node, inspect.StructType | inspect.NamedTupleType) and "prefixItems" in schema:
        schema[PLACES] = [one.name for one in node.fields]
    elif isinstance(node, inspect.StructType) and node.cls.__struct_config__.omit_defaults:
        schema[OMITS] = True
    for inner, part in _inside(node, schema):
        _complete(inner, part, definitions, seen)


def _inside(node: inspect.Type, schema: Schema) -> Iterable[tuple[inspect.Type, Any]]:
    """The types in a type, each with its schema."""
    if isinstance(node, inspect.CollectionType):
        return [(node.item_type, schema.get("items"))]
    if isinstance(node, inspect.TupleType):
        return zip(node.item_types, schema.get("prefixItems", ()), strict=True)
    if isinstance(node, inspect.DictType):
        return [(node.value_type, schema.get("additionalProperties"))]
    if isinstance(node, inspect.UnionType):
        return _alternatives(node, schema)
    if isinstance(node, _WITH_MEMBERS):
        if "prefixItems" in schema:  # the last ones: a tag stands before them
            items = schema["prefixItems"]
            return zip([one.type for one in node.fields], items[len(items) - len(node.fields) :], strict=True)
        return [(one.type, schema["properties"][one.encode_name]) for one in node.fields]
    return ()


def _alternatives(node: inspect.UnionType, schema: Schema) -> Iterator[tuple[inspect.Type, Any]]:
    """msgspec writes the structs of a union last, several of them in an alternative of their own; then None."""
    structs = [one for one in node.types if _is_record(one)]
    others = [one for one in node.types if one not in structs and not isinstance(one, inspect.NoneType)]
    options = schema["anyOf"]
    if len(structs) > 1 and "discriminator" not in schema:
        options = [*options[: len(others)], *options[len(others)]["anyOf"]]
    yield from zip([*others, *structs], options, strict=False)


def _is_record(node: inspect.Type) -> bool:
    while isinstance(node, inspect.Metadata):
        node = node.type
    return isinstance(node, inspect.StructType) and not node.array_like


def _of_time(node: inspect.DateTimeType | inspect.TimeType) -> Schema:
    kind = "datetime" if isinstance(node, inspect.DateTimeType) else "time"
    return {"kind": kind, "timezone": _TIMEZONE[node.tz]}


def _key(node: inspect.Type) -> Schema:
    """The schema of what the keys of a mapping are in Python; empty where that is anything."""
    while isinstance(node, inspect.Metadata):
        node = node.type
    if isinstance(node, inspect.LiteralType):
        return {"enum": list(node.values)}
    if isinstance(node, inspect.EnumType):
        return {"enum": [one.value for one in node.cls]}
    if isinstance(node, inspect.UnionType):
        return {"anyOf": [_key(one) for one in node.types]}
    schema = dict(_ATOMS.get(type(node), {}))
    if isinstance(node, inspect.DateTimeType | inspect.TimeType):
        schema[OWN] = _of_time(node)
    bounds = {word: getattr(node, name, None) for name, word in _BOUNDS.items()}
    return schema | {word: value for word, value in bounds.items() if value is not None}
