"""`/topics`: read by everyone, written by editors."""

from __future__ import annotations

from functools import partial
from typing import Any

from litestar import Request, Response, delete, get, put
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath

from greenroom.caching import CacheResult
from greenroom.integrations.conditional import cache_status
from greenroom_platform.domain.records import TopicDraft
from greenroom_platform.http import requests
from greenroom_platform.http.auth import editors_only
from greenroom_platform.http.docs import EDITOR_SECURITY, taking
from greenroom_platform.http.drop_receipts import Receipts
from greenroom_platform.http.handler_words import mentions
from greenroom_platform.http.preconditions import precondition_of
from greenroom_platform.http.problems import Problem
from greenroom_platform.http.responses import cached
from greenroom_platform.http.router import OwnRouter
from greenroom_platform.http.state import ServiceState
from greenroom_platform.models import Topic


@mentions("not-found")
def unknown_topic(topic_id: str, read: CacheResult[Topic] | None = None) -> Problem:
    """The answer to an id that no topic has; `read` is the cached read that found none."""
    headers = {"Cache-Status": cache_status(read)} if read is not None else {}
    return Problem("not-found", f"there is no topic {topic_id}", headers=headers)


@get("/", summary="Every topic, by display name")
async def list_topics(request: Request[Any, Any, Any], state: ServiceState) -> Response[tuple[Topic, ...]]:
    """All topics in one array."""
    topics = state.platform.topics
    return cached(request, await topics.read_all(), of=topics.every, body=b"[]")


@get("/{topic_id:str}", summary="One topic")
async def read_topic(request: Request[Any, Any, Any], state: ServiceState, topic_id: FromPath[str]) -> Response[Topic]:
    """One topic; 404 where there is none."""
    read = await state.platform.topics.read(topic_id)
    if read.body is None:
        raise unknown_topic(topic_id, read)
    return cached(request, read, of=state.platform.topics.one)


# docs/decisions/0052-put-has-no-etag.md
@put(
    "/{topic_id:str}",
    guards=[editors_only],
    security=EDITOR_SECURITY,
    operation_class=taking(TopicDraft),
    summary="Create or replace a topic (editors)",
    responses={201: ResponseSpec(Topic, description="Created")},
)
async def put_topic(request: Request[Any, Any, Any], state: ServiceState, topic_id: FromPath[str]) -> Response[Topic]:
    """Takes `display_name`, `description`, `keywords`; the times are the server's. 412 where `If-Match` fails."""
    condition = precondition_of(request)
    members = await requests.members(request)

    # After the condition (RFC 9110, 13.2.1): the times in the body are those of the version that it was made of.
    def edit(stored: Topic | None) -> TopicDraft:
        return requests.draft(TopicDraft, members, stored, topic_id=topic_id)

    receipts = Receipts(request)
    written = await state.platform.topics.edit(topic_id, edit, condition=condition, on_receipt=receipts.take)
    headers = {"Location": f"/api/v1/topics/{topic_id}"} if written.created else {}
    headers |= receipts.headers()
    return Response(written.value, status_code=201 if written.created else 200, headers=headers)


@delete(
    "/{topic_id:str}",
    guards=[editors_only],
    security=EDITOR_SECURITY,
    problems=("conflict",),
    summary="Delete a topic (editors)",
)
async def delete_topic(request: Request[Any, Any, Any], state: ServiceState, topic_id: FromPath[str]) -> Response[None]:
    """404 where there is none, 409 while it has snippets, 412 where `If-Match` fails."""
    state.platform.topics.check(topic_id)
    receipts = Receipts(request)
    condition = precondition_of(request)
    if not await state.platform.topics.delete(topic_id, condition=condition, on_receipt=receipts.take):
        raise unknown_topic(topic_id)
    return Response(None, status_code=204, headers=receipts.headers())


new_router = partial(
    OwnRouter, "/topics", route_handlers=[list_topics, read_topic, put_topic, delete_topic], tags=["Topics"]
)
