"""Single flight by itself: who may join, who is woken, and that nobody waits for ever."""

from __future__ import annotations

import asyncio
import gc
from contextvars import ContextVar
from typing import Any

import pytest

from greenroom.caching.single_flight import Flight, Flights
from greenroom.errors import RoomClosed


def landing(flights: Flights[str], key: str, go: asyncio.Event, result: str = "value") -> Flight[str]:
    """A flight that lands when the test lets it."""
    flight = flights.begin(key)

    async def work() -> None:
        await go.wait()
        flight.set_result(result)

    flights.work_on((flight,), work())
    return flight


async def test_a_flight_is_found_until_it_has_landed() -> None:
    flights, go = Flights[str](), asyncio.Event()
    assert flights.find("k") is None
    flight = landing(flights, "k", go)
    assert flights.find("k") is flight
    assert flights.find("other") is None
    go.set()
    assert await flight.result() == "value"
    await asyncio.sleep(0)
    assert flights.find("k") is None
    assert not flights._in_flight, "nothing is kept of what has landed"


async def test_a_flight_closed_to_newcomers_lands_for_those_aboard() -> None:
    flights, go = Flights[str](), asyncio.Event()
    first = landing(flights, "k", go, "first")
    aboard = asyncio.create_task(first.result())
    flights.forget("k")
    assert flights.find("k") is None
    assert not first.open
    second = landing(flights, "k", go, "second")
    assert flights.find("k") is second
    go.set()
    assert await aboard == "first"
    assert await second.result() == "second"


async def test_the_landing_of_a_closed_flight_leaves_its_successor_open() -> None:
    flights, go, later = Flights[str](), asyncio.Event(), asyncio.Event()
    first = landing(flights, "k", go)
    flights.forget("k")
    second = landing(flights, "k", later)
    go.set()
    await first.result()
    await asyncio.sleep(0)
    assert flights.find("k") is second
    later.set()
    await second.result()


async def test_a_push_closes_the_flight_of_its_key_and_wakes_all_that_are_aloft() -> None:
    flights, go = Flights[str](), asyncio.Event()
    closed = landing(flights, "k", go)
    flights.forget("k")
    running = landing(flights, "k", go)
    other = landing(flights, "other", go)
    flights.wake("k")
    assert (closed.pushed.is_set(), running.pushed.is_set(), other.pushed.is_set()) == (True, True, False)
    assert (running.open, other.open) == (False, True)
    assert flights.find("k") is None
    flights.wake("unknown")
    flights.wake_all()
    assert other.pushed.is_set()
    assert flights.find("other") is None
    go.set()
    await asyncio.gather(*(flight.result() for flight in (closed, running, other)))


async def test_a_caller_that_is_cancelled_cancels_nobody_else() -> None:
    flights, go = Flights[str](), asyncio.Event()
    flight = landing(flights, "k", go)
    callers = [asyncio.create_task(flight.result()) for _ in range(2)]
    await asyncio.sleep(0)
    callers[0].cancel()
    await asyncio.wait(callers[:1])
    go.set()
    assert await callers[1] == "value"


async def test_an_error_of_the_work_reaches_everyone_in_every_flight_of_it() -> None:
    flights = Flights[str]()
    one, two, landed = flights.begin("one"), flights.begin("two"), flights.begin("landed")

    async def work() -> None:
        landed.set_result("value")
        raise KeyError("k")

    flights.work_on((one, two, landed), work())
    found = await asyncio.gather(one.result(), one.result(), two.result(), landed.result(), return_exceptions=True)
    assert [type(result) for result in found] == [KeyError, KeyError, KeyError, str]


async def test_an_error_that_nobody_waits_for_is_no_news(caplog: pytest.LogCaptureFixture) -> None:
    flights = Flights[str]()

    async def work() -> None:
        raise KeyError("k")

    flights.work_on((flights.begin("k"),), work())
    await asyncio.wait(tuple(flights._tasks))
    gc.collect()
    await asyncio.sleep(0)
    assert caplog.text == ""


async def test_the_first_result_stays() -> None:
    flight = Flights[str]().begin("k")
    flight.set_result("first")
    flight.set_result("second")
    flight.set_exception(KeyError())
    assert await flight.result() == "first"


@pytest.mark.parametrize("begun", [True, False])
async def test_ending_all_work_tells_who_waits_that_the_room_is_closed(begun: bool) -> None:
    flights = Flights[str]()
    flight = landing(flights, "k", asyncio.Event())
    caller = asyncio.create_task(flight.result())
    if begun:
        await asyncio.sleep(0)
    await flights.cancel()
    async with asyncio.timeout(5):
        with pytest.raises(RoomClosed):
            await caller
    assert flights.find("k") is None
    with pytest.raises(RoomClosed):
        flights.begin("k")


async def test_a_caller_cancelled_while_all_work_ends_is_cancelled() -> None:
    flights = Flights[str]()
    flight = landing(flights, "k", asyncio.Event())
    caller = asyncio.create_task(flight.result())
    await asyncio.sleep(0)
    caller.cancel()
    await flights.cancel()
    async with asyncio.timeout(5):
        await asyncio.wait([caller])
    assert caller.cancelled()


async def test_each_work_has_a_copy_of_the_context_in_which_flights_were_made() -> None:
    tenant, seen = ContextVar("tenant", default="none"), list[str]()
    flights = Flights[str]()

    async def work(flight: Flight[str]) -> str:
        seen.append(tenant.get())
        tenant.set("of another load")
        return flight.key

    tenant.set("of the first caller")
    await flights.join("a", work)
    await flights.join("b", work)
    assert seen == ["none", "none"]


async def test_joining_begins_the_work_once_and_tells_who_began_it() -> None:
    flights, go, began = Flights[str](), asyncio.Event(), list[Any]()

    async def work(flight: Flight[str]) -> str:
        began.append(flight.key)
        await go.wait()
        return "value"

    callers = [asyncio.create_task(flights.join("k", work)) for _ in range(3)]
    await asyncio.sleep(0)
    go.set()
    assert await asyncio.gather(*callers) == [("value", False), ("value", True), ("value", True)]
    assert began == ["k"]
    assert await flights.join("k", work) == ("value", False)
