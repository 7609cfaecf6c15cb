"""`/session` and `/sessions`: signing in and out, preferences, and one's other sessions."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Container, Mapping
from datetime import datetime, timedelta
from functools import partial
from typing import Annotated, Any

import msgspec
from litestar import Request, Response, Router, delete, get, patch, post, put
from litestar.params import FromPath

from greenroom.caching.result import digest
from greenroom.errors import EngineError, RecordError
from greenroom.rate_limit import Bound
from greenroom.sessions import RequestSession, SessionSnapshot, merged, session_of
from greenroom.sessions import handle as handle_of
from greenroom.sessions.raw_json import changed, members, readable
from greenroom.sessions.refusals import Refused, SignInRequired
from greenroom.sessions.token import session_id
from greenroom_platform.accounts import WrongCredentials
from greenroom_platform.domain import preferences
from greenroom_platform.domain.precondition import ALWAYS
from greenroom_platform.http import address_bounds, requests
from greenroom_platform.http.docs import BEGINS_SESSION, ID, SESSION_SECURITY, described, taking
from greenroom_platform.http.preconditions import precondition_of
from greenroom_platform.http.problems import Problem, invalid
from greenroom_platform.http.responses import StoredJSON
from greenroom_platform.http.routes.users import Password
from greenroom_platform.http.state import ServiceState
from greenroom_platform.models import Session, User
from greenroom_platform.platform import Platform

log = logging.getLogger("greenroom.http")

_JSON = (b"content-type", b"application/json")
_CHANGED = "the password is changed: sign in with the new one"
_UNTAGGED = " "
"""The version of what is answered without an `ETag`: `*` names it, and no tag, which has no spaces."""


class Credentials(msgspec.Struct, frozen=True, kw_only=True):
    """Who wants to sign in; `token` asks for a bearer token in the answer."""

    username: str
    password: str
    token: bool = False


class NewPassword(msgspec.Struct, frozen=True, kw_only=True):
    """A user's password as it is, and as it shall be."""

    current_password: str
    new_password: Password


class PreferencesPatch(msgspec.Struct, frozen=True, kw_only=True):
    """A merge patch of preferences: null sets what holds for whoever has chosen nothing."""

    preferred_topics: (
        Annotated[list[Annotated[str, described(**ID)]], described(maxItems=preferences.TOPICS_MAX)] | None
    ) = None
    playback_speed_default: (
        Annotated[float, described(minimum=preferences.SPEED[0], maximum=preferences.SPEED[1])] | None
    ) = None


class OwnSession(msgspec.Struct, frozen=True, kw_only=True):
    """One of a user's sessions; its handle is neither its id nor its token."""

    handle: str
    started_at: datetime
    last_activity_timestamp: datetime
    current: bool


@post("/session/login", status_code=200, operation_class=taking(Credentials), summary="Sign in")
async def log_in(request: Request[Any, Any, Any], state: ServiceState) -> Response[Session]:
    """Answers as `GET /session`, with the cookie; 401 for a name and password that are no user's, 429 for too many."""
    given = requests.draft(Credentials, await requests.members(request))
    platform, session = state.platform, _session(request)
    await session.require_confidential()  # nobody's password is tried over a line that others listen on
    await session.get()  # a store that cannot be asked is no reason to count an attempt
    user = await platform.accounts.sign_in(given.username, given.password, address=_address(request))

    chosen = dict[str, Any]()

    def members(body: bytes) -> Mapping[str, object]:
        nonlocal chosen
        # docs/decisions/0036-login-merges-preferences.md
        chosen = preferences.chosen(_anonymous_preferences(body))
        return {"user_id": user.user_id, "preferences": {**preferences.DEFAULTS, **_stored_preferences(user), **chosen}}

    right = False
    try:
        live = await session.sign_in(members)
        # Prevents: the password is found right · its owner changes it, and all sessions end · this one begins, and
        # whoever knows the old password is signed in. What is listed before the ends ends with them; what is listed
        # later sees the new password here.
        right = await platform.accounts.still_right(user, given.password)
    finally:
        # Also where nobody can tell, or waits any more: a request that has failed must not have signed anybody in.
        if not right and session.token is not None:
            await session.end()
    if not right:
        raise WrongCredentials("wrong name or password")
    try:
        await _keep(platform, live, chosen)
    except RecordError as error:
        log.warning("a user's preferences are in the session only: %s", error)
    # Who presents a token itself gets no cookie; without the new token its session would be lost to it.
    return _to_response(live, token=session.token if given.token or session.set_cookie is None else None)


