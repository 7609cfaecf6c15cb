"""`/users`: sign-up."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import Annotated, Any

import msgspec
from litestar import Request, Response, post

from greenroom.rate_limit import Bound
from greenroom_platform.accounts.users import PASSWORD as PASSWORD_LENGTH
from greenroom_platform.accounts.users import USERNAME as USERNAME_LENGTH
from greenroom_platform.http import address_bounds, requests
from greenroom_platform.http.docs import described, taking
from greenroom_platform.http.router import OwnRouter
from greenroom_platform.http.state import ServiceState

Username = Annotated[
    str, described(pattern="^[A-Za-z0-9._~-]+$", minLength=USERNAME_LENGTH[0], maxLength=USERNAME_LENGTH[1])
]
Password = Annotated[str, described(minLength=PASSWORD_LENGTH[0], maxLength=PASSWORD_LENGTH[1])]


class NewUser(msgspec.Struct, frozen=True, kw_only=True):
    """The name and password of a new user."""

    username: Username
    password: Password


class UserAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A user, as others may know one."""

    user_id: str
    username: str


@post("/", operation_class=taking(NewUser), problems=("conflict",), summary="Sign up")
async def add_user(request: Request[Any, Any, Any], state: ServiceState) -> Response[UserAnswer]:
    """Creates a user, but no session; 409 if the name is taken, 429 after too many from one address.

    A name of 32 hexadecimal digits is refused, because it has the form of a user's id.
    """
    given = requests.draft(NewUser, await requests.members(request))
    await state.platform.accounts.check(given.username, given.password)
    # Before the hash, which is what costs.
    bound = Bound(state.settings.signups_per_hour, timedelta(hours=1))
    async with address_bounds.counted(request, "sign-up", bound, "new users"):
        user = await state.platform.accounts.create(given.username, given.password)
    answer = UserAnswer(user_id=user.user_id, username=user.username)
    return Response(answer, status_code=201, headers={"Cache-Control": "no-store"})


new_router = partial(OwnRouter, "/users", route_handlers=[add_user], tags=["Users"])
"""Makes the router of the resource."""
