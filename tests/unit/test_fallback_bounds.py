"""The bounds of loads without the server, by themselves."""

from __future__ import annotations

import asyncio

import pytest

from greenroom.caching import fallback as module
from greenroom.caching.fallback import Fallback
from greenroom.errors import Overloaded
from greenroom.testing.clock import ManualClock


async def test_what_was_loaded_without_the_server_is_kept_for_a_second() -> None:
    clock = ManualClock()
    outage: Fallback[str] = Fallback(clock)
    outage.keep("k", "v")
    clock.advance(0.999)
    assert outage.cached("k") == "v"
    assert not outage.empty
    clock.advance(0.001)
    assert outage.cached("k") is None
    assert outage.empty


async def test_a_later_value_takes_the_place_and_the_second_of_the_first() -> None:
    clock = ManualClock()
    outage: Fallback[str] = Fallback(clock)
    outage.keep("k", "old")
    clock.advance(0.9)
    outage.keep("k", "new")
    clock.advance(0.9)
    assert outage.cached("k") == "new"


async def test_changed_keys_are_dropped_once_the_server_can_be_asked() -> None:
    outage: Fallback[str] = Fallback(ManualClock())
    for key in "abc":
        outage.keep(key, key)
    outage.forget("a")
    outage.forget("a")
    assert (outage.cached("a"), outage.cached("b")) == (None, "b")
    outage.forget_all()
    assert (outage.cached("b"), outage.cached("c")) == (None, None)


async def test_past_the_bound_the_oldest_value_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MAX_VALUES", 3)
    outage: Fallback[str] = Fallback(ManualClock())
    for key in "abc":
        outage.keep(key, key)
    outage.keep("a", "again")  # now the newest
    outage.keep("d", "d")
    assert [outage.cached(key) for key in "abcd"] == ["again", None, "c", "d"]


async def test_a_place_is_waited_for_and_then_refused_as_overload(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PERMIT_WAIT", 0.02)
    outage: Fallback[str] = Fallback(ManualClock(), max_concurrent=2)
    async with outage.permit(), outage.permit():
        with pytest.raises(Overloaded, match="2 loads"):
            async with outage.permit():
                pass
    async with outage.permit(), outage.permit():
        pass  # both were given back


async def test_who_waits_gets_the_place_that_is_given_back() -> None:
    outage: Fallback[str] = Fallback(ManualClock(), max_concurrent=1)
    order: list[str] = []

    async def load(name: str) -> None:
        async with outage.permit():
            order.append(name)

    async with outage.permit():
        waiting = asyncio.create_task(load("second"))
        await asyncio.sleep(0)
        order.append("first")
    await waiting
    assert order == ["first", "second"]


@pytest.mark.parametrize("error", [KeyError, asyncio.CancelledError])
async def test_a_load_that_fails_or_is_cancelled_gives_its_place_back(error: type[BaseException]) -> None:
    outage: Fallback[str] = Fallback(ManualClock(), max_concurrent=1)
    with pytest.raises(error):
        async with outage.permit():
            raise error
    async with outage.permit():
        pass


async def test_a_caller_that_is_cancelled_while_it_waits_takes_no_place() -> None:
    outage: Fallback[str] = Fallback(ManualClock(), max_concurrent=1)

    async def load() -> None:
        async with outage.permit():
            pass

    async with outage.permit():
        waiting = asyncio.create_task(load())
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])
    async with outage.permit():
        pass
