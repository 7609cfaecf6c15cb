"""`/search`: topics and snippets by their words."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import Annotated, Any

from litestar import Request, Response, get
from litestar.params import QueryParameter

from greenroom.rate_limit import Bound
from greenroom_platform.definitions import SEARCH_LIMIT
from greenroom_platform.domain.searching import TYPED
from greenroom_platform.http.address_bounds import counted
from greenroom_platform.http.parameters import once
from greenroom_platform.http.problems import invalid
from greenroom_platform.http.responses import cached
from greenroom_platform.http.router import OwnRouter
from greenroom_platform.models import Found
from greenroom_platform.platform import Platform

PER_ADDRESS = Bound(300, timedelta(minutes=5))
"""Searches from one client address that the record has to answer: somebody who types asks for each letter or two."""

Limit = Annotated[int, QueryParameter(ge=SEARCH_LIMIT.min, le=SEARCH_LIMIT.max)]
Typed = Annotated[str, QueryParameter(required=False)]


@get("/", summary="Search topics and snippets")
async def search(request: Request[Any, Any, Any], q: Typed = "", limit: Limit = SEARCH_LIMIT.max) -> Response[Found]:
    """Those that have every word of `q`, the best first. The last word may be the beginning of one."""
    once(request)
    if not q:
        raise invalid("q", "is missing", "type {} to {} characters".format(*TYPED))
    platform: Platform = request.app.state.platform
    found = await platform.search.find(q, limit)
    if found is None:
        # What is cached costs the record nothing, and is not counted.
        async with counted(request, "search", PER_ADDRESS, "searches", required=False):
            found = await platform.search.read(q, limit)
    # By this route each time: a finished answer would stay with an epoch that is over.
    return cached(request, found)


new_router = partial(OwnRouter, "/search", route_handlers=[search], tags=["Search"])
"""Makes the router of the resource."""
