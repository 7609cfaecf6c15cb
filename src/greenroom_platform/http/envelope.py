"""Around every request: its id, its access line, its metrics, HEAD, its security headers, and a problem document for
what went past all else.

Plain ASGI, outside of the framework, so that what the framework itself refuses is enveloped too.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import MutableMapping
from contextlib import suppress
from typing import Any, Protocol

from greenroom_platform.http.broken_off import AnswerBrokenOff, trouble_of
from greenroom_platform.http.logs import REQUEST_ID, inform
from greenroom_platform.http.metrics import UNMATCHED, Metrics
from greenroom_platform.http.missing_page import is_page_shown
from greenroom_platform.http.problems import as_problem, cut_off, path_as_sent, send_problem
from greenroom_platform.http.request_ids import request_id_of
from greenroom_platform.http.security_headers import PAGE, headers_for
from greenroom_platform.http.sockets import EnvelopedSocket

log = logging.getLogger("greenroom.access")

_LAST_WORD = 1.0
"""Seconds in which a client has to take the answer to a request that is cut off."""


class ASGIApplication(Protocol):
    """Any ASGI application."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Handle one connection, or the lifespan."""


class Envelope:
    """Wraps an ASGI application."""

    def __init__(self, app: ASGIApplication, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        request_id = request_id_of(scope["headers"])
        token = REQUEST_ID.set(request_id)
        if scope["type"] == "websocket":
            try:
                await EnvelopedSocket(scope, receive, send, request_id).run(self._app, self._metrics)
            finally:
                REQUEST_ID.reset(token)
            return
        began = time.perf_counter()
        answered: MutableMapping[str, Any] = {"status": 0}

        async def sending(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                answered["status"] = message["status"]
                # Here, so that whoever answers need not think of it.
                own = (b"x-request-id", request_id.encode())
                policy = PAGE if is_page_shown(inner) else headers_for(scope["path"])
                message["headers"] = [*message["headers"], own, *policy]
            await send(message)

        inner: Any = scope
        if scope["method"] == "HEAD":
            # docs/decisions/0049-head-becomes-get.md
            # Answered as GET; the server leaves the body of an answer to HEAD out by itself. Only GET has ranges.
            headers = [pair for pair in scope["headers"] if pair[0] not in (b"range", b"if-range")]
            inner = {**scope, "method": "GET", "headers": headers, "head": True}
        try:
            await self._app(inner, receive, sending)
        except asyncio.CancelledError:
            if not answered["status"]:
                with suppress(TimeoutError):
                    async with asyncio.timeout(_LAST_WORD):
                        await send_problem(scope, sending, cut_off())
            raise
        except Exception as error:
            if answered["status"]:
                # The server breaks the answer off, so that nobody takes it for whole.
                trouble = trouble_of(error)
                if trouble is None:
                    raise
                log.warning("an answer was broken off: %s", trouble)
                raise AnswerBrokenOff from None
            log.error("unexpected error", exc_info=error)
            await send_problem(scope, sending, as_problem(error))
        finally:
            self._tell(scope, inner, answered["status"], time.perf_counter() - began)
            REQUEST_ID.reset(token)

    def _tell(self, scope: Any, inner: Any, status: int, seconds: float) -> None:
        # The template, never the path: a label must have a bound.
        route = str(inner.get("path_template") or UNMATCHED)
        self._metrics.request(scope["method"], route, status, seconds)
        if not log.isEnabledFor(logging.INFO):
            return
        client = scope.get("client") or ("-", 0)
        fields = {
            "method": scope["method"],
            "path": path_as_sent(scope),
            "status": status,
            "milliseconds": round(seconds * 1000, 3),
            "client": client[0],
        }
        message = f"{fields['method']} {fields['path']} {status} {seconds * 1000:.3f} ms {client[0]}"
        inform(log, message, fields)
