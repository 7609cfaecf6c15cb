"""Bodies: JSON to a draft, with an error that names the member."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec
from litestar import Request
from litestar.exceptions import InternalServerException

from greenroom.keyspace.validation import field_and_reason
from greenroom_platform.http.problems import Problem, invalid
from greenroom_platform.models import Timestamp

T = TypeVar("T", bound=msgspec.Struct)

_NAME = 64
"""Characters of a member's name that are repeated."""


async def members(request: Request[Any, Any, Any]) -> dict[str, Any]:
    """The body as a JSON object.

    Raises:
        Problem: 400 for what is not JSON, nested beyond reason or broken off, 422 for JSON that is no object.
    """
    try:
        body = await request.body()
    except InternalServerException:
        # The framework's word for a client that has left; nobody reads the answer, and nothing has failed here.
        raise Problem("bad-request", "the body ended too early") from None
    try:
        members = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Problem("malformed-json", str(error)) from None
    except RecursionError:
        raise Problem("malformed-json", "the JSON is nested too deeply") from None
    if not isinstance(members, dict):
        raise invalid("body", "is not an object", "send one JSON object")
    return members


def draft(type_: type[T], members: dict[str, Any], stored: msgspec.Struct | None = None, **path: str) -> T:
    """Make a draft of the members.

    Ids and times are the service's, but may be there if they equal what is stored: that makes get, edit, put work.

    Arguments:
        stored: the object as it is; None where it is new.
        path: ids from the request's path.

    Raises:
        Problem: 422, naming the member.
    """
    schema: dict[str, Any] = msgspec.json.schema(type_)["$defs"][type_.__name__]
    accepted = schema["properties"]
    known = (msgspec.to_builtins(stored) if stored is not None else {}) | path
    for name in [name for name in members if name not in accepted]:
        if name not in known:
            raise invalid(_named(name), "is not a member that can be set", f"leave it out; send {', '.join(accepted)}")
        if not _same(members[name], known[name]):
            # docs/decisions/0050-bodies-may-repeat-ids-and-times.md
            raise invalid(name, "differs from what is stored", "leave it out, or send what is stored")
    try:
        return msgspec.convert({name: value for name, value in members.items() if name in accepted}, type_)
    except msgspec.ValidationError as error:
        raise _explained(error, schema) from None


def _named(name: str) -> str:
    """A member's name as an error repeats it, cut to a bearable length."""
    return name if len(name) <= _NAME else f"{name[:_NAME]}…"


def _same(sent: object, stored: object) -> bool:
    if sent == stored:
        return True
    try:
        return msgspec.convert(sent, Timestamp) == msgspec.convert(stored, Timestamp)
    except msgspec.ValidationError:
        return False


def _explained(error: msgspec.ValidationError, schema: dict[str, Any]) -> Problem:
    field, reason = field_and_reason(error)
    member = field.partition("[")[0]
    optional = "" if member in schema["required"] else ", or leave it out"
    return invalid(field, reason, f"send {_accepted(schema['properties'][member])}{optional}")


def _accepted(accepted: dict[str, Any]) -> str:
    if "type" not in accepted:
        return "an object of the members that /docs has for it"
    if accepted["type"] == "array":
        return "an array; each item is " + _accepted(accepted["items"])
    if accepted["type"] == "object":
        return "an object of strings"
    if accepted["type"] == "boolean":
        return "true or false"
    if accepted["type"] == "number":
        return "a number"
    return "a string of 1 character or more" if accepted.get("minLength") else "a string"
