"""`/load`, `/export` and `/changes`: everything at once, and what became of a change; for editors."""

from __future__ import annotations

import logging
import re
import tempfile
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import IO, Any

import msgspec
from litestar import Request, Response, get, post
from litestar.exceptions import InternalServerException
from litestar.openapi.spec import OpenAPIMediaType, Operation, RequestBody, Schema
from litestar.openapi.spec.enums import OpenAPIType
from litestar.params import FromPath, FromQuery
from litestar.response import Stream
from litestar.status_codes import HTTP_413_REQUEST_ENTITY_TOO_LARGE

from greenroom.errors import RecordError, RecordUnavailable
from greenroom_platform.domain.exports import Exports
from greenroom_platform.http.auth import editors_only, staff_of, staff_only
from greenroom_platform.http.docs import EDITOR_SECURITY, STAFF_SECURITY
from greenroom_platform.http.parameters import once
from greenroom_platform.http.problems import Problem, invalid
from greenroom_platform.http.responses import is_head
from greenroom_platform.http.router import OwnRouter
from greenroom_platform.http.state import ServiceState
from greenroom_platform.platform import Platform
from greenroom_platform.storage import BadLine, LoadSummary, exported, load

log = logging.getLogger("greenroom.http")

LIMIT = 32 * 1024 * 1024
"""Bytes of a body of `/load`; `greenroom load` takes any number."""
NAMED = 100
"""Bad lines that are named; a file of the wrong kind has as many as it has lines."""
_IN_MEMORY = 1024 * 1024
"""Bytes of a body in memory; more lie in a temporary file."""
_BATCH = 200
"""Lines of one transaction: listeners' requests wait while they are read."""
_NDJSON = "application/x-ndjson"
_NUMBER = re.compile(r"[0-9]{1,19}")
_MAX_CHANGE = 2**63 - 1
_TOO_LARGE = f"a load takes at most {LIMIT // 1024 // 1024} MiB; send it in parts, or use `greenroom load`"


class BadLineTold(msgspec.Struct, frozen=True, kw_only=True):
    """A line that is not stored: its number from 1, and what to do about it."""

    line: int
    field: str
    reason: str
    remedy: str


class LoadAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What a load has read and stored, or would store.

    Arguments:
        topics: lines that are good topics; those that are stored already change nothing.
        snippets: likewise.
        bad: the first bad lines, by number.
        more_bad: how many more there are.
        changes: transactions that changed something; 0 in a dry run.
        pending: whether some of it is in the outbox still, because the server of the caches could not be reached.
    """

    topics: int
    snippets: int
    bad: tuple[BadLineTold, ...]
    more_bad: int
    changes: int
    pending: bool
    dry_run: bool


class ChangeState(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a change is still in the outbox in the outbox: then what it made stale is not dropped everywhere yet."""

    change_id: str
    pending: bool


@dataclass
class _TakingLines(Operation):
    def __post_init__(self) -> None:
        lines = Schema(type=OpenAPIType.STRING, description="One JSON object a line, as `greenroom load` takes them.")
        self.request_body = RequestBody({_NDJSON: OpenAPIMediaType(schema=lines)})  # nothing is no error


@post(
    "/load",
    status_code=200,
    guards=[editors_only],
    security=EDITOR_SECURITY,
    operation_class=_TakingLines,
    request_max_body_size=LIMIT,
    summary="Load NDJSON (editors)",
)
async def load_lines(
    request: Request[Any, Any, Any], state: ServiceState, dry_run: FromQuery[bool] = False
) -> Response[LoadAnswer]:
    """Takes at most 32 MiB of NDJSON, as `greenroom load`: bad lines are reported, and good lines are stored.

    With `dry_run=true` nothing is stored. One load at a time in each process; 503 while another one runs.
    """
    once(request)
    if state.loading.locked():
        raise Problem("overloaded", "another load is under way", headers={"Retry-After": "5"})
    async with state.loading:
        with tempfile.SpooledTemporaryFile(_IN_MEMORY) as lines:
            await _received(request, lines)
            lines.seek(0)
            loaded = await _loaded(state.platform, lines, dry_run=dry_run)
    if not dry_run:
        who = (await staff_of(request)).who
        log.info("%s loaded %d topics and %d snippets", who, loaded.topics, loaded.snippets)
    return Response(loaded, headers={"Cache-Control": "no-store"})


