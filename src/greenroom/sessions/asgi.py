"""The middleware for any ASGI framework: it carries out what `decide` says of a request's signals.

app = SessionMiddleware(app, room)
...
session = session_of(request.scope)
live = await session.get()
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from contextlib import AsyncExitStack, suppress
from typing import Any, Generic, Protocol, TypeVar

from greenroom.argument_types import function, instance
from greenroom.callbacks import nothing
from greenroom.errors import BrokenValue, EngineError, InvalidInput
from greenroom.sessions.cookie import DEFAULT, CookieSettings
from greenroom.sessions.mapping import SessionMapping
from greenroom.sessions.plain_http import AllowHttp, allowed_http
from greenroom.sessions.policy import Decision, Kind, Transport, decide, origins, signals_of
from greenroom.sessions.refusals import (
    MEDIA_TYPE,
    ForeignOrigin,
    InsecureTransport,
    Refused,
    RequestCancelled,
    RequestFailed,
    document,
    refusal,
)
from greenroom.sessions.request import RequestSession
from greenroom.sessions.sessions import Sessions
from greenroom.sessions.token import session_id
from greenroom.sessions.websocket import GuardedSocket, SessionEnded

log = logging.getLogger("greenroom.sessions")

T = TypeVar("T")

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Any, Any, Any], Awaitable[None]]

KEY = "greenroom.session"
"""Where the scope has the request's session."""
MAPPING = "session"
"""Where it has the mapping that packages of Starlette and Litestar expect."""
_PRIVATE = [(b"cache-control", b"private, no-store"), (b"vary", b"Cookie, Authorization")]
_REPLACED = b"cache-control"
_SESSIONS = "give a room, its sessions, or a function that returns either: lambda: app.state.room"
_LAST_WORD = 1.0
"""Seconds in which a client has to take the answer to a request that has failed."""
_FAILED = 500
_FAILED_SOCKET = 4500
"""What frameworks answer, and Litestar closes with, that turn every exception into an answer themselves."""


class HasSessions(Protocol[T]):
    """A room: its sessions are there once it is open."""

    @property
    def sessions(self) -> Sessions[T]:
        """See `Greenroom.sessions`."""


def session_of(scope: Any) -> RequestSession[Any]:
    """The session of a request or socket, from its ASGI scope.

    Raises:
        InvalidInput: for what is no scope.
        RuntimeError: when there is no middleware around the application.
    """
    instance("scope", scope, Mapping, "give the ASGI scope, as request.scope")
    session = scope.get(KEY)
    if not isinstance(session, RequestSession):
        raise RuntimeError("there is no SessionMiddleware around this application")
    return session


