"""Text of others in logs and on terminals: a line stays one line, and nothing in it moves the cursor or colours it."""

from __future__ import annotations

import re

# DEL and C1, what breaks lines or turns their direction besides, and halves of pairs, which nothing can write.
_OTHERS = r"\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff"
_CONTROLS = re.compile(rf"[\x00-\x1f{_OTHERS}]")
_BUT_LINES = re.compile(rf"[\x00-\x08\x0b-\x1f{_OTHERS}]")


def printable(text: str, *, lines: bool = False) -> str:
    """The text with its control characters written as Python writes them, as `\\x1b`.

    Arguments:
        lines: whether line breaks and tabs may stay, as in a traceback.
    """
    if text.isprintable():  # as almost all is; it has none of them then
        return text
    return (_BUT_LINES if lines else _CONTROLS).sub(lambda match: ascii(match.group())[1:-1], text)


def printable_json(text: str, *, lines: bool = False) -> str:
    """JSON with its control characters as JSON escapes: a program that reads it finds the same text.

    Arguments:
        lines: whether line breaks may stay, as between the members of an object.
    """
    if text.isprintable():
        return text
    return (_BUT_LINES if lines else _CONTROLS).sub(lambda match: f"\\u{ord(match.group()):04x}", text)


def encodable(text: str) -> str:
    """The text with halves of surrogate pairs written as Python writes them; nothing else can write those.

    Prevents: JSON of a client, or the name of a file, has one · an error repeats it · the error cannot be written.
    """
    return text.encode(errors="backslashreplace").decode()
