"""`/staff/session`: editors and operators sign in to the pages with their token, and out again."""

from __future__ import annotations

import logging
from functools import partial
from typing import Annotated, Any

import msgspec
from litestar import Request, Response, delete, get, post

from greenroom.sessions.policy import Transport
from greenroom_platform.http import requests
from greenroom_platform.http.auth import CHALLENGE, role_of_token, staff_of
from greenroom_platform.http.docs import STAFF_SECURITY, described, taking
from greenroom_platform.http.problems import Problem, invalid
from greenroom_platform.http.router import OwnRouter
from greenroom_platform.http.session_answers import request_session
from greenroom_platform.http.staff_session import COOKIE, LIFETIME, WHO_MAX, StaffSession
from greenroom_platform.http.state import ServiceState

log = logging.getLogger("greenroom.http")

_WRONG = "this is neither the editor token nor the control token"


class StaffCredentials(msgspec.Struct, frozen=True, kw_only=True):
    """The token of an editor or operator, and the name under which their actions are logged."""

    token: str
    who: Annotated[str, described(minLength=1, maxLength=WHO_MAX)]


@post(
    "/session",
    status_code=200,
    operation_id="signInStaff",
    operation_class=taking(StaffCredentials),
    problems=("too-many-requests",),
    summary="Sign in to the pages (staff)",
)
async def sign_in(request: Request[Any, Any, Any], state: ServiceState) -> Response[StaffSession]:
    """Gives the cookie of the pages for 12 hours; 401 for a wrong token, 429 for too many of them.

    The role is `act` for the editor token, `read` for the control token. The cookie becomes invalid when the token
    changes.
    """
    session = request_session(request)
    await session.require_confidential()  # nobody's token is tried over a line that others listen on
    given = requests.draft(StaffCredentials, await requests.members(request))
    who = given.who.strip()
    if not 1 <= len(who) <= WHO_MAX or not who.isprintable():
        raise invalid("who", "is not a name", f"send 1 to {WHO_MAX} printable characters")
    role = await role_of_token(request, given.token)
    if role is None:
        raise Problem("unauthorized", _WRONG, headers={"WWW-Authenticate": CHALLENGE})
    staff, value = state.staff_sessions.open(role, who)
    log.info("%s signed in to the pages, and may %s", who, role)
    lifetime = int(LIFETIME.total_seconds())
    return _answer(staff, COOKIE.given(value, secure=_is_secure(request), max_age=lifetime))


@get(
    "/session",
    operation_id="readStaffSession",
    security=STAFF_SECURITY,
    problems=("too-many-requests",),
    summary="Who I am on the pages (staff)",
)
async def read_session(request: Request[Any, Any, Any]) -> Response[StaffSession]:
    """The role, the name and the end of the session; 401 without one."""
    return _answer(await staff_of(request))


@delete("/session", operation_id="signOutStaff", summary="Sign out of the pages (staff)")
async def sign_out(request: Request[Any, Any, Any]) -> Response[None]:
    """Deletes the cookie, whether it was valid or not."""
    headers = {"Set-Cookie": COOKIE.cleared(secure=_is_secure(request)), "Cache-Control": "no-store"}
    return Response(None, status_code=204, headers=headers)


def _answer(staff: StaffSession, cookie: str | None = None) -> Response[StaffSession]:
    headers = {"Cache-Control": "private, no-store", "Vary": "Cookie, Authorization"}
    return Response(staff, headers=headers | ({} if cookie is None else {"Set-Cookie": cookie}))


def _is_secure(request: Request[Any, Any, Any]) -> bool:
    return request_session(request).signals.transport is Transport.SECURE


new_router = partial(OwnRouter, "/staff", route_handlers=[sign_in, read_session, sign_out], tags=["Staff"])
"""Makes the router of the resource."""
