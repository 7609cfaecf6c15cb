"""Words of ours in JSON Schemas, for what the standard has none: `greenroom definitions --check` compares them too."""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]

OWN = "x-greenroom"
"""Of the document: keys, kinds, lifetimes and groups. Of a value: what else tells whether a text fits it."""
KEYS = f"{OWN}-keys"
"""Of the names of an object's members: the schema of what they are in Python, as of the keys of a `dict[int, X]`."""
OMITS = f"{OWN}-omits-defaults"
"""Of an object: a member that has its default is not written."""
PLACES = f"{OWN}-members"
"""Of an array that stands for an object with members: their names, in the order of their places. A tag is none."""


def property_names(keys: Schema) -> Schema:
    """What `propertyNames` says of keys with this schema: names are texts, whatever they stand for."""
    if _is_text(keys):
        return {word: value for word, value in keys.items() if word != "type"}
    return {KEYS: keys} if keys else {}


def keys_of(mapping: Schema) -> Schema:
    """The schema of a mapping's keys."""
    names = mapping.get("propertyNames")
    if not isinstance(names, dict):
        return {"type": "string"}
    keys: Schema = names.get(KEYS, {"type": "string", **names})
    return keys


def _is_text(keys: Schema) -> bool:
    if "enum" in keys or "const" in keys:
        return all(isinstance(one, str) for one in keys.get("enum", [keys.get("const")]))
    return keys.get("type") == "string"
