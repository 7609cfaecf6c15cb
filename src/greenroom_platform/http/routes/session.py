"""`/session` and `/sessions`: what a session holds, signing out, and one's other sessions."""

from __future__ import annotations

from datetime import datetime
from functools import partial
from typing import Any

import msgspec
from litestar import Request, Response, delete, get, post
from litestar.params import FromPath

from greenroom.sessions import SessionSnapshot
from greenroom.sessions import handle as handle_of
from greenroom_platform.domain.precondition import ALWAYS
from greenroom_platform.http.docs import SESSION_SECURITY
from greenroom_platform.http.preconditions import precondition_of
from greenroom_platform.http.problems import Problem
from greenroom_platform.http.router import OwnRouter
from greenroom_platform.http.session_answers import UNTAGGED, request_session, session_response
from greenroom_platform.http.state import ServiceState
from greenroom_platform.models import Session


class OwnSession(msgspec.Struct, frozen=True, kw_only=True):
    """One of a user's sessions; its handle is neither its id nor its token."""

    handle: str
    started_at: datetime
    last_activity_timestamp: datetime
    current: bool


@get("/session", security=SESSION_SECURITY, summary="Get the current session")
async def read_session(request: Request[Any, Any, Any]) -> Response[Session]:
    """What the session holds; 401 without one."""
    return session_response(await request_session(request).require())


@delete("/session", security=SESSION_SECURITY, summary="Sign out")
async def log_out(request: Request[Any, Any, Any]) -> None:
    """Ends the session; 401 without one."""
    session, condition = request_session(request), precondition_of(request)
    if condition != ALWAYS and await session.get() is not None:
        condition.check_version(UNTAGGED)
    await session.end()


@post("/session/logout-everywhere", status_code=204, security=SESSION_SECURITY, summary="Sign out everywhere")
async def log_out_everywhere(request: Request[Any, Any, Any], state: ServiceState) -> None:
    """Ends every session of the user, this one included."""
    session = request_session(request)
    live = await session.require(writable=True)
    if isinstance(live.value.user_id, str):
        await state.platform.sessions.end_all(live.value.user_id)
        session.forget()
    else:
        await session.end()


@get("/sessions", security=SESSION_SECURITY, summary="List my sessions")
async def list_sessions(request: Request[Any, Any, Any], state: ServiceState) -> Response[list[OwnSession]]:
    """The live sessions of the user, the oldest first; an anonymous session is the only one."""
    # The copy that a rotation leaves would show, and could end, the session that has replaced it.
    current = await request_session(request).require(writable=True)
    return Response([_listed(live, current) for live in await _sessions_of_user(state, current)])


@delete("/sessions/{handle:str}", security=SESSION_SECURITY, summary="End one of my sessions")
async def end_session(request: Request[Any, Any, Any], state: ServiceState, handle: FromPath[str]) -> None:
    """404 if the handle is not that of one of my sessions."""
    session = request_session(request)
    current = await session.require(writable=True)
    for live in await _sessions_of_user(state, current):
        if handle_of(live.session_id) == handle:
            precondition_of(request).check_version(UNTAGGED)
            await state.platform.sessions.end(live.session_id)
            if live.session_id == current.session_id:
                session.forget()
            return
    raise Problem("not-found", "you have no such session")


# ----------------------------------------------------------------------------------------------------


async def _sessions_of_user(state: ServiceState, current: SessionSnapshot[Session]) -> list[SessionSnapshot[Session]]:
    user = current.value.user_id
    return await state.platform.sessions.of_user(user) if isinstance(user, str) else [current]


def _listed(live: SessionSnapshot[Session], current: SessionSnapshot[Session]) -> OwnSession:
    last = live.value.last_activity_timestamp
    return OwnSession(
        handle=handle_of(live.session_id),
        started_at=live.started_at or last,
        last_activity_timestamp=last,
        current=live.session_id == current.session_id,
    )


new_router = partial(
    OwnRouter,
    "/",
    route_handlers=[read_session, log_out, log_out_everywhere, list_sessions, end_session],
    tags=["Sessions"],
)
"""Makes the router of the resources."""
