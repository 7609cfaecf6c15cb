"""`flask.session` as a session of a room: of two requests that change it at once neither is lost, and one that has
ended stays ended. `app.session_interface = FlaskSessions(room)`. Extra `flask`."""

from __future__ import annotations

import logging
from asyncio import _get_running_loop
from collections.abc import Callable, Coroutine, Iterable, Iterator
from datetime import timedelta
from typing import Any, TypeVar

from greenroom.argument_types import instance
from greenroom.errors import InvalidInput
from greenroom.extras import needs_extra
from greenroom.integrations.wsgi import scope_of
from greenroom.sessions import CookieSettings, RequestSession, SessionSnapshot
from greenroom.sessions.cookie import DEFAULT
from greenroom.sessions.limits import SessionLifetime
from greenroom.sessions.mapping import SessionMapping
from greenroom.sessions.plain_http import AllowHttp, allowed_http
from greenroom.sessions.policy import Decision, Signals, decide, origins, signals_of
from greenroom.sessions.refusals import MEDIA_TYPE, InsecureTransport, Refused, document, refusal
from greenroom.sync.client import Greenroom as Room
from greenroom.sync.daemon_threads import DaemonThreads

with needs_extra("flask", "the sessions of Flask"):
    from flask import Flask, Request, Response, request
    from flask.sessions import SessionInterface, SessionMixin

__all__ = ["FlaskSession", "FlaskSessions"]

log = logging.getLogger("greenroom.flask")

T = TypeVar("T")

_FAILED = 500
_FLASHES = "_flashes"
_PERMANENT = "_permanent"


class FlaskSession(SessionMixin):
    """The session of a request, as `flask.session`: the members of a session, but for the time of its activity.

    It is looked up when it is first asked for; a request that does not ask costs nothing. What was changed, also inside
    of a list or dict, is written when the answer is made, each member for itself. Nothing is written for an answer of
    500 or above. A changed `user_id` is a log-in: the token changes. A `user_id` that is taken out ends the session,
    and another begins with what is left; `clear()` ends it.

    `permanent` counts where a session begins or somebody signs in: it then lives for `PERMANENT_SESSION_LIFETIME`.

    Raises:
        InvalidInput: at an assignment of what cannot be JSON, naming the member.
        Refused: at any access where the session cannot be read, as `greenroom.sessions.RequestSession.get`.
    """

    def __init__(self, room: Room, signals: Signals, cookie: CookieSettings, path: str, permanent: timedelta) -> None:
        self._room = room
        self._signals = signals
        self._cookie = cookie
        self._path = path
        self._lifetime = permanent
        self._opened: tuple[RequestSession[Any], SessionMapping] | None = None
        self.modified = False  # whether something was is found by comparison; packages may set it

    # What Flask has besides a mapping -----------------------------------------------------------------

    @property
    def new(self) -> bool:  # type: ignore[override]
        """Whether no session lives yet."""
        return self.snapshot() is None

    def snapshot(self) -> SessionSnapshot[Any] | None:
        """The session as it was read, with its value, its beginning and its id; None where there is none."""
        session, _ = self._open()
        return self._run(session.get)

    def rotate(self) -> None:
        """Go on under a new token, as after whatever changes what the session may do.

        Raises:
            SignInRequired: where there is no live session.
        """
        session, _ = self._open()
        self._run(lambda: session.rotate({}))

    # The mapping --------------------------------------------------------------------------------------

    def __getitem__(self, name: str) -> Any:
        return self._members[name]

    def __setitem__(self, name: str, value: Any) -> None:
        if name == _FLASHES:  # Flask gives pairs as tuples, and takes lists
            value = [list(pair) for pair in value]
        self._members[name] = value

    def __delitem__(self, name: str) -> None:
        del self._members[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._members)

    def __len__(self) -> int:
        return len(self._members)

    def __repr__(self) -> str:
        return "FlaskSession()"  # nothing of it in a log

    # ------------------------------------------------------------------------------------------------

    def save(self, response: Response) -> InsecureTransport | None:
        """Write what was changed, and give the answer what it needs; returns why no session could be had, if that is
        what somebody must mend."""
        if self._opened is None:
            return None
        session, members = self._opened
        try:
            self._run(lambda: self._save(session, members, written=response.status_code < _FAILED))
        except Refused as refused:
            self._replace(response, refused)
        if session.used:
            response.headers["Cache-Control"] = "private, no-store"
            response.vary.update(("Cookie", "Authorization"))
            if session.set_cookie is not None:
                response.headers.add("Set-Cookie", session.set_cookie)
        return session.refused if isinstance(session.refused, InsecureTransport) else None

    async def _save(self, session: RequestSession[Any], members: SessionMapping, *, written: bool) -> None:
        try:
            if written:
                permanent = members.peek(_PERMANENT) is True
                await members.save(SessionLifetime(self._lifetime, self._lifetime) if permanent else None)
        finally:
            await session.begin_answer()

    def _replace(self, response: Response, refused: Refused) -> None:
        body = document(refused, {"path": self._path})
        response.close()
        response.status_code = refused.status
        for name in ("Content-Encoding", "ETag", "Last-Modified", "Location"):
            response.headers.pop(name, None)
        response.headers["Content-Type"] = MEDIA_TYPE
        response.headers.extend(refused.headers)
        response.set_data(body)

    @property
    def _members(self) -> SessionMapping:
        return self._open()[1]

    def _open(self) -> tuple[RequestSession[Any], SessionMapping]:
        if self._opened is None:
            self._opened = self._run(self._look_up)
        return self._opened

    async def _look_up(self) -> tuple[RequestSession[Any], SessionMapping]:
        session = RequestSession(self._room.room.sessions, self._signals, self._cookie)
        return session, await SessionMapping.of(session)

    def _run(self, make: Callable[[], Coroutine[Any, Any, T]]) -> T:
        if _get_running_loop() is None:
            return self._room.run(lambda _: make())
        # An async view: Flask runs it in a loop of this request alone, which may wait as its thread does.
        return DaemonThreads().submit(self._room.run, lambda _: make()).result()


