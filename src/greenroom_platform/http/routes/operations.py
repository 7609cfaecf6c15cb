"""What operators and machines ask: health, metrics, and what a problem's type means."""

from __future__ import annotations

import asyncio
import hashlib
import re
from typing import Any

from litestar import MediaType, Request, Response, get
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath
from prometheus_client import CONTENT_TYPE_LATEST

from greenroom.errors import EngineError, InvalidInput, RecordError
from greenroom_platform.domain.records import ChecksWrites
from greenroom_platform.http.auth import is_trusted
from greenroom_platform.http.problems import KINDS, Problem
from greenroom_platform.http.state import ServiceState

PING_DEADLINE = 1.0
"""Seconds within which the record has to answer a health check, or a scrape."""
_READ_ONLY = "cannot be written"
_SINCE = re.compile(r"[-0-9]{10}T[:0-9]{8}Z")
_STATES = frozenset({"ok", "degraded", "unavailable", "draining"})
_ACTIVE, _LISTENERS = "greenroom_sessions_active", "greenroom_listeners"
_QUEUE, _QUEUE_OLDEST = "greenroom_podcast_queue_length", "greenroom_podcast_queue_oldest_seconds"


@get("/health/live", operation_id="readLiveness", tags=["Operations"], summary="Whether the process answers")
async def live() -> dict[str, str]:
    """Always 200: a process that is stuck gives no answer."""
    return {"status": "ok"}


@get(
    "/health/ready",
    operation_id="readReadiness",
    tags=["Operations"],
    summary="Whether requests should be sent here",
    responses={503: ResponseSpec(dict[str, str], description="Requests should go elsewhere", generate_examples=False)},
)
async def ready(request: Request[Any, Any, Any], state: ServiceState) -> Response[dict[str, str]]:
    """200 while the record answers. A Valkey that is down degrades the service: it must not take every instance out.

    With a record that can be read but not written it is degraded too. Details are for requests from this machine or
    with the editor token; all others get one word for each part.
    """
    body = await health(state)
    usable = body["status"] in ("ok", "degraded")
    shown = body if await is_trusted(request) else {name: in_a_word(text) for name, text in body.items()}
    return Response(shown, status_code=200 if usable else 503, headers={"Cache-Control": "no-store"})


async def health(state: ServiceState) -> dict[str, str]:
    """How the service and its parts are, with paths and addresses; and since when, where something is ill."""
    engine, records = state.platform.room.unavailable, state.platform.records
    database, answers = "ok", True
    try:
        async with asyncio.timeout(PING_DEADLINE):
            await records.ping()
    except (RecordError, TimeoutError) as error:
        database, answers = str(error) or "no answer in time", False
    if answers and isinstance(records, ChecksWrites) and (trouble := await _write_trouble(records)) is not None:
        database = f"{_READ_ONLY}: {trouble}"
    usual = "unavailable" if not answers else "degraded" if engine or database != "ok" else "ok"
    status = "draining" if state.ending.requested else usual
    body = {"status": status, "engine": str(engine) if engine else "ok", "database": database}
    since = state.ill_since.note(frozenset(name for name, text in body.items() if text != "ok"))
    return body if since is None else body | {"since": f"{since:%Y-%m-%dT%H:%M:%SZ}"}


def in_a_word(text: str) -> str:
    """A part's state as strangers are told it: without paths, addresses or the words of a server."""
    if text in _STATES or _SINCE.fullmatch(text):
        return text
    return _READ_ONLY if text.startswith(f"{_READ_ONLY}: ") else "unavailable"


async def _write_trouble(records: ChecksWrites) -> str | None:
    try:
        async with asyncio.timeout(PING_DEADLINE):
            return await records.check_writes()
    except TimeoutError:
        return "no answer in time"


@get(
    "/metrics",
    operation_id="readMetrics",
    tags=["Operations"],
    summary="Metrics for Prometheus",
    media_type=MediaType.TEXT,
)
async def metrics(request: Request[Any, Any, Any], state: ServiceState) -> Response[bytes]:
    """The counters of all workers, active sessions and the podcast queue; a number that is unknown is left out.

    Addresses of servers are for requests from this machine or with the editor token; all others get a name that stays
    the same and does not show the address.
    """
    trusted = await is_trusted(request)
    presence, gauges = state.platform.presence, state.metrics.gauges
    try:
        active, listeners = await presence.active(), sum((await presence.listeners()).values())
    except EngineError:
        for name in (_ACTIVE, _LISTENERS):
            gauges.pop(name, None)
    else:
        gauges[_ACTIVE] = "Sessions that are alive.", active
        gauges[_LISTENERS] = "Open streams, of all podcasts.", listeners
    try:
        async with asyncio.timeout(PING_DEADLINE):
            length, oldest = await state.platform.generation.queue()
    except (RecordError, InvalidInput, TimeoutError):  # or a record that keeps no tasks
        for name in (_QUEUE, _QUEUE_OLDEST):
            gauges.pop(name, None)
    else:
        gauges[_QUEUE] = "Podcasts that were asked for and are not finished.", length
        gauges[_QUEUE_OLDEST] = "Seconds since the oldest of them was asked for; 0 where there is none.", oldest
    return Response(
        state.metrics.exposition(None if trusted else _Pseudonyms(state)), headers={"Content-Type": CONTENT_TYPE_LATEST}
    )


# docs/decisions/0071-strangers-see-hashed-server-names.md
class _Pseudonyms:
    """Names for servers: the same in every process and after a restart, as long as the editor token is.

    Keyed by it: an address has so few possible values that a plain hash of it would tell it.
    """

    def __init__(self, state: ServiceState) -> None:
        self._key = hashlib.sha256((state.settings.editor_token or "").encode()).digest()

    def __call__(self, node: str) -> str:
        return f"node-{hashlib.blake2s(node.encode(), key=self._key, digest_size=4).hexdigest()}"


@get(
    "/problems/{slug:str}",
    operation_id="readProblemKind",
    tags=["Operations"],
    summary="The meaning of a problem type",
    media_type=MediaType.TEXT,
)
async def problem_kind(slug: FromPath[str]) -> str:
    """The title of a problem type and what to do about it."""
    if slug not in KINDS:
        raise Problem("not-found", f"there is no problem type {slug[:64]}")
    status, title, advice = KINDS[slug]
    return f"{status} {title}. {advice}\n"


HANDLERS = [live, ready, metrics, problem_kind]
