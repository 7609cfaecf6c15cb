"""A session's member as JSON, or a refusal that names it: members come from clients and from other services.

Only JSON's own types are taken. What else the encoder knows, as a date, a tuple or bytes, would come back as another
type, from a session that many programs read and none can ask what was meant.
"""

from __future__ import annotations

from enum import Enum
from math import isfinite

import msgspec

from greenroom.errors import InvalidInput

_REMEDY = (
    "give text without lone surrogates, finite numbers, true, false, None, "
    "and lists and dicts of these, with text as keys"
)
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
        fault = _fault(value)
    except RecursionError:
        raise no_json(name, "is nested too deeply") from None
    if fault is not None:
        raise no_json(name, fault)
    try:
        data = bytes(_raw.decode(bytes(value))) if isinstance(value, msgspec.Raw) else msgspec.json.encode(value)
        msgspec.json.decode(b"[" * _ROOM + data + b"]" * _ROOM, type=msgspec.Raw)
        if not isinstance(value, msgspec.Raw):
            msgspec.json.decode(b"[" * _ROOM + data + b"]" * _ROOM)
    except UnicodeError:
        raise no_json(name, "is no Unicode text") from None
    except RecursionError:
        raise no_json(name, "is nested too deeply") from None
    except (TypeError, ValueError, OverflowError, msgspec.MsgspecError) as error:
        raise no_json(name, f"cannot be JSON: {error}") from None
    return data


def name_json(name: object) -> bytes:
    """The JSON of a member's name.

    Raises:
        InvalidInput: when it is no text.
    """
    if not isinstance(name, str) or isinstance(name, Enum):
        raise InvalidInput("members", f"a name is {type(name).__name__}, not a string", "name members by strings")
    try:
        return msgspec.json.encode(name)
    except UnicodeError:
        raise no_json(name, "is no Unicode text") from None


def _fault(value: object) -> str | None:
    """What would come back changed, where something would: the encoder writes it in silence."""
    if isinstance(value, float) and not isfinite(value):
        return "holds a number that JSON does not have: NaN or an infinity"
    if isinstance(value, dict):
        for key, one in value.items():
            if not isinstance(key, str) or isinstance(key, Enum):
                return f"holds a key of type {_name(key)}, and keys in JSON are text"
            if (fault := _fault(one)) is not None:
                return fault
        return None
    if isinstance(value, list):
        return next((fault for fault in map(_fault, value) if fault is not None), None)
    if isinstance(value, str | int | float | msgspec.Raw | None) and not isinstance(value, Enum):
        return None
    return f"holds a value of type {_name(value)}, which JSON does not have"


def _name(value: object) -> str:
    return ascii(type(value).__name__)[1:-1]


def no_json(name: str, reason: str) -> InvalidInput:
    """The refusal of a member; a name that no terminal or log may be given is escaped."""
    return InvalidInput(ascii(name)[1:-1][:_NAME_SHOWN] or "members", reason, _REMEDY)