@put(
    "/session/password",
    security=SESSION_SECURITY,
    operation_class=taking(NewPassword),
    summary="Change my password",
)
async def change_password(request: Request[Any, Any, Any], state: ServiceState) -> Response[Session]:
    """Ends all other sessions of the user; this one goes on under a new token. Bounded as signing in is.

    While the server of the sessions cannot be asked nothing is changed, and the answer is 503. If it goes away in the
    middle, the `detail` of the answer says that the password is changed.
    """
    session, condition = _session(request), precondition_of(request)
    live = await session.require(writable=True)
    if condition != ALWAYS:
        condition.check_version(_UNTAGGED)
    user_id = live.value.user_id
    if not isinstance(user_id, str):
        raise Problem("unauthorized", "an anonymous session has no password; sign in", headers=SignInRequired().headers)
    given = requests.draft(NewPassword, await requests.members(request))
    sessions = state.platform.sessions
    # The others end before the password changes, and once more afterwards. Only afterwards: the password is changed ·
    # the sessions' server goes away · whoever has stolen a session goes on. Only before: somebody signs in with the old
    # password, between the two.
    await state.platform.accounts.change_password(
        user_id,
        given.current_password,
        given.new_password,
        address=_address(request),
        once_right=partial(sessions.end_all, user_id, but=live.session_id),
    )
    try:
        # The new token first: it is on the list of the user, and is not ended; the old one's copy is.
        live = await session.rotate({})
        await sessions.end_all(user_id, but=live.session_id)
    except BaseException as error:  # who is cancelled has changed the password too
        # An answer of failure has a new cookie, and no new token for whoever presents one.
        handed_over = session.token if session.set_cookie is not None else None
        sessions.end_all_behind(user_id, but=None if handed_over is None else session_id(handed_over))
        if isinstance(error, SignInRequired):
            raise Problem(
                "unauthorized", f"{_CHANGED}; this session has ended meanwhile", headers=error.headers
            ) from error
        if isinstance(error, Refused | EngineError):
            raise Problem(
                "unavailable", f"{_CHANGED}; the sessions end as soon as their server can be asked"
            ) from error
        raise
    return _to_response(live, token=session.token if session.set_cookie is None else None)


@get("/session", security=SESSION_SECURITY, summary="Get the current session")
async def read_session(request: Request[Any, Any, Any]) -> Response[Session]:
    """What the session holds; 401 without one."""
    return _to_response(await _session(request).require())


@patch(
    "/session/preferences",
    security=BEGINS_SESSION,
    operation_class=taking(PreferencesPatch),
    summary="Change my preferences",
)
async def change_preferences(request: Request[Any, Any, Any], state: ServiceState) -> Response[Session]:
    """Takes a merge patch (RFC 7396) of the preferences; without a token it begins an anonymous session.

    The answer's `ETag` is that of the preferences, for `If-Match`; 412 where it fails.
    """
    condition = precondition_of(request)
    requested = preferences.checked(await requests.members(request))
    platform, session = state.platform, _session(request)
    found = await asyncio.gather(*(platform.topics.get(topic) for topic in requested.get("preferred_topics", ())))
    for position, topic in enumerate(found):
        if topic is None:
            reason = f"there is no topic {requested['preferred_topics'][position]}"
            raise invalid(f"preferred_topics[{position}]", reason, "name topics of GET /api/v1/topics")
    if await session.get() is None and not session.presented:
        condition.check_version(None)
        await session.require_confidential()  # what cannot begin does not count
        bound = Bound(state.settings.sessions_per_minute, timedelta(minutes=1))
        async with address_bounds.counted(request, "session", bound, "new sessions"):
            live = await session.start(preferences={**preferences.DEFAULTS, **requested})
        return _to_response(live, tag=_preferences_version(live.body))

    def change(body: bytes) -> bytes:
        # Here: a change that meets another is made once more, of the JSON that it has met.
        condition.check_version(_preferences_version(body))
        return merged(body, {"preferences": requested})

    live = await session.change(change)
    await _keep(platform, live, requested)
    return _to_response(live, tag=_preferences_version(live.body))


