"""The answer to a request, made of a cached result: its validator, 304, how long it may be used, how it came about.

RFC 9110 entity tags and preconditions, RFC 9111 Cache-Control, RFC 9211 Cache-Status. For every framework; those of
`greenroom.integrations.fastapi` and `greenroom.integrations.litestar` are made of it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

from greenroom.argument_types import span
from greenroom.caching import CacheResult, Outcome
from greenroom.caching.result import digest, seconds_left
from greenroom.errors import InvalidInput
from greenroom.integrations.problems import MEDIA_TYPE, ErrorAnswer, path_of

JSON = "application/json"
"""The media type of an answer where none is given."""
Visibility = Literal["public", "private"]
"""Which caches may keep an answer: every cache on its way, or the client's only."""

_TAG = re.compile(r'[ \t,]*(?:W/)?"([\x20-\x21\x23-\x7e\x80-\xff]*)"[ \t]*(?=,|$)')
_REST = re.compile(r"[ \t,]*$")
_FIELD = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_READS = frozenset({"GET", "HEAD"})
"""Methods whose answer may be 304 (RFC 9110, 13.1.2)."""


@dataclass(frozen=True, slots=True)
class CachedAnswer:
    """An answer that is ready to be sent.

    Arguments:
        status: 200, 304 where the client has it already, 404 where there is nothing.
        headers: all that it carries, also its media type and, where it may have a body, its length.
        body: empty for 304 and for HEAD.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes


def cached_answer(
    scope: Mapping[str, Any],
    result: CacheResult[Any],
    *,
    body: bytes | None = None,
    media_type: str = JSON,
    max_age: timedelta | None = None,
    visibility: Visibility | None = None,
    vary: Sequence[str] = (),
) -> CachedAnswer:
    """The answer to a request, made of what a cache has given.

    Arguments:
        scope: of the ASGI request.
        result: what `get_result` returned.
        body: what is sent in place of the stored JSON; also where there is no value. The validator is made of it.
        media_type: of that body.
        max_age: how long a client may use the answer without asking; never for longer than the value is known to be
            fresh. None, and a value whose freshness is not known: it asks before each use, which is a 304.
        visibility: which caches may keep it. None: HTTP's own rule, by which no shared cache uses an answer to a
        request with
            `Authorization`.
        vary: names of the request's headers on which the answer depends besides its URL.

    Raises:
        InvalidInput: naming an argument that cannot be.
    """
    headers = {"Cache-Control": _cache_control(result, max_age, visibility), "Cache-Status": cache_status(result)}
    if names := _names(vary):
        headers["Vary"] = names
    method = scope["method"]
    content, tag = _content(result, body)
    if content is None:
        content = ErrorAnswer(404, "Not found", "there is nothing under this name").body(path_of(scope))
        headers |= {"Content-Type": MEDIA_TYPE, "Content-Length": str(len(content))}
        return CachedAnswer(404, headers, b"" if method == "HEAD" else content)
    headers["ETag"] = tag
    if method in _READS and matches(_lines(scope, b"if-none-match"), tag):
        return CachedAnswer(304, headers, b"")
    headers |= {"Content-Type": media_type, "Content-Length": str(len(content))}
    return CachedAnswer(200, headers, b"" if method == "HEAD" else content)


def matches(if_none_match: Sequence[str], tag: str) -> bool:
    """Whether the lines of `If-None-Match` name the tag: a list, `W/` and `*` count (RFC 9110, 13.1.2).

    The comparison is weak, and lists may be spread over several lines. What is no list of tags names none.
    """
    together = ",".join(if_none_match)
    return bool(if_none_match) and (together.strip() == "*" or tag[1:-1] in _tags(together))


def cache_status(result: CacheResult[Any]) -> str:
    """How the cache handled a request, in the words of RFC 9211."""
    match result.outcome:
        case Outcome.NEAR:
            return "greenroom; hit; detail=near"
        case Outcome.HIT:
            return "greenroom; hit" if result.ttl is None else f"greenroom; hit; ttl={seconds_left(result.ttl)}"
        case Outcome.STALE:
            # Below zero even in the first moment: freshness that has ended is never 0 seconds of it.
            return f"greenroom; hit; ttl={min(-1, math.floor(result.ttl or 0))}; detail=stale"
        case Outcome.SHARED:
            return "greenroom; fwd=miss; collapsed"
        case Outcome.BYPASSED:
            return "greenroom; fwd=bypass; detail=engine-down"
        case Outcome.LOADED:
            return "greenroom; fwd=miss; stored" if result.stored else "greenroom; fwd=miss"


def _content(result: CacheResult[Any], body: bytes | None) -> tuple[bytes | None, str]:
    if body is not None:
        return body, f'"{digest(body)}"'
    return result.body, "" if result.body is None else f'"{result.digest}"'


def _cache_control(result: CacheResult[Any], max_age: timedelta | None, visibility: Visibility | None) -> str:
    if visibility not in (None, "public", "private"):
        raise InvalidInput("visibility", f"is {visibility!r:.80}", "use 'public' or 'private', or leave it out")
    if max_age is not None:
        span("max_age", max_age, timedelta(0), "use a timedelta of zero or more")
    fresh = result.ttl if result.outcome is not Outcome.STALE else None
    seconds = 0 if max_age is None or fresh is None else math.floor(min(max_age.total_seconds(), fresh))
    use = f"max-age={seconds}" if seconds > 0 else "no-cache"
    return use if visibility is None else f"{visibility}, {use}"


def _names(vary: Sequence[str]) -> str:
    if isinstance(vary, str) or not all(isinstance(name, str) and _FIELD.fullmatch(name) for name in vary):
        raise InvalidInput("vary", f"is {vary!r:.80}", "use a list of names of headers, like ['Accept-Language']")
    return ", ".join(vary)


def _lines(scope: Mapping[str, Any], name: bytes) -> list[str]:
    return [value.decode("latin-1") for field, value in scope["headers"] if field.lower() == name]


def _tags(lines: str) -> Iterator[str]:
    """The tags of a list; none of what is no list, since a quote that is missing would turn it inside out."""
    found: list[str] = []
    at = 0
    while (one := _TAG.match(lines, at)) is not None:
        found.append(one[1])
        at = one.end()
    return iter(found if _REST.match(lines, at) else ())
