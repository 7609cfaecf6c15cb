"""`/site`: what a page asks first."""

from __future__ import annotations

from functools import partial
from typing import Any

import msgspec
from litestar import Request, Response, get

from greenroom.errors import MissingExtra
from greenroom_platform.http.auth import names_staff
from greenroom_platform.http.router import OwnRouter
from greenroom_platform.http.session_answers import request_session
from greenroom_platform.http.state import ServiceState


class Site(msgspec.Struct, frozen=True, kw_only=True):
    """What this installation offers, and what it knows of the caller."""

    podcasts: bool
    session: bool
    staff: bool


# docs/decisions/0106-a-page-asks-what-there-is-before-who-one-is.md
@get("/site", summary="What this service offers")
async def read_site(request: Request[Any, Any, Any], state: ServiceState) -> Response[Site]:
    """`podcasts`: whether podcasts are made here. `session`: whether the request has a session token, valid or not.
    `staff`: the same for the session of editors and operators.

    A page cannot read its cookie: this call tells whether to ask for the session, so a first visit has no 401.
    """
    site = Site(podcasts=_has_voices(state), session=request_session(request).presented, staff=names_staff(request))
    return Response(site, headers={"Cache-Control": "no-store"})


def _has_voices(state: ServiceState) -> bool:
    try:
        state.voice()
    except MissingExtra:
        return False
    return True


new_router = partial(OwnRouter, "/", route_handlers=[read_site], tags=["Site"])
"""Makes the router of the resource."""