async def _received(request: Request[Any, Any, Any], lines: IO[bytes]) -> None:
    """The whole body, before anything of it is stored: what is broken off is no load."""
    try:
        async for part in request.stream():
            lines.write(part)
    except InternalServerException:
        raise Problem("bad-request", "the body ended too early") from None
    except Exception as error:
        if getattr(error, "status_code", None) == HTTP_413_REQUEST_ENTITY_TOO_LARGE:
            raise Problem("too-large", _TOO_LARGE) from None
        raise


async def _loaded(platform: Platform, lines: IO[bytes], *, dry_run: bool) -> LoadAnswer:
    bad: list[BadLineTold] = []
    more_bad = 0
    progress = LoadSummary()

    def on_bad(one: BadLine) -> None:
        nonlocal more_bad
        if len(bad) < NAMED:
            bad.append(BadLineTold(line=one.number, field=one.field, reason=one.reason, remedy=one.remedy))
        else:
            more_bad += 1

    def on_progress(summary: LoadSummary) -> None:
        nonlocal progress
        progress = summary

    sources = [("body", lines)]
    try:
        summary = await load(
            platform.records, sources, on_bad=on_bad, on_progress=on_progress, batch=_BATCH, dry_run=dry_run
        )
    except RecordUnavailable as error:
        log.warning("a load was cut off: %s", error)
        stored = "nothing is stored" if dry_run else f"{progress.topics + progress.snippets:,} lines are stored"
        detail = f"the record failed in the middle; {stored}, and loading the same again does the rest"
        raise Problem("unavailable", detail, headers={"Retry-After": "5"}) from None
    finally:
        if not dry_run:
            # By the outbox, and not change by change: many changes of one topic name the same pages.
            with suppress(RecordError):  # all is stored, and what is left in the outbox is any process's to send
                await platform.outbox.send_pending()
    return LoadAnswer(
        topics=summary.topics,
        snippets=summary.snippets,
        bad=tuple(sorted(bad, key=lambda one: one.line)),
        more_bad=more_bad,
        changes=summary.changes,
        pending=bool(not dry_run and summary.changes and platform.outbox.unsent),
        dry_run=dry_run,
    )


@get(
    "/export",
    operation_id="exportLines",
    guards=[editors_only],
    security=EDITOR_SECURITY,
    media_type=_NDJSON,
    summary="Export everything as NDJSON (editors)",
)
async def export(request: Request[Any, Any, Any], state: ServiceState) -> Stream:
    """All topics, then all snippets, one JSON object a line, as `POST /load` and `greenroom load` take them.

    The export is not a snapshot: a change made meanwhile may be in it or not. An answer that breaks off is incomplete.
    """
    records = state.platform.records
    if not isinstance(records, Exports):
        raise Problem("not-installed", "this record cannot be exported")
    name = f"greenroom-{datetime.now(UTC):%Y-%m-%d}.ndjson"
    headers = {"Cache-Control": "no-store", "Content-Disposition": f'attachment; filename="{name}"'}
    lines: AsyncIterator[bytes] | tuple[()] = () if is_head(request) else exported(records)
    return Stream(lines, media_type=_NDJSON, headers=headers)


@get(
    "/changes/{change:str}",
    operation_id="readChange",
    guards=[staff_only],
    security=STAFF_SECURITY,
    summary="Whether a change is still in the outbox (staff)",
)
async def change_state(state: ServiceState, change: FromPath[str]) -> Response[ChangeState]:
    """Whether the change of a `Drop-Receipt` is still in the outbox. A change that was never made is not there."""
    number = int(change) if _NUMBER.fullmatch(change) else 0
    if not 0 < number <= _MAX_CHANGE:
        raise invalid("change", "is not a number of a change", "send `change_id` of a `Drop-Receipt`")
    pending = await state.platform.changes.is_pending(number)
    return Response(ChangeState(change_id=change, pending=pending), headers={"Cache-Control": "no-store"})


new_router = partial(OwnRouter, "/", route_handlers=[load_lines, export, change_state], tags=["Editing"])
"""Makes the router of the resources."""
