"""An HTTP client of an application in the same process, which sessions work with. Needs httpx.

A session needs HTTPS, or a client on this machine. The test clients of frameworks are neither: they are at
`http://testserver`, and their requests come from `testclient`. This one asks `https://testserver`, from loopback, so
that the cookie is the one of production: `__Host-…`, Secure.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

try:
    import httpx
except ModuleNotFoundError as error:
    if error.name != "httpx":
        raise
    raise ModuleNotFoundError("greenroom.testing.http needs httpx: pip install httpx", name="httpx") from None

BASE_URL = "https://testserver"
"""Where a client asks, unless it is given another address."""
CLIENT = "127.0.0.1", 50000
"""The address that the application sees of it."""
_STARTING = 30.0
"""Seconds that an application's start, or end, may take."""


class Client(httpx.AsyncClient):
    """An `httpx.AsyncClient` that keeps cookies, and opens WebSockets with them.

    Arguments:
        app: the ASGI application.
        headers: of every request.
    """

    def __init__(self, app: Any, *, base_url: str = BASE_URL, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(transport=httpx.ASGITransport(app, client=CLIENT), base_url=base_url, headers=headers)
        self._app = app

    @asynccontextmanager
    async def websocket(self, path: str, *, headers: Mapping[str, str] | None = None) -> AsyncIterator[ClientSocket]:
        """A WebSocket that the application has accepted; it is closed with the block.

        Raises:
            WebSocketRefused: when the application does not accept it.
        """
        request = self.build_request("GET", path, headers=headers)
        socket = ClientSocket(self._app, request)
        try:
            await socket.open()
            yield socket
        finally:
            await socket.close()


class WebSocketRefused(Exception):
    """An application has not accepted a WebSocket.

    Arguments:
        status: of its HTTP answer; 403 where it has only closed.
        body: of that answer.
    """

    def __init__(self, status: int, body: bytes) -> None:
        super().__init__(f"the WebSocket was refused with {status}: {body.decode(errors='replace')[:500]}")
        self.status = status
        self.body = body


class WebSocketClosed(Exception):
    """An application has closed its WebSocket; `code` says why: 4401 when its session is over."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"the WebSocket was closed with {code}: {reason}")
        self.code = code


class ClientSocket:
    """The client's side of a WebSocket; made by `Client.websocket`."""

    def __init__(self, app: Any, request: httpx.Request) -> None:
        self._app = app
        self._to_app: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._from_app: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._scope = _scope(request)
        self._task: asyncio.Task[None] | None = None
        self.close_code: int | None = None
        """The code that the application has closed with; None while it has not."""

    async def open(self) -> None:
        """Connect; see `Client.websocket`."""
        self._task = asyncio.get_running_loop().create_task(self._run())
        await self._to_app.put({"type": "websocket.connect"})
        message = await self._next()
        if message["type"] == "websocket.accept":
            return
        if message["type"] == "websocket.close":
            raise WebSocketRefused(403, b"")
        status, body = message["status"], b""
        while True:
            part = await self._next()
            body += part.get("body", b"")
            if not part.get("more_body"):
                raise WebSocketRefused(status, body)

    async def send(self, data: str | bytes) -> None:
        """Send a message: text, or bytes."""
        kind = "text" if isinstance(data, str) else "bytes"
        await self._to_app.put({"type": "websocket.receive", kind: data})

    async def receive(self) -> str | bytes:
        """The application's next message.

        Raises:
            WebSocketClosed: when it has closed instead, and every time after that.
        """
        if self.close_code is not None:
            raise WebSocketClosed(self.close_code, "")
        message = await self._next()
        if message["type"] == "websocket.close":
            self.close_code = message.get("code", 1000)
            raise WebSocketClosed(self.close_code, message.get("reason") or "")
        text: str | None = message.get("text")
        return text if text is not None else bytes(message["bytes"])

    async def wait_closed(self) -> int:
        """The code that the application closes with; messages before that are passed over."""
        while True:
            try:
                await self.receive()
            except WebSocketClosed as closed:
                return closed.code

    async def close(self, code: int = 1000) -> None:
        """Close, and return when the application has ended."""
        task = self._task
        if task is None:
            return
        if not task.done():
            await self._to_app.put({"type": "websocket.disconnect", "code": code, "reason": ""})
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_STARTING):
                    await asyncio.wait([task])
        task.cancel()
        await asyncio.wait([task])

    async def _run(self) -> None:
        await self._app(self._scope, self._to_app.get, self._from_app.put)

    async def _next(self) -> dict[str, Any]:
        assert self._task is not None
        coming = asyncio.ensure_future(self._from_app.get())
        await asyncio.wait({coming, self._task}, return_when=asyncio.FIRST_COMPLETED)
        if coming.done():
            return coming.result()
        coming.cancel()
        self._task.result()  # raises what the application has ended by
        raise WebSocketClosed(1006, "the application has ended without closing")


@asynccontextmanager
async def http_client(
    app: Any, *, base_url: str = BASE_URL, headers: Mapping[str, str] | None = None
) -> AsyncIterator[Client]:
    """A client of an ASGI application, whose lifespan runs while the block does.

    Arguments:
        app: of any framework, in its `SessionMiddleware`.
        base_url: another scheme or host, to test what they are refused for.
        headers: of every request.

    Raises:
        RuntimeError: when the application's start fails, with its words.
    """
    async with _lifespan(app) as state:

        async def with_state(scope: Any, receive: Any, send: Any) -> None:
            # As a server does: what the lifespan has put there is in every request, in a copy for each.
            scope["state"] = state.copy()
            await app(scope, receive, send)

        async with Client(with_state, base_url=base_url, headers=headers) as client:
            yield client


@asynccontextmanager
async def _lifespan(app: Any) -> AsyncIterator[dict[str, Any]]:
    to_app: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    from_app: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    state: dict[str, Any] = {}
    scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": state}
    # One task from start to end: what the application opens in its lifespan it closes in the same task.
    task = asyncio.get_running_loop().create_task(app(scope, to_app.get, from_app.put))

    async def step(name: str) -> None:
        await to_app.put({"type": f"lifespan.{name}"})
        coming = asyncio.ensure_future(from_app.get())
        await asyncio.wait({coming, task}, timeout=_STARTING, return_when=asyncio.FIRST_COMPLETED)
        if not coming.done():
            coming.cancel()
            if not task.done():
                raise TimeoutError(f"the application's {name} takes more than {_STARTING} s")
            return  # the application knows no lifespan, and has said so by an error
        message = coming.result()
        if message["type"].endswith(".failed"):
            raise RuntimeError(f"the application's {name} has failed: {message.get('message', '')}")

    try:
        await step("startup")
        yield state
        if not task.done():
            await step("shutdown")
    finally:
        if not task.done():
            await asyncio.wait([task], timeout=_STARTING)
        task.cancel()
        await asyncio.wait([task])
        if not task.cancelled():
            task.exception()  # looked at: an application without a lifespan ends by one


def _scope(request: httpx.Request) -> dict[str, Any]:
    url = urlsplit(str(request.url))
    headers = [(name.lower(), value) for name, value in request.headers.raw]
    return {
        "type": "websocket",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "scheme": "wss" if url.scheme == "https" else "ws",
        "path": request.url.path,
        "raw_path": request.url.raw_path.partition(b"?")[0],
        "query_string": request.url.query,
        "root_path": "",
        "headers": headers,
        "subprotocols": [],
        "client": CLIENT,
        "server": (request.url.host, request.url.port or (443 if url.scheme == "https" else 80)),
        "extensions": {"websocket.http.response": {}},
    }
