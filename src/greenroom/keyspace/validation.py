"""What a codec says of a value that does not fit, taken apart: the member's name and what is wrong with it."""

from __future__ import annotations

import re

_AT = re.compile(r" - at `(?:\$\.?)?([^`]*)`$")
"""Msgspec begins a path with `$`, and our words about pydantic's errors with the member."""
_NAMED = re.compile(r"field `([^`]+)`")


def field_and_reason(error: Exception | str) -> tuple[str, str]:
    """(member, reason); the member is `value` where the whole value is wrong. Never quotes the value."""
    text = str(error)
    where, named = _AT.search(text), _NAMED.search(text)
    reason = _AT.sub("", text)
    path = where.group(1) if where else ""
    if named:
        path = f"{path}.{named.group(1)}" if path else named.group(1)
        reason = "is missing" if "missing required" in reason else "is not a known member"
    return path or "value", reason
