"""`/podcasts/{podcast_id}/stream` and `/audio.webm`: a recording as it is made, and whole."""

from __future__ import annotations

import logging
import re
from functools import partial
from typing import Any, NoReturn, cast

import msgspec
from litestar import Request, Response, WebSocket, get, websocket
from litestar.exceptions import WebSocketDisconnect
from litestar.params import FromPath
from litestar.response import Stream as Body

from greenroom.errors import EngineError, InvalidInput, LoadFailed, RecordError
from greenroom.keyspace.parts import check_part
from greenroom.sessions import Refused, SessionSnapshot, session_of
from greenroom_platform.http import ranges
from greenroom_platform.http.address_bounds import address_of, too_many
from greenroom_platform.http.not_modified import is_not_modified
from greenroom_platform.http.problems import Problem, send_problem, shown
from greenroom_platform.http.responses import StoredJSON, is_head
from greenroom_platform.http.router import OwnRouter
from greenroom_platform.http.state import ServiceState
from greenroom_platform.http.stream_messages import (
    CLOSES,
    DONE,
    FAILED_HERE,
    GOING_AWAY,
    OVERLOAD,
    SESSION_OVER,
    UNKNOWN,
    StreamError,
)
from greenroom_platform.http.stream_session import NOT_KEPT, StreamSession
from greenroom_platform.models import Session
from greenroom_platform.studio.recording_errors import RecordingsUnavailable
from greenroom_platform.studio.recordings import WholeRecording
from greenroom_platform.studio.transcript import Transcript

log = logging.getLogger("greenroom.http")

STREAMS = 1000
"""Streams of one process at a time."""
_PLACE_RETRY = 10
"""Seconds after which an address that has all its streams may have one less."""
_CHUNK = 256 * 1024
"""Bytes of a download that the store is asked for at once."""
_RETRY = 5
"""Seconds after which a recording that is being made may be whole."""
_LONGEST = 24 * 3600
"""Seconds into a recording that may be asked for."""
_EXPLAINED = frozenset({GOING_AWAY, SESSION_OVER, UNKNOWN})
"""The codes whose close frame has their meaning as its reason."""
_SECONDS = re.compile(r"[0-9]{1,5}(\.[0-9]{1,9})?")


@websocket("/{podcast_id:str}/stream")
async def stream(socket: WebSocket[Any, Any, Any], state: ServiceState, podcast_id: FromPath[str]) -> None:
    """A podcast's recording, cluster by cluster, from `?from=` seconds on; one that is being made is waited for."""
    with state.streams_of.taken(address_of(socket)) as taken:
        if taken:
            await _serve(socket, state, podcast_id)
        else:
            await send_problem(socket.scope, socket.send, too_many("too many streams to this address", _PLACE_RETRY))


async def _serve(socket: WebSocket[Any, Any, Any], state: ServiceState, podcast_id: str) -> None:
    try:
        await socket.accept()
        code, reason = await _listen(socket, state, podcast_id)
    except (OSError, WebSocketDisconnect):
        return  # they have left, or the session's end has closed it
    except Exception as error:
        log.error("unexpected error", exc_info=error)
        code, reason = FAILED_HERE, "an unexpected error; the log has the details under the request id"
    await _close(socket, code, reason)


async def _listen(socket: WebSocket[Any, Any, Any], state: ServiceState, podcast_id: str) -> tuple[int, str]:
    """Stream to the end; returns what to close with, and why."""
    try:
        check_part("podcast_id", podcast_id)
        from_ms = _place(socket.query_params.getall("from", ["0"]))
    except InvalidInput as error:
        if error.field == "podcast_id":
            return UNKNOWN, CLOSES[UNKNOWN]
        await socket.send_text(msgspec.json.encode(StreamError(detail=str(error))).decode())
        return DONE, ""
    if state.stream_places.locked():
        return OVERLOAD, "too many listen here; try again in a moment"
    async with state.stream_places:
        live = await _listener(socket)
        listening = StreamSession(
            podcast_id,
            session=None if live is None else live.session_id,
            from_ms=from_ms,
            statuses=state.platform.statuses,
            recordings=state.platform.recordings,
            presence=state.platform.presence,
            text=lambda text: socket.send_text(text.decode()),
            data=socket.send_bytes,
        )
        try:
            code = await listening.run([lambda: _left(socket), lambda: _ending(state)])
        except (EngineError, LoadFailed, RecordError) as error:
            log.warning("a podcast cannot be looked up: %s", type(error).__name__)
            return OVERLOAD, "the podcast cannot be looked up now; try again in a moment"
        except RecordingsUnavailable as error:
            log.warning("a stream was interrupted: %s", error)
            return OVERLOAD, "the recording cannot be read now; try again in a moment"
        finally:
            await listening.leave()
    return code, CLOSES[code] if code in _EXPLAINED else ""


async def _listener(socket: WebSocket[Any, Any, Any]) -> SessionSnapshot[Session] | None:
    """The listener's session; nobody needs one, so one that cannot be had is none."""
    try:
        live: SessionSnapshot[Session] | None = await session_of(socket.scope).get()
    except Refused:
        return None
    return live


