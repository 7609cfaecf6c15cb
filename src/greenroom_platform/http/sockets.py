"""Around every WebSocket: its request's id, one access line at its end, its count, and HTTP's words for a refusal."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from greenroom.sessions import SignInRequired
from greenroom_platform.http.metrics import UNMATCHED, Metrics
from greenroom_platform.http.problems import KINDS, UNEXPECTED, Problem, as_problem, cut_off, path_as_sent, send_problem
from greenroom_platform.http.security_headers import DATA

log = logging.getLogger("greenroom.access")

Message = MutableMapping[str, Any]

_ABNORMAL = 1006
"""No close was sent or received (RFC 6455, section 7.4.1)."""
_INTERNAL = 1011


class SocketClosed(OSError):
    """The application sends on a socket that it has closed: the ASGI specification's error for that."""


class EnvelopedSocket:
    """The channel between a server and an application. Used once, by `run`."""

    def __init__(
        self,
        scope: Any,
        receive: Callable[[], Awaitable[Message]],
        send: Callable[[Message], Awaitable[None]],
        request_id: str,
    ) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self._request_id = (b"x-request-id", request_id.encode())
        self._accepted = False
        self._code = 0
        self._status = 0
        self._bytes = 0

    async def run(self, app: Any, metrics: Metrics) -> None:
        """Let the application have the socket, to its end."""
        began = time.perf_counter()
        try:
            await app(self._scope, self._received, self._sent)
        except asyncio.CancelledError:
            if not self._accepted and not self._ended:
                await self._answer(cut_off())
            raise
        except Exception as error:
            if isinstance(error, OSError) and self._ended:
                return
            log.error("unexpected error", exc_info=error)
            await self._fail(error)
        finally:
            self._tell(metrics, time.perf_counter() - began)

    @property
    def _ended(self) -> bool:
        return bool(self._code or self._status)

    async def _received(self) -> Message:
        message = await self._receive()
        if message["type"] == "websocket.disconnect" and not self._ended:
            self._code = message.get("code") or _ABNORMAL
        return message

    async def _sent(self, message: Message) -> None:
        match message["type"]:
            case "websocket.accept":
                await self._send(self._with_id(message))
                self._accepted = True
            case "websocket.send":
                if self._code:
                    raise SocketClosed
                await self._send(message)
                self._bytes += len(message.get("bytes") or (message.get("text") or "").encode())
            case "websocket.close" if self._ended:
                pass
            case "websocket.close" if not self._accepted and message.get("code") == SignInRequired.close_code:
                # The session has ended between its look-up and the accept.
                await self._answer(as_problem(SignInRequired(message.get("reason") or "", presented=True)))
            case "websocket.close" if not self._accepted:
                # The framework's only word for whatever it has no handler for, or whose handler failed.
                known = self._scope.get("path_template")
                slug, detail = ("internal-error", UNEXPECTED) if known else ("not-found", KINDS["not-found"][2])
                await self._answer(Problem(slug, detail))
            case "websocket.close":
                self._code = message.get("code") or 1000
                await self._send(message)
            case "websocket.http.response.start":
                self._status = message["status"]
                answer = self._with_id(message)
                await self._send({**answer, "headers": [*answer["headers"], *DATA]})
            case _:
                await self._send(message)

    def _with_id(self, message: Message) -> Message:
        return {**message, "headers": [*message.get("headers", ()), self._request_id]}

    async def _fail(self, error: Exception) -> None:
        if self._accepted:
            await self._sent({"type": "websocket.close", "code": _INTERNAL, "reason": UNEXPECTED})
        elif not self._ended:
            await self._answer(as_problem(error))

    async def _answer(self, problem: Problem) -> None:
        await send_problem(self._scope, self._sent, problem)

    def _tell(self, metrics: Metrics, seconds: float) -> None:
        # The template, never the path: a label must have a bound.
        route = str(self._scope.get("path_template") or UNMATCHED)
        if self._accepted:
            method, status = "WEBSOCKET", self._code or _ABNORMAL
            metrics.socket(route, status, self._bytes)
        else:
            method, status = "GET", self._status
            metrics.request(method, route, status, seconds)
        client = self._scope.get("client") or ("-", 0)
        fields = {
            "method": method,
            "path": path_as_sent(self._scope),
            "status": status,
            "milliseconds": round(seconds * 1000, 3),
            "client": client[0],
            "bytes": self._bytes,
        }
        log.info("%s %s %d %.3f ms %s %d bytes", *fields.values(), extra={"fields": fields})
