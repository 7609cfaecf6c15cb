"""A session's member as JSON, or a refusal that names it: members come from clients and from other services."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import Any

import msgspec

from greenroom.errors import InvalidInput

_REMEDY = "give text without lone surrogates, finite numbers, true, false, None, and lists and dicts of these"
_ROOM = 16
"""Levels of nesting that a member is kept from the deepest that can be read: it stands in objects itself."""
_NAME_SHOWN = 80

_raw = msgspec.json.Decoder(msgspec.Raw)


def member_json(name: str, value: object) -> bytes:
    """The JSON of a member, which can be read again.

    Raises:
        InvalidInput: naming the member, when there is none.
    """
    try:
        data = bytes(_raw.decode(bytes(value))) if isinstance(value, msgspec.Raw) else msgspec.json.encode(value)
        msgspec.json.decode(b"[" * _ROOM + data + b"]" * _ROOM, type=msgspec.Raw)
        if not isinstance(value, msgspec.Raw):
            msgspec.json.decode(b"[" * _ROOM + data + b"]" * _ROOM)
        # What JSON has no number for the encoder writes as null, in silence.
        infinite = b"null" in data and value is not None and _has_infinite(msgspec.to_builtins(value))
    except UnicodeError:
        raise no_json(name, "is no Unicode text") from None
    except RecursionError:
        raise no_json(name, "is nested too deeply") from None
    except (TypeError, ValueError, OverflowError, msgspec.MsgspecError) as error:
        raise no_json(name, f"cannot be JSON: {error}") from None
    if infinite:
        raise no_json(name, "holds a number that JSON does not have: NaN or an infinity")
    return data


def name_json(name: object) -> bytes:
    """The JSON of a member's name.

    Raises:
        InvalidInput: when it is no text.
    """
    if not isinstance(name, str):
        raise InvalidInput("members", f"a name is {type(name).__name__}, not a string", "name members by strings")
    try:
        return msgspec.json.encode(name)
    except UnicodeError:
        raise no_json(name, "is no Unicode text") from None


def _has_infinite(value: Any) -> bool:
    if isinstance(value, float):
        return not isfinite(value)
    if isinstance(value, Mapping):
        return any(map(_has_infinite, value.values()))
    return isinstance(value, list | tuple | set | frozenset) and any(map(_has_infinite, value))


def no_json(name: str, reason: str) -> InvalidInput:
    """The refusal of a member; a name that no terminal or log may be given is escaped."""
    return InvalidInput(ascii(name)[1:-1][:_NAME_SHOWN] or "members", reason, _REMEDY)
