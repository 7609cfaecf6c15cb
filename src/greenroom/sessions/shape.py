"""What a session's JSON must fit before it is believed, or written."""

from __future__ import annotations

from typing import Generic, TypeVar

import msgspec

from greenroom.errors import BrokenValue, InvalidInput
from greenroom.keyspace import Keyspace
from greenroom.sessions.document import ACTIVITY, around

T = TypeVar("T")

_ANY_TIME = b"2000-01-01T00:00:00.000000Z"


class Shape(Generic[T]):
    """A keyspace's schema and limit; its errors name no key, which would tell the session's id."""

    def __init__(self, keyspace: Keyspace[T]) -> None:
        self._keyspace = keyspace

    def decode(self, body: bytes) -> T:
        """The value of stored JSON.

        Raises:
            BrokenValue: when it does not fit.
        """
        try:
            # What is no UTF-8 is no JSON (RFC 8259, section 8.1). The decoder passes over what it does not know, and a
            # change would find out.
            body.decode("utf-8")
        except UnicodeDecodeError as error:
            raise self._broken(error) from None
        return self._keyspace.decode(self._keyspace.pattern.text, body)

    def check(self, body: bytes) -> None:
        """Refuse JSON that nobody could read back; the server has still to set its time.

        Raises:
            BrokenValue: when it does not fit.
            InvalidInput: when it is too large.
        """
        try:
            head, tail = around(body, ACTIVITY)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise self._broken(error) from None
        whole = head + _ANY_TIME + tail
        self.decode(whole)
        if len(whole) > self._keyspace.limit:
            raise InvalidInput("session", f"{len(whole)} bytes are too many", f"keep it under {self._keyspace.limit}")

    def _broken(self, error: Exception) -> BrokenValue:
        return BrokenValue(self._keyspace.pattern.text, str(error))
