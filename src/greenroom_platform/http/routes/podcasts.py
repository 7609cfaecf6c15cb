"""`/podcasts`: asked for by anyone, then polled, waited for or followed."""

from __future__ import annotations

import math
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Annotated, Any

import msgspec
from litestar import Request, Response, get, post
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath, QueryParameter

from greenroom.caching import CacheResult
from greenroom.errors import InvalidInput, UnknownReference
from greenroom.integrations.conditional import cache_status
from greenroom.rate_limit import Bound
from greenroom_platform.domain.statuses import Statuses
from greenroom_platform.domain.task_records import PodcastRequest
from greenroom_platform.http import requests
from greenroom_platform.http.address_bounds import address_of, counted
from greenroom_platform.http.auth import caller_of
from greenroom_platform.http.docs import taking
from greenroom_platform.http.events import EventStream, event_id
from greenroom_platform.http.handler_words import mentions
from greenroom_platform.http.parameters import once
from greenroom_platform.http.problems import Problem, invalid
from greenroom_platform.http.responses import cached, holds
from greenroom_platform.http.router import OwnRouter
from greenroom_platform.http.routes.topics import unknown_topic
from greenroom_platform.http.state import ServiceState
from greenroom_platform.models import QUEUED, STATUSES, PodcastStatus

PER_ADDRESS = Bound(30, timedelta(minutes=5))
"""Requests for podcasts from one client address."""
LONGEST_WAIT = 30
"""Seconds that a poll may wait for a change."""
POLL_RETRY_AFTER = 1, 5
"""Seconds, least and most, after which a poll of an unfinished podcast should come again."""
KEY = "Idempotency-Key"

Wait = Annotated[int, QueryParameter(ge=0, le=LONGEST_WAIT)]


class Accepted(msgspec.Struct, frozen=True, kw_only=True):
    """A podcast that will be made, and where to learn how far it is and to listen; the paths are absolute."""

    podcast_id: str
    status: str
    status_url: str
    stream_url: str


@post(
    "/generate",
    operation_id="generatePodcast",
    status_code=202,
    operation_class=taking(PodcastRequest),
    problems=("not-installed",),
    summary="Request a podcast on a topic",
)
async def generate(request: Request[Any, Any, Any], state: ServiceState) -> Response[Accepted]:
    """Takes `topic_id`. The same `Idempotency-Key` within 24 hours gives the same answer, and starts nothing new."""
    requested = requests.draft(PodcastRequest, await requests.members(request))
    state.platform.topics.check(requested.topic_id)
    key = _idempotency_key(request)
    state.voice()
    try:
        # docs/decisions/0060-uncounted-requests-pass.md
        async with counted(request, "generation", PER_ADDRESS, "requests for podcasts", required=False):
            asked = await state.platform.generation.request(requested.topic_id, caller=caller_of(request), key=key)
    except UnknownReference:
        raise unknown_topic(requested.topic_id) from None
    except InvalidInput as error:
        raise invalid(KEY, error.reason, error.remedy) from None
    path = f"/api/v1/podcasts/{asked.task.podcast_id}"
    # With a repeated key too it is the first answer, whatever has become of the podcast since.
    accepted = Accepted(
        podcast_id=asked.task.podcast_id, status=QUEUED, status_url=f"{path}/status", stream_url=f"{path}/stream"
    )
    return Response(accepted, status_code=202, headers={"Location": accepted.status_url, "Cache-Control": "no-store"})


@get("/{podcast_id:str}/status", problems=("too-many-requests",), summary="Get the status of a podcast")
async def read_status(
    request: Request[Any, Any, Any], state: ServiceState, podcast_id: FromPath[str], wait: Wait = 0
) -> Response[PodcastStatus]:
    """With `wait` and `If-None-Match` the answer comes at the first change, or as 304 after that time."""
    once(request)
    statuses = state.platform.statuses
    read = _known(podcast_id, await statuses.read(podcast_id))
    if wait and holds(request, read):
        async with state.waiting.place(request.receive, wait, address=address_of(request)):
            await _changed(request, statuses, podcast_id)
        read = _known(podcast_id, await statuses.read(podcast_id))
    retry_after = _poll_retry_after(read.value)
    # Of a podcast that is being made the answer depends on the time too.
    at_rest = None if wait or retry_after is not None else statuses.cache
    return cached(request, read, of=at_rest, retry_after=retry_after)


@get(
    "/{podcast_id:str}/events",
    problems=("too-many-requests",),
    summary="Follow the status of a podcast",
    media_type="text/event-stream",
    responses={204: ResponseSpec(None, description="The client has the last event.")},
)
async def follow_status(
    request: Request[Any, Any, Any], state: ServiceState, podcast_id: FromPath[str]
) -> Response[str]:
    """Server-sent events named `status`, each with the status object as its data; it ends after a final status."""
    statuses, last = state.platform.statuses, request.headers.get("last-event-id")
    status = _known(podcast_id, await statuses.read(podcast_id)).value
    if status is not None and STATUSES.ended(status.status) and event_id(status) == last:
        # Nothing else will come: the one answer that keeps a browser from asking again.
        return Response("", status_code=204, headers={"Cache-Control": "no-store"})
    return EventStream("status", statuses.follow(podcast_id), state.waiting, last=last, address=address_of(request))


async def _changed(request: Request[Any, Any, Any], statuses: Statuses, podcast_id: str) -> None:
    """Return when the caller does not have the current status any more, or there will be no other."""
    async with aclosing(statuses.follow(podcast_id)) as following:
        async for _ in following:
            if not holds(request, await statuses.read(podcast_id)):
                return


@mentions("not-found")
def _known(podcast_id: str, read: CacheResult[PodcastStatus]) -> CacheResult[PodcastStatus]:
    if read.body is None:
        headers = {"Cache-Status": cache_status(read)}
        raise Problem("not-found", f"there is no podcast {podcast_id}", headers=headers)
    return read


def _poll_retry_after(status: PodcastStatus | None) -> int | None:
    if status is None or STATUSES.ended(status.status):
        return None
    minimum, maximum = POLL_RETRY_AFTER
    if isinstance(status.estimated_completion_time, msgspec.UnsetType):
        return maximum
    left = (status.estimated_completion_time - datetime.now(UTC)).total_seconds()
    return min(maximum, max(minimum, math.ceil(left)))


def _idempotency_key(request: Request[Any, Any, Any]) -> str | None:
    keys = request.headers.getall(KEY, [])
    if len(keys) > 1:
        raise invalid(KEY, "is given more than once", "give it once")
    return keys[0] if keys else None


new_router = partial(OwnRouter, "/podcasts", route_handlers=[generate, read_status, follow_status], tags=["Podcasts"])
