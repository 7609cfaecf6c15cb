"""Every error as an RFC 9457 problem document, the framework's own included."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import msgspec
from litestar import Request, Response
from litestar.exceptions import HTTPException, MethodNotAllowedException

from greenroom.errors import (
    BrokenDocument,
    CommandFailed,
    Conflict,
    EngineError,
    EngineRefused,
    InvalidInput,
    KeyReused,
    LoadFailed,
    MissingExtra,
    Overloaded,
    PreconditionFailed,
    QueueFull,
    RecordError,
    RecordOutcomeUnknown,
    RecordUnavailable,
    UnknownReference,
)
from greenroom.sessions.refusals import (
    MEDIA_TYPE,
    ForeignOrigin,
    InsecureTransport,
    Refused,
    RequestCancelled,
    RequestFailed,
    SessionBroken,
    SessionsOverloaded,
    SessionsUnavailable,
    SignInRequired,
)
from greenroom_platform.accounts import TooManyAttempts, WrongCredentials
from greenroom_platform.http.handler_words import mentions
from greenroom_platform.http.logs import REQUEST_ID
from greenroom_platform.http.methods import allow
from greenroom_platform.http.missing_page import missing_page
from greenroom_platform.studio.recording_errors import RecordingFailed, RecordingsUnavailable

log = logging.getLogger("greenroom.http")


# slug → (status, title, what the caller may do); served at /problems/<slug>.
KINDS: dict[str, tuple[int, str, str]] = {
    "malformed-json": (400, "The body is not JSON", "Send one JSON object."),
    "bad-request": (400, "Malformed request", "Correct the request."),
    "unauthorized": (401, "Authentication required", "Sign in; an editor sends Authorization: Bearer with the token."),
    "forbidden": (403, "Access denied", "Use other credentials."),
    "not-found": (404, "Not found", "Check the address and the ids in it."),
    "method-not-allowed": (405, "Method not allowed", "Use one of the methods in Allow."),
    "conflict": (409, "Conflict with stored data", "Read the current state, then decide."),
    "precondition-failed": (412, "Precondition failed", "Read the current state, then decide."),
    "request-timeout": (408, "Request timeout", "Send it again, without pauses."),
    "not-whole": (
        409,
        "The recording is not complete",
        "Try again after Retry-After, if there is one.",
    ),
    "too-large": (413, "The body is too large", "Send at most 1 MiB; a load, 32 MiB."),
    "uri-too-long": (414, "The address is too long", "Send at most 8 KiB."),
    "range-not-satisfiable": (416, "Range not satisfiable", "Ask for a range within the length in Content-Range."),
    "invalid-input": (422, "Invalid value", "Correct what `errors` names, then send it again."),
    "upgrade-required": (426, "WebSocket handshake required", "Send a handshake of version 13 (RFC 6455)."),
    "too-many-requests": (429, "Too many requests", "Wait as long as Retry-After says."),
    "headers-too-large": (431, "The headers are too large", "Send at most 100 headers and 64 KiB."),
    "internal-error": (500, "Internal error", "Tell the operator the request id."),
    "not-installed": (501, "Not available in this installation", "Tell the operator to install what `detail` names."),
    "unavailable": (503, "A part of the service is not reachable", "Try again after Retry-After."),
    "overloaded": (503, "The service is overloaded", "Try again after Retry-After."),
    "queue-full": (503, "The podcast queue is full", "Try again after Retry-After."),
}

QUEUE_RETRY = 10
"""Seconds after which a place in the queue of podcasts may be free."""

PATH_SHOWN = 300
"""Characters of a path that a log line or a problem repeats; the longest of ours have fewer than 200."""
_FEEDS = b"/feeds/"
UNEXPECTED = "an unexpected error; the log has the details under the request id"
SOCKET_VERSION = "13"
"""Of the WebSocket protocol: RFC 6455's, the only one."""
_SOCKET = "websocket"
"""What the framework names among methods where a path has a WebSocket."""
_RECORD = "the system of record is not reachable"

