"""Applications under the session middleware as tests open them: served by uvicorn on loopback, or called directly."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import httpx
import uvicorn
from websockets.asyncio.client import ClientConnection, connect

from greenroom.engine import Address, engine_at
from greenroom.engine.limits import Limits as EngineLimits
from greenroom.sessions import SessionLimits, Sessions
from greenroom_platform import definitions
from greenroom_platform.domain import preferences
from greenroom_platform.domain.sessions import STREAMS
from greenroom_platform.models import Session
from tests.support.patience import until
from tests.support.running_service import NO_TLS

HERE = ("127.0.0.1", 50000)
"""A client on this machine."""
Application = Callable[[Any, Any, Any], Awaitable[None]]


@asynccontextmanager
async def sessions_on(
    address: str, limits: SessionLimits | None = None, engine_limits: EngineLimits | None = None
) -> AsyncIterator[Sessions[Session]]:
    """The sessions of one process."""
    engine = engine_at(Address.parse(address), limits=engine_limits)
    new = {"preferences": preferences.DEFAULTS}
    sessions = Sessions(engine, definitions.SESSIONS, limits, new=new, streams=STREAMS)
    await engine.start()
    try:
        yield sessions
    finally:
        await sessions.close()
        await engine.close()


class Quiet(uvicorn.Server):
    """A server that leaves the signals alone."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield  # they are the test run's


class Site:
    """An application that uvicorn serves as `greenroom serve` does, in this event loop."""

    def __init__(self, port: int) -> None:
        self.port = port

    def client(self, **headers: str) -> httpx.AsyncClient:
        """A client that keeps cookies."""
        return httpx.AsyncClient(base_url=f"http://127.0.0.1:{self.port}", headers=headers, timeout=15, verify=NO_TLS)

    def socket(self, path: str, token: str | None = None, **headers: str) -> connect:
        """A WebSocket of the client of this token."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if token is not None:
            sent["Cookie"] = f"greenroom={token}"
        return connect(f"ws://127.0.0.1:{self.port}{path}", additional_headers=sent, proxy=None)


@asynccontextmanager
async def served(app: Application) -> AsyncIterator[Site]:
    """Serve an application while the block runs."""
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    config = uvicorn.Config(
        app, http="httptools", ws="websockets-sansio", log_config=None, access_log=False, timeout_graceful_shutdown=1
    )
    server = Quiet(config)
    serving = asyncio.ensure_future(server.serve([listening]))
    try:
        await until(lambda: server.started or serving.done())
        assert server.started, "it did not start"
        yield Site(listening.getsockname()[1])
    finally:
        server.should_exit = server.force_exit = True
        await serving
        listening.close()


def called(app: Application, *, client: tuple[str, int] = HERE, url: str = "http://127.0.0.1") -> httpx.AsyncClient:
    """A client that calls an application without a server between."""
    return httpx.AsyncClient(transport=httpx.ASGITransport(app, client=client), base_url=url)


def state_of(app: Any) -> Any:
    """The state of the service's framework, within the layers around it."""
    while not hasattr(app, "state"):
        app = app._app
    return app.state


async def closed(opened: ClientConnection) -> int | None:
    """The code that a socket is closed with, once it is."""
    async with asyncio.timeout(20):
        await opened.wait_closed()
    return opened.close_code
