"""Numbers as words, the way a British host says them: years in pairs, `and` after the hundreds."""

from __future__ import annotations

from collections.abc import Callable

_ONES = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"),
    *("thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"),
)
_TENS = ("", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_SCALES = ((10**12, "trillion"), (10**9, "billion"), (10**6, "million"), (1000, "thousand"), (100, "hundred"))
_ORDINALS = {
    "one": "first",
    "two": "second",
    "three": "third",
    "five": "fifth",
    "eight": "eighth",
    "nine": "ninth",
    "twelve": "twelfth",
}
_DIGITS_READ_OUT = 15
"""Digits above which a number tells a listener nothing."""


def cardinal(digits: str) -> str:
    """A whole number, as `1300`: one thousand three hundred. With leading zeros digit by digit, as a code is read."""
    if len(digits) > _DIGITS_READ_OUT:
        return "a very long number"
    if digits.startswith("0") and len(digits) > 1:
        return spelled(digits)
    return _cardinal(int(digits))


def spelled(digits: str) -> str:
    """Digit by digit."""
    return " ".join(_ONES[int(digit)] for digit in digits[:_DIGITS_READ_OUT])


def ordinal(digits: str) -> str:
    """`17`: seventeenth."""
    return _last_word(cardinal(digits), _ordinal)


def year(digits: str) -> str:
    """Four digits as a year: `1954` nineteen fifty-four, `2004` two thousand and four, `1905` nineteen oh five."""
    century, rest = int(digits[:2]), int(digits[2:])
    if century % 10 == 0 and rest < 10:
        return _cardinal(int(digits))
    if rest == 0:
        return f"{_cardinal(century)} hundred"
    return f"{_cardinal(century)} {'oh ' if rest < 10 else ''}{_cardinal(rest)}"


def decade(digits: str) -> str:
    """`1970`, or `70`: the nineteen seventies, the seventies."""
    return _last_word(year(digits) if len(digits) == 4 else cardinal(digits), _plural)


def _cardinal(number: int) -> str:
    if number < 20:
        return _ONES[number]
    if number < 100:
        tens, ones = divmod(number, 10)
        return _TENS[tens] + (f"-{_ONES[ones]}" if ones else "")
    value, name = next(scale for scale in _SCALES if scale[0] <= number)
    many, rest = divmod(number, value)
    said = f"{_cardinal(many)} {name}"
    if rest:
        said += f" and {_cardinal(rest)}" if rest < 100 else f" {_cardinal(rest)}"
    return said


def _last_word(said: str, change: Callable[[str], str]) -> str:
    at = max(said.rfind(" "), said.rfind("-")) + 1
    return said[:at] + change(said[at:])


def _ordinal(word: str) -> str:
    return _ORDINALS.get(word) or (word[:-1] + "ieth" if word.endswith("y") else word + "th")


def _plural(word: str) -> str:
    return word[:-1] + "ies" if word.endswith("y") else word + "s"
