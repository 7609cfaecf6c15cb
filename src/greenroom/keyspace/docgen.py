"""What keyspaces tell others, as Markdown in the shape of the specification.

Everything here is derived from the declarations; nothing states a key format or a member a second time.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec

from greenroom.keyspace.json_schema import json_schemas, key_format
from greenroom.keyspace.keyspace import Keyspace
from greenroom.keyspace.registry import Keyspaces


def markdown(keyspaces: Keyspaces) -> str:
    """A section for each keyspace: key format, value, lifetime, use."""
    schemas = json_schemas(keyspaces)
    sections = [_section(number, keyspace, schemas) for number, keyspace in enumerate(keyspaces, 1)]
    return "\n---\n\n".join(sections)


def duration(span: timedelta) -> str:
    """A lifetime in words, as `30 minutes`."""
    seconds = span.total_seconds()
    for unit, size in (("hour", 3600), ("minute", 60), ("second", 1)):
        if seconds % size == 0:
            count = int(seconds // size)
            return f"{count} {unit}{'' if count == 1 else 's'}"
    return f"{seconds} seconds"


def _section(number: int, keyspace: Keyspace[Any], schemas: dict[str, Any]) -> str:
    pattern, lifetime = keyspace.pattern, keyspace.lifetime
    parts = [f"- `<{name}>`: {part.described()}" for name, part in pattern.declared.items()]
    lives = f"{duration(lifetime.ttl)}"
    if lifetime.fresh is not None:
        lives += f", fresh for {duration(lifetime.fresh)} of them"
    lives += f"; shortened at random by at most {lifetime.jitter:.0%}" if lifetime.jitter else "; never shortened"
    lines = [
        f"## {number}. {keyspace.title}",
        "",
        "### Key Format",
        f"`{key_format(keyspace)}`",
        *parts,
        "",
        "### Value Structure",
        "```",
        _shape(schemas["properties"][keyspace.name], schemas["$defs"], "", ()),
        "```",
        f"At most {keyspace.limit:,} bytes of JSON.",
        *([_version(keyspace)] if keyspace.version else []),
        "",
        "### TTL (Time-To-Live)",
        f"{lives}.",
        *([keyspace.note] if keyspace.note else []),
        "",
        "### Use Case",
        keyspace.purpose or "Not said.",
        f"Fed by: {keyspace.source or 'its loader'}.",
        "",
    ]
    return "\n".join(lines)


def _version(keyspace: Keyspace[Any]) -> str:
    spaces = "a space" if keyspace.version == 1 else f"{keyspace.version} spaces"
    return f"Version {keyspace.version}: {spaces} before the JSON, which parsers pass over; others are loaded anew."


def _shape(schema: Any, definitions: dict[str, Any], indent: str, inside: tuple[str, ...]) -> str:
    """A schema as JSON with the names of types in the places of values.

    Arguments:
        inside: the types that this one stands in: one that holds itself is named the second time.
    """
    if not isinstance(schema, dict):
        return '"any"'
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[1]
        if name in inside:
            return f'"{definitions[name]["title"]}"'
        return _shape(definitions[name], definitions, indent, (*inside, name))
    for word in ("anyOf", "oneOf", "allOf"):
        if word in schema:
            return _either([_shape(one, definitions, indent, inside) for one in schema[word]])
    if "enum" in schema or "const" in schema:
        values = schema.get("enum", [schema.get("const")])
        return f'"one of {", ".join(msgspec.json.encode(one).decode() for one in values)}"'.replace('\\"', '"')
    if isinstance(schema.get("type"), list):
        return _either([_shape({**schema, "type": one}, definitions, indent, inside) for one in schema["type"]])
    if schema.get("type") == "array":
        if "prefixItems" in schema:
            return f"[{', '.join(_shape(one, definitions, indent, inside) for one in schema['prefixItems'])}]"
        return f"[{_shape(schema.get('items', {}), definitions, indent, inside)}]"
    if schema.get("type") == "object" and "properties" in schema:
        return _object(schema, definitions, indent, inside)
    if schema.get("type") == "object" and isinstance(schema.get("additionalProperties"), dict):
        return f'{{"...": {_shape(schema["additionalProperties"], definitions, indent, inside)}}}'
    name = {"date-time": "timestamp"}.get(schema.get("format", ""), schema.get("type", "any"))
    return f'"{"float" if name == "number" else name}"'


def _object(schema: dict[str, Any], definitions: dict[str, Any], indent: str, inside: tuple[str, ...]) -> str:
    inner = indent + "  "
    required = set(schema.get("required", ()))
    members = list(schema["properties"].items())
    lines = []
    for place, (name, member) in enumerate(members):
        comma = "" if place == len(members) - 1 else ","
        remark = "" if name in required else _remark(member)
        lines.append(f'{inner}"{name}": {_shape(member, definitions, inner, inside)}{comma}{remark}')
    return "{\n" + "\n".join(lines) + f"\n{indent}}}"


def _either(shapes: list[str]) -> str:
    """`"string | null"` of atoms, and `{…} | null` where one of them has members."""
    several = list(dict.fromkeys(shapes))
    if all(one.startswith('"') for one in several):
        return '"' + " | ".join(one[1:-1] for one in several) + '"'
    return " | ".join("null" if one == '"null"' else one for one in several)


def _remark(member: dict[str, Any]) -> str:
    if "default" not in member:
        return "  // optional"
    return f"  // default {msgspec.json.encode(member['default']).decode()}"
