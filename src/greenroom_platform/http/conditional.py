"""Validators and cache headers: RFC 9110 entity tags and preconditions, RFC 9211 Cache-Status."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

from greenroom.caching import CacheResult, Outcome

CACHE_CONTROL = "public, no-cache"
"""Anyone may keep the answer, and asks again before using it: an editor's change is seen by the next read."""

_TAG = re.compile(r'"([\x21\x23-\x7e\x80-\xff]*)"')


def matches(if_none_match: Sequence[str], tag: str) -> bool:
    """Whether the lines of `If-None-Match` name the tag: a list, `W/` and `*` count (RFC 9110, 13.1.2).

    The comparison is weak, and lists may be spread over several lines.
    """
    return any(line.strip() == "*" or tag[1:-1] in _TAG.findall(line) for line in if_none_match)


def cache_status(read: CacheResult[Any]) -> str:
    """How the cache handled a request, in the words of RFC 9211."""
    match read.outcome:
        case Outcome.NEAR:
            return "greenroom; hit; detail=near"
        case Outcome.HIT:
            return "greenroom; hit" if read.ttl is None else f"greenroom; hit; ttl={math.ceil(read.ttl)}"
        case Outcome.STALE:
            # Below zero even in the first moment: freshness that has ended is never 0 seconds of it.
            return f"greenroom; hit; ttl={min(-1, math.floor(read.ttl or 0))}; detail=stale"
        case Outcome.SHARED:
            return "greenroom; fwd=miss; collapsed"
        case Outcome.BYPASSED:
            return "greenroom; fwd=bypass; detail=engine-down"
        case Outcome.LOADED:
            return "greenroom; fwd=miss; stored" if read.stored else "greenroom; fwd=miss"
