"""The application: routes, errors and limits around one room."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import cast

from litestar import Litestar
from litestar.datastructures import State
from litestar.exceptions import ValidationException
from litestar.routes import HTTPRoute, WebSocketRoute

from greenroom.counters import Counters
from greenroom.detached import stop
from greenroom.engine.factory import EMBEDDED
from greenroom.errors import EngineError, GreenroomError
from greenroom.sessions import SessionMiddleware
from greenroom_platform.http import docs_pages, parameters, problems
from greenroom_platform.http.address_bounds import Places, WrongTokens
from greenroom_platform.http.allowed_hosts import AllowedHosts
from greenroom_platform.http.auth import WRONG_TOKENS
from greenroom_platform.http.control.room import ControlRoom
from greenroom_platform.http.cors import Cors
from greenroom_platform.http.envelope import Envelope
from greenroom_platform.http.ill_since import IllSince
from greenroom_platform.http.long_poll import LongPolls
from greenroom_platform.http.methods import answer_options
from greenroom_platform.http.metrics import Metrics
from greenroom_platform.http.near_answers import KnownAddresses, NearAnswers
from greenroom_platform.http.resources import resources
from greenroom_platform.http.routes import control, operations, stream
from greenroom_platform.http.server_options import ServerOptions
from greenroom_platform.http.settings import Settings
from greenroom_platform.http.shutdown import Shutdown
from greenroom_platform.http.staff_session import StaffSessions
from greenroom_platform.http.state import ServiceState
from greenroom_platform.platform import Platform, open_platform
from greenroom_platform.studio.voice import check_voices

log = logging.getLogger("greenroom.http")

BODY_LIMIT = 1024 * 1024
"""Bytes of a request's body above which it is refused."""


def create_app(
    settings: Settings, *, shared_metrics: Path | None = None, voice: Callable[[], None] = check_voices
) -> Envelope:
    """The ASGI application; its room is opened at start-up and closed at shutdown.

    Arguments:
        settings: with an editor token.
        shared_metrics: the directory in which workers share their numbers.
        voice: raises `NoVoice` or `MissingExtra` where no podcast can be spoken.
    """
    waiting = LongPolls(per_address=settings.streams_per_address)
    ending = Shutdown(waiting.end)
    counters = Counters()
    metrics = Metrics(counters, shared_metrics)

    @asynccontextmanager
    async def lifespan(app: Litestar) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            try:
                platform = await stack.enter_async_context(_opened(settings, counters))
            except GreenroomError as error:
                log.error("cannot start: %s", error)
                # The server would say it again, with a traceback; it ends the process next.
                logging.getLogger("uvicorn.error").disabled = True
                raise
            if platform.room.unavailable is not None:
                log.warning("starting anyway: %s", _without(platform, platform.room.unavailable))
            app.state.platform = platform
            state = cast(ServiceState, app.state)
            state.control = ControlRoom(platform, metrics, lambda: operations.health(state), shared_metrics)
            await stack.enter_async_context(state.control.counting())
            roles = ["serve", "work"] if settings.work else ["serve"]
            await stack.enter_async_context(platform.heartbeats.beating(roles))
            await stack.enter_async_context(platform.watching())
            if settings.work:
                await stack.enter_async_context(_working(platform, ending, voice))
            sharing = asyncio.create_task(metrics.keep_sharing())
            with ending.handle_signals():
                yield
            await stop(sharing)
            metrics.share()

    known_addresses = KnownAddresses()
    shared = {"settings": settings, "metrics": metrics, "ending": ending, "waiting": waiting, "voice": voice}
    bounds = {
        "stream_places": asyncio.Semaphore(stream.STREAMS),
        "streams_of": Places(settings.streams_per_address),
        "wrong_tokens": WrongTokens("editor", WRONG_TOKENS),
        "staff_sessions": StaffSessions(settings.editor_token, settings.control_token),
        "known_addresses": known_addresses,
        "loading": asyncio.Lock(),
        "control_streams": asyncio.Semaphore(control.STREAMS),
    }
    app = Litestar(
        route_handlers=[*resources(), docs_pages.assets(), docs_pages.new_router()],
        lifespan=[lifespan],
        state=State(shared | bounds | {"ill_since": IllSince()}),
        before_request=answer_options,
        exception_handlers={ValidationException: parameters.answer, Exception: problems.answer},
        openapi_config=None,
        request_max_body_size=BODY_LIMIT,
        logging_config=None,
    )
    _begin_counting(app, metrics)
    with_sessions = SessionMiddleware(
        ServerOptions(app),
        lambda: app.state.platform.sessions,
        allowed_origins=settings.allowed_origins,
        answer=problems.refused,
    )
    near = NearAnswers(with_sessions, known_addresses)
    outer = Cors(near, settings.allowed_origins) if settings.allowed_origins else near
    hosts = settings.allowed_hosts
    return Envelope(AllowedHosts(outer, hosts) if hosts else outer, metrics)


def _begin_counting(app: Litestar, metrics: Metrics) -> None:
    for route in app.routes:
        if isinstance(route, HTTPRoute):
            # A HEAD is answered by the handler of GET, and counted as itself.
            metrics.begin(route.path_format, {*route.methods, *({"HEAD"} if "GET" in route.methods else ())})
        elif isinstance(route, WebSocketRoute):
            metrics.begin_socket(route.path_format)


def _opened(settings: Settings, counters: Counters) -> AbstractAsyncContextManager[Platform]:
    return open_platform(
        settings.cache_address,
        session_address=settings.session_address or EMBEDDED,
        replica_reads=settings.replica_reads,
        database=settings.database_url,
        data_dir=settings.data_dir,
        recordings_url=settings.recordings_url,
        prefix=settings.key_prefix,
        counters=counters,
    )


@asynccontextmanager
async def _working(platform: Platform, ending: Shutdown, voice: Callable[[], None]) -> AsyncIterator[None]:
    """A worker of this process, until it is told to end: what is not made by then another one makes."""
    try:
        voice()
    except GreenroomError as error:
        log.warning("this process makes no podcasts: %s", error)
        yield
        return
    working = asyncio.create_task(ending.run_until(platform.worker().run()), name="greenroom-worker")
    working.add_done_callback(_missed)
    try:
        yield
    finally:
        working.cancel()
        await asyncio.wait([working])


def _missed(working: asyncio.Task[None]) -> None:
    """Nobody waits for the worker before the end: what it fails of must be said when it does."""
    if not working.cancelled() and (error := working.exception()) is not None:
        log.error("this process makes no more podcasts", exc_info=error)


def _without(platform: Platform, trouble: EngineError) -> str:
    """Which server cannot be used, and what that means for listeners until it can."""
    effects = []
    if not str(trouble).startswith("sessions: "):
        effects.append("topics and snippets are read from the database")
    if platform.sessions.engine.unavailable is not None:
        effects.append("nobody can sign in")
    return f"cannot use the server of the {trouble}; meanwhile {' and '.join(effects)}"
