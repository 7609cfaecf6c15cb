"""FastAPI: the room in the lifespan, dependencies, answers with validators, errors, progress. Extra `fastapi`.

app = FastAPI(lifespan=lifespan(room))
add_error_handlers(app)
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from datetime import timedelta
from typing import Annotated, Any, ParamSpec, TypeVar, get_type_hints

from greenroom.argument_types import function, instance
from greenroom.cached import CachedFunction
from greenroom.caching import CacheResult
from greenroom.client import Greenroom
from greenroom.errors import GreenroomError
from greenroom.extras import needs_extra
from greenroom.integrations.conditional import JSON, Visibility, cached_answer
from greenroom.integrations.problems import NO_SUCH_JOB, ErrorAnswer, answer_to, path_of
from greenroom.progress import ProgressEvents
from greenroom.progress.jobs import Jobs
from greenroom.sessions import Refused, RequestSession, session_of

with needs_extra("fastapi", "the integration of FastAPI"):
    from fastapi import Depends, FastAPI, Request, Response
    from fastapi.requests import HTTPConnection
    from fastapi.websockets import WebSocket, WebSocketState

__all__ = [
    "CurrentRoom",
    "CurrentSession",
    "add_error_handlers",
    "answer",
    "current_room",
    "current_session",
    "follow",
    "lifespan",
    "result_of",
]

P = ParamSpec("P")
T = TypeVar("T")

_RESULT = "_greenroom_result"
"""Where a cached function keeps its dependency."""

Lifespan = Callable[[Any], AbstractAsyncContextManager[Mapping[str, Any] | None]]

STATE = "greenroom"
"""The name of the room in the state of the application, and of each request."""


def lifespan(
    room: Greenroom | Callable[[], Greenroom], own: Lifespan | Callable[[Any], Any] | None = None
) -> Callable[[Any], AbstractAsyncContextManager[Mapping[str, Any]]]:
    """A lifespan that opens a room: `FastAPI(lifespan=lifespan(room))`; it is then `app.state.greenroom` too.

    Arguments:
        room: the room, or what makes it when the application starts.
        own: the application's own lifespan, which runs while the room is open; the state that it yields is kept. As
            `lambda app: outbox` it opens an outbox there.

    Raises:
        InvalidInput: naming an argument of another type.
    """
    if not isinstance(room, Greenroom):
        function("room", room, "give a Greenroom, or a function that makes one")
    if own is not None:
        function("own", own, "give the application's lifespan, a function that returns an async context manager")

    @asynccontextmanager
    async def opened(app: Any) -> AsyncIterator[Mapping[str, Any]]:
        made = room if isinstance(room, Greenroom) else instance("room", room(), Greenroom, "return a Greenroom")
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(made)
            # For what is made before any request, as a middleware: `lambda: app.state.greenroom`.
            setattr(app.state, STATE, made)
            state = None if own is None else await stack.enter_async_context(own(app))
            yield {STATE: made, **(state if isinstance(state, Mapping) else {})}

    return opened


async def current_room(connection: HTTPConnection) -> Greenroom:
    """The room of the application, as a dependency; see `CurrentRoom`.

    Raises:
        RuntimeError: when the application's lifespan is not `lifespan(room)`, or has not run, as under a test client
            outside of its `with` block.
    """
    room = connection.scope.get("state", {}).get(STATE)
    if not isinstance(room, Greenroom):
        raise RuntimeError("there is no room: make the application with lifespan=lifespan(room), and run its lifespan")
    return room


async def current_session(connection: HTTPConnection) -> RequestSession[Any]:
    """The session of a request or WebSocket, as a dependency; see `CurrentSession`.

    Raises:
        RuntimeError: where there is no `SessionMiddleware` around the application.
    """
    return session_of(connection.scope)


CurrentRoom = Annotated[Greenroom, Depends(current_room)]
"""The application's room, as the type of a parameter."""
CurrentSession = Annotated[RequestSession[Any], Depends(current_session)]
"""The session of the request, as the type of a parameter. With a type of one's own:
`Annotated[RequestSession[Visitor], Depends(current_session)]`."""