_OF_REFUSALS: dict[type[Refused], str] = {
    SignInRequired: "unauthorized",
    ForeignOrigin: "forbidden",
    InsecureTransport: "forbidden",
    SessionsUnavailable: "unavailable",
    SessionsOverloaded: "overloaded",
    SessionBroken: "internal-error",
    RequestFailed: "internal-error",
    RequestCancelled: "unavailable",
}


class FieldError(msgspec.Struct, frozen=True):
    """An invalid value: its name, what is wrong with it, and what would be accepted."""

    field: str
    reason: str
    remedy: str


class ProblemDocument(msgspec.Struct, frozen=True, omit_defaults=True):
    """A problem document (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    request_id: str
    errors: tuple[FieldError, ...] = ()


class Problem(Exception):
    """An answer that is a problem; `slug` is one of `KINDS`."""

    def __init__(
        self,
        slug: str,
        detail: str,
        *,
        errors: Sequence[FieldError] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.slug = slug
        self.detail = detail
        self.errors = tuple(errors)
        self.headers = dict(headers or {})


def invalid(field: str, reason: str, remedy: str) -> Problem:
    """The 422 problem of one value."""
    return Problem("invalid-input", f"{field}: {reason}", errors=[FieldError(field, reason, remedy)])


def upgrade_required() -> Problem:
    """The answer to what is no WebSocket handshake of ours, where only that would do (RFC 9110, 15.5.22)."""
    headers = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": SOCKET_VERSION}
    detail = f"send a WebSocket handshake with Sec-WebSocket-Version: {SOCKET_VERSION}"
    return Problem("upgrade-required", detail, headers=headers)


def cut_off() -> Problem:
    """The answer to a request that the service does not wait for at its end."""
    return Problem("unavailable", "the service is ending, and this request took too long", headers={"Retry-After": "1"})


def shown(value: object) -> str:
    """A value as an error quotes it, cut to a bearable length."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:60]}… ({len(text)} characters)"


def path_as_sent(scope: Any) -> str:
    """The path of a request, percent-encoded as it came: a line break in it stays one word of a URI or a log line.

    A long one is cut: it would be repeated in each line and each problem of its request. Of a user's feed the secret is
    left out.
    """
    if scope["raw_path"].startswith(_FEEDS):
        return f"{_FEEDS.decode()}..."
    path = str(scope["raw_path"][: PATH_SHOWN + 1].decode("ascii", "backslashreplace"))
    return path if len(path) <= PATH_SHOWN else f"{path[:PATH_SHOWN]}..."


def document(problem: Problem, instance: str) -> bytes:
    """The problem's JSON."""
    status, title, _ = KINDS[problem.slug]
    described = ProblemDocument(
        f"/problems/{problem.slug}", title, status, problem.detail, instance, REQUEST_ID.get(), problem.errors
    )
    return msgspec.json.encode(described)


def refused(error: Refused, scope: Any) -> bytes:
    """The problem's JSON for what the session middleware refuses."""
    return document(as_problem(error), path_as_sent(scope))


async def send_problem(scope: Any, send: Any, problem: Problem) -> None:
    """Answer a request, or refuse a handshake, with a problem, where no framework does."""
    kind = "websocket.http.response" if scope["type"] == "websocket" else "http.response"
    body = document(problem, path_as_sent(scope))
    headers = {
        "content-type": MEDIA_TYPE,
        "content-length": str(len(body)),
        "cache-control": "no-store",
        **problem.headers,
    }
    raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    await send({"type": f"{kind}.start", "status": KINDS[problem.slug][0], "headers": raw})
    await send({"type": f"{kind}.body", "body": body})


