"""The statuses of a job as server-sent events (HTML Standard, 9.2): an answer for any ASGI framework."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any, Generic, TypeVar

from greenroom.detached import stop
from greenroom.errors import GreenroomError
from greenroom.progress.following import Following

log = logging.getLogger("greenroom.progress")

T = TypeVar("T")

COMMENT_EVERY = 15.0
"""Seconds without an event after which a comment is sent, so that nobody in between takes the stream for dead."""
RETRY_MS = 2000
"""Milliseconds after which a client whose stream broke off comes back."""
MEDIA_TYPE = "text/event-stream"
_DONE = 204
"""The one answer that keeps a browser from asking again."""


class ProgressEvents(Generic[T]):
    """The answer to a client that follows a job; made by `Jobs.sse`.

    It is an ASGI application, which a Starlette endpoint returns as it is, and an asynchronous iterator over its bytes
    for a framework's own streaming answer, with `status`, `media_type` and `headers`.

    Each status is an event with its JSON as data and a hash of that as id: the same in every process, so that a client
    whose stream breaks off goes on at another. It ends after a terminal status, and when the room is closed: the client
    then comes back by itself. A client that has the terminal status already gets 204.

    Arguments:
        encode: the JSON of a status.
        event_id: the id of a JSON.
        last: the id of the last event that the client has, which is not sent again.
        done: whether that was a terminal status.
        name: of the events.
    """

    media_type = MEDIA_TYPE

    def __init__(
        self,
        following: Following[T],
        encode: Callable[[T], bytes],
        event_id: Callable[[bytes], str],
        *,
        last: str | None,
        done: bool,
        name: str,
    ) -> None:
        self._following = following
        self._encode = encode
        self._event_id = event_id
        self._last = last
        self._name = name
        self.status = _DONE if done else 200
        """The status of the answer."""
        # A proxy that collects a page before it passes it on would hold events back.
        self.headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        """What the answer carries besides its media type."""

    def __aiter__(self) -> AsyncGenerator[bytes, None]:
        return self._bytes()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        headers = (
            self.headers if self.status == _DONE else {"Content-Type": f"{MEDIA_TYPE}; charset=utf-8", **self.headers}
        )
        raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": self.status, "headers": raw})
        if scope["method"] == "HEAD":
            await self.aclose()
        else:
            sending = asyncio.ensure_future(self._send(send))
            gone = asyncio.ensure_future(_disconnected(receive))
            try:
                await asyncio.wait({sending, gone}, return_when=asyncio.FIRST_COMPLETED)
                if not sending.done():
                    return
                sending.result()
            finally:
                for task in (sending, gone):
                    task.cancel()
                await asyncio.wait({sending, gone})
        await send({"type": "http.response.body", "body": b""})

    async def aclose(self) -> None:
        """Stop following, where the answer is not sent after all."""
        await self._following.aclose()

    # ------------------------------------------------------------------------------------------------

    async def _send(self, send: Any) -> None:
        async with aclosing(self._bytes()) as parts:
            async for part in parts:
                await send({"type": "http.response.body", "body": part, "more_body": True})

    async def _bytes(self) -> AsyncGenerator[bytes, None]:
        coming: asyncio.Future[T] | None = None
        try:
            if self.status == _DONE:
                return
            yield b"retry: %d\n\n" % RETRY_MS
            while True:
                if coming is None:
                    coming = asyncio.ensure_future(anext(self._following))
                # Not by a timeout around `anext`: what cancels a generator ends it.
                await asyncio.wait([coming], timeout=COMMENT_EVERY)
                if not coming.done():
                    yield b":\n\n"
                    continue
                try:
                    value = coming.result()
                except StopAsyncIteration:
                    return
                except GreenroomError as error:
                    log.info("an event stream ended early: %s", error)  # its client comes back
                    return
                coming = None
                json = self._encode(value)
                event_id = self._event_id(json)
                # Only the first can be the one that the client has: each later one is news, also with a hash of before.
                has, self._last = event_id == self._last, None
                if not has:
                    yield b"id: %s\nevent: %s\ndata: %s\n\n" % (event_id.encode(), self._name.encode(), json)
        finally:
            try:
                if coming is not None and not coming.done():
                    await stop(coming)
            finally:
                await self._following.aclose()


async def _disconnected(receive: Any) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