@delete("/session", security=SESSION_SECURITY, summary="Sign out")
async def log_out(request: Request[Any, Any, Any]) -> None:
    """Ends the session; 401 without one."""
    session, condition = _session(request), precondition_of(request)
    if condition != ALWAYS and await session.get() is not None:
        condition.check_version(_UNTAGGED)
    await session.end()


@post("/session/logout-everywhere", status_code=204, security=SESSION_SECURITY, summary="Sign out everywhere")
async def log_out_everywhere(request: Request[Any, Any, Any], state: ServiceState) -> None:
    """Ends every session of the user, this one included."""
    session = _session(request)
    live = await session.require(writable=True)
    if isinstance(live.value.user_id, str):
        await state.platform.sessions.end_all(live.value.user_id)
        session.forget()
    else:
        await session.end()


@get("/sessions", security=SESSION_SECURITY, summary="List my sessions")
async def list_sessions(request: Request[Any, Any, Any], state: ServiceState) -> Response[list[OwnSession]]:
    """The live sessions of the user, the oldest first; an anonymous one is alone."""
    # The copy that a rotation leaves would show, and could end, the session that has replaced it.
    current = await _session(request).require(writable=True)
    return Response([_listed(live, current) for live in await _sessions_of_user(state, current)])


@delete("/sessions/{handle:str}", security=SESSION_SECURITY, summary="End one of my sessions")
async def end_session(request: Request[Any, Any, Any], state: ServiceState, handle: FromPath[str]) -> None:
    """404 where the handle is none of one's own."""
    session = _session(request)
    current = await session.require(writable=True)
    for live in await _sessions_of_user(state, current):
        if handle_of(live.session_id) == handle:
            precondition_of(request).check_version(_UNTAGGED)
            await state.platform.sessions.end(live.session_id)
            if live.session_id == current.session_id:
                session.forget()
            return
    raise Problem("not-found", "you have no such session")


# ----------------------------------------------------------------------------------------------------


def _address(request: Request[Any, Any, Any]) -> str:
    return request.client.host if request.client is not None else "unknown"


def _session(request: Request[Any, Any, Any]) -> RequestSession[Session]:
    return session_of(request.scope)


def _to_response(
    live: SessionSnapshot[Session], *, token: str | None = None, tag: str | None = None
) -> Response[Session]:
    """The session's JSON as it is, with the members that we do not know."""
    body = live.body
    if token is not None:
        body = changed(body, {"token": token})
    headers = [_JSON, (b"content-length", b"%d" % len(body))]
    if tag is not None:
        headers.append((b"etag", f'"{tag}"'.encode()))
    answer: Any = StoredJSON(body, 200, headers)
    return answer  # type: ignore[no-any-return]  # the type argument is what the API's description shows


def _preferences_version(body: bytes) -> str:
    """The version of a session's preferences; that of the whole session would be another at each touch."""
    return digest(bytes(members(body)["preferences"]))


def _stored_preferences(user: User) -> dict[str, Any]:
    return user.preferences if isinstance(user.preferences, dict) else {}


def _anonymous_preferences(body: bytes) -> dict[str, Any]:
    """The preferences of an anonymous session; a user's are kept in their document."""
    found = members(body)
    return {} if "user_id" in found or "preferences" not in found else _storable(found["preferences"])


def _storable(preferences: msgspec.Raw) -> dict[str, Any]:
    """The preferences that can be kept elsewhere: none with a foreign number that Python cannot hold."""
    return {name: value for name, value in readable(bytes(preferences)).items() if not isinstance(value, msgspec.Raw)}


async def _keep(platform: Platform, live: SessionSnapshot[Session], chosen: Container[str]) -> None:
    """Keep what a signed-in user has chosen beyond the session, and what other services hold of their preferences.

    Not the others: they may have been chosen anew on another device since this session began.
    """
    found = _storable(members(live.body)["preferences"])
    storable = {name: value for name, value in found.items() if name in chosen or name not in preferences.DEFAULTS}
    if storable and isinstance(live.value.user_id, str):
        await platform.accounts.keep_preferences(live.value.user_id, storable, live.value.last_activity_timestamp)


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


ROUTER = Router(
    "/",
    route_handlers=[
        log_in,
        change_password,
        read_session,
        change_preferences,
        log_out,
        log_out_everywhere,
        list_sessions,
        end_session,
    ],
    tags=["Sessions"],
)
"""The resources."""
