"""Near hits answered before sessions and router, from what the route has made of the same near entry once.

The router and the layers around it cost a near hit four times what the server itself costs. What a route has answered
from a near entry is the same for everyone until the entry dies. So its finished headers are left at the entry itself,
and the next request for the same address is answered with them, while the cache would answer with that entry:

    a page is answered from here · a snippet of it is changed · its entry goes with the drop, and the finished answer
    with the entry: the next request takes the whole way, and so is told of the change

No rule of freshness stands here: `Cache.attached` has them all. What is remembered is what the route said, before any
layer around it: no cookie, no grant to an origin, no request id is in it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from greenroom.caching import Cache, CacheResult, Outcome
from greenroom.integrations.conditional import matches

ADDRESSES = 4096
"""Addresses that are remembered; the oldest goes first."""
LONGEST = 512
"""Bytes of an address above which it is not remembered; the longest that the page asks for has about 200. Prevents:
somebody asks for a page with thousands of long parameters that mean nothing · each of them is kept."""

Headers = list[tuple[bytes, bytes]]

NOT_PLAIN = frozenset(
    {
        *(b"content-length", b"transfer-encoding", b"expect", b"range", b"if-range"),
        *(b"if-match", b"if-modified-since", b"if-unmodified-since"),
    }
)
"""A request with one of these is the route's: it has a body, or asks for a part, or on another condition. Today the
route takes no notice of them; whether it ever does is its own affair."""


class FinishedAnswer(NamedTuple):
    """The answer of a route for one near entry, for any caller.

    Arguments:
        tag: the value of its `ETag`.
        whole: the headers of a 200.
        unchanged: the headers of a 304.
    """

    tag: str
    whole: Headers
    unchanged: Headers
    body: bytes


class _Known(NamedTuple):
    cache: Cache[Any]
    key: str
    template: str
    """The route's, by which requests are counted."""


_Address = tuple[bytes, bytes]


# docs/decisions/0096-near-hits-are-answered-before-the-router.md
class KnownAddresses:
    """The addresses whose route answered from a near entry, at the second time: most are asked for once.

    Arguments:
        size: how many; and how many more that have been asked for once.
    """

    def __init__(self, size: int = ADDRESSES) -> None:
        self._size = size
        self._known: dict[_Address, _Known] = {}
        self._once: dict[_Address, None] = {}

    def __len__(self) -> int:
        return len(self._known)

    def get(self, address: _Address) -> _Known | None:
        """What answers an address, by its path and query as they were sent."""
        return self._known.get(address)

    def keep(self, scope: Any, cache: Cache[Any], read: CacheResult[Any], answer: FinishedAnswer) -> None:
        """Keep what a route answers, for the next request of its address, if it comes from a near entry alone.

        Arguments:
            cache: which `read` is of.
        """
        if read.outcome is not Outcome.NEAR or read.entry is None or read.body is None:
            return
        address = scope["raw_path"], scope["query_string"]
        if address not in self._known:
            if not self._is_second(address):
                return
            if len(self._known) >= self._size:
                # With what it has left at its entry: no more entries have something than there are addresses.
                oldest = self._known.pop(next(iter(self._known)))
                oldest.cache.detach(oldest.key)
            self._known[address] = _Known(cache, read.entry.key, scope["path_template"])
        read.entry.attached = answer

    def _is_second(self, address: _Address) -> bool:
        if len(address[0]) + len(address[1]) > LONGEST:
            return False
        if address in self._once:
            del self._once[address]
            return True
        if len(self._once) >= self._size:
            del self._once[next(iter(self._once))]
        self._once[address] = None
        return False


class NearAnswers:
    """Wraps an ASGI application, inside whatever answers HEAD as GET, looks at hosts and grants origins.

    Arguments:
        known: what the routes of the application have left.
    """

    def __init__(self, app: Any, known: KnownAddresses) -> None:
        self._app = app
        self._known = known

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and scope["method"] == "GET":
            known = self._known.get((scope["raw_path"], scope["query_string"]))
            if known is not None and (answer := _answer(scope, known)) is not None:
                scope["path_template"] = known.template
                status, headers, body = answer
                await send({"type": "http.response.start", "status": status, "headers": headers})
                await send({"type": "http.response.body", "body": body})
                return
        await self._app(scope, receive, send)


def _answer(scope: Any, known: _Known) -> tuple[int, Headers, bytes] | None:
    """The answer to a plain request whose near entry may be served; None where the route must give it."""
    tags: list[str] = []
    for name, value in scope["headers"]:
        if name in NOT_PLAIN:
            return None
        if name == b"if-none-match":
            tags.append(value.decode("latin-1"))
    answer: FinishedAnswer | None = known.cache.attached(known.key)
    if answer is None:
        return None
    if tags and matches(tags, answer.tag):
        return 304, answer.unchanged, b""
    return 200, answer.whole, answer.body
