"""JSON Schemas as types of TypeScript."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

_IDENTIFIER = re.compile(r"[A-Za-z_$][A-Za-z0-9_$]*")
_WORDS = re.compile(r"[A-Za-z0-9]+")
_ATOMS = {"integer": "number", "number": "number", "string": "string", "boolean": "boolean", "null": "null"}
_RESERVED_WORDS = (
    "break case catch class const continue debugger default delete do else enum export extends false finally for "
    "function if import in instanceof new null return super switch this throw true try typeof var void while with "
    "await yield let static implements interface package private protected public arguments eval undefined"
)
_RESERVED = frozenset(_RESERVED_WORDS.split())


def identifier(text: str, *, capital: bool = False) -> str:
    """A name of TypeScript: `shop_page` is `shopPage`, or `ShopPage`."""
    words = _WORDS.findall(text) or ["_"]
    name = "".join(word[0].upper() + word[1:] for word in words)
    if not capital:
        name = name[0].lower() + name[1:]
    return f"_{name}" if name[0].isdigit() or name in _RESERVED else name


def member_name(name: str) -> str:
    """A member's name, quoted where it must be."""
    return name if _IDENTIFIER.fullmatch(name) else msgspec.json.encode(name).decode()


def comment(text: str) -> str:
    """A line of comment; nothing of the text ends it."""
    words = " ".join(text.replace("*/", "* /").split())
    return f"/** {words} */\n" if words else ""


def type_text(schema: Any, names: Mapping[str, str], indent: str = "") -> str:
    """The type of a schema.

    Arguments:
        names: of the types that are referred to, by their names in the schemas.
    """
    if schema is False:
        return "never"
    if not isinstance(schema, dict):
        return "unknown"
    if "$ref" in schema:
        return names[schema["$ref"].rsplit("/", 1)[1]]
    for word, sign in (("anyOf", " | "), ("oneOf", " | "), ("allOf", " & ")):
        if word in schema:
            return _joined([type_text(one, names, indent) for one in schema[word]], sign)
    if "const" in schema or "enum" in schema:
        values = schema.get("enum", [schema.get("const")])
        return _joined([msgspec.json.encode(one).decode() for one in values], " | ")
    type_ = schema.get("type")
    if isinstance(type_, list):
        return _joined([type_text({**schema, "type": one}, names, indent) for one in type_], " | ")
    if type_ == "array":
        return _array(schema, names, indent)
    if type_ == "object":
        return _object(schema, names, indent)
    return _ATOMS.get(str(type_), "unknown")


def _array(schema: dict[str, Any], names: Mapping[str, str], indent: str) -> str:
    if "prefixItems" not in schema:
        return f"Array<{type_text(schema.get('items', True), names, indent)}>"
    needed = schema.get("minItems", 0)
    items = [
        f"({one})?" if place >= needed else one
        for place, one in enumerate(type_text(item, names, indent) for item in schema["prefixItems"])
    ]
    closed = schema.get("items") is False or schema.get("maxItems") == len(items)
    rest = [] if closed else [f"...Array<{type_text(schema.get('items', True), names, indent)}>"]
    return f"[{', '.join([*items, *rest])}]"


def _object(schema: dict[str, Any], names: Mapping[str, str], indent: str) -> str:
    members = schema.get("properties", {})
    if not members:
        return f"Record<string, {type_text(schema.get('additionalProperties', True), names, indent)}>"
    required, inner = set(schema.get("required", ())), indent + "  "
    lines = []
    for name, member in members.items():
        told = comment(member.get("description", "")) if isinstance(member, dict) else ""
        lines += [f"{inner}{told}"] if told else []
        optional = "" if name in required else "?"
        lines.append(f"{inner}{member_name(name)}{optional}: {type_text(member, names, inner)};\n")
    return "{\n" + "".join(lines) + f"{indent}}}"


def _joined(types: list[str], sign: str) -> str:
    several = list(dict.fromkeys(types))
    return several[0] if len(several) == 1 else f"({sign.join(several)})"
