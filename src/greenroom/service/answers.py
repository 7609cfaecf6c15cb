"""Answers made of a cached read: the stored JSON passes through as it is."""

from __future__ import annotations

from typing import Any, TypeVar, cast

from litestar import Request, Response

from greenroom.caching import Read
from greenroom.caching.outcome import digest
from greenroom.service.conditional import CACHE_CONTROL, cache_status, matches

T = TypeVar("T")


def cached(
    request: Request[Any, Any, Any],
    read: Read[T],
    *,
    body: bytes | None = None,
    headers: dict[str, str] | None = None,
) -> Response[T]:
    """The answer to a cached read, or 304 where the caller has it already.

    Arguments:
        body: the JSON to send where the read has none.
        headers: further headers.
    """
    if read.body is not None:
        content, mark = read.body, read.digest
    else:
        assert body is not None
        content, mark = body, digest(body)
    tag = f'"{mark}"'
    head = {
        "ETag": tag,
        "Cache-Control": CACHE_CONTROL,
        "Cache-Status": cache_status(read),
        **(headers or {}),
    }
    status = 200
    if matches(request.headers.getall("if-none-match", []), tag):
        content, status = b"", 304
    # The framework sends bytes as they are; the type argument is what the API's description shows.
    return cast("Response[T]", Response(content, status_code=status, media_type="application/json", headers=head))
