"""Text of others in logs and on terminals: a line stays one line, and nothing in it moves the cursor or colours it."""

from __future__ import annotations

import re

# C0, DEL and C1, and what breaks lines or turns their direction besides.
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_BUT_LINES = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def printable(text: str, *, lines: bool = False) -> str:
    """The text with its control characters written as Python writes them, as `\\x1b`.

    Arguments:
        lines: whether line breaks and tabs may stay, as in a traceback.
    """
    if text.isprintable():  # as almost all is; it has none of them then
        return text
    return (_BUT_LINES if lines else _CONTROLS).sub(lambda match: ascii(match.group())[1:-1], text)


def printable_json(line: str) -> str:
    """A line of JSON with its control characters as JSON escapes: a program that reads it finds the same text."""
    if line.isprintable():
        return line
    return _CONTROLS.sub(lambda match: f"\\u{ord(match.group()):04x}", line)
