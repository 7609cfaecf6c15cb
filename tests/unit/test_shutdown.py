"""What this process waits for when it is told to end."""

from __future__ import annotations

import asyncio

from greenroom_platform.http.shutdown import Shutdown


async def test_work_that_cleans_up_at_the_end_is_not_left_when_cancelled() -> None:
    """As a worker that gives its task back: the service is told to end, and cancels what it waits for."""
    ending, cleaning, may, cleaned = Shutdown(), asyncio.Event(), asyncio.Event(), list[str]()

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cleaning.set()
            await may.wait()
            cleaned.append("given back")

    waiting = asyncio.create_task(ending.run_until(work()))
    await asyncio.sleep(0)
    ending.begin()
    await cleaning.wait()
    waiting.cancel()
    for _ in range(5):
        await asyncio.sleep(0)
    assert not waiting.done()
    may.set()
    await asyncio.wait([waiting])
    assert cleaned == ["given back"]
    assert waiting.cancelled()
