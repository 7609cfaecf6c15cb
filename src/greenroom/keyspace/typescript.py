"""TypeScript of keyspaces: a type, a key builder and `invalidate(client, …)` for each, in one file without packages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from greenroom.keyspace.json_schema import json_schemas, prefix_of
from greenroom.keyspace.keyspace import Keyspace
from greenroom.keyspace.parts import Text
from greenroom.keyspace.pattern import Pattern
from greenroom.keyspace.registry import Keyspaces
from greenroom.keyspace.schema_words import Schema
from greenroom.keyspace.typescript_parts import FUNCTION_NAMES, HASH_IMPORT, builders, call, part_type
from greenroom.keyspace.typescript_types import comment, identifier, member_name, type_text

_HEAD = """// Printed by `greenroom definitions --typescript` from the declarations. Do not edit it: print it again.
"""
_OWN = frozenset(
    {"Client", "PREFIX", "send", "drop", "dropGroup", "refused", "createHash", *FUNCTION_NAMES}
    | {"Array", "BigInt", "Date", "Number", "Promise", "RangeError", "Record", "String", "encodeURIComponent"}
)
"""Names that the file has or uses besides."""
_CLIENT = """
/**
 * What sends a command: an ioredis or iovalkey client, a node-redis client, or a function, as for a cluster of
 * node-redis: `(command) => cluster.sendCommand(command[1], false, command)`.
 */
export type Client =
  | { call(command: string, ...args: string[]): Promise<unknown> }
  | { sendCommand(command: string[]): Promise<unknown> }
  | ((command: string[]) => Promise<unknown>);

