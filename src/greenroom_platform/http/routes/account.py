"""`DELETE /users/me`: the deletion of one's account."""

from __future__ import annotations

import logging
from functools import partial
from typing import Any

import msgspec
from litestar import Request, delete

from greenroom.errors import EngineError
from greenroom_platform.http import requests
from greenroom_platform.http.docs import SESSION_SECURITY, taking
from greenroom_platform.http.router import OwnRouter
from greenroom_platform.http.routes.history import user_of
from greenroom_platform.http.session_answers import request_session
from greenroom_platform.http.state import ServiceState

log = logging.getLogger("greenroom.http")


class AccountDeletion(msgspec.Struct, frozen=True, kw_only=True):
    """The password of the account to delete."""

    password: str


# docs/decisions/0105-sessions-end-before-their-user-goes.md
@delete(
    "/me",
    security=SESSION_SECURITY,
    operation_class=taking(AccountDeletion),
    problems=("too-many-requests",),
    summary="Delete my account",
)
async def delete_account(request: Request[Any, Any, Any], state: ServiceState) -> None:
    """Ends every session of the user and deletes all that is kept of them; the name can be taken again.

    A wrong password gives 422 and counts as an attempt to sign in. While the session server is unreachable nothing is
    deleted, and the answer is 503. If the record fails after that, the user is signed out but still exists.
    """
    session = request_session(request)
    user_id = await user_of(request, writable=True)
    given = requests.draft(AccountDeletion, await requests.members(request))
    sessions = state.platform.sessions
    address = request.client.host if request.client is not None else "unknown"

    signed_out = False

    async def sign_out() -> None:
        nonlocal signed_out
        await sessions.end_all(user_id)
        session.forget()
        signed_out = True

    # All sessions end before the user goes, this one too, and once more afterwards. Only afterwards: the user is
    # deleted · the process is killed · sessions of nobody go on. Only before: somebody signs in between the two.
    # Whoever does it later finds no user: the log-in itself looks once more when its session has begun.
    try:
        await state.platform.accounts.delete(user_id, given.password, address=address, once_right=sign_out)
        await sessions.end_all(user_id)
    except BaseException as error:
        if not signed_out:
            raise
        sessions.end_all_behind(user_id)
        if not isinstance(error, EngineError):
            raise
        log.warning("sessions of a deleted user will be ended later: %s", type(error).__name__)


new_router = partial(OwnRouter, "/users", route_handlers=[delete_account], tags=["Sessions"])
"""Makes the router of the resource."""
