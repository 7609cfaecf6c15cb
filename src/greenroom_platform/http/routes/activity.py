"""`/activity`: active sessions and listeners, for editors."""

from __future__ import annotations

from functools import partial

import msgspec
from litestar import Response, get

from greenroom_platform.http.auth import editors_only
from greenroom_platform.http.docs import EDITOR_SECURITY
from greenroom_platform.http.router import OwnRouter
from greenroom_platform.http.state import ServiceState


class Activity(msgspec.Struct, frozen=True, kw_only=True):
    """Active sessions, and listeners by podcast; after a crash at most too many, until they would have lapsed."""

    active_sessions: int
    listeners: dict[str, int]


@get(
    "/",
    operation_id="readActivity",
    guards=[editors_only],
    security=EDITOR_SECURITY,
    summary="Active sessions and listeners (editors)",
)
async def activity(state: ServiceState) -> Response[Activity]:
    """The number of active sessions, and of the listeners to each podcast."""
    presence = state.platform.presence
    answer = Activity(active_sessions=await presence.active(), listeners=await presence.listeners())
    return Response(answer, headers={"Cache-Control": "no-store"})


new_router = partial(OwnRouter, "/activity", route_handlers=[activity], tags=["Operations"])
"""Makes the router of the resource."""
