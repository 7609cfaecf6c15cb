"""RESP3 attributes, skipped: what a server may say about a reply before it says the reply.

hiredis hands an attribute out as a list: before a reply it would be taken for the reply, and every later reply would
go to the wrong caller; inside an array it would be taken for an item. So attributes are cut out of the bytes before
hiredis sees them. What looks like one may be text inside a string: hiredis tells, since it keeps the bytes of an item
that is not whole yet, and none where the next item begins.

The keys of an attribute are texts, as in those of every server. Prevents: one byte of a reply is wrong, and `*4` is
`|4` · its items, and the four replies behind it, are skipped as an attribute · the next reply fits the command whose
reply is gone, and is another user's session.
"""

from __future__ import annotations

PIPE = ord("|")
_LONGEST_LINE = 64 * 1024
_MAX_BYTES = 1024 * 1024
_MAX_ITEMS = 10_000
_DEEPEST = 16
_NUMBER = frozenset(b"0123456789")
_TEXTS = b"$", b"+", b"="


class ProtocolViolation(Exception):
    """Bytes that cannot be what a server says: nothing later on the connection can be matched."""


def next_candidate(data: bytes, at: int) -> int:
    """Where the next attribute could begin: after a line's end, or at once; the end of `data` where nowhere."""
    return at if data[at] == PIPE else next_after_line(data, at)


def next_after_line(data: bytes, at: int) -> int:
    """The same after a line's end only: behind a bar that is text, the next bar begins nothing either."""
    found = data.find(b"\n|", max(0, at - 1))
    return found + 1 if found >= 0 else len(data)


# docs/decisions/0010-attributes-are-cut-before-hiredis.md
class Attribute:
    """One attribute, read as its bytes come in."""

    __slots__ = ("_keyed", "_left", "_line", "_read", "_text")

    def __init__(self) -> None:
        self._left = [1]  # items still to come, of the innermost aggregate last
        self._keyed = [False]  # whether every second of them is an attribute's key
        self._line = b""
        self._text = 0  # bytes still to come of a string
        self._read = 0

    @property
    def whole(self) -> bool:
        """Whether its last byte has been read."""
        return not self._left

    def skip(self, data: bytes, at: int) -> int:
        """Read on in `data`; returns where the attribute, or `data`, ends.

        Raises:
            ProtocolViolation: on what is no attribute, or a larger one than any server sends.
        """
        began = at
        while self._left and at < len(data):
            if self._text:
                step = min(self._text, len(data) - at)
                self._text -= step
                at += step
                if not self._text:
                    self._done()
                continue
            end = data.find(b"\n", at) + 1 or len(data)
            self._line += data[at:end]
            at = end
            if len(self._line) > _LONGEST_LINE:
                raise ProtocolViolation("an attribute's line is too long")
            if self._line.endswith(b"\n"):
                line, self._line = self._line, b""
                self._begin(line)
        self._read += at - began
        if self._read > _MAX_BYTES:
            raise ProtocolViolation("an attribute is too large")
        return at

    def _begin(self, line: bytes) -> None:
        kind, rest = line[:1], line[1:-2]
        if self._keyed[-1] and self._left[-1] % 2 == 0 and kind not in _TEXTS and kind != b"|":
            raise ProtocolViolation("an attribute's key is not a text")
        if kind in (b"|", b"%", b"*", b"~", b">"):
            items = _count(rest) * (2 if kind in (b"|", b"%") else 1)
            # An attribute inside is none of the items; the outermost takes the place of the one that was expected.
            if kind == b"|" and len(self._left) > 1:
                self._left[-1] += 1
            self._left.append(items)
            self._keyed.append(kind == b"|")
            if len(self._left) > _DEEPEST:
                raise ProtocolViolation("an attribute is nested too deeply")
            if not items:
                self._end()
                self._done()
        elif kind in (b"$", b"=", b"!"):
            if rest == b"-1":
                self._done()
            else:
                self._text = _count(rest, _MAX_BYTES) + 2
        elif kind in (b"+", b"-", b":", b",", b"#", b"(", b"_"):
            self._done()
        else:
            raise ProtocolViolation("an attribute holds an invalid item")

    def _done(self) -> None:
        """An item is whole, and with it perhaps those that it ends."""
        self._left[-1] -= 1
        while self._left and self._left[-1] == 0:
            self._end()
            if self._left:
                self._left[-1] -= 1

    def _end(self) -> None:
        self._left.pop()
        self._keyed.pop()


def _count(text: bytes, maximum: int = _MAX_ITEMS) -> int:
    if not text or len(text) > 8 or not _NUMBER.issuperset(text):
        raise ProtocolViolation("an attribute's length is not a number")
    if int(text) > maximum:
        raise ProtocolViolation("an attribute is too large")
    return int(text)
