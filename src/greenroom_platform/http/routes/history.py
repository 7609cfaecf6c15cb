"""`/history`: what a user has listened to, and how far."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import Annotated, Any

import msgspec
from litestar import Request, Response, delete, get, post, put
from litestar.params import FromPath, QueryParameter

from greenroom.errors import EngineError
from greenroom.keyspace.parts import check_part
from greenroom.rate_limit import Bound
from greenroom.sessions.refusals import SignInRequired
from greenroom_platform.domain.listings import HISTORY, LONGEST, PAGE, HistoryEntry
from greenroom_platform.http import requests
from greenroom_platform.http.address_bounds import too_many
from greenroom_platform.http.docs import ID, SESSION_SECURITY, described, taking
from greenroom_platform.http.parameters import once
from greenroom_platform.http.problems import Problem, invalid
from greenroom_platform.http.router import OwnRouter
from greenroom_platform.http.session_answers import request_session
from greenroom_platform.http.state import ServiceState
from greenroom_platform.models import HeardPodcast, Timestamp

PER_USER = Bound(600, timedelta(minutes=5))
"""Changes of one user's history: a page that plays tells of it every few seconds, and there may be some of them."""

PageNumber = Annotated[int, QueryParameter(ge=1, le=HISTORY // PAGE)]
Position = Annotated[float, described(minimum=0, maximum=LONGEST)]


class Listened(msgspec.Struct, frozen=True, kw_only=True):
    """How far a podcast was heard; a member that is left out keeps its stored value."""

    position_seconds: Position | msgspec.UnsetType = msgspec.UNSET


class HistoryItem(msgspec.Struct, frozen=True, kw_only=True):
    """A podcast of a visitor's history, as a page has kept it; without a time, now counts."""

    podcast_id: Annotated[str, described(**ID)]
    position_seconds: Position | msgspec.UnsetType = msgspec.UNSET
    listened_at: Timestamp | msgspec.UnsetType = msgspec.UNSET


class History(msgspec.Struct, frozen=True, kw_only=True):
    """What a visitor has listened to before they signed in."""

    items: Annotated[list[HistoryItem], described(maxItems=HISTORY)]


@get("/", security=SESSION_SECURITY, summary="What I have listened to")
async def read_history(
    request: Request[Any, Any, Any], state: ServiceState, page: PageNumber = 1
) -> Response[tuple[HistoryEntry, ...]]:
    """20 podcasts a page, the one listened to last first; podcasts that no longer exist are left out."""
    once(request)
    entries = await state.platform.histories.entries(await user_of(request))
    if entries is None:
        raise no_user()
    shown = entries[(page - 1) * PAGE : page * PAGE]
    headers = {"Cache-Control": "no-store"}
    if len(entries) > page * PAGE:
        headers["Link"] = f'</api/v1/history?page={page + 1}>; rel="next"'
    return Response(shown, headers=headers)


@put(
    "/{podcast_id:str}",
    status_code=204,
    security=SESSION_SECURITY,
    operation_class=taking(Listened),
    summary="Record that I listen to a podcast",
)
async def put_listened(request: Request[Any, Any, Any], state: ServiceState, podcast_id: FromPath[str]) -> None:
    """A page sends this while it plays; 404 for an unknown podcast. A history keeps the latest 200 podcasts."""
    user_id = await user_of(request, writable=True)
    given = requests.draft(Listened, await requests.members(request))
    check_part("podcast_id", podcast_id)
    histories = state.platform.histories
    if podcast_id not in await state.platform.listings.known([podcast_id]):
        raise Problem("not-found", f"there is no podcast {podcast_id}")
    await count_change(state, user_id)
    heard = HeardPodcast(podcast_id=podcast_id, listened_at=histories.now(), position_seconds=given.position_seconds)
    if not await histories.note(user_id, [heard]):
        raise no_user()


@post(
    "/",
    status_code=204,
    security=SESSION_SECURITY,
    operation_class=taking(History),
    summary="Add what I listened to before I signed in",
)
async def add_history(request: Request[Any, Any, Any], state: ServiceState) -> None:
    """Takes up to 200 `items`. Of two entries for one podcast the later counts; unknown podcasts are left out."""
    user_id = await user_of(request, writable=True)
    given = requests.draft(History, await requests.members(request))
    if len(given.items) > HISTORY:
        raise invalid("items", f"has {len(given.items)}", f"send the latest {HISTORY}")
    for one in given.items:
        check_part("podcast_id", one.podcast_id)
    await count_change(state, user_id)
    histories = state.platform.histories
    now = histories.now()
    heard = [
        HeardPodcast(
            podcast_id=one.podcast_id,
            position_seconds=one.position_seconds,
            listened_at=now if isinstance(one.listened_at, msgspec.UnsetType) else one.listened_at,
        )
        for one in given.items
    ]
    if not await histories.note(user_id, heard):
        raise no_user()


@delete("/{podcast_id:str}", security=SESSION_SECURITY, summary="Take a podcast out of my history")
async def forget_listened(request: Request[Any, Any, Any], state: ServiceState, podcast_id: FromPath[str]) -> None:
    """Succeeds also if the podcast is not in the history."""
    user_id = await user_of(request, writable=True)
    check_part("podcast_id", podcast_id)
    await count_change(state, user_id)
    if not await state.platform.histories.forget(user_id, podcast_id):
        raise no_user()


async def user_of(request: Request[Any, Any, Any], *, writable: bool = False) -> str:
    """The user of the request's session.

    Raises:
        Problem: 401 where nobody is signed in.
    """
    live = await request_session(request).require(writable=writable)
    user_id = live.value.user_id
    if not isinstance(user_id, str):
        raise Problem("unauthorized", "a history is kept for users only; sign in", headers=SignInRequired().headers)
    return user_id


def no_user() -> Problem:
    """The answer to a session whose user was deleted."""
    return Problem("unauthorized", "this user does not exist any more", headers=SignInRequired().headers)


async def count_change(state: ServiceState, user_id: str) -> None:
    """Count a change; the server of the sessions, which counts, has just been asked for the session."""
    try:
        left = await state.platform.rate("history", PER_USER).count(user_id)
    except EngineError:
        return
    if left:
        raise too_many("too many changes of one history", left)


new_router = partial(
    OwnRouter, "/history", route_handlers=[read_history, put_listened, add_history, forget_listened], tags=["History"]
)
"""Makes the router of the resource."""
