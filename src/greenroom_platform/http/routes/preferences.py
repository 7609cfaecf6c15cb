"""`/session/preferences`: a session's preferences, which a user's document keeps beyond it."""

from __future__ import annotations

from collections.abc import Container, Sequence
from datetime import timedelta
from functools import partial
from typing import Annotated, Any

import msgspec
from litestar import Request, Response, patch

from greenroom.caching.result import digest
from greenroom.rate_limit import Bound
from greenroom.sessions import SessionSnapshot, merged
from greenroom.sessions.raw_json import members, readable
from greenroom_platform.domain import preferences
from greenroom_platform.http import address_bounds, requests
from greenroom_platform.http.docs import BEGINS_SESSION, ID, described, taking
from greenroom_platform.http.preconditions import precondition_of
from greenroom_platform.http.problems import invalid
from greenroom_platform.http.router import OwnRouter
from greenroom_platform.http.session_answers import request_session, session_response
from greenroom_platform.http.state import ServiceState
from greenroom_platform.models import Session, User
from greenroom_platform.platform import Platform


class PreferencesPatch(msgspec.Struct, frozen=True, kw_only=True):
    """A merge patch of preferences: null restores the default."""

    preferred_topics: (
        Annotated[list[Annotated[str, described(**ID)]], described(maxItems=preferences.TOPICS_MAX)] | None
    ) = None
    playback_speed_default: (
        Annotated[float, described(minimum=preferences.SPEED[0], maximum=preferences.SPEED[1])] | None
    ) = None


@patch(
    "/session/preferences",
    security=BEGINS_SESSION,
    operation_class=taking(PreferencesPatch, "application/merge-patch+json", "application/json"),
    summary="Change my preferences",
)
async def change_preferences(request: Request[Any, Any, Any], state: ServiceState) -> Response[Session]:
    """Takes a merge patch (RFC 7396) of the preferences; without a token it begins an anonymous session.

    The answer's `ETag` is that of the preferences, for `If-Match`; 412 if it does not match.
    """
    condition = precondition_of(request)
    requested = preferences.checked(await requests.members(request))
    platform, session = state.platform, request_session(request)
    await _check_topics(platform, requested.get("preferred_topics", ()))
    if await session.get() is None and not session.presented:
        condition.check_version(None)
        await session.require_confidential()  # what cannot begin does not count
        bound = Bound(state.settings.sessions_per_minute, timedelta(minutes=1))
        async with address_bounds.counted(request, "session", bound, "new sessions"):
            live = await session.start(preferences={**preferences.DEFAULTS, **requested})
        return session_response(live, headers=[(b"etag", f'"{_preferences_version(live.body)}"'.encode())])

    def change(body: bytes) -> bytes:
        # Here: a change that meets another is made once more, of the JSON that it has met.
        condition.check_version(_preferences_version(body))
        return merged(body, {"preferences": requested})

    live = await session.change(change)
    await keep_preferences(platform, live, requested)
    return session_response(live, headers=[(b"etag", f'"{_preferences_version(live.body)}"'.encode())])


async def _check_topics(platform: Platform, named: Sequence[str]) -> None:
    """Return if there are all of these topics.

    They are looked for in the list of all, which is one value of the cache. Prevents: a visitor, who counts against no
    bound yet, names 100 topics that there are not · each costs a read of the record, and a key.
    """
    if not named:
        return
    known = {topic.topic_id for topic in await platform.topics.all()}
    for position, topic_id in enumerate(named):
        if topic_id not in known:
            reason = f"there is no topic {topic_id}"
            raise invalid(f"preferred_topics[{position}]", reason, "name topics of GET /api/v1/topics")


async def keep_preferences(platform: Platform, live: SessionSnapshot[Session], chosen: Container[str]) -> None:
    """Keep what a signed-in user has chosen beyond the session, and what other services hold of their preferences.

    Not the others: they may have been chosen anew on another device since this session began.
    """
    in_session = _storable(members(live.body)["preferences"])
    kept = {name: value for name, value in in_session.items() if name in chosen or name not in preferences.DEFAULTS}
    if kept and isinstance(live.value.user_id, str):
        await platform.accounts.keep_preferences(live.value.user_id, kept, live.value.last_activity_timestamp)


def anonymous_preferences(body: bytes) -> dict[str, Any]:
    """The preferences of an anonymous session; a user's are kept in their document."""
    session = members(body)
    return {} if "user_id" in session or "preferences" not in session else _storable(session["preferences"])


def stored_preferences(user: User) -> dict[str, Any]:
    """What a user has chosen before; nothing where the document holds no preferences."""
    return user.preferences if isinstance(user.preferences, dict) else {}


def _storable(preferences: msgspec.Raw) -> dict[str, Any]:
    """The preferences that can be kept elsewhere: none with a foreign number that Python cannot hold."""
    return {name: value for name, value in readable(bytes(preferences)).items() if not isinstance(value, msgspec.Raw)}


def _preferences_version(body: bytes) -> str:
    """The version of a session's preferences; that of the whole session would be another at each touch."""
    return digest(bytes(members(body)["preferences"]))


new_router = partial(OwnRouter, "/", route_handlers=[change_preferences], tags=["Sessions"])
"""Makes the router of the resource."""
