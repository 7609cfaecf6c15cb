"""`If-Match` and `If-None-Match` of a request that changes something (RFC 9110, 13.1.1 and 13.1.2)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from litestar import Request

from greenroom.errors import PreconditionFailed
from greenroom_platform.domain.precondition import Precondition, Versions

_TAG = r'(W/)?"([\x21\x23-\x7e\x80-\xff]*)"'
_TAGS = re.compile(_TAG)
# A list may have empty elements (RFC 9110, 5.6.1.2). The blanks are possessive: without that a long row of them is
# tried in every division before it is given up.
_LIST = re.compile(rf"(?:[ \t]*+(?:{_TAG})?[ \t]*+(?:,|\Z))+")


def precondition_of(request: Request[Any, Any, Any]) -> Precondition:
    """What the request demands of what it changes.

    Raises:
        PreconditionFailed: for a condition that cannot be read: one that is not understood must not pass for held.
    """
    headers = request.headers
    return precondition(headers.getall("if-match", []), headers.getall("if-none-match", []))


def precondition(if_match: Sequence[str], if_none_match: Sequence[str]) -> Precondition:
    """The condition of both headers, each as its lines; raises as `precondition_of`.

    A weak tag never matches in `If-Match`, whose comparison is strong, and does in `If-None-Match`.
    """
    return Precondition(
        _versions("If-Match", if_match, weak=False) if if_match else None,
        _versions("If-None-Match", if_none_match, weak=True) if if_none_match else None,
    )


def _versions(header: str, lines: Sequence[str], *, weak: bool) -> Versions:
    text = ", ".join(lines)
    if text.strip(" \t") == "*":
        return Versions(any=True)
    if _LIST.fullmatch(text) is None:
        remedy = 'send * alone, or entity tags as ETag gives them, as "1a2b3c"'
        raise PreconditionFailed(f"{header}: it is not a list of entity tags; {remedy}")
    return Versions(frozenset(tag for is_weak, tag in _TAGS.findall(text) if weak or not is_weak))
