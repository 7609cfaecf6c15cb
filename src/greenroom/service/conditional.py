"""Validators and cache headers: RFC 9110 entity tags and preconditions, RFC 9211 Cache-Status."""

from __future__ import annotations

import math
import re
from hashlib import blake2b
from typing import Any

from greenroom.caching import Outcome, Read

CACHE_CONTROL = "public, no-cache"
"""Anyone may keep the answer, and asks again before using it: an editor's change is seen by the next read."""

_TAG = re.compile(r'(?:W/)?"([\x21\x23-\x7e\x80-\xff]*)"')


def etag(body: bytes) -> str:
    """The strong entity tag of a representation: it changes with every byte of it."""
    return f'"{blake2b(body, digest_size=12).hexdigest()}"'


def matches(if_none_match: str | None, tag: str) -> bool:
    """Whether `If-None-Match` names the tag: a list, `W/` and `*` count (RFC 9110, 13.1.2: weak comparison)."""
    if if_none_match is None:
        return False
    if if_none_match.strip() == "*":
        return True
    return tag[1:-1] in _TAG.findall(if_none_match)


def cache_status(read: Read[Any]) -> str:
    """How the cache handled a request, in the words of RFC 9211."""
    if read.outcome is Outcome.HIT:
        return "greenroom; hit" if read.ttl is None else f"greenroom; hit; ttl={math.ceil(read.ttl)}"
    if read.outcome is Outcome.BYPASSED:
        return "greenroom; fwd=bypass; detail=engine-down"
    if read.outcome is Outcome.SHARED:
        return "greenroom; fwd=miss; collapsed"
    return "greenroom; fwd=miss; stored" if read.stored else "greenroom; fwd=miss"
