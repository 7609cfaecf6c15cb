"""`/snippets`: pages and single snippets, written by editors."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

from litestar import Request, Response, delete, get, post, put
from litestar.params import FromPath, FromQuery, QueryParameter

from greenroom.caching import CacheResult
from greenroom.integrations.conditional import cache_status
from greenroom_platform.definitions import PAGE_NUMBERS, PAGE_SIZE
from greenroom_platform.domain.records import SnippetDraft
from greenroom_platform.http import requests
from greenroom_platform.http.auth import editors_only
from greenroom_platform.http.docs import EDITOR_SECURITY, taking
from greenroom_platform.http.drop_receipts import Receipts
from greenroom_platform.http.handler_words import mentions
from greenroom_platform.http.parameters import once
from greenroom_platform.http.preconditions import precondition_of
from greenroom_platform.http.problems import Problem, invalid
from greenroom_platform.http.responses import cached
from greenroom_platform.http.router import OwnRouter
from greenroom_platform.http.routes.topics import unknown_topic
from greenroom_platform.http.state import ServiceState
from greenroom_platform.models import Snippet
from greenroom_platform.platform import Platform

PageNumber = Annotated[int, QueryParameter(ge=PAGE_NUMBERS.min, le=PAGE_NUMBERS.max)]


@get("/", summary="A page of a topic's snippets, or the newest of all")
async def list_snippets(
    request: Request[Any, Any, Any], topic_id: FromQuery[str | None] = None, page: PageNumber = 1
) -> Response[tuple[Snippet, ...]]:
    """20 snippets, the newest first; without `topic_id` the newest 20 over all topics."""
    once(request)
    platform: Platform = request.app.state.platform  # a `state` argument is a copy, made for each request
    snippets = platform.snippets
    if topic_id is None:
        if page != 1:
            raise invalid("page", "only a topic has pages", "give topic_id as well, or leave page out")
        return cached(request, await snippets.read_newest())
    read = await snippets.read_page(topic_id, page)
    if not read.value:
        # docs/decisions/0020-absent-pages-are-absences.md
        # No such page: whether the topic itself exists decides between an empty page and 404.
        topic = await platform.topics.read(topic_id)
        if topic.value is None:
            raise unknown_topic(topic_id, topic)
        return cached(request, read, body=b"[]")
    return cached(request, read, of=snippets.pages, link=_next_page(topic_id, page, len(read.value)))


@get("/{snippet_id:str}", summary="One snippet")
async def read_snippet(
    request: Request[Any, Any, Any], state: ServiceState, snippet_id: FromPath[str]
) -> Response[Snippet]:
    """One snippet; 404 where there is none."""
    read = await state.platform.snippets.read(snippet_id)
    if read.body is None:
        raise unknown_snippet(snippet_id, read)
    return cached(request, read, of=state.platform.snippets.one)


@post(
    "/",
    guards=[editors_only],
    security=EDITOR_SECURITY,
    operation_class=taking(SnippetDraft),
    summary="Add a snippet (editors)",
)
async def add_snippet(request: Request[Any, Any, Any], state: ServiceState) -> Response[Snippet]:
    """Takes `topic_id`, `title`, `text_content` and optionally `cover_art_prompt`, `image_url`."""
    draft = requests.draft(SnippetDraft, await requests.members(request))
    receipts = Receipts(request)
    written = await state.platform.snippets.add(draft, on_receipt=receipts.take)
    location = f"/api/v1/snippets/{written.value.snippet_id}"
    return Response(written.value, status_code=201, headers={"Location": location} | receipts.headers())


# docs/decisions/0052-put-has-no-etag.md
@put(
    "/{snippet_id:str}",
    guards=[editors_only],
    security=EDITOR_SECURITY,
    operation_class=taking(SnippetDraft),
    summary="Replace a snippet (editors)",
)
async def put_snippet(
    request: Request[Any, Any, Any], state: ServiceState, snippet_id: FromPath[str]
) -> Response[Snippet]:
    """Takes what POST takes; `generation_timestamp` stays. 404 for an unknown id, 412 where `If-Match` fails."""
    condition = precondition_of(request)
    members = await requests.members(request)

    def edit(stored: Snippet) -> SnippetDraft:
        return requests.draft(SnippetDraft, members, stored)

    receipts = Receipts(request)
    written = await state.platform.snippets.edit(snippet_id, edit, condition=condition, on_receipt=receipts.take)
    if written is None:
        raise unknown_snippet(snippet_id)
    return Response(written.value, headers=receipts.headers())


@delete("/{snippet_id:str}", guards=[editors_only], security=EDITOR_SECURITY, summary="Delete a snippet (editors)")
async def delete_snippet(
    request: Request[Any, Any, Any], state: ServiceState, snippet_id: FromPath[str]
) -> Response[None]:
    """404 where there is none, 412 where `If-Match` fails."""
    state.platform.snippets.check(snippet_id)
    receipts = Receipts(request)
    condition = precondition_of(request)
    if not await state.platform.snippets.delete(snippet_id, condition=condition, on_receipt=receipts.take):
        raise unknown_snippet(snippet_id)
    return Response(None, status_code=204, headers=receipts.headers())


@mentions("not-found")
def unknown_snippet(snippet_id: str, read: CacheResult[Snippet] | None = None) -> Problem:
    """The answer to an id that no snippet has; `read` is the cached read that found none."""
    headers = {"Cache-Status": cache_status(read)} if read is not None else {}
    return Problem("not-found", f"there is no snippet {snippet_id}", headers=headers)


def _next_page(topic_id: str, page: int, length: int) -> str | None:
    if length < PAGE_SIZE or page >= PAGE_NUMBERS.max:
        return None
    return f'</api/v1/snippets?topic_id={topic_id}&page={page + 1}>; rel="next"'


new_router = partial(
    OwnRouter,
    "/snippets",
    route_handlers=[list_snippets, read_snippet, add_snippet, put_snippet, delete_snippet],
    tags=["Snippets"],
)
