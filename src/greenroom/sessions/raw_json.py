"""A session's JSON, changed member by member: what we do not know passes through as the bytes that it was.

Another service, in another language, may keep members of its own in a session. Decoding all and encoding it again would
lose them, or their spacing, or the difference of 1.0 and 1.

A member that a caller sets is made of JSON's own types only. What else the encoder knows, as a date, a tuple or bytes,
would come back as another type, from a session that many programs read and none can ask what was meant.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from math import isfinite
from typing import Any

import msgspec

from greenroom.argument_types import instance, type_name
from greenroom.errors import InvalidInput
from greenroom.sessions.json_scan import members_by_scan

ACTIVITY = "last_activity_timestamp"
"""The member that every write sets, to the server's time."""

Members = Mapping[str, object] | Callable[[bytes], Mapping[str, object]]
"""Members to be set, or what tells them from the JSON as it is: asked again where that has changed meanwhile."""

_REMEDY = (
    "give text without lone surrogates, finite numbers, true, false, None, "
    "and lists and dicts of these, with text as keys"
)
_ROOM = 16
"""Levels of nesting that a member is kept from the deepest that can be read: it stands in objects itself."""
_NAME_SHOWN = 80

_raw = msgspec.json.Decoder(msgspec.Raw)
_members = msgspec.json.Decoder(dict[str, msgspec.Raw])


def members(body: bytes) -> dict[str, msgspec.Raw]:
    """The members of a JSON object, each as its bytes.

    Raises:
        msgspec.DecodeError, UnicodeDecodeError: when it is no object.
    """
    try:
        return _members.decode(body)
    except (msgspec.DecodeError, RecursionError):
        return members_by_scan(body)


def changed(body: bytes, changes: Mapping[str, object]) -> bytes:
    """The object with some members set; `UNSET` removes one. Members not named keep their bytes and their order.

    Raises:
        InvalidInput: naming the member that cannot be JSON.
    """
    parsed = members(body)
    for name, value in changes.items():
        name_json(name)
        if value is msgspec.UNSET:
            parsed.pop(name, None)
        else:
            parsed[name] = msgspec.Raw(member_json(name, value))
    return joined(parsed)


def merged(body: bytes, patch: Mapping[str, Any]) -> bytes:
    """A JSON merge patch (RFC 7396) of an object, down to the members that it names and no further.

    Raises:
        InvalidInput: naming the member that cannot be JSON, or the argument that is no JSON or no mapping.
    """
    instance("body", body, bytes, "give the JSON of the object")
    instance("patch", patch, Mapping, "give a dict of the members to change")
    try:
        parsed = members(body)
    except msgspec.DecodeError:
        parsed = {}  # the RFC: whatever is no object is replaced by one
    for name, value in patch.items():
        name_json(name)
        if value is None:
            parsed.pop(name, None)
        elif isinstance(value, Mapping):
            try:
                parsed[name] = msgspec.Raw(merged(bytes(parsed.get(name, msgspec.Raw(b"{}"))), value))
            except RecursionError:
                raise no_json(name, "is nested too deeply") from None
        else:
            parsed[name] = msgspec.Raw(member_json(name, value))
    return joined(parsed)


def readable(body: bytes) -> dict[str, Any]:
    """The members of an object, decoded; one that cannot be, as 1e999 or a lone surrogate, is its JSON: `msgspec.Raw`.

    Raises:
        msgspec.DecodeError, UnicodeDecodeError: when it is no object.
    """
    try:
        return msgspec.json.decode(body, type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError):
        return {name: _readable(raw) for name, raw in members(body).items()}


def around(body: bytes, member: str) -> tuple[bytes, bytes]:
    """The object's JSON before and after the text of one member's string, which the server fills in."""
    parsed = members(body)
    parsed.setdefault(member, msgspec.Raw(b'""'))
    names = list(parsed)
    position = names.index(member)
    before = (_pair(name, parsed[name]) for name in names[:position])
    after = (_pair(name, parsed[name]) for name in names[position + 1 :])
    head = b",".join([*before, msgspec.json.encode(member) + b':"'])
    return b"{" + head, b",".join([b'"', *after]) + b"}"


def _readable(raw: msgspec.Raw) -> Any:
    try:
        return msgspec.json.decode(raw)
    except (msgspec.DecodeError, RecursionError):
        return raw


def _pair(name: str, value: Iterable[int]) -> bytes:
    return name_text(name) + b":" + bytes(value)


# A member that a caller sets ---------------------------------------------------------------------


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
        raise InvalidInput("members", f"a name is {type_name(name)}, not a string", "name members by strings")
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
                return f"holds a key of type {type_name(key)}, and keys in JSON are text"
            if (fault := _fault(one)) is not None:
                return fault
        return None
    if isinstance(value, list):
        return next((fault for fault in map(_fault, value) if fault is not None), None)
    if isinstance(value, str | int | float | msgspec.Raw | None) and not isinstance(value, Enum):
        return None
    return f"holds a value of type {type_name(value)}, which JSON does not have"


def no_json(name: str, reason: str) -> InvalidInput:
    """The refusal of a member; a name that no terminal or log may be given is escaped."""
    return InvalidInput(ascii(name)[1:-1][:_NAME_SHOWN] or "members", reason, _REMEDY)


def name_text(name: str) -> bytes:
    """The JSON of a member's name, of lone surrogates too."""
    try:
        return msgspec.json.encode(name)
    except UnicodeEncodeError:
        return json.dumps(name).encode()


def joined(members: dict[str, msgspec.Raw]) -> bytes:
    """The object with these members."""
    return b"{" + b",".join(name_text(name) + b":" + bytes(value) for name, value in members.items()) + b"}"
