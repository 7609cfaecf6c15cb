"""The guard of editor calls: `Authorization: Bearer` with the editor token."""

from __future__ import annotations

import hmac
from datetime import timedelta
from typing import Any

from litestar.connection import ASGIConnection
from litestar.handlers.base import BaseRouteHandler

from greenroom.accounts import Bound
from greenroom.service.problems import Problem

CHALLENGE = 'Bearer realm="greenroom editors"'
NONE = (
    "editor calls need Authorization: Bearer with the editor token: that of GREENROOM_EDITOR_TOKEN, "
    "or the one that the service prints at its start"
)
WRONG = (
    "the token in Authorization: Bearer is not the editor token; it changes at every start of the service, "
    "unless GREENROOM_EDITOR_TOKEN is set"
)
WRONG_TOKENS = Bound(50, timedelta(minutes=15))
"""Wrong tokens from one client address; behind it may be a whole office."""


async def editors_only(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
    """Let the request pass if it carries the editor token; async, or the framework would run it in a thread.

    Raises:
        Problem: 401 with `WWW-Authenticate`; 429 where too many wrong ones came from the address.
    """
    wrong = connection.app.state.wrong_tokens
    wrong.check(connection)
    scheme, _space, token = connection.headers.get("authorization", "").partition(" ")
    wanted: str = connection.app.state.settings.editor_token
    # Compared in constant time: how long a wrong guess takes must not tell how much of it was right.
    if scheme.lower() == "bearer" and hmac.compare_digest(token.strip().encode(), wanted.encode()):
        return
    if scheme:
        await wrong.count(connection)
    detail = WRONG if scheme.lower() == "bearer" and token.strip() else NONE
    raise Problem("unauthorized", detail, headers={"WWW-Authenticate": CHALLENGE})
