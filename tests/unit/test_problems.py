"""From an exception to a problem document: what the caller is told, and what stays in the log."""

from __future__ import annotations

import logging
from typing import Any

import httpx
import pytest

from greenroom.counters import Counters
from greenroom.errors import (
    CommandFailed,
    Conflict,
    EngineRefused,
    EngineUnavailable,
    GreenroomError,
    InvalidInput,
    LoadFailed,
    LoadTimeout,
    OutOfMemory,
    Overloaded,
    RecordError,
    RecordUnavailable,
    UnknownReference,
)
from greenroom_platform.http.envelope import Envelope
from greenroom_platform.http.metrics import Metrics
from greenroom_platform.http.problems import KINDS, as_problem
from tests.support.problem_checks import problem

SECRET = "password=hunter2"


@pytest.mark.parametrize(
    ("error", "slug"),
    [
        (RecordUnavailable(SECRET), "unavailable"),
        (RecordError(SECRET), "unavailable"),
        (EngineUnavailable(SECRET), "unavailable"),
        (LoadFailed("cache:topic:x", SECRET), "unavailable"),
        (LoadTimeout("cache:topic:x", 5.0), "unavailable"),
        (Overloaded(SECRET), "overloaded"),
    ],
)
def test_what_may_pass_by_itself_is_503_with_a_time_to_wait(error: GreenroomError, slug: str) -> None:
    found = as_problem(error)
    assert (found.slug, KINDS[found.slug][0]) == (slug, 503)
    assert int(found.headers["Retry-After"]) >= 1
    assert SECRET not in found.detail


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (CommandFailed(f"WRONGTYPE {SECRET}"), "refused a command with WRONGTYPE"),
        (OutOfMemory(f"OOM {SECRET}"), "refused a command with OOM"),
        (CommandFailed(SECRET), "refused a command with ERR"),
        (EngineRefused(SECRET), "refuses this service"),
        (EngineUnavailable(SECRET), "did not answer in time"),
    ],
)
def test_a_refusal_is_told_from_silence_without_its_text(error: GreenroomError, told: str) -> None:
    found = as_problem(error)
    assert told in found.detail
    assert SECRET not in found.detail


def test_a_fault_of_ours_is_500_and_its_text_stays_in_the_log() -> None:
    found = as_problem(ZeroDivisionError(SECRET))
    assert KINDS[found.slug][0] == 500
    assert SECRET not in found.detail


@pytest.mark.parametrize(
    ("error", "status", "fields"),
    [
        (InvalidInput("topic_id", "is wrong", "use another"), 422, ["topic_id"]),
        (UnknownReference("topic_id", "x" * 10_000), 422, ["topic_id"]),
        (Conflict("the id is taken"), 409, []),
    ],
)
def test_what_the_caller_can_correct_is_told(error: GreenroomError, status: int, fields: list[str]) -> None:
    found = as_problem(error)
    assert KINDS[found.slug][0] == status
    assert [one.field for one in found.errors] == fields
    assert len(found.detail) < 200


async def ask(app: Any) -> httpx.Response:
    wrapped = Envelope(app, Metrics(Counters()))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(wrapped), base_url="http://test") as client:
        return await client.get("/broken", headers={"X-Request-Id": "this-one"})


async def test_what_goes_past_the_framework_is_a_problem_too(caplog: pytest.LogCaptureFixture) -> None:
    async def broken(_scope: Any, _receive: Any, _send: Any) -> None:
        raise ZeroDivisionError(SECRET)

    with caplog.at_level(logging.ERROR, "greenroom"):
        answer = await ask(broken)
    assert problem(answer, 500, "internal-error")["request_id"] == "this-one"
    assert SECRET not in answer.text
    assert SECRET in caplog.text


async def test_an_answer_that_has_begun_is_broken_off() -> None:
    async def broken(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await ask(broken)
