"""`OPTIONS *`, which asks about the server as a whole and about no resource of it (RFC 9110, 9.3.7)."""

from __future__ import annotations

from typing import Any

from greenroom_platform.http.envelope import ASGIApplication
from greenroom_platform.http.request_target import SERVER

_PATH = SERVER.decode()


class ServerOptions:
    """Wraps an ASGI application. The answer names no methods: they differ from path to path."""

    def __init__(self, app: ASGIApplication) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and scope["path"] == _PATH:
            await send({"type": "http.response.start", "status": 204, "headers": []})
            await send({"type": "http.response.body", "body": b""})
        else:
            await self._app(scope, receive, send)
