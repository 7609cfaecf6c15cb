"""Flask: the sessions of a room as `flask.session`, problem documents, answers with validators. Extra `flask`.

app = Flask(__name__)
Greenroom(app, room=room)  # a room of greenroom.sync

`greenroom.integrations.flask_sessions` has the sessions alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any

from greenroom.argument_types import instance
from greenroom.caching import CacheResult
from greenroom.errors import GreenroomError
from greenroom.extras import needs_extra
from greenroom.integrations.conditional import JSON, Visibility, cached_answer
from greenroom.integrations.problems import answer_to, path_of
from greenroom.integrations.wsgi import scope_of
from greenroom.sessions import CookieSettings
from greenroom.sessions.cookie import DEFAULT
from greenroom.sessions.plain_http import AllowHttp
from greenroom.sync.client import Greenroom as Room

with needs_extra("flask", "the integration of Flask"):
    from flask import Flask, Response, request
    from werkzeug.exceptions import InternalServerError

    from greenroom.integrations.flask_sessions import FlaskSession, FlaskSessions

__all__ = ["FlaskSession", "FlaskSessions", "Greenroom", "answer"]

EXTENSION = "greenroom"
"""The name in `app.extensions`."""
_INTERNAL = 500


class Greenroom:
    """The extension: a room for an application; `Greenroom(app, room=room)`, or `init_app` later.

    The room opens itself at the first call in each process, also in those that gunicorn forks, and is closed at the
    end of the process.

    Arguments:
        app: the application; None: call `init_app`.
        room: a room of `greenroom.sync`.
        sessions: whether `flask.session` is the room's; with False Flask's own stays.
        allowed_origins, cookie, allow_http: as of `greenroom.SessionMiddleware`.

    Raises:
        InvalidInput: naming an argument of another type, and for a room without sessions that shall give them.
    """

    def __init__(
        self,
        app: Flask | None = None,
        *,
        room: Room,
        sessions: bool = True,
        allowed_origins: Iterable[str] = (),
        cookie: CookieSettings = DEFAULT,
        allow_http: AllowHttp | bool = False,
    ) -> None:
        self.room = instance("room", room, Room, "give a Greenroom of greenroom.sync")
        self._sessions: FlaskSessions | None = None
        if instance("sessions", sessions, bool, "use True or False"):
            self._sessions = FlaskSessions(room, allowed_origins=allowed_origins, cookie=cookie, allow_http=allow_http)
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Add the room to an application: its sessions, and answers to the library's errors.

        Who handles one of the errors himself, `app.register_error_handler(Overloaded, …)`, goes first.
        """
        instance("app", app, Flask, "give the Flask application")
        app.extensions[EXTENSION] = self
        app.register_error_handler(GreenroomError, _problem)
        if not app.error_handler_spec[None][_INTERNAL]:
            app.register_error_handler(InternalServerError, _internal)
        if self._sessions is not None:
            app.session_interface = self._sessions
            # Before all else that the application does: a page of a foreign origin must not act in the user's name.
            app.before_request_funcs.setdefault(None, []).insert(0, self._sessions.check_origin)


def answer(
    result: CacheResult[Any],
    *,
    body: bytes | None = None,
    media_type: str = JSON,
    max_age: timedelta | None = None,
    visibility: Visibility | None = None,
    vary: Sequence[str] = (),
) -> Response:
    """The answer to a cached read in this request: the stored JSON with ETag, Cache-Control and Cache-Status; 304 where
    the client has it already; 404 where there is nothing.

    The arguments are those of `greenroom.integrations.conditional.cached_answer`.
    """
    made = cached_answer(
        scope_of(request.environ),
        result,
        body=body,
        media_type=media_type,
        max_age=max_age,
        visibility=visibility,
        vary=vary,
    )
    response = Response(status=made.status, headers=dict(made.headers))
    response.response = [made.body]  # given to the constructor it would change the length of an answer to HEAD
    return response


def _internal(error: InternalServerError) -> Response | InternalServerError:
    """What a function of `after_request` has raised comes as this error: that of Flask-Login asks for the session."""
    original = error.original_exception
    return _problem(original) if isinstance(original, GreenroomError) else error


def _problem(error: GreenroomError) -> Response:
    made = answer_to(error)
    return Response(made.body(path_of(scope_of(request.environ))), made.status, made.sent_headers)
