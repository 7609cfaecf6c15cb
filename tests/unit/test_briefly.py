"""What is read for whoever asks within a moment: once, however many ask, and anew when the moment is over."""

from __future__ import annotations

import asyncio

import pytest

from greenroom.testing.clock import ManualClock
from greenroom_platform.domain.briefly import Briefly


async def test_many_who_ask_share_one_read_until_the_moment_is_over() -> None:
    clock, reads, go = ManualClock(), list[str](), asyncio.Event()
    briefly: Briefly[int] = Briefly(clock, 1.0)

    async def read(name: str = "queue") -> int:
        async def work() -> int:
            reads.append(name)
            await go.wait()
            return len(reads)

        return await briefly.read(name, work)

    asking = [asyncio.create_task(read()) for _ in range(100)]
    await asyncio.sleep(0)
    go.set()
    assert await asyncio.gather(*asking) == [1] * 100
    clock.advance(0.9)
    assert (await read(), await read("another"), reads) == (1, 2, ["queue", "another"])
    clock.advance(0.1)
    assert await read() == 3


async def test_a_read_that_fails_is_kept_by_nobody() -> None:
    briefly: Briefly[int] = Briefly(ManualClock(), 1.0)

    async def fails() -> int:
        raise KeyError

    async def succeeds() -> int:
        return 1

    with pytest.raises(KeyError):
        await briefly.read("queue", fails)
    assert await briefly.read("queue", succeeds) == 1
    await briefly.close()
