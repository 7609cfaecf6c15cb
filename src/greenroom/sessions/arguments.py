"""The arguments of calls of sessions: ids, members, and functions of a session's JSON."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from greenroom.argument_types import instance, text, type_name
from greenroom.errors import InvalidInput
from greenroom.keyspace.parts import check_part

USER_ID_MAX = 256
"""Characters of a user's id."""
CHANGE = "give a function from the session's JSON to the JSON as it shall be"
_MEMBERS = "give a dict of the members to set, or members by keyword"


def session_part(name: str, value: object) -> str:
    """The id of a session, if it can be one."""
    text(name, value, "give the session_id of a session that was read")
    return check_part(name, value)


def check_user_id(user_id: Any) -> str:
    """The id of a user.

    Raises:
        InvalidInput: when it is none.
    """
    if isinstance(user_id, str) and 1 <= len(user_id) <= USER_ID_MAX:
        return user_id
    shown = f"has {len(user_id)} characters" if isinstance(user_id, str) else f"is {type_name(user_id)}"
    raise InvalidInput("user_id", shown, f"use a string of 1 to {USER_ID_MAX} characters; leave it out for nobody")


def mapping(members: Any, more: Mapping[str, object] | None = None) -> dict[str, object]:
    """Members that are given as for `dict`."""
    first = {} if members is None else instance("members", members, Mapping, _MEMBERS)
    return {**first, **(more or {})}


def given(members: Any, body: bytes) -> Mapping[str, object]:
    """Members that are given as a mapping, or by a function of the session's JSON."""
    if not callable(members):
        return instance("members", members, Mapping, _MEMBERS)
    return mapping(_answered("members", members(body), Mapping, "a Mapping", "let the function return a dict"))


def made(change: Callable[[bytes], bytes], body: bytes) -> bytes:
    """The JSON that a change makes of a session's."""
    remedy = "let the function return the session's JSON; it must not be async"
    answer: bytes = _answered("change", change(body), bytes, "bytes", remedy)
    return answer


def _answered(name: str, answer: Any, type_: Any, wanted: str, remedy: str) -> Any:
    if isinstance(answer, Coroutine):
        answer.close()  # nobody will await it
    if not isinstance(answer, type_):
        raise InvalidInput(name, f"returned {type_name(answer)}, not {wanted}", remedy)
    return answer
