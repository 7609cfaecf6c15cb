"""pydantic's JSON Schema of a type, with what it leaves out: numbers as keys, and bounds that have no word there.

See `msgspec_schema` for what that is good for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema, to_jsonable_python

from greenroom.keyspace.schema_words import OWN, PLACES, property_names

_TIMES = ("gt", "ge", "lt", "le", "now_op", "tz_constraint")
_LEFT_OUT: dict[str, tuple[str, ...]] = {
    "str": ("strip_whitespace", "to_lower", "to_upper"),
    "date": _TIMES,
    "time": _TIMES,
    "datetime": _TIMES,
    "timedelta": _TIMES,
    "decimal": ("gt", "ge", "lt", "le", "multiple_of", "max_digits", "decimal_places", "allow_inf_nan"),
    "union": ("mode",),
}
"""Of each kind of type what decides what it reads, and as what, and is not in its schema."""


class CompleteSchema(GenerateJsonSchema):
    """Writes a schema for `TypeAdapter.json_schema`."""

    def generate_inner(self, schema: Any) -> JsonSchemaValue:
        """Of any type in the type."""
        found = super().generate_inner(schema)
        words = _LEFT_OUT.get(schema["type"], ())
        own = {word: to_jsonable_python(schema[word]) for word in words if schema.get(word) not in (None, False)}
        return {**found, OWN: own} if own and "$ref" not in found else found

    def arguments_schema(self, schema: core_schema.ArgumentsSchema) -> JsonSchemaValue:
        """Of a named tuple, in versions that read it as the arguments of a call."""
        return _placed(super().arguments_schema(schema), schema["arguments_schema"])

    def named_tuple_schema(self, schema: Any) -> JsonSchemaValue:
        """Of a named tuple."""
        return _placed(super().named_tuple_schema(schema), schema["fields"])

    def dict_schema(self, schema: core_schema.DictSchema) -> JsonSchemaValue:
        """Of a mapping: pydantic tells of keys where they are texts."""
        found = super().dict_schema(schema)
        if "propertyNames" in found or "patternProperties" in found or "keys_schema" not in schema:
            return found
        if names := property_names(dict(self.generate_inner(schema["keys_schema"]))):
            found["propertyNames"] = names
        return found


def _placed(found: JsonSchemaValue, members: Sequence[Any]) -> JsonSchemaValue:
    """With the names of the members: pydantic tells of their places alone."""
    return {**found, PLACES: [one["name"] for one in members]} if "prefixItems" in found else found