class SessionMiddleware(Generic[T]):
    """Gives each request and each socket its session.

    A page of a foreign origin that could act in the user's name (an unsafe method, a socket) is answered with 403
    before the application is asked. Answers that used the session are private, and vary with its token. An open socket
    of a session is closed with 4401 when the session ends, in whichever process. A `Refused` that the application does
    not answer is answered here, also where the framework has made a 500 of it. So is, before it is raised further, any
    other failure of an application that has made a new token: only this answer carries the cookie.

    Arguments:
        sessions: a room, which may be opened later; its sessions; or a function that returns either.
        allowed_origins: of pages that may act for the user, besides the application's own.
        cookie: what the cookie is called, and when browsers send it.
        allow_http: where sessions work over plain HTTP: "loopback", by default; "localhost", also for a container whose
            clients ask for localhost and come from its bridge; or True for anywhere, where whoever listens on the way
            can take over sessions.
        session_mapping: whether `scope["session"]`, as `request.session` of Starlette and Litestar, is a mapping of the
            session's members, for packages that use it; see `SessionMapping`. Each request with a token then costs a
            look-up.
        answer: the body of a problem document for a refusal and the request's scope.

    Raises:
        InvalidInput: naming an argument of another type, and for a cookie for all sites without `allowed_origins`.
    """

    def __init__(
        self,
        app: Application,
        sessions: HasSessions[T] | Sessions[T] | Callable[[], HasSessions[T] | Sessions[T]],
        *,
        allowed_origins: Iterable[str] = (),
        cookie: CookieSettings = DEFAULT,
        allow_http: AllowHttp | bool = False,
        session_mapping: bool = False,
        answer: Callable[[Refused, Any], bytes] = document,
    ) -> None:
        self._app = function("app", app, "give the ASGI application")
        if isinstance(sessions, type):
            raise InvalidInput("sessions", f"is the class {sessions.__name__}", _SESSIONS)
        if not isinstance(sessions, Sessions) and not _is_room(sessions):
            function("sessions", sessions, _SESSIONS)
        self._given: Any = sessions
        self._allowed = origins(allowed_origins)
        self._cookie = instance("cookie", cookie, CookieSettings, "give CookieSettings(name='shop')")
        self._allow_http = allowed_http(allow_http)
        self._maps = instance("session_mapping", session_mapping, bool, "use True or False")
        if cookie.same_site == "none" and not self._allowed:
            remedy = "list the origins whose pages send it, as allowed_origins=['https://www.example.org']"
            raise InvalidInput("cookie", "goes to the pages of all sites with same_site='none'", remedy)
        if cookie.domain is not None:
            log.warning("every subdomain of %s can plant the session's cookie: it goes without __Host-", cookie.domain)
        if self._allow_http == "anywhere":
            log.warning("sessions are allowed over plain HTTP from anywhere: anyone on the network path can steal them")
        self._answer = function("answer", answer, "give a function that returns the body")
        self._loopback_logged = False
        self._insecure_logged = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        signals = signals_of(scope, self._allowed, self._cookie, self._allow_http)
        session = RequestSession(self._sessions(), signals, self._cookie)
        if session.foreign:
            session.sessions.counters.sessions["origin_foreign",] += 1
            await self._refuse(scope, send, refusal(Decision.FOREIGN, presented=session.presented))
            return
        # Into the scope itself: what the framework leaves there for the layers around this one must reach them.
        scope[KEY] = session
        await (self._request if signals.kind is Kind.HTTP else self._socket)(scope, receive, send, session)

    def _sessions(self) -> Sessions[T]:
        """The sessions, of an open room."""
        given = self._given
        if not isinstance(given, Sessions) and not _is_room(given):
            given = given()
        if _is_room(given):
            given = given.sessions
        return instance("sessions", given, Sessions, _SESSIONS)

    async def _request(self, scope: Scope, receive: Receive, send: Send, session: RequestSession[T]) -> None:
        begun = replaced = False
        mapping = await SessionMapping.of(session) if self._maps else None
        if mapping is not None:
            scope[MAPPING] = mapping

        async def sending(message: Message) -> None:
            nonlocal begun, replaced
            if replaced:
                return
            if message["type"] == "http.response.start":
                refused = None
                if mapping is not None and message["status"] < _FAILED:
                    try:
                        await mapping.save()
                    except Refused as error:
                        refused = error
                await session.begin_answer()
                begun = True
                if refused is not None:
                    replaced = True
                    await self._refuse(scope, send, refused, session)
                    return
                if message["status"] == _FAILED and session.refused is not None and _is_of_a_refusal():
                    replaced = True
                    await self._refuse(scope, send, session.refused, session)
                    return
                if session.used:
                    message = {**message, "headers": self._private(message.get("headers", ()), session)}
            await send(message)

        try:
            await self._app(scope, receive, sending)
            if not begun:  # it has left without an answer, and the server gives one
                await self._hand_over(scope, send, RequestFailed(), session)
        except Refused as refused:
            if replaced:
                return
            if begun:
                raise
            await session.begin_answer()
            await self._refuse(scope, send, refused, session)
        except Exception:
            if not begun:
                await self._hand_over(scope, send, RequestFailed(), session)
            raise
        except asyncio.CancelledError:
            if not begun:
                await self._hand_over(scope, send, RequestCancelled(), session)
            raise
        finally:
            if isinstance(session.refused, InsecureTransport) and not self._insecure_logged:
                self._insecure_logged = True
                log.warning("%s", session.refused)

    # docs/decisions/0078-a-failure-carries-the-new-cookie.md
    async def _hand_over(self, scope: Scope, send: Send, failed: RequestFailed, session: RequestSession[T]) -> None:
        """Answer a request that has failed, where its client needs the cookie; whoever else answers has none.

        Prevents: an application rotates a session · it fails · the layer around it answers with 500, and the client
        goes on with a token that is over.
        """
        with suppress(TimeoutError, OSError):  # the client is slow, or gone
            async with asyncio.timeout(_LAST_WORD):
                await session.begin_answer()
                if session.set_cookie is not None:
                    await self._refuse(scope, send, failed, session)

    async def _socket(self, scope: Scope, receive: Receive, send: Send, session: RequestSession[T]) -> None:
        async with AsyncExitStack() as stack:
            over = asyncio.Event()
            active: Callable[[], None] = nothing
            if decide(session.signals) is Decision.LOOK_UP:
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
            if self._maps:
                scope[MAPPING] = await SessionMapping.of(session)
            guarded = GuardedSocket(receive, send, over, active)

            async def sending(message: Message) -> None:
                failed = message["type"] == "websocket.close" and message.get("code") == _FAILED_SOCKET
                if failed and session.refused is not None and _is_of_a_refusal():
                    await self._refuse_socket(scope, guarded, session.refused)
                else:
                    await guarded.send(message)

            watching = asyncio.get_running_loop().create_task(guarded.watch())
            try:
                await self._app(scope, guarded.receive, sending)
            except SessionEnded:
                pass
            except Refused as refused:
                await self._refuse_socket(scope, guarded, refused)
            finally:
                watching.cancel()
                await asyncio.wait([watching])
                await guarded.leave()

    async def _refuse_socket(self, scope: Scope, guarded: GuardedSocket, refused: Refused) -> None:
        if guarded.accepted:
            await guarded.close(refused.close_code, str(refused))
        elif guarded.open:
            with suppress(OSError):  # the client was faster, or the session's end
                await self._refuse(scope, guarded.send, refused)

    async def _refuse(
        self, scope: Scope, send: Send, refused: Refused, session: RequestSession[T] | None = None
    ) -> None:
        kind = scope["type"]
        if kind == "websocket":
            if "websocket.http.response" not in (scope.get("extensions") or {}):
                # Before the accept a server answers it with 403.
                await send({"type": "websocket.close", "code": refused.close_code, "reason": str(refused)})
                return
            kind = "websocket.http"
        body = self._answer(refused, scope)
        headers = {"content-type": MEDIA_TYPE, "content-length": str(len(body)), **refused.headers}
        raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        if not isinstance(refused, ForeignOrigin):
            raw = self._private(raw, session)
        await send({"type": f"{kind}.response.start", "status": refused.status, "headers": raw})
        await send({"type": f"{kind}.response.body", "body": body})

    def _private(
        self, headers: Iterable[tuple[bytes, bytes]], session: RequestSession[T] | None
    ) -> list[tuple[bytes, bytes]]:
        kept = [(name, value) for name, value in headers if name.lower() != _REPLACED]
        kept += (pair for pair in _PRIVATE if pair not in kept)
        if session is not None and session.set_cookie is not None:
            kept.append((b"set-cookie", session.set_cookie.encode()))
            if session.signals.transport is Transport.LOOPBACK and not self._loopback_logged:
                self._loopback_logged = True
                where = " on loopback" if self._allow_http == "loopback" else ""
                log.warning("plain HTTP%s: the session's cookie goes without its prefix and Secure", where)
        return kept


def _is_room(given: Any) -> bool:
    # By its class: the property of a room that is not open yet raises.
    return hasattr(type(given), "sessions")


def _is_of_a_refusal() -> bool:
    """Whether the framework's failure that is being sent comes of a refusal, which the application has let through.

    A framework sends it while it handles the exception. One that does not leaves open of what it comes.
    """
    error = sys.exception()
    if error is None:
        return True
    while error is not None and not isinstance(error, Refused):
        error = error.__cause__ or error.__context__
    return error is not None
