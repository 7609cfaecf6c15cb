"""What an HTTP client is told of this library's errors: status, headers and an RFC 9457 problem document.

For any ASGI framework without an integration of its own:

app = ProblemMiddleware(app)
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote

import msgspec

from greenroom.errors import (
    BrokenDocument,
    BrokenValue,
    ClaimLost,
    CommandFailed,
    Conflict,
    EngineError,
    GreenroomError,
    InvalidInput,
    KeyReused,
    LoadFailed,
    MissingExtra,
    OtherVersionValue,
    OutcomeUnknown,
    Overloaded,
    PreconditionFailed,
    QueueFull,
    RecordError,
    RecordOutcomeUnknown,
    RecordUnavailable,
    RoomClosed,
    RoomNotOpen,
    UnknownReference,
    WrongParts,
)
from greenroom.printable import encodable
from greenroom.sessions.refusals import MEDIA_TYPE, Refused

__all__ = ["MEDIA_TYPE", "NO_SUCH_JOB", "ErrorAnswer", "ProblemMiddleware", "answer_to", "path_of", "problem_of"]

log = logging.getLogger("greenroom.problems")

_RETRY: Final = {"Retry-After": "1"}
_INVALID: Final = "Invalid value"
_BUSY: Final = "The service is overloaded"
_AWAY: Final = "A part of the service is not reachable"
_UNKNOWN: Final = "The outcome is unknown"
_FAULT: Final = "Internal error"
_INTERNAL: Final = 500
_SHOWN: Final = 80
"""Characters of a client's value that an answer repeats."""


@dataclass(frozen=True, slots=True)
class FieldProblem:
    """One value that can never be right: its name, what is wrong with it, and what would be accepted."""

    field: str
    reason: str
    remedy: str


@dataclass(frozen=True, slots=True)
class ErrorAnswer:
    """An answer to a request, made of an error.

    Arguments:
        status: of the HTTP answer.
        title: the kind of problem, the same for all of a kind.
        detail: what is wrong this time, without an address, a key or a stored value.
        headers: of this error, as `Retry-After`; `sent_headers` has those of every such answer too.
        errors: the values that are wrong, of a 422.
    """

    status: int
    title: str
    detail: str
    headers: Mapping[str, str] = field(default_factory=dict)
    errors: tuple[FieldProblem, ...] = ()

    @property
    def sent_headers(self) -> dict[str, str]:
        """All that the answer must carry but its length. No cache may keep it: what it says is over in a moment."""
        return {"Content-Type": MEDIA_TYPE, "Cache-Control": "no-store", **self.headers}

    @property
    def close_code(self) -> int:
        """Of a WebSocket (RFC 6455, 7.4): 1008 for the client's mistake, 1013 for "try again", 1011 for ours."""
        if self.status < _INTERNAL:
            return 1008
        return 1013 if "Retry-After" in self.headers else 1011

    def body(self, instance: str) -> bytes:
        """The document, of the media type `MEDIA_TYPE`.

        Arguments:
            instance: the path of the request, percent-encoded; see `path_of`.
        """
        document: dict[str, object] = {"type": "about:blank", "title": self.title, "status": self.status}
        document |= {"detail": encodable(self.detail), "instance": instance}
        if self.errors:
            document["errors"] = [
                FieldProblem(encodable(one.field), encodable(one.reason), encodable(one.remedy)) for one in self.errors
            ]
        return msgspec.json.encode(document)


NO_SUCH_JOB: Final = ErrorAnswer(404, "Not found", "there is no such job")
"""The answer to a request for the progress of a job that the record does not have."""


def path_of(scope: Mapping[str, Any]) -> str:
    """The path of an ASGI request, percent-encoded as it came."""
    path: bytes = scope.get("raw_path") or quote(scope["path"], errors="backslashreplace").encode()
    return path.decode("ascii", "backslashreplace")


def answer_to(error: GreenroomError) -> ErrorAnswer:
    """As `problem_of`; what the client cannot mend is logged too, a fault of the program with its traceback."""
    problem = problem_of(error)
    if problem.status == _INTERNAL and not isinstance(error, Refused):
        log.error("unexpected error", exc_info=error)
    elif problem.status >= _INTERNAL:
        log.warning("%s: %s", type(error).__name__, error)
    return problem


