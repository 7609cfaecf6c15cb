"""Who sends a request."""

from __future__ import annotations

from typing import Any

from litestar import Request

from greenroom.sessions import session_of
from greenroom.sessions.policy import Token
from greenroom.sessions.token import session_id
from greenroom_platform.http.address_bounds import address_of


# docs/decisions/0059-idempotent-requests-repeat-the-first-answer.md
def caller_of(request: Request[Any, Any, Any]) -> str:
    """Whose idempotency keys a request's are: those of its session, else of its address.

    The session is not looked up: nobody else can present its token, and with its store down the keys stay the same.
    """
    signals = session_of(request.scope).signals
    if signals.token is Token.PRESENT:
        return f"session:{session_id(signals.text)}"
    return f"address:{address_of(request)}"
