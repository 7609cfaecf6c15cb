"""Server-sent events (HTML Standard, 9.2): one stream of values that ends by itself."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import msgspec
from litestar import Response

from greenroom.caching.result import digest
from greenroom.detached import stop
from greenroom.errors import GreenroomError
from greenroom_platform.http.long_poll import LongPolls

log = logging.getLogger("greenroom.http")

COMMENT_EVERY = 15.0
"""Seconds without an event after which a comment is sent, so that nobody in between takes the stream for dead."""
RETRY_MS = 2000
"""Milliseconds after which a client whose stream broke off comes back."""
_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),  # a proxy that collects a page before it passes it on would hold events back
]


# docs/decisions/0053-status-event-ids-are-hashes.md
def event_id(value: Any) -> str:
    """The id of a value's event: the same value has the same in every process, so that a client may go on anywhere."""
    return digest(msgspec.json.encode(value))


# docs/decisions/0068-parts-written-by-hand.md
class EventStream(Response[Any]):
    """Sends each value as it comes, then ends; a slow reader gets what the generator has by then.

    Arguments:
        event: the name of the events.
        values: closed at the end.
        last: the id of the last event that the client has, which is not sent again.
        address: the client's, as for `LongPolls.place`.
    """

    def __init__(
        self,
        event: str,
        values: AsyncGenerator[Any, None],
        waiting: LongPolls,
        *,
        last: str | None = None,
        address: str = "",
    ) -> None:
        self._event = event
        self._values = values
        self._waiting = waiting
        self._last = last
        self._address = address

    def to_asgi_response(self, *_: Any, **__: Any) -> Any:
        """The application that sends it."""
        return self._answer

    async def _answer(self, scope: Any, receive: Any, send: Any) -> None:
        async with aclosing(self._values):
            if not scope.get("head"):
                async with self._waiting.place(receive, address=self._address):
                    await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
                    await self._stream(send)
            else:
                await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
        await send({"type": "http.response.body", "body": b""})

    async def _stream(self, send: Any) -> None:
        async def put(text: str) -> None:
            await send({"type": "http.response.body", "body": text.encode(), "more_body": True})

        await put(f"retry: {RETRY_MS}\n\n")
        coming: asyncio.Future[Any] | None = None
        try:
            while True:
                if coming is None:
                    coming = asyncio.ensure_future(anext(self._values, None))
                # Not by a timeout around `anext`: what cancels a generator ends it.
                await asyncio.wait([coming], timeout=COMMENT_EVERY)
                if not coming.done():
                    await put(":\n\n")
                    continue
                try:
                    value = coming.result()
                except GreenroomError as error:
                    log.warning("an event stream ended early: %s", error)  # its client comes back
                    return
                if value is None:
                    return
                coming = None
                mark = event_id(value)
                if mark != self._last:
                    await put(f"id: {mark}\nevent: {self._event}\ndata: {msgspec.json.encode(value).decode()}\n\n")
        finally:
            if coming is not None and not coming.done():
                await stop(coming)
