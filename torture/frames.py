"""RESP3 as a strict reader takes it, without the product: whether mutated bytes are those of a server that lies.

    four replies are lost on their way · those behind them come, whole, where they are expected

Nobody can tell such a stream from a right one where the shapes fit, so the torture makes none: docs/torture.md.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

_LINES = {
    b"+": re.compile(rb"[^\r\n]*"),
    b"-": re.compile(rb"[^\r\n]*"),
    b":": re.compile(rb"[+-]?\d+"),
    b"(": re.compile(rb"[+-]?\d+"),
    b",": re.compile(rb"[+-]?(\d+(\.\d+)?([eE][+-]?\d+)?|inf)|nan"),
    b"#": re.compile(rb"[tf]"),
    b"_": re.compile(rb""),
}
_TEXTS, _LISTS, _PAIRS = (b"$", b"=", b"!"), (b"*", b"~", b">"), (b"%", b"|")
_LENGTH = re.compile(rb"\d{1,9}")


class _Malformed(Exception):
    """Bytes that no server sends, or too few."""


def loses_replies(frames: Sequence[bytes], data: bytes) -> bool:
    """Whether a later reply of a burst has, whole, the place of an earlier one, and all before it is well-formed."""
    own = [frame for frame in frames if not frame.startswith(b">")]
    return any(item in own[place + 1 :] and item not in own[: place + 1] for place, item in enumerate(_items(data)))


def _items(data: bytes) -> Iterator[bytes]:
    """Replies, as their bytes; up to the first that is malformed, and without attributes and pushes."""
    at = 0
    while at < len(data):
        try:
            start = _past_attributes(data, at)
            at = _end(data, start)
        except _Malformed:
            return
        if data[start : start + 1] != b">":
            yield data[start:at]


def _end(data: bytes, at: int) -> int:
    """Where the item ends that begins at a place."""
    kind, line, at = _line(data, at)
    if kind in _LINES:
        if _LINES[kind].fullmatch(line) is None:
            raise _Malformed
        return at
    if line == b"-1" and kind in (b"$", b"*"):
        return at
    if kind not in (*_TEXTS, *_LISTS, *_PAIRS) or _LENGTH.fullmatch(line) is None:
        raise _Malformed
    length = int(line)
    if kind in _TEXTS:
        if data[at + length : at + length + 2] != b"\r\n":
            raise _Malformed
        return at + length + 2
    for item in range(length * (2 if kind in _PAIRS else 1)):
        at = _past_attributes(data, at)
        if kind == b"|" and item % 2 == 0 and data[at : at + 1] not in (b"$", b"=", b"+"):
            raise _Malformed  # an attribute's key is a text
        at = _end(data, at)
    return at


def _past_attributes(data: bytes, at: int) -> int:
    while data[at : at + 1] == b"|":
        at = _end(data, at)
    return at


def _line(data: bytes, at: int) -> tuple[bytes, bytes, int]:
    end = data.find(b"\r\n", at)
    if end < 0:
        raise _Malformed
    return data[at : at + 1], data[at + 1 : end], end + 2
