"""Answers made of a cached read: the stored JSON passes through as it is."""

from __future__ import annotations

from typing import Any, TypeVar, cast

from litestar import Request, Response

from greenroom.caching import Cache, CacheResult
from greenroom.caching.result import digest
from greenroom.integrations.conditional import cache_status
from greenroom_platform.http.handler_words import mentions
from greenroom_platform.http.near_answers import FinishedAnswer, Headers, KnownAddresses
from greenroom_platform.http.not_modified import is_not_modified

T = TypeVar("T")

CACHE_CONTROL = "public, no-cache"
"""Anyone may keep the answer, and asks again before using it: an editor's change is seen by the next read."""


# docs/decisions/0051-stored-json-bypasses-the-framework.md
class StoredJSON(Response[Any]):
    """JSON that is ready to be sent, and its headers.

    The framework's own response would encode, merge and look up headers for longer than a near hit takes.
    """

    def __init__(self, body: bytes, status: int, headers: Headers) -> None:
        self._body = body
        self._status = status
        self._headers = headers

    def to_asgi_response(self, *_: Any, **__: Any) -> Any:
        """The application that sends it."""
        return self._send

    async def _send(self, _scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": self._status, "headers": self._headers})
        await send({"type": "http.response.body", "body": self._body})


@mentions("If-None-Match", "ETag", "Cache-Control", "Cache-Status")
def cached(
    request: Request[Any, Any, Any],
    read: CacheResult[T],
    *,
    of: Cache[T] | None = None,
    body: bytes | None = None,
    link: str | None = None,
    retry_after: int | None = None,
) -> Response[T]:
    """The answer to a cached read, or 304 where the caller has it already.

    Arguments:
        of: the cache of the read, where the answer depends on the address and on what was read alone: from near, it
            may then be repeated without the route.
        body: the JSON to send where the read has none.
        link: the value of a `Link` header.
        retry_after: seconds after which to ask again, where the value is on its way to another.
    """
    if read.body is not None:
        content, content_digest = read.body, read.digest
    else:
        assert body is not None
        content, content_digest = body, digest(body)
    tag = f'"{content_digest}"'
    common: Headers = [
        (b"etag", tag.encode()),
        (b"cache-control", CACHE_CONTROL.encode()),
        (b"cache-status", cache_status(read).encode()),
    ]
    if link is not None:
        common.append((b"link", link.encode()))
    if retry_after is not None:
        common.append((b"retry-after", b"%d" % retry_after))
    whole = [*common, (b"content-type", b"application/json"), (b"content-length", b"%d" % len(content))]
    if of is not None:
        known: KnownAddresses = request.app.state.known_addresses
        known.keep(request.scope, of, read, FinishedAnswer(tag, whole, common, content))
    # The type argument is what the API's description shows.
    if is_not_modified(request, tag):
        return cast("Response[T]", StoredJSON(b"", 304, common))
    return cast("Response[T]", StoredJSON(content, 200, whole))


def is_head(request: Request[Any, Any, Any]) -> bool:
    """Whether the caller wants the headers alone: a body that is streamed need not be made, it would be thrown away."""
    return bool(request.scope.get("head"))  # the envelope has made a GET of it


def holds(request: Request[Any, Any, Any], read: CacheResult[Any]) -> bool:
    """Whether the caller has what was read already, as `If-None-Match` says."""
    return read.body is not None and is_not_modified(request, f'"{read.digest}"')
