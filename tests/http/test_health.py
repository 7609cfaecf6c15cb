"""`/health/ready` where something is wrong: what takes an instance out of rotation, and what does not."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from greenroom.errors import EngineUnavailable, RecordUnavailable
from greenroom_platform.http.ill_since import IllSince
from greenroom_platform.http.routes import operations
from greenroom_platform.http.routes.operations import in_a_word
from greenroom_platform.http.shutdown import Shutdown
from greenroom_platform.http.state import ServiceState

DOWN = EngineUnavailable("no connection")


class Record:
    """A record of which only `ping` is asked."""

    def __init__(self, trouble: Exception | None = None, hangs: bool = False) -> None:
        self.trouble = trouble
        self.hangs = hangs

    async def ping(self) -> None:
        if self.hangs:
            await asyncio.Event().wait()
        if self.trouble is not None:
            raise self.trouble


async def ask(
    record: Record, *, engine: Exception | None = None, draining: bool = False, since: IllSince | None = None
) -> tuple[int, Any]:
    platform, ending = SimpleNamespace(records=record, room=SimpleNamespace(unavailable=engine)), Shutdown()
    if draining:
        ending.begin()
    state = {"platform": platform, "ending": ending, "ill_since": since or IllSince()}
    body = await operations.health(ServiceState(state))
    return (200 if body["status"] in ("ok", "degraded") else 503), body


LOCKED = Record(RecordUnavailable("the database is locked"))


@pytest.mark.parametrize("engine", [None, DOWN])
async def test_a_record_that_does_not_answer_takes_it_out(engine: Exception | None) -> None:
    status, body = await ask(Record(RecordUnavailable("the database is locked")), engine=engine)
    assert (status, body["status"], body["database"]) == (503, "unavailable", "the database is locked")


async def test_a_record_that_hangs_takes_it_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operations, "PING_DEADLINE", 0.01)
    status, body = await ask(Record(hangs=True))
    assert (status, body["status"], body["database"]) == (503, "unavailable", "no answer in time")


async def test_an_engine_that_is_down_degrades_only() -> None:
    status, body = await ask(Record(), engine=DOWN)
    assert (status, body.pop("since")[-1]) == (200, "Z")
    assert body == {"status": "degraded", "engine": "no connection", "database": "ok"}


async def test_it_tells_since_when_the_same_parts_are_ill() -> None:
    times = iter(datetime(2026, 1, 1, hour, tzinfo=UTC) for hour in range(24))
    since = IllSince(lambda: next(times))
    told = []
    for engine, record in (DOWN, Record()), (DOWN, Record()), (None, Record()), (DOWN, Record()), (DOWN, LOCKED):
        _, body = await ask(record, engine=engine, since=since)
        told.append(body.get("since", "well")[11:13])
    assert told == ["00", "00", "", "01", "02"]
    assert in_a_word(body["since"]) == body["since"], "strangers may know it"


@pytest.mark.parametrize("engine", [None, DOWN])
async def test_draining_takes_it_out(engine: Exception | None) -> None:
    status, body = await ask(Record(), engine=engine, draining=True)
    assert (status, body["status"]) == (503, "draining")
