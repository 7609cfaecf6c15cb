"""What the calls of sessions are given: what is of another type is refused here, by its name, before anything is asked.

Deeper down it would be somebody else's error: of the codec, of the server, or a stored session that seems broken.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from typing import Any, TypeVar

from greenroom.errors import InvalidInput
from greenroom.keyspace.pattern import check_part

T = TypeVar("T")

CHANGE = "give a function from the session's JSON to the JSON as it shall be"
_MEMBERS = "give a dict of the members to set, or members by keyword"


def instance(name: str, value: T, type_: Any, remedy: str) -> T:
    """The argument, if it is of its type."""
    if not isinstance(value, type_):
        raise InvalidInput(name, f"is {_named(value)}, not a {type_.__name__}", remedy)
    return value


def function(name: str, value: T, remedy: str) -> T:
    """The argument, if it can be called."""
    if not callable(value):
        raise InvalidInput(name, f"is {_named(value)}, which cannot be called", remedy)
    return value


def text(name: str, value: object, remedy: str) -> str:
    """The argument, if it is a string."""
    if not isinstance(value, str):
        raise InvalidInput(name, f"is {_named(value)}, not a string", remedy)
    return value


def session_part(name: str, value: object) -> str:
    """The id of a session, if it can be one."""
    text(name, value, "give the session_id of a session that was read")
    return check_part(name, value)


def mapping(members: Any, more: Mapping[str, object] | None = None) -> dict[str, object]:
    """Members that are given as for `dict`."""
    given = {} if members is None else instance("members", members, Mapping, _MEMBERS)
    return {**given, **(more or {})}


def told(members: Any, body: bytes) -> Mapping[str, object]:
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
        raise InvalidInput(name, f"returned {_named(answer)}, not {wanted}", remedy)
    return answer


def _named(value: object) -> str:
    return ascii(type(value).__name__)[1:-1]
