"""What a session's JSON must fit before it is believed, or written."""

from __future__ import annotations

from typing import Generic, TypeVar

from greenroom.errors import InvalidInput
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
        return self._keyspace.decode(self._keyspace.pattern.text, body)

    def check(self, body: bytes) -> None:
        """Refuse JSON that nobody could read back; the server has still to set its time.

        Raises:
            BrokenValue: when it does not fit.
            InvalidInput: when it is too large.
        """
        head, tail = around(body, ACTIVITY)
        whole = head + _ANY_TIME + tail
        self.decode(whole)
        if len(whole) > self._keyspace.limit:
            raise InvalidInput("session", f"{len(whole)} bytes are too many", f"keep it under {self._keyspace.limit}")