async def _left(socket: WebSocket[Any, Any, Any]) -> NoReturn:
    """Raise `WebSocketDisconnect` when the listener has gone; what they say is of no matter."""
    while True:
        await socket.receive_data("text")


async def _ending(state: ServiceState) -> int:
    # Sockets that are open then are told by `WebSocketProtocol`; one that the server takes later, from here.
    await state.ending.wait()
    return GOING_AWAY


async def _close(socket: WebSocket[Any, Any, Any], code: int, reason: str) -> None:
    try:
        await socket.close(code=code, reason=reason)
    except (OSError, WebSocketDisconnect):
        pass  # they have left in this moment


@get("/{podcast_id:str}/audio.webm", operation_id="readAudio", summary="A complete recording", media_type="audio/webm")
async def audio(request: Request[Any, Any, Any], state: ServiceState, podcast_id: FromPath[str]) -> Response[Any]:
    """The recording, or the requested range of it; 409 until it is complete."""
    whole = await _whole(state, podcast_id)
    headers = {"ETag": whole.etag, "Cache-Control": "public, max-age=86400", "Accept-Ranges": "bytes"}
    return await _part(request, whole, headers)


@get("/{podcast_id:str}/transcript", summary="Transcript of a recording, with times")
async def read_transcript(
    request: Request[Any, Any, Any], state: ServiceState, podcast_id: FromPath[str]
) -> Response[Transcript]:
    """The spoken lines, with their times; 409 until the recording is complete, 404 if it has no transcript."""
    whole = await _whole(state, podcast_id)
    tag = f'{whole.etag[:-1]}-t"'
    common = [(b"etag", tag.encode()), (b"cache-control", b"public, max-age=86400")]
    if is_not_modified(request, tag):
        return cast("Response[Transcript]", StoredJSON(b"", 304, common))
    said = await whole.transcript()
    if said is None:
        raise Problem("not-found", "this recording has no transcript: it was made before transcripts existed")
    headers = [*common, (b"content-type", b"application/json"), (b"content-length", b"%d" % len(said))]
    return cast("Response[Transcript]", StoredJSON(said, 200, headers))


async def _whole(state: ServiceState, podcast_id: str) -> WholeRecording:
    """A podcast's whole recording.

    Raises:
        Problem: 404 where there is none, or none any more; 409 before it is whole.
    """
    status = await state.platform.statuses.get(podcast_id)
    if status is None:
        raise Problem("not-found", f"there is no podcast {podcast_id}")
    whole = await state.platform.recordings.whole(podcast_id)
    if whole is None and status.status == "ready_to_stream":
        raise Problem("not-found", NOT_KEPT)
    if whole is None:
        later = {} if status.status == "error" else {"Retry-After": str(_RETRY)}
        raise Problem(
            "not-whole", f"the recording is not complete; the podcast's status is {status.status}", headers=later
        )
    return whole


async def _part(request: Request[Any, Any, Any], whole: WholeRecording, headers: dict[str, str]) -> Response[Any]:
    if is_not_modified(request, whole.etag):
        return Response(b"", status_code=304, headers=headers)
    # A part of another recording than the one that the client has the beginning of is of no use to it.
    same = request.headers.get("if-range", whole.etag) == whole.etag
    try:
        part = ranges.requested(request.headers.getall("range", []), whole.size) if same else None
    except ranges.Unsatisfiable:
        detail = f"the recording has {whole.size} bytes"
        raise Problem("range-not-satisfiable", detail, headers={"Content-Range": f"bytes */{whole.size}"}) from None
    requested = range(whole.size) if part is None else part
    # Before the first byte is sent: only now it can still be said that it cannot be had. To HEAD a byte tells.
    data = await whole.read(requested[:1] if is_head(request) else requested, _CHUNK)
    if data is None:
        raise Problem("not-found", NOT_KEPT)
    if part is not None:
        headers["Content-Range"] = f"bytes {part.start}-{part.stop - 1}/{whole.size}"
    headers["Content-Length"] = str(len(requested))
    return Body(data, status_code=200 if part is None else 206, headers=headers, media_type="audio/webm")


def _place(asked: list[str]) -> int:
    """Milliseconds of `?from=`."""
    remedy = f"use seconds from 0 to {_LONGEST}, as 12.5"
    if len(asked) != 1:
        raise InvalidInput("from", "it is given more than once", remedy)
    if _SECONDS.fullmatch(asked[0]) is None:
        raise InvalidInput("from", f"{shown(asked[0])} is not a number of seconds", remedy)
    if (seconds := float(asked[0])) > _LONGEST:
        raise InvalidInput("from", "is outside the recording", remedy)
    return int(seconds * 1000)


new_router = partial(OwnRouter, "/podcasts", route_handlers=[stream, audio, read_transcript], tags=["Podcasts"])
"""Makes the router of the resources."""
