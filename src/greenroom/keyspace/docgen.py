"""What a keyspace tells others: Markdown in the shape of the specification, and JSON Schemas.

Everything here is derived from the declarations; nothing states a key format or a member a second time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import msgspec

from greenroom.keyspace.keyspace import Keyspace

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def json_schemas(keyspaces: Sequence[Keyspace[Any]], titles: Mapping[str, str] | None = None) -> dict[str, Any]:
    """One JSON Schema document (2020-12): under `properties` a schema for the values of each keyspace, by its name.

    Arguments:
        titles: the title of a type's schema where it is not the type's own name.
    """
    definitions: dict[str, Any] = {}
    properties: dict[str, Any] = {}
    for keyspace in keyspaces:
        schema = keyspace.codec.schema()
        definitions.update(schema.pop("$defs", {}))
        properties[keyspace.name] = {"description": f"The value of {key_format(keyspace)}", **schema}
    for name, definition in definitions.items():
        definition["title"] = (titles or {}).get(name, definition.get("title", name))
    return {"$schema": DIALECT, "type": "object", "properties": properties, "$defs": definitions}


def markdown(keyspaces: Sequence[Keyspace[Any]], titles: Mapping[str, str] | None = None) -> str:
    """A section for each keyspace: key format, value, lifetime, use."""
    schemas = json_schemas(keyspaces, titles)
    sections = [_section(number, keyspace, schemas) for number, keyspace in enumerate(keyspaces, 1)]
    return "\n---\n\n".join(sections)


def key_format(keyspace: Keyspace[Any]) -> str:
    """The key format as the specification writes it, as `cache:topic:<topic_id>`."""
    pattern = keyspace.pattern
    return pattern.prefix + pattern.text.replace("{", "<").replace("}", ">")


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
        _shape(schemas["properties"][keyspace.name], schemas["$defs"], ""),
        "```",
        f"At most {keyspace.limit:,} bytes of JSON.",
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


def _shape(schema: dict[str, Any], definitions: dict[str, Any], indent: str) -> str:
    if "$ref" in schema:
        schema = definitions[schema["$ref"].rsplit("/", 1)[1]]
    if schema.get("type") == "array":
        return f"[{_shape(schema.get('items', {}), definitions, indent)}]"
    if schema.get("type") != "object" or "properties" not in schema:
        name = {"date-time": "timestamp"}.get(schema.get("format", ""), schema.get("type", "any"))
        return f'"{"float" if name == "number" else name}"'
    inner = indent + "  "
    required = set(schema.get("required", ()))
    members = list(schema["properties"].items())
    lines = []
    for place, (name, member) in enumerate(members):
        comma = "" if place == len(members) - 1 else ","
        remark = "" if name in required else _remark(member)
        lines.append(f'{inner}"{name}": {_shape(member, definitions, inner)}{comma}{remark}')
    return "{\n" + "\n".join(lines) + f"\n{indent}}}"


def _remark(member: dict[str, Any]) -> str:
    if "default" not in member:
        return "  // optional"
    return f"  // default {msgspec.json.encode(member['default']).decode()}"
