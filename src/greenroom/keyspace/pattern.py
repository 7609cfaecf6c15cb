"""A key format: parts to key and key back to parts, with no way for a part to reach another key."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

from greenroom import argument_types
from greenroom.errors import InvalidInput, WrongParts

PART_MAX = 128
_PART = re.compile(r"[A-Za-z0-9._~-]{1,128}")
_PLACEHOLDER = re.compile(r"\{([a-z][a-z0-9_]*)\}")
_PART_ONLY = re.compile(r"[A-Za-z0-9._~-]*")
_NUMBER = re.compile(r"0|-?[1-9][0-9]{0,18}")
_PREFIX = re.compile(r"[!-z|~]*")  # printable ASCII without space and braces
_GLOB = re.compile(r"[\\*?\[\]^]")
_INTEGERS = 10**100
"""Whole numbers below this may be a part without being declared as one."""
_RESERVED = ("lease:", "absent:", "greenroom:")
_PATTERN_REMEDY = "write it like cache:episode:{episode_id}"
_PART_REMEDY = f"use 1 to {PART_MAX} characters of A-Z a-z 0-9 . _ ~ -"


def check_part(name: str, value: object) -> str:
    """Return `value` if it may stand in a key; a colon, a brace or a glob in it could name another key.

    Raises:
        InvalidInput: naming the part, when it is no string of 1 to 128 characters of `A-Z a-z 0-9 . _ ~ -`.
    """
    if not isinstance(value, str):
        raise InvalidInput(name, f"is {type(value).__name__}, not a string", _PART_REMEDY)
    if _PART.fullmatch(value) is None:
        raise InvalidInput(name, f"{_shown(value)} cannot be part of a key", _PART_REMEDY)
    return value


def is_part(text: str) -> bool:
    """Whether a text may stand in a key."""
    return _PART.fullmatch(text) is not None


@dataclass(frozen=True, slots=True)
class Number:
    """A part that is a whole number between two bounds, both included, written without leading zeros."""

    min: int
    max: int

    def __post_init__(self) -> None:
        bounds = self.min, self.max
        if not all(isinstance(one, int) and not isinstance(one, bool) for one in bounds) or self.min > self.max:
            raise InvalidInput("parts", f"no whole number is from {bounds[0]!r} to {bounds[1]!r}", "use Number(1, 100)")

    def check(self, name: str, value: object) -> str:
        remedy = f"use a whole number from {self.min} to {self.max:,}"
        if not isinstance(value, int) or isinstance(value, bool):
            raise InvalidInput(name, f"{_shown(value)} is not a whole number", remedy)
        if not self.min <= value <= self.max:
            raise InvalidInput(name, f"{value} is out of range", remedy)
        return str(value)

    def parse(self, text: str) -> int | None:
        if _NUMBER.fullmatch(text) is None:
            return None
        value = int(text)
        return value if self.min <= value <= self.max else None


ANY_NUMBER = Number(-(2**63), 2**63 - 1)
"""What `int` stands for."""


class Pattern:
    """A key format such as `cache:topic:{topic_id}`.

    Arguments:
        text: literal text with `{name}` placeholders.
        numbers: the placeholders that are whole numbers, with their bounds; all others are strings.
        prefix: put before every key; environments can so share a server.

    Raises:
        InvalidInput: when the format is ambiguous, or could collide with the bookkeeping keys.
    """

    __slots__ = ("_literals", "_regex", "_single", "names", "numbers", "prefix", "text")

    def __init__(self, text: str, *, numbers: Mapping[str, Number] | None = None, prefix: str = "") -> None:
        self.text = text
        self.prefix = check_prefix(prefix)
        self.numbers = dict(numbers or {})
        argument_types.text("pattern", text, _PATTERN_REMEDY)
        pieces = _PLACEHOLDER.split(text)
        literals, self.names = pieces[0::2], tuple(pieces[1::2])
        _check_pattern(text, literals, self.names, self.numbers)
        literals[0] = prefix + literals[0]
        self._literals = literals
        # The commonest form, one string part at the end, needs no loop.
        self._single = len(self.names) == 1 and not self.numbers and not literals[1]
        parts = [f"(?P<{name}>[A-Za-z0-9._~-]{{1,{PART_MAX}}})" for name in self.names]
        regex = re.escape(literals[0]) + "".join(
            part + re.escape(literal) for part, literal in zip(parts, literals[1:], strict=True)
        )
        self._regex = re.compile(regex)

    def prefixed(self, prefix: str) -> Pattern:
        """The same format with another prefix."""
        return Pattern(self.text, numbers=self.numbers, prefix=prefix)

    def key(self, *args: object, **parts: object) -> str:
        """Build the key; parts by position in the order of the pattern, or by keyword.

        Raises:
            InvalidInput: when a part is not one that a key can hold; nothing has been sent anywhere.
            WrongParts: when a part is missing or not of this pattern.
        """
        if self._single and len(args) == 1 and not parts:
            value = args[0]
            if type(value) is str and _PART.fullmatch(value) is not None:
                return self._literals[0] + value
        values = self.values(*args, **parts)
        key = self._literals[0]
        for name, literal in zip(self.names, self._literals[1:], strict=True):
            number = self.numbers.get(name)
            value = values[name]
            key += (number.check(name, value) if number else check_part(name, _text(value))) + literal
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
            f"{parts[other]}{literal}"
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
            first = dict(zip(self.names, args, strict=False))
            if len(args) > len(self.names) or not first.keys().isdisjoint(parts):
                given = ", ".join([*map(repr, args), *(f"{name}=…" for name in parts)])
                raise WrongParts(self.text, self.names, f"{given:.200}")
            parts = {**first, **parts}
        if parts.keys() != set(self.names):
            raise WrongParts(self.text, self.names, f"{', '.join(map(str, parts)) or 'none':.200}")
        return parts

    def parse(self, key: str) -> dict[str, str | int] | None:
        """The parts of a key of this pattern; None where the key is of another."""
        match = self._regex.fullmatch(key)
        if match is None:
            return None
        parts: dict[str, str | int] = {}
        for name, text in match.groupdict().items():
            number = self.numbers.get(name)
            value = number.parse(text) if number else text
            if value is None:
                return None
            parts[name] = value
        return parts

    @property
    def glob(self) -> str:
        """What a server matches its keys by; it may match others too."""
        prefix = _GLOB.sub(lambda found: "\\" + found.group(), self.prefix)
        return prefix + _PLACEHOLDER.sub("*", self.text)

    def matches(self, key: str) -> bool:
        """Whether a key has this form; its numbers are not looked at."""
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
            f"{_shown(prefix)} cannot stand before a key",
            f"use at most {PART_MAX} printable ASCII characters without spaces and braces",
        )
    return prefix


def _check_pattern(text: str, literals: list[str], names: tuple[str, ...], numbers: Mapping[str, Number]) -> None:
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
    if len(set(names)) != len(names):
        raise InvalidInput("pattern", f"{text!r} names a part twice", remedy)
    if any(_PART_ONLY.fullmatch(literal) for literal in literals[1:-1]):
        raise InvalidInput("pattern", f"{text!r} has two parts that no separator divides", remedy)
    if wrong := [name for name, number in numbers.items() if not isinstance(number, Number)]:
        raise InvalidInput("parts", f"{wrong[0]} is not a Number", f"write parts={{{wrong[0]!r}: Number(1, 10_000)}}")
    if unknown := set(numbers) - set(names):
        raise InvalidInput("pattern", f"{text!r} has no part {', '.join(sorted(unknown))}", remedy)


def _text(value: object) -> object:
    """What stands in a key for a part that is no text and has one."""
    return str(value) if (type(value) is int and abs(value) < _INTEGERS) or type(value) is UUID else value


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:60]}… ({len(text)} characters)"
