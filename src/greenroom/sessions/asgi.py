"""The middleware for any ASGI framework: it carries out what `decide` says of a request's signals.

app = SessionMiddleware(app, lambda: room.sessions)
...
session = session_of(request.scope)
live = await session.get()
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from contextlib import AsyncExitStack
from typing import Any, Generic, TypeVar

from greenroom.errors import BrokenValue, EngineError
from greenroom.sessions.decide import Kind, Outcome, decide
from greenroom.sessions.refusals import MEDIA_TYPE, ForeignOrigin, Refused, document, refusal
from greenroom.sessions.request import RequestSession
from greenroom.sessions.signals import origins, signals_of
from greenroom.sessions.socket import GuardedSocket, SessionEnded
from greenroom.sessions.store import Sessions
from greenroom.sessions.token import session_id

T = TypeVar("T")

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Any, Any, Any], Awaitable[None]]

KEY = "greenroom.session"
"""Where the scope has the request's session."""
_PRIVATE = [(b"cache-control", b"private, no-store"), (b"vary", b"Cookie, Authorization")]
_REPLACED = b"cache-control"


def session_of(scope: Any) -> RequestSession[Any]:
    """The session of a request or socket, from its ASGI scope."""
    found = scope.get(KEY)
    if not isinstance(found, RequestSession):
        raise RuntimeError("there is no SessionMiddleware around this application")
    return found


class SessionMiddleware(Generic[T]):
    """Gives each request and each socket its session.

    A page of a foreign origin that could act in the user's name (an unsafe method, a socket) is answered with 403
    before the application is asked. Answers that used the session are private, and vary with its token. An open socket
    of a session is closed with 4401 when the session ends, in whichever process.

    Arguments:
        sessions: the sessions, or what returns them: a room is opened later than its application is made.
        allowed_origins: of pages that may act for the user, besides the application's own.
        answer: the body of a problem document for a refusal and the request's scope.
    """

    def __init__(
        self,
        app: Application,
        sessions: Sessions[T] | Callable[[], Sessions[T]],
        *,
        allowed_origins: Iterable[str] = (),
        answer: Callable[[Refused, Any], bytes] = document,
    ) -> None:
        self._app = app
        self._found: Callable[[], Sessions[T]] = (lambda: sessions) if isinstance(sessions, Sessions) else sessions
        self._allowed = origins(allowed_origins)
        self._answer = answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        signals = signals_of(scope, self._allowed)
        session = RequestSession(self._found(), signals)
        if decide(signals) is Outcome.FOREIGN:
            session.sessions.counters.sessions["origin_foreign",] += 1
            refused = refusal(Outcome.FOREIGN, presented=session.presented)
            if signals.kind is Kind.HTTP:
                await self._refuse(scope, send, refused)
            else:  # a server answers a close before the accept with 403
                await send({"type": "websocket.close", "code": refused.close_code, "reason": str(refused)})
            return
        inner = {**scope, KEY: session}
        await (self._request if signals.kind is Kind.HTTP else self._socket)(inner, receive, send, session)

    async def _request(self, scope: Scope, receive: Receive, send: Send, session: RequestSession[T]) -> None:
        begun = False

        async def sending(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                if session.used:
                    message = {**message, "headers": _private(message.get("headers", ()), session.set_cookie)}
            await send(message)

        try:
            await self._app(scope, receive, sending)
        except Refused as refused:
            if begun:
                raise
            await self._refuse(scope, sending, refused)

    async def _socket(self, scope: Scope, receive: Receive, send: Send, session: RequestSession[T]) -> None:
        async with AsyncExitStack() as stack:
            over, active = asyncio.Event(), _nothing
            if decide(session.signals) is Outcome.LOOK_UP:
                # Before the socket is accepted: whatever happens to the session from here on is a push.
                try:
                    named = session_id(session.signals.text)
                    watch = await stack.enter_async_context(session.sessions.watched(named))
                except (EngineError, BrokenValue) as error:
                    session.failed(error)
                else:
                    session.follow(watch)
                    if watch.live is not None:
                        over, active = watch.over, watch.active
            guarded = GuardedSocket(receive, send, over, active)
            watching = asyncio.get_running_loop().create_task(guarded.watch())
            try:
                await self._app(scope, guarded.receive, guarded.send)
            except SessionEnded:
                pass
            except Refused as refused:
                await guarded.close(refused.close_code, str(refused))
            finally:
                watching.cancel()
                await asyncio.wait([watching])
                await guarded.leave()

    async def _refuse(self, scope: Scope, send: Send, refused: Refused) -> None:
        body = self._answer(refused, scope)
        headers = {"content-type": MEDIA_TYPE, "content-length": str(len(body)), **refused.headers}
        raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        if not isinstance(refused, ForeignOrigin):
            raw += _PRIVATE
        await send({"type": "http.response.start", "status": refused.status, "headers": raw})
        await send({"type": "http.response.body", "body": body})


def _private(headers: Iterable[tuple[bytes, bytes]], set_cookie: str | None) -> list[tuple[bytes, bytes]]:
    kept = [(name, value) for name, value in headers if name.lower() != _REPLACED]
    found = [*kept, *(pair for pair in _PRIVATE if pair not in kept)]
    return [*found, (b"set-cookie", set_cookie.encode())] if set_cookie is not None else found


def _nothing() -> None:
    """What a socket without a session does at a message."""
