"""The members of a JSON object that no decoder takes, found by a scan.

It has lone surrogates, or is nested deeply, and is JSON all the same (RFC 8259, sections 8.2 and 9). The scan holds to
the grammar, and takes no step of Python's stack for a level.
"""

from __future__ import annotations

import json
import re

import msgspec

_TOKEN = re.compile(
    rb"[ \t\n\r]*(?P<token>"
    rb'"(?:[^"\\\x00-\x1f]++|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*+"'
    rb"|-?(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?(?:[eE][+-]?[0-9]++)?|true|false|null"
    rb"|[\[\]{},:])"
)
_MAX_TOKENS = 50_000
"""Tokens of one object: the scan blocks the loop for some 60 ms. What has more, the decoder must take."""
_CLOSING = {b"[": b"]", b"{": b"}"}


def members_by_scan(body: bytes) -> dict[str, msgspec.Raw]:
    """The members of a JSON object, each as its bytes.

    Raises:
        msgspec.DecodeError, UnicodeDecodeError: when it is no object.
    """
    body.decode("utf-8")
    return _Scan(body).members()


class _Scan:
    """One pass over a text."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._at = 0
        self._left = _MAX_TOKENS

    def members(self) -> dict[str, msgspec.Raw]:
        members: dict[str, msgspec.Raw] = {}
        self._sign(b"{")
        if self._peek() == b"}":
            self._next()
        else:
            sign = b","
            while sign == b",":
                name = self._name()
                start = self._match().start("token")
                self._value()
                members[name] = msgspec.Raw(self._body[start : self._at])
                sign = self._next()
            if sign != b"}":
                raise self._malformed()
        if self._body[self._at :].strip(b" \t\n\r"):
            raise self._malformed()
        return members

    def _value(self) -> None:
        """Pass over a value."""
        closing: list[bytes] = []
        while True:
            token = self._next()
            if token in _CLOSING:
                if self._peek() != _CLOSING[token]:
                    closing.append(_CLOSING[token])
                    if token == b"{":
                        self._name()
                    continue
                self._next()
            elif token in (b"]", b"}", b",", b":"):
                raise self._malformed()
            while closing and (sign := self._next()) != b",":
                if sign != closing.pop():
                    raise self._malformed()
            if not closing:
                return
            if closing[-1] == b"}":
                self._name()

    def _name(self) -> str:
        token = self._next()
        if token[:1] != b'"':
            raise self._malformed()
        self._sign(b":")
        return str(json.loads(token))

    def _sign(self, sign: bytes) -> None:
        if self._next() != sign:
            raise self._malformed()

    def _next(self) -> bytes:
        match = self._match()
        self._left -= 1
        if self._left < 0:
            raise msgspec.DecodeError(f"it is nested too deeply, or has more than {_MAX_TOKENS} tokens")
        self._at = match.end()
        return match["token"]

    def _peek(self) -> bytes:
        return self._match()["token"]

    def _match(self) -> re.Match[bytes]:
        match = _TOKEN.match(self._body, self._at)
        if match is None:
            raise self._malformed()
        return match

    def _malformed(self) -> msgspec.DecodeError:
        return msgspec.DecodeError(f"JSON is malformed: invalid character (byte {self._at})")
