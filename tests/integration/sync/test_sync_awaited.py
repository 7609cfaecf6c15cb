"""Coroutines of another event loop use a synchronous room's loop, while their own goes on."""

from __future__ import annotations

import asyncio

import pytest

from greenroom.errors import RoomClosed
from greenroom.sync import Greenroom
from tests.support.patience import wait_for
from tests.support.sync_rooms import COUNT


async def test_what_is_awaited_opens_the_room_and_gives_its_result(room: Greenroom) -> None:
    count = room.store(COUNT)
    numbers = await asyncio.gather(
        *(room.awaited(lambda: count.asynchronous.increment(name="n")) for _ in range(50)),
    )
    assert set(numbers) == set(range(1, 51))


async def test_the_callers_loop_goes_on_while_it_waits(room: Greenroom) -> None:
    own = list[int]()

    async def wait() -> str:
        while not own:
            await asyncio.sleep(0.001)
        return "done"

    waiting = asyncio.create_task(room.awaited(wait))
    asyncio.get_running_loop().call_soon(own.append, 1)  # another callback of the caller's loop
    assert await waiting == "done"


async def test_what_is_raised_reaches_the_caller(room: Greenroom) -> None:
    async def fail() -> None:
        raise LookupError("this one")

    with pytest.raises(LookupError, match="this one"):
        await room.awaited(fail)


async def test_what_was_begun_goes_on_without_its_caller(room: Greenroom) -> None:
    begun, go, ended = list[int](), list[int](), list[int]()

    async def work() -> None:
        begun.append(1)
        while not go:
            await asyncio.sleep(0.001)
        ended.append(1)

    task = asyncio.create_task(room.awaited(work))
    while not begun:
        await asyncio.sleep(0.001)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    go.append(1)
    await asyncio.to_thread(wait_for, lambda: ended)


async def test_a_closed_room_says_so_to_who_awaits(room: Greenroom) -> None:
    async def nothing() -> None:
        raise AssertionError("it is not begun")

    await room.awaited(lambda: asyncio.sleep(0))
    await asyncio.to_thread(room.close)
    with pytest.raises(RoomClosed, match="was closed"):
        await room.awaited(nothing)
