"""An application whose sockets listen to podcasts, in this process or in one of its own that can be killed."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from greenroom.sessions import Presence, SessionGone, SessionLimits, SessionMiddleware, Sessions, Stream, session_of
from greenroom_platform.models import Session
from tests.support.asgi_server import served, sessions_on
from tests.support.forked_programs import Forked, start_module


class Listening:
    """`/PODCAST` is its stream; what the client sends comes back once the stream counts as open."""

    def __init__(self, sessions: Sessions[Session]) -> None:
        self._presence = Presence(sessions)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "websocket":
            return
        live = await session_of(scope).get()
        try:
            stream = await self._presence.open(scope["path"].strip("/"), None if live is None else live.session_id)
        except SessionGone:
            await send({"type": "websocket.close"})
            return
        renewing = asyncio.ensure_future(self._renew(stream))
        try:
            await send({"type": "websocket.accept"})
            while (message := await receive())["type"] != "websocket.disconnect":
                if message["type"] == "websocket.receive":
                    await send({"type": "websocket.send", "text": message["text"]})
        finally:
            renewing.cancel()
            await self._presence.close(stream)

    async def _renew(self, stream: Stream) -> None:
        while await self._presence.renew(stream):
            await asyncio.sleep(self._presence.interval)


@contextmanager
def process(address: str, stream: float) -> Iterator[tuple[Forked, int]]:
    """A process that serves it, and its port; a stream lapses after so many seconds."""
    started = start_module("tests.support.listening_app", address, stream)
    assert started.stdout is not None
    try:
        yield started, int(started.stdout.readline())
    finally:
        started.end()


async def _main(address: str, stream: str) -> None:
    limits = SessionLimits(stream=timedelta(seconds=float(stream)))
    async with (
        sessions_on(address, limits) as sessions,
        served(SessionMiddleware(Listening(sessions), sessions)) as site,
    ):
        sys.stdout.write(f"{site.port}\n")
        sys.stdout.flush()
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:]))
