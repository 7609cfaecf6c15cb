"""A session's JSON, changed member by member: what we do not know passes through as the bytes that it was.

Another service, in another language, may keep members of its own in a session. Decoding all and encoding it again would
lose them, or their spacing, or the difference of 1.0 and 1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from greenroom.sessions import arguments
from greenroom.sessions.json_scan import joined, members_by_scan, name_text
from greenroom.sessions.member_json import member_json, name_json, no_json
from greenroom.sessions.user_id import check_user_id

ACTIVITY = "last_activity_timestamp"
"""The member that every write sets, to the server's time."""
USER = "user_id"
"""The member that names whose session it is."""

Members = Mapping[str, object] | Callable[[bytes], Mapping[str, object]]
"""Members to be set, or what tells them from the JSON as it is: asked again where that has changed meanwhile."""

_members = msgspec.json.Decoder(dict[str, msgspec.Raw])


class _Owned(msgspec.Struct):
    user_id: Any = None


_owned = msgspec.json.Decoder(_Owned)


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
        InvalidInput: naming the member that cannot be JSON, or a `user_id` that is none.
    """
    found = members(body)
    for name, value in changes.items():
        name_json(name)
        if value is msgspec.UNSET:
            found.pop(name, None)
        else:
            if name == USER:
                _check_user(value)
            found[name] = msgspec.Raw(member_json(name, value))
    return joined(found)


def merged(body: bytes, patch: Mapping[str, Any]) -> bytes:
    """A JSON merge patch (RFC 7396) of an object, down to the members that it names and no further.

    Raises:
        InvalidInput: naming the member that cannot be JSON, or the argument that is no JSON or no mapping.
    """
    arguments.instance("body", body, bytes, "give the JSON of the object")
    arguments.instance("patch", patch, Mapping, "give a dict of the members to change")
    try:
        found = members(body)
    except msgspec.DecodeError:
        found = {}  # the RFC: whatever is no object is replaced by one
    for name, value in patch.items():
        name_json(name)
        if value is None:
            found.pop(name, None)
        elif isinstance(value, Mapping):
            try:
                found[name] = msgspec.Raw(merged(bytes(found.get(name, msgspec.Raw(b"{}"))), value))
            except RecursionError:
                raise no_json(name, "is nested too deeply") from None
        else:
            found[name] = msgspec.Raw(member_json(name, value))
    return joined(found)


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
    found = members(body)
    found.setdefault(member, msgspec.Raw(b'""'))
    names = list(found)
    place = names.index(member)
    before = (_pair(name, found[name]) for name in names[:place])
    after = (_pair(name, found[name]) for name in names[place + 1 :])
    head = b",".join([*before, msgspec.json.encode(member) + b':"'])
    return b"{" + head, b",".join([b'"', *after]) + b"}"


def user_of(body: bytes) -> str | None:
    """Whose session it is; None for nobody's, and where the JSON does not tell."""
    try:
        user = _owned.decode(body).user_id
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        user = _user_by_scan(body)
    return user if isinstance(user, str) else None


def _check_user(value: object) -> None:
    # Here, where it is the caller's: once in the session's JSON the error would speak of what is stored.
    check_user_id(user_of(b'{"user_id":%s}' % member_json(USER, value)) if isinstance(value, msgspec.Raw) else value)


def _user_by_scan(body: bytes) -> Any:
    """Prevents: another program's member is no text · the session counts as nobody's · it leaves its user's list."""
    try:
        return msgspec.json.decode(members_by_scan(body).get(USER, b"null"))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _readable(raw: msgspec.Raw) -> Any:
    try:
        return msgspec.json.decode(raw)
    except (msgspec.DecodeError, RecursionError):
        return raw


def _pair(name: str, value: Iterable[int]) -> bytes:
    return name_text(name) + b":" + bytes(value)
