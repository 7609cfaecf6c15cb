"""`/topics/{topic_id}/feed.xml` and `/feeds/{secret}.xml`: podcasts for players of RSS."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import Annotated, Any

import msgspec
from litestar import Request, Response, delete, get, post
from litestar.params import FromPath, PathParameter

from greenroom.caching.result import digest
from greenroom.rate_limit import Bound
from greenroom_platform.http.address_bounds import counted
from greenroom_platform.http.docs import SESSION_SECURITY
from greenroom_platform.http.feeds import Feed
from greenroom_platform.http.not_modified import is_not_modified
from greenroom_platform.http.problems import Problem
from greenroom_platform.http.responses import CACHE_CONTROL
from greenroom_platform.http.router import OwnRouter
from greenroom_platform.http.routes.history import count_change, no_user, user_of
from greenroom_platform.http.routes.listings import RECENT
from greenroom_platform.http.routes.topics import unknown_topic
from greenroom_platform.http.state import ServiceState

PER_ADDRESS = Bound(120, timedelta(minutes=5))
"""Feeds of users that one client address asks for, or guesses the secret of: each reads the record."""
_TYPE = "application/rss+xml"
_SUFFIX = ".xml"

Name = Annotated[str, PathParameter(description="The secret of the feed, and `.xml`.")]


class FeedAddress(msgspec.Struct, frozen=True, kw_only=True):
    """The address of a user's own feed; anyone who knows it can read it."""

    url: str


@get("/topics/{topic_id:str}/feed.xml", summary="The podcasts of a topic, as RSS", media_type=_TYPE)
async def read_topic_feed(
    request: Request[Any, Any, Any], state: ServiceState, topic_id: FromPath[str]
) -> Response[bytes]:
    """The latest 20 that can be heard; 404 for an unknown topic."""
    read = await state.platform.topics.read(topic_id)
    topic = read.value
    if topic is None:
        raise unknown_topic(topic_id, read)
    site = _site(request)
    feed = Feed(
        site,
        f"{site}/topics/{topic_id}/feed.xml",
        title=topic.display_name,
        description=topic.description or topic.display_name,
    )
    feed.add(await state.platform.listings.of_topic(topic_id, RECENT), {topic_id: topic.display_name})
    return _answer(request, feed, CACHE_CONTROL)


@get("/feeds/{name:str}", summary="My podcasts, as RSS", media_type=_TYPE)
async def read_own_feed(request: Request[Any, Any, Any], state: ServiceState, name: Name) -> Response[bytes]:
    """What the user of this secret has listened to and is still there, the latest first; 404 for an unknown secret."""
    async with counted(request, "feeds", PER_ADDRESS, "requests for feeds", required=False):
        found = await state.platform.feeds.read(name.removesuffix(_SUFFIX)) if name.endswith(_SUFFIX) else None
    if found is None:
        raise Problem("not-found", "there is no such feed; a new one has replaced it, or it was ended")
    podcasts, titles = found
    site = _site(request)
    description = "What you have listened to, the latest first. Anyone who knows this address can read it."
    feed = Feed(site, f"{site}/feeds/{name}", title="My podcasts", description=description, listed=False)
    feed.add(podcasts, titles)
    return _answer(request, feed, "private, no-cache")


@post("/api/v1/history/feed", status_code=200, security=SESSION_SECURITY, summary="Make the address of my feed")
async def make_feed(request: Request[Any, Any, Any], state: ServiceState) -> Response[FeedAddress]:
    """Makes a new address, shown only in this answer; an earlier one stops working."""
    user_id = await user_of(request, writable=True)
    await count_change(state, user_id)
    secret = await state.platform.feeds.make(user_id)
    if secret is None:
        raise no_user()
    return Response(FeedAddress(url=f"{_site(request)}/feeds/{secret}{_SUFFIX}"))


@delete("/api/v1/history/feed", security=SESSION_SECURITY, summary="End my feed")
async def end_feed(request: Request[Any, Any, Any], state: ServiceState) -> None:
    """Its address answers 404 from now on. Succeeds also if there is no feed."""
    user_id = await user_of(request, writable=True)
    await count_change(state, user_id)
    if not await state.platform.feeds.end(user_id):
        raise no_user()


def _site(request: Request[Any, Any, Any]) -> str:
    """Where the service is for whoever asks: the host that they name, which `AllowedHosts` has looked at."""
    return str(request.base_url).rstrip("/")


def _answer(request: Request[Any, Any, Any], feed: Feed, cache_control: str) -> Response[bytes]:
    content = feed.xml()
    tag = f'"{digest(content)}"'
    headers = {"ETag": tag, "Cache-Control": cache_control}
    if is_not_modified(request, tag):
        return Response(b"", status_code=304, headers=headers, media_type=_TYPE)
    return Response(content, media_type=f"{_TYPE}; charset=utf-8", headers=headers)


new_router = partial(
    OwnRouter, "/", route_handlers=[read_topic_feed, read_own_feed, make_feed, end_feed], tags=["Feeds"]
)
"""Makes the router of the resources."""
