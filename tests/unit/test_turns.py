"""Changes of one session wait their turn within the time of their call, and are told why they did not get it."""

from __future__ import annotations

import asyncio

import pytest

from greenroom.engine.deadline import TimeBudget
from greenroom.errors import EngineUnavailable, OutcomeUnknown, Overloaded
from greenroom.sessions.turns import Turns

SHORT = 0.02


async def _change(turns: Turns, seconds: float, *, error: Exception | None = None) -> str:
    async with turns.of("s", TimeBudget(seconds)):
        if error is not None:
            await asyncio.sleep(0)  # the others come
            raise error
        return "made"


async def test_nobody_waits_longer_than_a_call_may_take() -> None:
    turns, go = Turns(), asyncio.Event()

    async def stands_still() -> None:
        async with turns.of("s", TimeBudget(60)):
            await go.wait()

    first = asyncio.create_task(stands_still())
    await asyncio.sleep(0)
    async with asyncio.timeout(20):
        waiting = await asyncio.gather(*(_change(turns, SHORT) for _ in range(50)), return_exceptions=True)
    assert {type(one) for one in waiting} == {EngineUnavailable}
    go.set()
    await first
    assert await _change(turns, SHORT) == "made"


async def test_who_has_seen_others_make_theirs_is_told_to_slow_down() -> None:
    turns = Turns()
    both = asyncio.Event()

    async def slow(seconds: float) -> None:
        async with turns.of("s", TimeBudget(60)):
            await asyncio.sleep(seconds)

    async def late() -> str:
        both.set()
        return await _change(turns, 0.2)

    first = asyncio.create_task(slow(0.01))
    await asyncio.sleep(0)
    second = asyncio.create_task(slow(1.0))
    await asyncio.sleep(0)
    with pytest.raises(Overloaded):
        await late()
    await asyncio.gather(first, second)


async def test_waiting_spends_the_time_of_the_call() -> None:
    turns, budget, go = Turns(), TimeBudget(20), asyncio.Event()

    async def first() -> None:
        async with turns.of("s", TimeBudget(60)):
            await go.wait()

    task = asyncio.create_task(first())
    await asyncio.sleep(0)
    asyncio.get_running_loop().call_later(0.05, go.set)
    async with turns.of("s", budget):
        assert budget.left < 20 - 0.04
    await task


@pytest.mark.parametrize("error", [EngineUnavailable("away"), OutcomeUnknown("away")])
async def test_what_fails_the_first_fails_those_behind_it_at_once(error: Exception) -> None:
    turns = Turns()
    results = await asyncio.gather(
        _change(turns, 60, error=error), *(_change(turns, 60) for _ in range(5)), return_exceptions=True
    )
    assert results[0] is error
    assert {type(one) for one in results[1:]} == {EngineUnavailable}
    assert await _change(turns, 60) == "made"


async def test_a_cancelled_wait_leaves_the_turn_to_the_others() -> None:
    turns, go = Turns(), asyncio.Event()

    async def first() -> None:
        async with turns.of("s", TimeBudget(60)):
            await go.wait()

    holder = asyncio.create_task(first())
    await asyncio.sleep(0)
    waiting = asyncio.create_task(_change(turns, 60))
    other = asyncio.create_task(_change(turns, 60))
    await asyncio.sleep(0)
    waiting.cancel()
    go.set()
    assert await other == "made"
    await asyncio.wait([holder, waiting])
    assert waiting.cancelled()
