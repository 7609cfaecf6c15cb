"""A change to the record does not wait for a server that stands still: what it made stale is dropped behind."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from greenroom.errors import EngineUnavailable
from greenroom_platform.domain import changes
from greenroom_platform.domain.changes import Changes
from greenroom_platform.domain.record_caches import RecordCaches
from greenroom_platform.domain.records import Change
from tests.support.gateways import eventually

CHANGE = Change(change_id=7, topics=("t",), snippets=(), pages=(), statuses=())


class Still:
    """A cache over a server that stands still."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.asked = 0
        self.error: Exception | None = None

    async def invalidate(self, *_: object, **__: object) -> None:
        self.asked += 1
        await self.go.wait()
        if self.error is not None:
            raise self.error

    async def invalidate_group(self, **_: object) -> None:
        await self.invalidate()


class Rows:
    """The outbox's acknowledgements."""

    def __init__(self) -> None:
        self.acknowledged: list[int] = []

    async def acknowledge(self, ids: list[int]) -> None:
        self.acknowledged += ids


def of(still: Still, rows: Rows) -> Changes:
    cache = cast("Any", still)
    caches = RecordCaches(cache, cache, cache, cache, cache, cache, on_change=lambda: None)
    return Changes(cast("Any", rows), caches)


async def test_it_is_answered_and_its_row_goes_when_the_server_has_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes, "_ANSWER", 0.02)
    monkeypatch.setattr(changes, "_MIN_WAIT", 0.0)
    still, rows = Still(), Rows()
    sender = of(still, rows)
    async with asyncio.timeout(20):
        await sender.send(CHANGE, spent=0.01)
    assert still.asked == 3, "dropped here from the call on"
    assert rows.acknowledged == []
    still.go.set()
    await eventually(lambda: rows.acknowledged == [7])
    await sender.close()


async def test_what_was_spent_before_is_not_waited_for_again() -> None:
    still, rows = Still(), Rows()
    sender = of(still, rows)
    await sender.send(CHANGE, spent=60.0)  # returns although the server stands still
    still.go.set()
    await sender.close()
    assert rows.acknowledged == [7]


async def test_a_cancelled_caller_s_change_is_sent_all_the_same() -> None:
    still, rows = Still(), Rows()
    sender = of(still, rows)
    caller = asyncio.create_task(sender.send(CHANGE))
    await eventually(lambda: still.asked == 3)
    caller.cancel()
    await asyncio.wait([caller])
    still.go.set()
    await eventually(lambda: rows.acknowledged == [7])


async def test_a_row_whose_keys_could_not_be_dropped_stays() -> None:
    still, rows = Still(), Rows()
    sender = of(still, rows)
    still.error = EngineUnavailable("away")
    still.go.set()
    await sender.send(CHANGE)
    await sender.close()
    assert rows.acknowledged == []


async def test_the_pages_of_several_topics_are_dropped_at_once() -> None:
    still = Still()
    sender = of(still, Rows())
    before = asyncio.create_task(sender.before("a", "b"))
    await eventually(lambda: still.asked == 2)
    still.go.set()
    assert await before == 0, "nothing is lost on a server that answers"


async def test_what_is_lost_on_a_server_that_does_not_answer_is_told() -> None:
    still = Still()
    sender = of(still, Rows())
    still.error = EngineUnavailable("away")
    still.go.set()
    assert await sender.before("a") > 0


async def test_a_server_that_answers_is_waited_for_however_long_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes, "_ANSWER", 0.0)
    still, rows = Still(), Rows()
    sender = of(still, rows)
    sending = asyncio.create_task(sender.send(CHANGE))
    await eventually(lambda: still.asked == 3)
    await asyncio.sleep(0.02)  # it would have given up by now; too short a sleep is green, never red
    assert not sending.done()
    still.go.set()
    await sending
    assert rows.acknowledged == [7]
