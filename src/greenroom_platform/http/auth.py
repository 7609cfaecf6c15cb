"""The sender of a request: an editor or operator by token or cookie, a client on this machine, or a stranger."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any

from litestar import Request
from litestar.connection import ASGIConnection
from litestar.handlers.base import BaseRouteHandler

from greenroom.rate_limit import Bound
from greenroom.sessions import session_of
from greenroom.sessions.policy import Token, Transport
from greenroom.sessions.token import session_id
from greenroom_platform.http.address_bounds import WrongTokens, address_of
from greenroom_platform.http.problems import Problem, path_as_sent
from greenroom_platform.http.staff_session import COOKIE, ForgedCookie, Role, StaffSession, StaffSessions

log = logging.getLogger("greenroom.http")

CHALLENGE = 'Bearer realm="greenroom editors"'
NONE = (
    "editor calls need Authorization: Bearer with the editor token: that of GREENROOM_EDITOR_TOKEN, "
    "or the one in the file `editor-token` of the service's data directory"
)
WRONG = (
    "the token in Authorization: Bearer is not the editor token: that of GREENROOM_EDITOR_TOKEN, or, unless it is set, "
    "the one in the file `editor-token` of the service's data directory"
)
NO_STAFF = "sign in with the editor token or the control token, or send it in Authorization: Bearer"
READ_ONLY = "the control token may look, and change nothing: sign in with the editor token"
BY_TOKEN = {"act": "the editor token", "read": "the control token"}
"""Who acts where a request has a token and no name."""
WRONG_TOKENS = Bound(50, timedelta(minutes=15))
"""Wrong tokens from one client address; behind it may be a whole office."""


async def editors_only(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
    """Let the request pass if it may act as an editor; async, or the framework would run it in a thread.

    Raises:
        Problem: 401 with `WWW-Authenticate`; 403 for who may only read; 429 where too many wrong tokens came from the
            address.
    """
    staff = await _staff(connection)
    if staff is None:
        raise _unauthorized(connection, WRONG if _bearer(connection) else NONE)
    if staff.role != "act":
        raise Problem("forbidden", READ_ONLY)
    if session_of(connection.scope).signals.unsafe:
        # The access line, of the same request id, says what became of it.
        log.info("%s: %s %s", staff.who, connection.scope.get("method"), path_as_sent(connection.scope))


async def staff_only(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
    """Let the request pass if it is of an editor, or of who has the control token; raises as `editors_only`."""
    await staff_of(connection)


async def staff_of(connection: ASGIConnection[Any, Any, Any, Any]) -> StaffSession:
    """Who of the staff sends a request, by `Authorization: Bearer` or by the cookie of the pages.

    Raises:
        Problem: 401 for nobody; 429 where too many wrong tokens came from the address.
    """
    staff = await _staff(connection)
    if staff is None:
        raise _unauthorized(connection, NO_STAFF)
    return staff


async def is_editor(connection: ASGIConnection[Any, Any, Any, Any]) -> bool:
    """Whether the request is an editor's; a wrong token is counted. Another scheme than Bearer is no guess.

    Raises:
        Problem: 429 where it carries a token, and too many wrong ones came from the address.
    """
    staff = await _staff(connection)
    return staff is not None and staff.role == "act"


async def role_of_token(connection: ASGIConnection[Any, Any, Any, Any], token: str) -> Role | None:
    """The role that a presented token gives; a wrong one is counted.

    Raises:
        Problem: 429 where too many wrong ones came from the address: a right one would then tell that it is right.
    """
    wrong: WrongTokens = connection.app.state.wrong_tokens
    wrong.check(connection)
    sessions: StaffSessions = connection.app.state.staff_sessions
    role = sessions.role_of(token)
    if role is None:
        await wrong.count(connection)
    return role


async def _staff(connection: ASGIConnection[Any, Any, Any, Any]) -> StaffSession | None:
    """An Authorization goes before a cookie: a client sends it on purpose, a browser its cookies unasked."""
    token = _bearer(connection)
    if token:
        role = await role_of_token(connection, token)
        return None if role is None else StaffSession(role=role, who=BY_TOKEN[role], until=None)
    cookies = _staff_cookies(connection)
    if not cookies:
        return None
    # A cookie that is not signed as it should be may be a guess of the token with which it would be.
    wrong: WrongTokens = connection.app.state.wrong_tokens
    wrong.check(connection)
    sessions: StaffSessions = connection.app.state.staff_sessions
    try:
        return sessions.read(cookies)
    except ForgedCookie:
        await wrong.count(connection)
        return None


def names_staff(connection: ASGIConnection[Any, Any, Any, Any]) -> bool:
    """Whether the request has a cookie of the staff's pages, living or not; none is looked at."""
    return bool(_staff_cookies(connection))


def _staff_cookies(connection: ASGIConnection[Any, Any, Any, Any]) -> list[str]:
    transport = session_of(connection.scope).signals.transport
    if transport is Transport.PLAIN:  # whoever listens on the way could have the cookie
        return []
    return list(COOKIE.values(_cookies(connection), secure=transport is Transport.SECURE))


def _cookies(connection: ASGIConnection[Any, Any, Any, Any]) -> list[bytes]:
    return [value for name, value in connection.scope["headers"] if name == b"cookie"]


def _unauthorized(connection: ASGIConnection[Any, Any, Any, Any], detail: str) -> Problem:
    """The 401; it takes away the cookie of a session that is over, which a page cannot give up itself."""
    headers = {"WWW-Authenticate": CHALLENGE}
    secure = session_of(connection.scope).signals.transport is Transport.SECURE
    if COOKIE.values(_cookies(connection), secure=secure):
        headers["Set-Cookie"] = COOKIE.cleared(secure=secure)
    return Problem("unauthorized", detail, headers=headers)


# docs/decisions/0070-strangers-are-known-by-address-and-headers.md
async def is_trusted(connection: ASGIConnection[Any, Any, Any, Any]) -> bool:
    """Whether the request may be told paths and addresses: it is of this machine, or carries the editor token.

    Prevents: a neighbour of a probe guesses tokens, or the probe has an old one · the probe is told 429 · every
    instance leaves the rotation. Where no further token is looked at the request is a stranger's, and is answered.
    """
    if session_of(connection.scope).signals.transport is Transport.LOOPBACK:
        return True
    try:
        return await is_editor(connection)
    except Problem:
        return False


def _bearer(connection: ASGIConnection[Any, Any, Any, Any]) -> str:
    """The token of `Authorization: Bearer`; empty without one."""
    scheme, _space, token = connection.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


# docs/decisions/0059-idempotent-requests-repeat-the-first-answer.md
def caller_of(request: Request[Any, Any, Any]) -> str:
    """Whose idempotency keys a request's are: those of its session, else of its address.

    The session is not looked up: nobody else can present its token, and with its store down the keys stay the same.
    """
    signals = session_of(request.scope).signals
    if signals.token is Token.PRESENT:
        return f"session:{session_id(signals.text)}"
    return f"address:{address_of(request)}"
