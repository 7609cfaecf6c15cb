"""Tasks that are stopped: their end is waited for, and a waiter who is cancelled meanwhile is cancelled."""

from __future__ import annotations

import asyncio

import pytest

from greenroom.detached import stop


class Slow:
    """Work that takes a while to end, and may fail in it."""

    def __init__(self, error: Exception | None = None) -> None:
        self.begun, self.ending, self.let_go = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._error = error

    async def run(self) -> None:
        self.begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.ending.set()
            await self.let_go.wait()
            if self._error is not None:
                raise self._error


@pytest.mark.parametrize("error", [None, ValueError("for the test")])
async def test_a_stopped_task_has_ended_whatever_it_raises(error: Exception | None) -> None:
    slow = Slow(error)
    task = asyncio.create_task(slow.run())
    await slow.begun.wait()
    stopping = asyncio.create_task(stop(task))
    await slow.ending.wait()
    assert not stopping.done()
    slow.let_go.set()
    await stopping
    assert task.done()
    assert task.cancelled() or task.exception() is error


async def test_who_is_cancelled_while_stopping_is_so_after_the_end() -> None:
    slow = Slow()
    task = asyncio.create_task(slow.run())
    await slow.begun.wait()
    stopping = asyncio.create_task(stop(task))
    await slow.ending.wait()
    stopping.cancel()
    for _ in range(10):
        await asyncio.sleep(0)
    assert not stopping.done()
    slow.let_go.set()
    await asyncio.wait([stopping])
    assert stopping.cancelled()
    assert task.done()