def answer(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """The answer to any exception."""
    if (page := missing_page(request, error)) is not None:
        return page
    is_socket = isinstance(error, MethodNotAllowedException) and _methods(error) == [_SOCKET]
    problem = upgrade_required() if is_socket and request.method == "GET" else as_problem(error)
    status = KINDS[problem.slug][0]
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR and problem.slug == "internal-error":
        log.error("unexpected error", exc_info=error)
    return Response(
        document(problem, path_as_sent(request.scope)),
        status_code=status,
        media_type=MEDIA_TYPE,
        headers={"Cache-Control": "no-store", **problem.headers},
    )


@mentions()  # what it makes of an error is said where the error comes from
def as_problem(error: Exception) -> Problem:
    """What an exception means to the caller; texts of unexpected ones stay in the log."""
    retry = {"Retry-After": "1"}
    match error:
        case Problem():
            return error
        case InvalidInput():
            return invalid(error.field, error.reason, error.remedy)
        case UnknownReference():
            return invalid(error.field, f"{shown(error.value)} does not exist", "name one that exists")
        case KeyReused():
            return invalid("Idempotency-Key", "it was used for another request", "send a new key with each request")
        case QueueFull():
            return Problem("queue-full", str(error), headers={"Retry-After": str(QUEUE_RETRY)})
        case MissingExtra():
            return Problem("not-installed", str(error))
        case Conflict():
            return Problem("conflict", str(error))
        case PreconditionFailed():
            return Problem("precondition-failed", str(error))
        case Overloaded():
            return Problem("overloaded", "the service is overloaded", headers=retry)
        case Refused():
            return Problem(_OF_REFUSALS[type(error)], str(error), headers=error.headers)
        case WrongCredentials():
            return Problem("unauthorized", str(error), headers=SignInRequired().headers)
        case TooManyAttempts():
            wait = {"Retry-After": str(math.ceil(error.retry_after))}
            return Problem("too-many-requests", str(error), headers=wait)
        case RecordUnavailable():
            log.warning("the record is not available: %s", error)
            said = f"the system of record cannot do this now: {error.answer}" if error.answer else _RECORD
            return Problem("unavailable", said, headers=retry)
        case RecordingsUnavailable():
            log.warning("the store of recordings is not available: %s", error)
            return Problem("unavailable", "the store of recordings does not answer", headers=retry)
        case RecordingFailed():
            log.error("%s", error)
            return Problem(
                "internal-error", "a part of the recording is missing; the log has more under the request id"
            )
        case RecordOutcomeUnknown():
            log.warning("%s", error)
            return Problem("unavailable", "it is not known whether this was stored; read it before you send it again")
        case BrokenDocument():
            log.error("%s", error)
            return Problem(
                "internal-error", f"the stored {error.kind} does not fit; the log has more under the request id"
            )
        case LoadFailed() | EngineError() | RecordError():
            log.warning("%s: %s", type(error).__name__, error)
            return Problem("unavailable", _unavailable(error), headers=retry)
        case HTTPException():
            return _framework(error)
        case _:
            return Problem("internal-error", UNEXPECTED)


def _unavailable(error: Exception) -> str:
    """What failed, without the server's own text: that may name keys and addresses."""
    match error:
        case CommandFailed():
            code = error.code if error.code.isalpha() and error.code.isupper() else "ERR"
            return f"a server of this service refused a command with {code}; /health/ready and the log say more"
        case EngineRefused():
            return "a server of this service refuses this service; /health/ready and the log say why"
        case LoadFailed():
            return "what was asked for could not be loaded; the log says why"
    return "a part of the service did not answer in time"


def _methods(error: MethodNotAllowedException) -> list[str]:
    return (error.headers or {}).get("allow", "").split(", ")


def _framework(error: HTTPException) -> Problem:
    by_status = {status: slug for slug, (status, _, _) in reversed(KINDS.items())}
    fallback = "bad-request" if error.status_code < HTTPStatus.INTERNAL_SERVER_ERROR else "internal-error"
    slug = by_status.get(error.status_code, fallback)
    if error.status_code == HTTPStatus.BAD_REQUEST:
        slug = "bad-request"
    if isinstance(error, MethodNotAllowedException):
        methods = _methods(error)
        if methods == [_SOCKET]:
            return Problem(
                "method-not-allowed", "allowed here: GET, as a WebSocket handshake", headers={"Allow": "GET"}
            )
        allowed = allow(methods)
        return Problem(slug, f"allowed methods: {allowed}", headers={"Allow": allowed})
    detail = error.detail if slug == "bad-request" else KINDS[slug][2]
    return Problem(slug, detail, headers=error.headers)
