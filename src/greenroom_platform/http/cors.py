"""Cross-origin requests: granted to the allowed origins, and to nobody else (the CORS protocol of the Fetch standard).

Plain ASGI, outside of the framework, so that problem documents can be read across origins too.
"""

from __future__ import annotations

from collections.abc import Iterable, MutableMapping
from typing import Any

from greenroom_platform.http.envelope import ASGIApplication
from greenroom_platform.http.header_descriptions import SENT, SENT_ALWAYS, TAKEN, TAKEN_ALWAYS

# As the API's description has them: a page of another origin is a client like others.
_EXPOSED = ", ".join([SENT_ALWAYS.name, *(header.name for header in SENT.values())]).encode()
_TAKEN = ", ".join(["Authorization", "Content-Type", TAKEN_ALWAYS.name, *(one.name for one in TAKEN.values())]).encode()
_PREFLIGHT = [
    (b"access-control-allow-methods", b"GET, HEAD, POST, PUT, PATCH, DELETE"),
    (b"access-control-allow-headers", _TAKEN),
    (b"access-control-max-age", b"600"),
]
# Sent to everybody: a shared cache must not hand one origin's answer, or a stranger's without a grant, to another.
_VARY = (b"vary", b"Origin")


class Cors:
    """Wraps an ASGI application.

    Arguments:
        origins: the allowed ones, as browsers write them.
    """

    def __init__(self, app: ASGIApplication, origins: Iterable[str]) -> None:
        self._app = app
        self._origins = frozenset(origin.encode() for origin in origins)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        origin = headers.get(b"origin", b"")
        granted = [_VARY]
        if origin in self._origins:
            granted += [(b"access-control-allow-origin", origin), (b"access-control-allow-credentials", b"true")]
            if scope["method"] == "OPTIONS" and b"access-control-request-method" in headers:
                await send({"type": "http.response.start", "status": 204, "headers": [*granted, *_PREFLIGHT]})
                await send({"type": "http.response.body"})
                return
            granted.append((b"access-control-expose-headers", _EXPOSED))

        async def sending(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *granted]
            await send(message)

        await self._app(scope, receive, sending)
