"""`/control`: what operators see of the service, for who has the control token or the editor token."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from datetime import datetime
from functools import partial
from typing import Any

import msgspec
from litestar import Request, Response, get
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from greenroom.errors import Overloaded
from greenroom.sessions import SessionSnapshot
from greenroom.sessions import handle as handle_of
from greenroom_platform.domain.action_log import ACTIONS_KEPT, Action
from greenroom_platform.http.address_bounds import address_of
from greenroom_platform.http.auth import staff_only
from greenroom_platform.http.control.acting import cache_named, log_kept, parts_of, user_named
from greenroom_platform.http.control.history import OutcomeHistory
from greenroom_platform.http.control.lookup import KeyView, look_up
from greenroom_platform.http.control.room import ControlRoom
from greenroom_platform.http.control.summary import Summary
from greenroom_platform.http.docs import STAFF_SECURITY
from greenroom_platform.http.events import EventStream
from greenroom_platform.http.parameters import once
from greenroom_platform.http.router import OwnRouter
from greenroom_platform.http.routes import control_actions
from greenroom_platform.http.state import ServiceState
from greenroom_platform.models import Session

STREAMS = 16
"""Pages that one process pushes summaries to at a time."""
_FRESH = {"Cache-Control": "no-store"}


class StaffSessionView(msgspec.Struct, frozen=True, kw_only=True):
    """One session of a user, as operators see it; its handle is neither its id nor its token."""

    handle: str
    started_at: datetime
    last_activity_timestamp: datetime
    listens_to: str | None


class UserSessions(msgspec.Struct, frozen=True, kw_only=True):
    """A user's live sessions, the oldest first."""

    user_id: str
    username: str
    sessions: tuple[StaffSessionView, ...]


def _read(
    path: str, summary: str, *, media_type: str | None = None
) -> Callable[[Callable[..., Any]], HTTPRouteHandler]:
    return get(path, guards=[staff_only], security=STAFF_SECURITY, summary=summary, media_type=media_type)


@_read("/summary", "Get the state of the service, with its counters (staff)")
async def read_summary(state: ServiceState) -> Response[Summary]:
    """One sentence, what is wrong and since when, rates, loads, outbox, queue, sessions, servers, processes, actions.

    A part that does not answer within a second is marked as missing. Rates are those of the last minute, and of all
    workers of this service on this host.
    """
    return Response(await state.control.summary(), headers=_FRESH)


@_read("/events", "The summary, pushed every two seconds (staff)", media_type="text/event-stream")
async def follow_summary(request: Request[Any, Any, Any], state: ServiceState) -> Response[str]:
    """Server-sent events named `summary`. The stream ends after 15 minutes: a new one checks the rights again."""
    if state.control_streams.locked():
        raise Overloaded(f"{STREAMS} pages follow the summary already")
    stream = _bounded(state)
    return EventStream("summary", stream, state.waiting, address=address_of(request))


async def _bounded(state: ServiceState) -> AsyncGenerator[Summary, None]:
    async with state.control_streams:
        async for summary in state.control.follow():
            yield summary


@_read("/history", "Reads and load times of 15 minutes (staff)")
async def read_control_history(state: ServiceState) -> Response[OutcomeHistory]:
    """A point for each 15 seconds (5 at first): reads per second by outcome, and load times."""
    return Response(state.control.history(), headers=_FRESH)


@_read("/keys/{keyspace:str}", "Compare a cached key with the record (staff)")
async def read_key(request: Request[Any, Any, Any], state: ServiceState, keyspace: FromPath[str]) -> Response[KeyView]:
    """The parts of the key are query parameters, as `topic_id=science`. The call stores nothing in the caches.

    A difference is checked twice, some tenths of a second apart: a change may be on its way.
    """
    once(request)
    control: ControlRoom = state.control
    cache = cache_named(control, keyspace)
    parts = parts_of(cache.keyspace, dict(request.query_params.items()))
    engine = state.platform.room.engine
    return Response(await look_up(cache, engine, parts, process=control.process), headers=_FRESH)


@_read("/actions", "List the actions of operators (staff)")
async def list_actions(state: ServiceState) -> Response[tuple[Action, ...]]:
    """The last thousand actions, the newest first: who acted, what was done, the reason, and the result."""
    return Response(await log_kept(state).newest(ACTIONS_KEPT), headers=_FRESH)


@_read("/users/{name:str}/sessions", "A user's live sessions (staff)")
async def list_user_sessions(state: ServiceState, name: FromPath[str]) -> Response[UserSessions]:
    """The user is given by id or name; 404 if there is no such user."""
    user = await user_named(state, name)
    live = await state.platform.sessions.of_user(user.user_id)
    found = UserSessions(user_id=user.user_id, username=user.username, sessions=tuple(map(_seen, live)))
    return Response(found, headers=_FRESH)


def _seen(live: SessionSnapshot[Session]) -> StaffSessionView:
    last, stream = live.value.last_activity_timestamp, live.value.active_podcast_stream_id
    return StaffSessionView(
        handle=handle_of(live.session_id),
        started_at=live.started_at or last,
        last_activity_timestamp=last,
        listens_to=stream if isinstance(stream, str) else None,
    )


new_router = partial(
    OwnRouter,
    "/control",
    route_handlers=[
        *(read_summary, follow_summary, read_control_history, read_key, list_actions, list_user_sessions),
        *control_actions.HANDLERS,
    ],
    tags=["Control room"],
)
"""Makes the router of the resource."""
