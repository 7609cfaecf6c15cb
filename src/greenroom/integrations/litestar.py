"""Litestar: a plugin that opens the room, answers with validators, errors, progress. Extra `litestar`.

app = Litestar([...], plugins=[GreenroomPlugin(room)])

`greenroom.integrations.litestar_store` has a store for what Litestar keeps itself.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any, TypeVar

from greenroom.argument_types import instance
from greenroom.caching import CacheResult
from greenroom.client import Greenroom
from greenroom.errors import GreenroomError, InvalidInput
from greenroom.extras import needs_extra
from greenroom.integrations.conditional import JSON, CachedAnswer, Visibility, cached_answer
from greenroom.integrations.problems import NO_SUCH_JOB, ErrorAnswer, answer_to, path_of
from greenroom.progress import ProgressEvents
from greenroom.progress.jobs import Jobs
from greenroom.sessions import Refused, RequestSession, session_of

with needs_extra("litestar", "the integration of Litestar"):
    from litestar import Request, Response
    from litestar.config.app import AppConfig
    from litestar.connection import ASGIConnection
    from litestar.di import Provide
    from litestar.plugins import InitPlugin
    from litestar.response.base import ASGIResponse

__all__ = ["GreenroomPlugin", "answer", "follow"]

T = TypeVar("T")


class GreenroomPlugin(InitPlugin):
    """Opens a room with the application, and gives handlers what they need of it.

    The room is open before the application's own lifespans begin, and until they have ended. Handlers may have the
    parameters `room: NamedDependency[Greenroom]` and, inside of `SessionMiddleware`,
    `session: NamedDependency[RequestSession[…]]`. Requests that meet an error of the library are answered by problem
    documents (RFC 9457): 422 for a value that makes no key, 503 with `Retry-After` for what passes by itself.
    Dependencies and exception handlers of the application's own go first.

    Arguments:
        room: opened in each start of the application.
        room_key: the name of the dependency.
        session_key: likewise.

    Raises:
        InvalidInput: naming an argument of another type.
    """

    __slots__ = ("_names", "_room")

    def __init__(self, room: Greenroom, *, room_key: str = "room", session_key: str = "session") -> None:
        self._room = instance("room", room, Greenroom, "give a Greenroom")
        for field, name in (("room_key", room_key), ("session_key", session_key)):
            if not isinstance(name, str) or not name.isidentifier():
                raise InvalidInput(field, f"is {name!r:.80}", "give the name of a parameter")
        self._names = room_key, session_key

    def on_app_init(self, app_config: AppConfig) -> AppConfig:
        """What Litestar calls."""
        room_key, session_key = self._names
        app_config.lifespan = [self._room, *app_config.lifespan]
        app_config.dependencies = {
            room_key: Provide(self._provide_room),
            session_key: Provide(_provide_session),
            **app_config.dependencies,
        }
        handlers: dict[Any, Any] = {GreenroomError: _answer_error}
        app_config.exception_handlers = {**handlers, **app_config.exception_handlers}
        app_config.signature_namespace = {
            "Greenroom": Greenroom,
            "RequestSession": RequestSession,
            **app_config.signature_namespace,
        }
        return app_config

    async def _provide_room(self) -> Greenroom:
        return self._room


async def _provide_session(request: ASGIConnection[Any, Any, Any, Any]) -> RequestSession[Any]:
    return session_of(request.scope)


def answer(
    request: Request[Any, Any, Any],
    result: CacheResult[T],
    *,
    body: bytes | None = None,
    media_type: str = JSON,
    max_age: timedelta | None = None,
    visibility: Visibility | None = None,
    vary: Sequence[str] = (),
) -> Response[T]:
    """The answer to a cached read: the stored JSON with ETag, Cache-Control and Cache-Status; 304 where the client has
    it already; 404 where there is nothing.

    The arguments are those of `greenroom.integrations.conditional.cached_answer`.
    """
    made = cached_answer(
        request.scope, result, body=body, media_type=media_type, max_age=max_age, visibility=visibility, vary=vary
    )
    return _Ready(made)


async def follow(
    request: Request[Any, Any, Any], jobs: Jobs[Any], job_id: object, *, event: str = "status"
) -> Response[Any]:
    """The progress of a job as server-sent events; 404 where there is no such job.

    A client that comes back with `Last-Event-ID`, also to another process, gets what it has not; after the last status
    204, which ends its attempts.

    Arguments:
        event: the name of the events.

    Raises:
        As `Jobs.sse`.
    """
    events = await jobs.sse(job_id, last_event_id=request.headers.get("last-event-id"), event=event)
    if events is None:
        return _problem(request, NO_SUCH_JOB)
    return _Events(events)


def _answer_error(request: Request[Any, Any, Any], error: GreenroomError) -> Response[Any]:
    if isinstance(error, Refused):
        raise error  # for the session middleware, which answers it with what it was told to
    return _problem(request, answer_to(error))


def _problem(request: Request[Any, Any, Any], made: ErrorAnswer) -> Response[Any]:
    body = made.body(path_of(request.scope))
    headers = {**made.sent_headers, "Content-Length": str(len(body))}
    return _Ready(CachedAnswer(made.status, headers, b"" if request.method == "HEAD" else body))


class _Ready(Response[Any]):
    """Bytes and headers that are ready to be sent; the framework would encode them once more."""

    def __init__(self, made: CachedAnswer) -> None:
        super().__init__(None, status_code=made.status, headers=dict(made.headers))
        self._made = made

    def to_asgi_response(
        self,
        app: Any,
        request: Request[Any, Any, Any],
        *,
        cookies: Iterable[Any] | None = None,
        headers: Mapping[str, str] | None = None,
        background: Any = None,
        **_: Any,
    ) -> ASGIResponse:
        """The application that sends it, with the headers and cookies that are declared around the handler."""
        return ASGIResponse(
            background=self.background or background,
            body=self._made.body,
            cookies=itertools.chain(self.cookies, cookies or ()),
            headers={**(headers or {}), **self.headers},
            is_head_response=request.method == "HEAD",
            status_code=self._made.status,
        )


class _Events(Response[Any]):
    """An event stream that is an application already."""

    def __init__(self, events: ProgressEvents[Any]) -> None:
        super().__init__(None, status_code=events.status)
        self._events = events

    def to_asgi_response(self, *_: Any, **__: Any) -> Any:
        """The application that sends it."""
        return self._events
