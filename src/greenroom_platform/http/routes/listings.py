"""Lists of podcasts: by their ids, of a topic, and the place of one in the queue."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import Annotated, Any

from litestar import Request, Response, get
from litestar.params import FromPath, QueryParameter

from greenroom.keyspace.parts import is_part
from greenroom.rate_limit import Bound
from greenroom_platform.domain.listings import ListedPodcast, QueuePlace, TopicPodcast
from greenroom_platform.http.address_bounds import counted
from greenroom_platform.http.parameters import once
from greenroom_platform.http.problems import Problem, invalid
from greenroom_platform.http.router import OwnRouter
from greenroom_platform.http.routes.topics import unknown_topic
from greenroom_platform.http.state import ServiceState
from greenroom_platform.models import STATUSES

IDS = 50
"""Podcasts that are asked for together."""
RECENT = 20
"""Podcasts of a topic that are told at most."""
PER_ADDRESS = Bound(300, timedelta(minutes=5))
"""Lists by ids from one client address: each reads the record."""

Ids = Annotated[str, QueryParameter(required=False, description="Up to 50 ids, with commas between them.")]
Limit = Annotated[int, QueryParameter(ge=1, le=RECENT)]


@get("/podcasts", summary="Some podcasts, by their ids")
async def list_podcasts(
    request: Request[Any, Any, Any], state: ServiceState, ids: Ids = ""
) -> Response[tuple[ListedPodcast, ...]]:
    """In the requested order; unknown ids are left out. A page shows a visitor's history with this call."""
    once(request)
    podcast_ids = ids.split(",") if ids else []
    if not 0 < len(podcast_ids) <= IDS:
        raise invalid("ids", f"names {len(podcast_ids)} podcasts", f"send 1 to {IDS} ids, as a,b,c")
    for one in podcast_ids:
        if not is_part(one):
            raise invalid("ids", "has an invalid id", "send ids of podcasts, as a,b,c")
    async with counted(request, "podcasts", PER_ADDRESS, "lists of podcasts", required=False):
        found = await state.platform.listings.podcasts(podcast_ids)
    return Response(found, headers={"Cache-Control": "no-store"})


@get("/topics/{topic_id:str}/podcasts", summary="Recent podcasts of a topic")
async def list_topic_podcasts(
    request: Request[Any, Any, Any], state: ServiceState, topic_id: FromPath[str], limit: Limit = RECENT
) -> Response[tuple[TopicPodcast, ...]]:
    """Those with a complete recording, the latest first; at most a second old. 404 for an unknown topic."""
    once(request)
    # Cached, as is that there is none: whoever makes up topics does not reach the record each time.
    topic = await state.platform.topics.read(topic_id)
    if topic.value is None:
        raise unknown_topic(topic_id, topic)
    found = await state.platform.listings.of_topic(topic_id, limit)
    shown = tuple(
        TopicPodcast(podcast_id=one.task.podcast_id, created_at=one.task.created_at, duration_seconds=one.duration)
        for one in found
    )
    return Response(shown, headers={"Cache-Control": "no-store"})


@get("/podcasts/{podcast_id:str}/queue", summary="The place of a podcast in the queue")
async def read_queue_place(
    request: Request[Any, Any, Any], state: ServiceState, podcast_id: FromPath[str]
) -> Response[QueuePlace]:
    """`position` is 1 for the next podcast, and 0 for one that no longer waits. With `"paused": true` none begins until
    the operators resume the queue. The answer is at most a second old.
    """
    status = await state.platform.statuses.get(podcast_id)
    if status is None:
        raise Problem("not-found", f"there is no podcast {podcast_id}")
    if STATUSES.ended(status.status):
        return Response(QueuePlace(position=0, of=0), headers={"Cache-Control": "no-store"})
    return Response(await state.platform.listings.place(podcast_id), headers={"Cache-Control": "no-store"})


new_router = partial(
    OwnRouter, "/", route_handlers=[list_podcasts, list_topic_podcasts, read_queue_place], tags=["Podcasts"]
)
"""Makes the router of the resources."""