def problem_of(error: GreenroomError) -> ErrorAnswer:
    """What a client is told of an error.

    A wrong value is the client's to correct, since it comes with the request (422). What passes by itself is 503 with
    `Retry-After`. Where a write may or may not have happened there is no `Retry-After`: whoever obeys it would write
    twice. What only the program can mend (other parts than the key has, a room that nobody opened) is 500. Texts that
    can name an address, a key or a value stay in the log.
    """
    match error:
        case Refused():
            return ErrorAnswer(error.status, error.title, str(error), error.headers)
        case WrongParts():
            return _fault()
        case InvalidInput():
            return _invalid(error.field, error.reason, error.remedy)
        case UnknownReference():
            return _invalid(error.field, f"{_cut(error.value)} does not exist", "name one that exists")
        case KeyReused():
            return _invalid("Idempotency-Key", "it was used for another request", "send a new key with each request")
        case Conflict() | ClaimLost():
            return ErrorAnswer(409, "Conflict with stored data", str(error))
        case PreconditionFailed():
            return ErrorAnswer(412, "Precondition failed", str(error))
        case MissingExtra():
            return ErrorAnswer(
                501, "Not available in this installation", "an optional package is missing; the log names it"
            )
        case Overloaded():
            return ErrorAnswer(503, _BUSY, "the service is overloaded", _RETRY)
        case QueueFull():
            return ErrorAnswer(503, _BUSY, "the queue is full", _RETRY)
        case OutcomeUnknown() | RecordOutcomeUnknown():
            detail = "it is not known whether this was stored; read it before you send it again"
            return ErrorAnswer(503, _UNKNOWN, detail)
        case BrokenDocument() | RoomNotOpen():
            return _fault()
        case OtherVersionValue():
            return _away("another version of the service has stored this")
        case BrokenValue():
            return _fault()
        case CommandFailed() if error.of_data:
            return _fault()
        case LoadFailed():
            return _away("this could not be loaded now")
        case RoomClosed():
            return _away("the service is ending")
        case EngineError() | RecordUnavailable() | RecordError():
            return _away("a part of the service did not answer in time")
        case _:
            return _fault()


def _invalid(name: str, reason: str, remedy: str) -> ErrorAnswer:
    return ErrorAnswer(422, _INVALID, f"{name}: {reason}", errors=(FieldProblem(name, reason, remedy),))


def _away(detail: str) -> ErrorAnswer:
    return ErrorAnswer(503, _AWAY, detail, _RETRY)


def _fault() -> ErrorAnswer:
    return ErrorAnswer(_INTERNAL, _FAULT, "an unexpected error; the log has it")


def _cut(value: str) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


class ProblemMiddleware:
    """Answers the errors of this library that an ASGI application lets through, requests and WebSockets alike.

    It belongs inside whatever makes a 500 of each exception: in Starlette `middleware=[Middleware(ProblemMiddleware)]`.
    An application that has begun its answer keeps it, and its exception.
    """

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        begun = over = False

        async def sending(message: Any) -> None:
            nonlocal begun, over
            begun = True
            over = over or message["type"] in ("websocket.close", "websocket.http.response.start")
            await send(message)

        try:
            await self._app(scope, receive, sending)
        except GreenroomError as error:
            # A `Refused` is answered by the SessionMiddleware around this, which has the cookie and the answer's form.
            if isinstance(error, Refused) or over or (begun and scope["type"] == "http"):
                raise
            problem = answer_to(error)
            with suppress(OSError):  # the client was faster
                await _send(scope, send, problem, accepted=begun)


async def _send(scope: Any, send: Any, problem: ErrorAnswer, *, accepted: bool) -> None:
    """The answer to a request; a WebSocket is closed, and before it is accepted answered where the server can."""
    kind = "http"
    if scope["type"] == "websocket":
        if accepted or "websocket.http.response" not in (scope.get("extensions") or {}):
            await send({"type": "websocket.close", "code": problem.close_code, "reason": problem.title})
            return
        kind = "websocket.http"
    body = problem.body(path_of(scope))
    headers = {"Content-Length": str(len(body)), **problem.sent_headers}
    raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    await send({"type": f"{kind}.response.start", "status": problem.status, "headers": raw})
    await send({"type": f"{kind}.response.body", "body": body})
