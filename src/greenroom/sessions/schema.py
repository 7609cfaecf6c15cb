"""What a session's JSON must fit before it is believed, or written."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

import msgspec

from greenroom.errors import BrokenValue, InvalidInput
from greenroom.keyspace import Keyspace
from greenroom.keyspace.validation import field_and_reason
from greenroom.sessions.json_scan import members_by_scan
from greenroom.sessions.raw_json import ACTIVITY, around, joined

T = TypeVar("T")

_FITTING = "give what the session's type declares"
_ANY_TIME = b"2000-01-01T00:00:00.000000Z"


class SessionSchema(Generic[T]):
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
        try:
            return self._keyspace.decode(self._keyspace.pattern.text, body)
        except BrokenValue as error:
            # What is no member of ours need not be decoded: no text, or nested too deeply, it would keep all from use.
            try:
                needed = _needed(body, self._keyspace.type)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                raise error from None
            if needed is None:
                raise
            return self._keyspace.decode(self._keyspace.pattern.text, needed)

    def check(self, body: bytes, given: str = "members") -> None:
        """Refuse a caller's JSON that nobody could read back; the server has still to set its time.

        Arguments:
            given: the argument that it comes of.

        Raises:
            InvalidInput: naming the member that does not fit, or when it is too large.
        """
        try:
            head, tail = around(body, ACTIVITY)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise InvalidInput(given, f"made no JSON object: {error}", "make an object of the members") from None
        whole = head + _ANY_TIME + tail
        try:
            self.decode(whole)
        except BrokenValue as error:
            member, reason = field_and_reason(error.reason)
            raise InvalidInput(given if member == "value" else member, reason, _FITTING) from None
        if len(whole) > self._keyspace.limit:
            raise InvalidInput("session", f"{len(whole)} bytes are too many", f"keep it under {self._keyspace.limit}")

    def _broken(self, error: Exception) -> BrokenValue:
        return BrokenValue(self._keyspace.pattern.text, str(error))


def _needed(body: bytes, type_: Any) -> bytes | None:
    """The object with those of its members that a struct has; None where others make a difference to it.

    Raises:
        msgspec.DecodeError, UnicodeDecodeError: when it is no object.
    """
    if not (isinstance(type_, type) and issubclass(type_, msgspec.Struct)):
        return None
    config = type_.__struct_config__
    if config.forbid_unknown_fields or config.array_like or config.tag is not None:
        return None
    given, needed = members_by_scan(body), dict[str, msgspec.Raw]()
    for field in msgspec.structs.fields(type_):
        value = given.get(field.encode_name)
        if value is not None:
            inner = _needed(bytes(value), field.type) if bytes(value).startswith(b"{") else None
            needed[field.encode_name] = value if inner is None else msgspec.Raw(inner)
    return joined(needed)