class FlaskSessions(SessionInterface):
    """Makes `flask.session` of the sessions of a room.

    Arguments:
        room: a room of `greenroom.sync`, which opens itself in each process.
        allowed_origins, cookie, allow_http: as of `greenroom.SessionMiddleware`.

    Raises:
        InvalidInput: naming an argument of another type, for a room without sessions, and for a cookie for all sites
            without `allowed_origins`.
    """

    def __init__(
        self,
        room: Room,
        *,
        allowed_origins: Iterable[str] = (),
        cookie: CookieSettings = DEFAULT,
        allow_http: AllowHttp | bool = False,
    ) -> None:
        self._room = instance("room", room, Room, "give a Greenroom of greenroom.sync")
        if not room.keeps_sessions:
            remedy = "make it with sessions=SessionSettings(…); or Greenroom(app, room=room, sessions=False)"
            raise InvalidInput("room", "keeps no sessions", remedy)
        self._allowed = origins(allowed_origins)
        self._cookie = instance("cookie", cookie, CookieSettings, "give CookieSettings(name='shop')")
        self._allow_http = allowed_http(allow_http)
        if cookie.same_site == "none" and not self._allowed:
            remedy = "list the origins whose pages send it, as allowed_origins=['https://www.example.org']"
            raise InvalidInput("cookie", "goes to the pages of all sites with same_site='none'", remedy)
        self._insecure_logged = False

    def open_session(self, app: Flask, request: Request) -> FlaskSession:
        """The session of a request; asks nobody yet."""
        signals = self._signals(request)
        return FlaskSession(self._room, signals, self._cookie, request.path, app.permanent_session_lifetime)

    def save_session(self, app: Flask, session: SessionMixin, response: Response) -> None:
        """Write what the request has changed; where that is refused, the answer says so in place of the view's."""
        assert isinstance(session, FlaskSession)
        insecure = session.save(response)
        if insecure is not None and not self._insecure_logged:
            self._insecure_logged = True
            log.warning("%s", insecure)

    def check_origin(self) -> None:
        """Refuse a page of a foreign origin that could act in the user's name: an unsafe method.

        Raises:
            ForeignOrigin: which the extension answers with 403.
        """
        if decide(self._signals(request)) is Decision.FOREIGN:
            raise refusal(Decision.FOREIGN, presented=False)

    def _signals(self, request: Request) -> Signals:
        return signals_of(scope_of(request.environ), self._allowed, self._cookie, self._allow_http)