async function send(client: Client, command: string[]): Promise<unknown> {
  if (typeof client === "function") return client(command);
  if ("call" in client) return client.call(command[0] as string, ...command.slice(1));
  return client.sendCommand(command);
}
"""
_DROP = """
/** Drops a value in one command: a load under way would store the old one, and a missing key wakes nobody. */
async function drop(client: Client, key: string): Promise<void> {
  await send(client, ["DEL", key, `${PREFIX}lease:{${key}}`, `${PREFIX}absent:{${key}}`]);
}
"""
_DROP_GROUP = """
/** Drops what a group names. Its members stay: a reader may have registered one again, for the next drop to find. */
async function dropGroup(client: Client, group: string): Promise<void> {
  const keys = (await send(client, ["ZRANGE", group, "0", "-1"])) as unknown[];
  await Promise.all(keys.map((key) => drop(client, String(key))));
}
"""


def typescript(keyspaces: Keyspaces) -> str:
    """The file, of keyspaces that have their prefix.

    A member that has a default is optional: a value of before may lack it.
    """
    schemas = json_schemas(keyspaces)
    names = _names(keyspaces, schemas["$defs"])
    parts = [part for keyspace in keyspaces for part in keyspace.pattern.parts.values()]
    pieces = [_HEAD]
    if any(isinstance(part, Text) for part in parts):
        pieces.append(HASH_IMPORT)
    pieces.append(f"\nconst PREFIX = {_quoted(prefix_of(keyspaces))};\n")
    if keyspaces.caches:
        pieces += [_CLIENT, _DROP, *([_DROP_GROUP] if keyspaces.groups else [])]
    pieces.append(builders(parts))
    pieces += [_definition(name, one, names) for name, one in schemas["$defs"].items()]
    pieces += [_keyspace(keyspaces, one, schemas["properties"][one.name], names) for one in keyspaces]
    pieces += [_group(group.pattern, names) for group in keyspaces.groups]
    return "".join(pieces)


def _names(keyspaces: Keyspaces, definitions: Mapping[str, Schema]) -> dict[tuple[str, str], str]:
    """A name for each type, keyspace and group, none of them twice."""
    taken = {*_OWN}
    names: dict[tuple[str, str], str] = {}

    def name(kind: str, of: str, wanted: str) -> None:
        while wanted in taken:
            wanted += "_"
        taken.add(wanted)
        names[kind, of] = wanted

    for one, definition in definitions.items():
        title = definition["title"]
        # A title that two types share tells neither.
        shared = sum(other["title"] == title for other in definitions.values()) > 1
        name("type", one, identifier(one if shared else title, capital=True))
    for keyspace in keyspaces:
        name("value", keyspace.name, identifier(keyspace.name, capital=True) + "Value")
        name("keyspace", keyspace.name, identifier(keyspace.name))
    for group in keyspaces.groups:
        text = group.pattern.text
        words = "_".join(word for word in text.split(":") if word and not word.startswith("{"))
        plain = identifier(words) + "Group"
        by = identifier("_".join([words, "by", *group.pattern.names])) + "Group"
        name("group", text, by if plain in taken and group.pattern.names else plain)
    return names


def _definition(name: str, schema: Schema, names: Mapping[tuple[str, str], str]) -> str:
    return f"\n{comment(schema.get('description', ''))}export type {names['type', name]} = {_type(schema, names)};\n"


def _type(schema: Any, names: Mapping[tuple[str, str], str]) -> str:
    return type_text(schema, {of: name for (kind, of), name in names.items() if kind == "type"})


def _keyspace(
    keyspaces: Keyspaces, keyspace: Keyspace[Any], schema: Schema, names: Mapping[tuple[str, str], str]
) -> str:
    pattern, name = keyspace.pattern, names["keyspace", keyspace.name]
    value = names["value", keyspace.name]
    kind = keyspaces.kind(keyspace)
    told = keyspace.purpose or keyspace.title
    lines = [
        f"\n{comment(f'The value of {pattern.prefix}{pattern.text}.')}",
        f"export type {value} = {_type({one: schema[one] for one in schema if one != 'description'}, names)};\n",
        f"\n{comment(told)}export const {name} = {{\n",
        f"  key({_parameters(pattern)}): string {{\n    return {_key_text(pattern, 'PREFIX')};\n  }},\n",
    ]
    if kind == "cache":
        given = "parts" if pattern.names else ""
        lines.append("  /** Drops the value; to be called after the change is committed. */\n")
        more = f", {_parameters(pattern)}" if pattern.names else ""
        lines.append(
            f"  async invalidate(client: Client{more}): Promise<void> {{\n"
            f"    await drop(client, {name}.key({given}));\n  }},\n"
        )
    return "".join([*lines, "};\n"])


def _group(pattern: Pattern, names: Mapping[tuple[str, str], str]) -> str:
    name = names["group", pattern.text]
    more = f", {_parameters(pattern)}" if pattern.names else ""
    given = "parts" if pattern.names else ""
    tag = _key_text(pattern, "")
    return (
        f"\n{comment(f'The keys of {pattern.text}, which one change makes stale together.')}export const {name} = {{\n"
        f"  key({_parameters(pattern)}): string {{\n"
        f"    return `${{PREFIX}}greenroom:group:{{${{{tag}}}}}`;\n  }},\n"
        "  /** Drops every key of the group; to be called after the change is committed. */\n"
        f"  async invalidate(client: Client{more}): Promise<void> {{\n"
        f"    await dropGroup(client, {name}.key({given}));\n  }},\n}};\n"
    )


def _parameters(pattern: Pattern) -> str:
    if not pattern.names:
        return ""
    members = "; ".join(f"{member_name(name)}: {part_type(part)}" for name, part in pattern.parts.items())
    return f"parts: {{ {members} }}"


def _key_text(pattern: Pattern, prefix: str) -> str:
    """An expression that makes the key: literal words as they are, each part checked."""
    pieces = [prefix] if prefix else []
    rest = pattern.text
    for name, part in pattern.parts.items():
        literal, _, rest = rest.partition("{" + name + "}")
        pieces += [_quoted(literal)] if literal else []
        pieces.append(call(name, part))
    return " + ".join([*pieces, *([_quoted(rest)] if rest or not pieces else [])])


def _quoted(text: str) -> str:
    return msgspec.json.encode(text).decode()
