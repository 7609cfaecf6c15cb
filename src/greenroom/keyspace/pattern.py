"""A key format: parts to key and key back to parts, with no way for a part to reach another key."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from greenroom import argument_types
from greenroom.errors import InvalidInput, WrongParts
from greenroom.keyspace.parts import PART_MAX, WORD, Kind, Part, as_in_key, declared_parts, shown

_WORD = re.compile(WORD.regex)
_PLACEHOLDER = re.compile(r"\{([a-z][a-z0-9_]*)\}")
_PART_ONLY = re.compile(r"[A-Za-z0-9._~%-]*")
_PREFIX = re.compile(r"[!-z|~]*")  # printable ASCII without space and braces
_GLOB = re.compile(r"[\\*?\[\]^]")
_RESERVED = ("lease:", "absent:", "greenroom:")
_PATTERN_REMEDY = "write it like cache:episode:{episode_id}"


class Pattern:
    """A key format such as `cache:topic:{topic_id}`.

    Arguments:
        text: literal text with `{name}` placeholders.
        parts: the placeholders that are no plain words: `int`, `Number(1, 100)`, `UUID`, `date`, `Text()`.
        prefix: put before every key; environments can so share a server.

    Raises:
        InvalidInput: when the format is ambiguous, or could collide with the bookkeeping keys.
    """

    __slots__ = ("_literals", "_names", "_pieces", "_regex", "_single", "names", "parts", "prefix", "text")

    def __init__(self, text: str, *, parts: Mapping[str, Kind] | None = None, prefix: str = "") -> None:
        self.text = text
        self.prefix = check_prefix(prefix)
        argument_types.text("pattern", text, _PATTERN_REMEDY)
        declared = declared_parts(parts if parts is not None else {})
        pieces = _PLACEHOLDER.split(text)
        literals, self.names = pieces[0::2], tuple(pieces[1::2])
        _check_pattern(text, literals, self.names, declared)
        self.parts: dict[str, Part] = {name: declared.get(name, WORD) for name in self.names}
        """The kind of each part, in the order of the pattern."""
        literals[0] = prefix + literals[0]
        self._literals = literals
        self._pieces = tuple(
            (name, part, literal) for (name, part), literal in zip(self.parts.items(), literals[1:], strict=True)
        )
        self._names = frozenset(self.names)
        # The commonest form, one word at the end, needs no loop.
        self._single = len(self.names) == 1 and self.parts[self.names[0]] is WORD and not literals[1]
        regex = re.escape(literals[0]) + "".join(
            f"(?P<{name}>{part.regex}){re.escape(literal)}"
            for (name, part), literal in zip(self.parts.items(), literals[1:], strict=True)
        )
        self._regex = re.compile(regex)

    def prefixed(self, prefix: str) -> Pattern:
        """The same format with another prefix."""
        return Pattern(self.text, parts=self.declared, prefix=prefix)

    def key(self, *args: object, **parts: object) -> str:
        """Build the key; parts by position in the order of the pattern, or by keyword.

        Raises:
            InvalidInput: when a part is not one that a key can hold; nothing has been sent anywhere.
            WrongParts: when a part is missing or not of this pattern.
        """
        if self._single and len(args) == 1 and not parts:
            value = args[0]
            if type(value) is str and _WORD.fullmatch(value) is not None:
                return self._literals[0] + value
        values = self.values(*args, **parts)
        key = self._literals[0]
        for name, part, literal in self._pieces:
            key += part.check(name, values[name]) + literal
        return key

    def numbered(self, name: str, numbers: range, **parts: object) -> list[str]:
        """The keys that differ in one number, in the order of a range without gaps; its ends alone are checked.

        Raises:
            InvalidInput: as `key`.
        """
        if not numbers:
            return []
        self.key(**parts, **{name: numbers[0]})
        last = self.key(**parts, **{name: numbers[-1]})
        position = self.names.index(name)
        right = "".join(
            self.parts[other].check(other, parts[other]) + literal
            for other, literal in zip(self.names[position + 1 :], self._literals[position + 2 :], strict=True)
        )
        right = self._literals[position + 1] + right
        left = last[: len(last) - len(right) - len(str(numbers[-1]))]
        return [f"{left}{number}{right}" for number in numbers]

    def values(self, *args: object, **parts: object) -> dict[str, object]:
        """The parts by name, not yet checked.

        Raises:
            WrongParts: when a part is missing or not of this pattern.
        """
        if args:
            if len(args) == len(self.names) and not parts:
                return dict(zip(self.names, args, strict=True))
            first = dict(zip(self.names, args, strict=False))
            if len(args) > len(self.names) or not first.keys().isdisjoint(parts):
                given = ", ".join([*map(repr, args), *(f"{name}=…" for name in parts)])
                raise WrongParts(self.text, self.names, f"{given:.200}")
            parts = {**first, **parts}
        if parts.keys() != self._names:
            raise WrongParts(self.text, self.names, f"{', '.join(map(str, parts)) or 'none':.200}")
        return parts

    def for_loader(self, *args: object, **parts: object) -> dict[str, object]:
        """The parts by name, checked before, as a loader is given them: of one key always the same ones.

        Prevents: 1 and "1" make one key · the first is asked for, and a loader that looks for "1" finds nothing · the
        key is stored as absent, and who asks for "1" is told that there is none.
        """
        return {name: as_in_key(self.parts[name], value) for name, value in self.values(*args, **parts).items()}

    def parse(self, key: str) -> dict[str, Any] | None:
        """The parts of a key of this pattern, of a digest None; None where the key is of another pattern."""
        match = self._regex.fullmatch(key)
        if match is None:
            return None
        try:
            return {name: self.parts[name].parse(text) for name, text in match.groupdict().items()}
        except ValueError:
            return None

    @property
    def declared(self) -> dict[str, Any]:
        """The parts that are no plain words, as a pattern takes them."""
        return {name: part for name, part in self.parts.items() if part is not WORD}

    @property
    def glob(self) -> str:
        """What a server matches its keys by; it may match others too."""
        return "*".join(escaped_glob(literal) for literal in self._literals)

    def matches(self, key: str) -> bool:
        """Whether a key has this form; whether its parts can be read back is not looked at."""
        return key.startswith(self._literals[0]) and self._regex.fullmatch(key) is not None

    def __repr__(self) -> str:
        return f"Pattern({self.prefix + self.text!r})"


def check_prefix(prefix: str) -> str:
    """Return a key prefix that cannot change a key's cluster slot.

    Raises:
        InvalidInput: when it holds a brace, a space or anything outside printable ASCII.
    """
    if not isinstance(prefix, str) or len(prefix) > PART_MAX or _PREFIX.fullmatch(prefix) is None:
        raise InvalidInput(
            "key prefix",
            f"{shown(prefix)} cannot stand before a key",
            f"use at most {PART_MAX} printable ASCII characters without spaces and braces",
        )
    return prefix


def escaped_glob(text: str) -> str:
    """A text whose wildcards stand for themselves, where a server matches keys by it."""
    return _GLOB.sub(lambda matched: "\\" + matched.group(), text)


def _check_pattern(text: str, literals: list[str], names: tuple[str, ...], declared: Mapping[str, Part]) -> None:
    remedy = _PATTERN_REMEDY
    if any("{" in literal or "}" in literal for literal in literals):
        raise InvalidInput("pattern", f"{text!r} has a brace outside of a {{name}}", remedy)
    if not all(map(_PREFIX.fullmatch, literals)):
        unprintable = "a space, or a character outside printable ASCII"
        raise InvalidInput("pattern", f"{text!r} has {unprintable}, in its literal text", remedy)
    if not literals[0]:
        raise InvalidInput("pattern", f"{text!r} begins with a part", remedy)
    if text.startswith(_RESERVED):
        raise InvalidInput("pattern", f"{text!r} begins like a bookkeeping key", remedy)
    if "self" in names:  # by keyword it is an argument of every method already
        raise InvalidInput("pattern", f"{text!r} has a part named self", "give the part another name")
    if len(set(names)) != len(names):
        raise InvalidInput("pattern", f"{text!r} names a part twice", remedy)
    if any(_PART_ONLY.fullmatch(literal) for literal in literals[1:-1]):
        raise InvalidInput("pattern", f"{text!r} has two parts that no separator divides", remedy)
    if unknown := set(declared) - set(names):
        raise InvalidInput("pattern", f"{text!r} has no part {', '.join(sorted(unknown))}", remedy)
