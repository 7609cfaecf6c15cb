"""What `greenroom.integrations.problems` makes of the library's errors, in any ASGI application."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest

from greenroom import errors
from greenroom.errors import (
    BrokenValue,
    CommandFailed,
    Conflict,
    EngineUnavailable,
    GreenroomError,
    InvalidInput,
    LoadFailed,
    LoadTimeout,
    OtherVersionValue,
    OutcomeUnknown,
    OutOfMemory,
    Overloaded,
    RoomClosed,
    RoomNotOpen,
    WrongParts,
)
from greenroom.integrations.problems import ProblemMiddleware, answer_to, path_of, problem_of
from greenroom.sessions import SignInRequired
from greenroom.testing.http import Client, WebSocketClosed, WebSocketRefused

SECRET = "password=hunter2"


def every_error() -> list[type[GreenroomError]]:
    """All classes of errors of the library, without those that only sort them."""
    found = [one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, GreenroomError)]
    return [one for one in found if one not in (GreenroomError, errors.EngineError)]


def made(kind: type[GreenroomError]) -> GreenroomError:
    """An error of a class, whose every text is a secret."""
    arguments: tuple[Any, ...]
    for arguments in ((), (SECRET,), (SECRET, SECRET), (SECRET, 1.0), (SECRET, SECRET, SECRET), (SECRET, [], SECRET)):
        try:
            return kind(*arguments)
        except (TypeError, AttributeError):
            continue
    raise AssertionError(kind)


TOLD = (errors.InvalidInput, errors.UnknownReference, errors.Conflict, errors.ClaimLost, errors.PreconditionFailed)
"""Errors about what the client sent; their texts are for it."""


@pytest.mark.parametrize("kind", every_error(), ids=lambda kind: kind.__name__)
def test_each_error_has_an_answer_that_tells_no_secret(kind: type[GreenroomError]) -> None:
    error = made(kind)
    problem = problem_of(error)
    assert 400 <= problem.status < 600
    document = json.loads(problem.body("/x"))
    assert document["status"] == problem.status
    if not isinstance(error, TOLD) or isinstance(error, WrongParts):
        assert SECRET not in json.dumps(document)


@pytest.mark.parametrize(
    ("error", "status", "retries", "close_code"),
    [
        (InvalidInput("region", "holds a space", "use letters"), 422, False, 1008),
        (WrongParts("a:{b}", ["b"], "none"), 500, False, 1011),
        (Overloaded(SECRET), 503, True, 1013),
        (EngineUnavailable(SECRET), 503, True, 1013),
        (OutOfMemory(f"OOM {SECRET}"), 503, True, 1013),
        (CommandFailed(f"WRONGTYPE {SECRET}"), 500, False, 1011),
        (OutcomeUnknown(SECRET), 503, False, 1011),
        (LoadFailed(SECRET, "ValueError"), 503, True, 1013),
        (LoadTimeout(SECRET, 5.0), 503, True, 1013),
        (BrokenValue(SECRET, SECRET), 500, False, 1011),
        (OtherVersionValue(SECRET, SECRET), 503, True, 1013),
        (RoomNotOpen(), 500, False, 1011),
        (RoomClosed(), 503, True, 1013),
        (SignInRequired(), 401, False, 1008),
    ],
    ids=lambda one: type(one).__name__ if isinstance(one, Exception) else None,
)
def test_the_status_says_who_can_mend_it(error: GreenroomError, status: int, retries: bool, close_code: int) -> None:
    problem = problem_of(error)
    assert (problem.status, "Retry-After" in problem.headers, problem.close_code) == (status, retries, close_code)


def test_a_fault_is_logged_with_its_traceback_and_an_outage_in_a_line(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "greenroom.problems"):
        for error in (InvalidInput("a", "b", "c"), EngineUnavailable(SECRET), RoomNotOpen()):
            answer_to(error)
    outage, fault = caplog.records
    assert (outage.levelname, outage.exc_info, SECRET in outage.getMessage()) == ("WARNING", None, True)
    assert fault.levelname == "ERROR"
    assert fault.exc_info is not None


async def test_a_text_that_is_no_unicode_does_not_make_the_answer_fail() -> None:
    """Prevents: JSON has half of a surrogate pair · an error repeats it · the answer to it is another error's, 500."""
    half = "\ud800"
    for error in (Conflict(half), InvalidInput(half, half, half)):
        answer = await Client(ProblemMiddleware(Application(error))).get("/")
        assert answer.status_code == problem_of(error).status
        assert "\\ud800" in answer.json()["detail"]
    scope = {"type": "http", "path": f"/{half}"}
    assert path_of(scope) == "/%5Cud800"


class Application:
    """Raises what it is given, before it answers or after it has begun to."""

    def __init__(self, error: Exception, *, begun: bool = False) -> None:
        self._error = error
        self._begun = begun

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "websocket":
            await receive()
        if self._begun:
            start: dict[str, object] = {"type": "http.response.start", "status": 200, "headers": []}
            await send(start if scope["type"] == "http" else {"type": "websocket.accept"})
        raise self._error


BAD = InvalidInput("region", "holds a space", "use letters")


async def test_a_request_with_a_bad_value_is_422_and_names_the_cure() -> None:
    answer = await Client(ProblemMiddleware(Application(BAD))).get("/products/with%20space")
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
    assert answer.json() == {
        "type": "about:blank",
        "title": "Invalid value",
        "status": 422,
        "detail": "region: holds a space",
        "instance": "/products/with%20space",
        "errors": [{"field": "region", "reason": "holds a space", "remedy": "use letters"}],
    }


async def test_a_request_in_an_outage_is_503_with_a_time_to_wait() -> None:
    answer = await Client(ProblemMiddleware(Application(EngineUnavailable(SECRET)))).get("/")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")


async def test_other_exceptions_and_begun_answers_are_left_alone() -> None:
    with pytest.raises(ZeroDivisionError):
        await Client(ProblemMiddleware(Application(ZeroDivisionError()))).get("/")
    with pytest.raises(InvalidInput):
        await Client(ProblemMiddleware(Application(BAD, begun=True))).get("/")
    with pytest.raises(SignInRequired):  # which the SessionMiddleware answers
        await Client(ProblemMiddleware(Application(SignInRequired()))).get("/")


async def test_a_websocket_is_refused_before_it_is_accepted_and_closed_after() -> None:
    with pytest.raises(WebSocketRefused) as refused:
        async with Client(ProblemMiddleware(Application(BAD))).websocket("/"):
            pass
    assert (refused.value.status, json.loads(refused.value.body)["detail"]) == (422, "region: holds a space")
    with pytest.raises(WebSocketClosed) as closed:
        async with Client(ProblemMiddleware(Application(BAD, begun=True))).websocket("/") as socket:
            await socket.receive()
    assert closed.value.code == 1008


async def test_a_refusal_of_a_websocket_that_has_begun_is_left_alone() -> None:
    sent: list[Any] = []

    async def refusing(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "websocket.http.response.start", "status": 403, "headers": []})
        raise BAD

    async def send(message: Any) -> None:
        sent.append(message["type"])

    scope = {"type": "websocket", "path": "/", "extensions": {"websocket.http.response": {}}}
    with pytest.raises(InvalidInput):
        await ProblemMiddleware(refusing)(scope, None, send)
    assert sent == ["websocket.http.response.start"]
