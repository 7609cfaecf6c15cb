"""Parts of keys in TypeScript: their types, and functions that refuse what Python refuses and spell what it spells."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from greenroom.keyspace.parts import DIGEST, TEXT_MAX, Day, Number, Part, Text, Uuid, Word

HASH_IMPORT = '\nimport { createHash } from "node:crypto";\n'

_REFUSED = """
function refused(name: string, value: unknown, remedy: string): RangeError {
  return new RangeError(`${name}: ${String(value).slice(0, 80)} cannot be part of a key; ${remedy}`);
}
"""
_NAMES: dict[type, str] = {Word: "word", Number: "whole", Uuid: "uuid", Day: "day", Text: "text"}
FUNCTION_NAMES = frozenset(_NAMES.values())
"""The functions that check a part."""
_FUNCTIONS: dict[type, str] = {
    Word: f"""
function word(name: string, value: string): string {{
  if (/^{Word.regex}$/.test(value)) return value;
  throw refused(name, value, "use 1 to 128 characters of A-Z a-z 0-9 . _ ~ -");
}}
""",
    Number: """
function whole(name: string, value: number | bigint, min: bigint, max: bigint): string {
  if (typeof value === "bigint" || Number.isSafeInteger(value)) {
    const number = BigInt(value);
    if (min <= number && number <= max) return number.toString();
  }
  throw refused(name, value, `use a whole number from ${min} to ${max}, as a bigint above 2^53`);
}
""",
    Uuid: f"""
function uuid(name: string, value: string): string {{
  const text = value.toLowerCase();
  if (/^{Uuid.regex}$/.test(text)) return text;
  throw refused(name, value, "use a UUID with hyphens");
}}
""",
    Day: f"""
function day(name: string, value: string): string {{
  // Whether there is such a day: the calendar's 30 February is 1 March.
  const time = /^{Day.regex}$/.test(value) && value >= "0001" ? Date.parse(`${{value}}T00:00:00Z`) : NaN;
  if (!Number.isNaN(time) && new Date(time).toISOString().startsWith(value)) return value;
  throw refused(name, value, "use a date, as 2026-11-29");
}}
""",
    Text: f"""
function text(name: string, value: string): string {{
  let encoded: string;
  try {{
    encoded = encodeURIComponent(value).replace(
      /[!'()*]/g,
      (char) => "%" + char.charCodeAt(0).toString(16).toUpperCase(),
    );
  }} catch {{
    throw refused(name, "a text with half of a surrogate pair", "give text of Unicode");
  }}
  if (encoded.length > 0 && encoded.length <= {TEXT_MAX}) return encoded;
  return "{DIGEST}" + (value === "" ? "" : createHash("sha256").update(value, "utf8").digest("base64url"));
}}
""",
}


def builders(parts: Iterable[Part]) -> str:
    """The functions that these parts need."""
    kinds = {type(part) for part in parts}
    needed = [source for kind, source in _FUNCTIONS.items() if kind in kinds]
    return "".join([_REFUSED, *needed]) if needed else ""


def part_type(part: Part) -> str:
    """What a part is given as."""
    return "number | bigint" if isinstance(part, Number) else "string"


def call(name: str, part: Part) -> str:
    """An expression: the text of the part in a key, or an error."""
    quoted = msgspec.json.encode(name).decode()
    if isinstance(part, Number):
        return f"{_NAMES[Number]}({quoted}, parts.{name}, {_bigint(part.min)}, {_bigint(part.max)})"
    return f"{_NAMES[type(part)]}({quoted}, parts.{name})"


def _bigint(number: int) -> str:
    # Not as a literal, which needs a newer target than some projects have.
    return f'BigInt("{number}")'
