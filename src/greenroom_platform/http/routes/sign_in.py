"""Signing in by name and password, and the change of the password."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import partial
from typing import Any

import msgspec
from litestar import Request, Response, post, put

from greenroom.errors import EngineError, RecordError
from greenroom.sessions.refusals import Refused, SignInRequired
from greenroom.sessions.token import session_id
from greenroom_platform.accounts import WrongCredentials
from greenroom_platform.domain import preferences
from greenroom_platform.domain.precondition import ALWAYS
from greenroom_platform.http import requests
from greenroom_platform.http.docs import SESSION_SECURITY, taking
from greenroom_platform.http.preconditions import precondition_of
from greenroom_platform.http.problems import Problem
from greenroom_platform.http.router import OwnRouter
from greenroom_platform.http.routes.preferences import anonymous_preferences, keep_preferences, stored_preferences
from greenroom_platform.http.routes.users import Password
from greenroom_platform.http.session_answers import UNTAGGED, request_session, session_response
from greenroom_platform.http.state import ServiceState
from greenroom_platform.models import Session

log = logging.getLogger("greenroom.http")

_CHANGED = "the password is changed: sign in with the new one"


class Credentials(msgspec.Struct, frozen=True, kw_only=True):
    """The name and password of a user; `token` asks for a bearer token in the answer."""

    username: str
    password: str
    token: bool = False


class NewPassword(msgspec.Struct, frozen=True, kw_only=True):
    """The current password of a user, and the new one."""

    current_password: str
    new_password: Password


@post(
    "/session/login",
    status_code=200,
    operation_class=taking(Credentials),
    problems=("unauthorized", "too-many-requests"),
    summary="Sign in",
)
async def log_in(request: Request[Any, Any, Any], state: ServiceState) -> Response[Session]:
    """Answers as `GET /session`, with the cookie; 401 for a wrong name or password, 429 after too many attempts."""
    given = requests.draft(Credentials, await requests.members(request))
    platform, session = state.platform, request_session(request)
    await session.require_confidential()  # nobody's password is tried over a line that others listen on
    await session.get()  # a store that cannot be asked is no reason to count an attempt
    user = await platform.accounts.sign_in(given.username, given.password, address=_address(request))

    chosen = dict[str, Any]()

    def members(body: bytes) -> Mapping[str, object]:
        nonlocal chosen
        # docs/decisions/0036-login-merges-preferences.md
        chosen = preferences.chosen(anonymous_preferences(body))
        return {"user_id": user.user_id, "preferences": {**preferences.DEFAULTS, **stored_preferences(user), **chosen}}

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
        await keep_preferences(platform, live, chosen)
    except RecordError as error:
        log.warning("a user's preferences are in the session only: %s", error)
    # Who presents a token itself gets no cookie; without the new token its session would be lost to it.
    return session_response(live, token=session.token if given.token or session.set_cookie is None else None)


@put(
    "/session/password",
    security=SESSION_SECURITY,
    operation_class=taking(NewPassword),
    problems=("too-many-requests", "conflict"),
    summary="Change my password",
)
async def change_password(request: Request[Any, Any, Any], state: ServiceState) -> Response[Session]:
    """Ends all other sessions of the user; this one continues under a new token. Attempts are limited, as at sign-in.

    While the session server is unreachable nothing is changed, and the answer is 503. If it becomes unreachable
    halfway, the `detail` of the answer says that the password has changed.
    """
    session, condition = request_session(request), precondition_of(request)
    live = await session.require(writable=True)
    if condition != ALWAYS:
        condition.check_version(UNTAGGED)
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
    return session_response(live, token=session.token if session.set_cookie is None else None)


def _address(request: Request[Any, Any, Any]) -> str:
    return request.client.host if request.client is not None else "unknown"


new_router = partial(OwnRouter, "/", route_handlers=[log_in, change_password], tags=["Sessions"])
"""Makes the router of the resources."""