def result_of(cached: CachedFunction[P, T]) -> Callable[P, Awaitable[CacheResult[T]]]:
    """A dependency that reads a cached function, for `answer`; its parameters are the function's.

    `Annotated[CacheResult[Product], Depends(result_of(product))]`. The function itself is one that gives the value.
    It is the same one each time: FastAPI calls it once a request, and `dependency_overrides[result_of(product)]` works.

    Raises:
        InvalidInput: for what `@room.cached` has not made.
    """
    instance("cached", cached, CachedFunction, "give a function that is decorated with @room.cached")

    async def result(*args: P.args, **parts: P.kwargs) -> CacheResult[T]:
        return await cached.get_result(*args, **parts)

    load: Any = cached.load
    # Types that are written as text mean what they mean where the loader is; FastAPI would look for them here.
    hints = get_type_hints(load if inspect.isroutine(load) else type(load).__call__, include_extras=True)
    signature = inspect.signature(load)
    parameters = [one.replace(annotation=hints.get(one.name, one.annotation)) for one in signature.parameters.values()]
    result.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=parameters, return_annotation=CacheResult
    )
    result.__name__ = result.__qualname__ = cached.__name__
    made: Callable[P, Awaitable[CacheResult[T]]] = vars(cached).setdefault(_RESULT, result)
    return made


def answer(
    request: Request,
    result: CacheResult[Any],
    *,
    body: bytes | None = None,
    media_type: str = JSON,
    max_age: timedelta | None = None,
    visibility: Visibility | None = None,
    vary: Sequence[str] = (),
) -> Response:
    """The answer to a cached read: the stored JSON with ETag, Cache-Control and Cache-Status; 304 where the client has
    it already; 404 where there is nothing.

    The arguments are those of `greenroom.integrations.conditional.cached_answer`.
    """
    made = cached_answer(
        request.scope, result, body=body, media_type=media_type, max_age=max_age, visibility=visibility, vary=vary
    )
    return Response(made.body, made.status, dict(made.headers))


async def follow(request: Request, jobs: Jobs[Any], job_id: object, *, event: str = "status") -> Response:
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


def add_error_handlers(app: FastAPI) -> None:
    """Answer the library's errors by problem documents (RFC 9457): 422 for a value that makes no key, 503 with
    `Retry-After` for what passes by itself, on requests and WebSockets alike.

    Who handles one of them himself, `app.exception_handler(Overloaded)`, is asked first. Those of a session are left to
    its middleware.
    """
    instance("app", app, FastAPI, "give the FastAPI application")
    handler: Any = _answer_error  # of requests and of WebSockets, which Starlette's type has apart
    app.add_exception_handler(GreenroomError, handler)


async def _answer_error(connection: HTTPConnection, error: Exception) -> Response | None:
    assert isinstance(error, GreenroomError)
    if isinstance(error, Refused):
        raise error
    made = answer_to(error)
    response = _problem(connection, made)
    if not isinstance(connection, WebSocket):
        return response
    connecting = connection.application_state is WebSocketState.CONNECTING
    if connecting and "websocket.http.response" in connection.scope.get("extensions", {}):
        await connection.send_denial_response(response)
    elif connection.application_state is not WebSocketState.DISCONNECTED:
        await connection.close(made.close_code, made.title)
    return None


def _problem(connection: HTTPConnection, made: ErrorAnswer) -> Response:
    return Response(made.body(path_of(connection.scope)), made.status, made.sent_headers)


class _Events(Response):
    """An event stream that is an application already."""

    def __init__(self, events: ProgressEvents[Any]) -> None:
        super().__init__(status_code=events.status, media_type=events.media_type)
        self._events = events

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self._events(scope, receive, send)
        if self.background is not None:
            await self.background()
