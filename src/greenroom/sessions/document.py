"""A session's JSON, changed member by member: what we do not know passes through as the bytes that it was.

Another service, in another language, may keep members of its own in a session. Decoding all and encoding it again would
lose them, or their spacing, or the difference of 1.0 and 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

_members = msgspec.json.Decoder(dict[str, msgspec.Raw])
_STAMP = "\x00stamp\x00"


def members(body: bytes) -> dict[str, msgspec.Raw]:
    """The members of a JSON object, each as its bytes.

    Raises:
        msgspec.DecodeError: when it is no object.
    """
    return _members.decode(body)


def changed(body: bytes, changes: Mapping[str, object]) -> bytes:
    """The object with some members set; `UNSET` removes one. Members not named keep their bytes and their order."""
    found = members(body)
    for name, value in changes.items():
        if value is msgspec.UNSET:
            found.pop(name, None)
        else:
            found[name] = msgspec.Raw(msgspec.json.encode(value))
    return msgspec.json.encode(found)


def merged(body: bytes, patch: Mapping[str, Any]) -> bytes:
    """A JSON merge patch (RFC 7396) of an object, down to the members that it names and no further."""
    try:
        found = members(body)
    except msgspec.DecodeError:
        found = {}  # the RFC: whatever is no object is replaced by one
    for name, value in patch.items():
        if value is None:
            found.pop(name, None)
        elif isinstance(value, Mapping):
            found[name] = msgspec.Raw(merged(bytes(found.get(name, msgspec.Raw(b"{}"))), value))
        else:
            found[name] = msgspec.Raw(msgspec.json.encode(value))
    return msgspec.json.encode(found)


def around(body: bytes, member: str) -> tuple[bytes, bytes]:
    """The object's JSON before and after the text of one member's string, which the server fills in."""
    head, _, tail = changed(body, {member: _STAMP}).partition(msgspec.json.encode(_STAMP))
    return head + b'"', b'"' + tail
