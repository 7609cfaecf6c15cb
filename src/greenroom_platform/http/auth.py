"""Who sends a request: an editor by `Authorization: Bearer`, a local operator, or a stranger."""

from __future__ import annotations

import hmac
from datetime import timedelta
from typing import Any

from litestar import Request
from litestar.connection import ASGIConnection
from litestar.handlers.base import BaseRouteHandler

from greenroom.rate_limit import Bound
from greenroom.sessions import session_of
from greenroom.sessions.policy import Token, Transport
from greenroom.sessions.token import session_id
from greenroom_platform.http.address_bounds import address_of
from greenroom_platform.http.problems import Problem

CHALLENGE = 'Bearer realm="greenroom editors"'
NONE = (
    "editor calls need Authorization: Bearer with the editor token: that of GREENROOM_EDITOR_TOKEN, "
    "or the one in the file `editor-token` of the service's data directory"
)
WRONG = (
    "the token in Authorization: Bearer is not the editor token: that of GREENROOM_EDITOR_TOKEN, or, unless it is set, "
    "the one in the file `editor-token` of the service's data directory"
)
WRONG_TOKENS = Bound(50, timedelta(minutes=15))
"""Wrong tokens from one client address; behind it may be a whole office."""


async def editors_only(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
    """Let the request pass if it carries the editor token; async, or the framework would run it in a thread.

    Raises:
        Problem: 401 with `WWW-Authenticate`; 429 where too many wrong ones came from the address.
    """
    if await is_editor(connection):
        return
    detail = WRONG if _bearer(connection) else NONE
    raise Problem("unauthorized", detail, headers={"WWW-Authenticate": CHALLENGE})


async def is_editor(connection: ASGIConnection[Any, Any, Any, Any]) -> bool:
    """Whether the request carries the editor token; a wrong one is counted. Another scheme than Bearer is no guess.

    Raises:
        Problem: 429 where it carries a token, and too many wrong ones came from the address.
    """
    token = _bearer(connection)
    if not token:
        return False
    wrong = connection.app.state.wrong_tokens
    wrong.check(connection)
    expected: str = connection.app.state.settings.editor_token
    # Compared in constant time: how long a wrong guess takes must not tell how much of it was right.
    if hmac.compare_digest(token.encode(), expected.encode()):
        return True
    await wrong.count(connection)
    return False


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
