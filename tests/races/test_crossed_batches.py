"""Two processes that want each other's keys."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from greenroom.caching import Outcome
from tests.support.episode_caches import Back, Episode, Loads, cache_of
from tests.support.real_servers import Server

pytestmark = pytest.mark.on_cluster


class Together:
    """A batch loader that tells what it was asked for, and stops until the test lets it go."""

    def __init__(self) -> None:
        self.calls: list[list[Any]] = []
        self.asked = asyncio.Event()
        self.go = asyncio.Event()

    async def __call__(self, wanted: Sequence[Any]) -> list[Episode | None]:
        self.calls.append(list(wanted))
        self.asked.set()
        await self.go.wait()
        return [Episode(one) for one in wanted]


def parts(*ids: str) -> list[dict[str, object]]:
    return [{"episode_id": one} for one in ids]


async def test_each_loads_what_it_has_won_before_it_waits_for_the_other(server: Server, back: Back) -> None:
    alone = Loads()
    ours, theirs = Together(), Together()
    here = cache_of(await back(server), alone, load_many=ours)
    there = cache_of(await back(server), alone, load_many=theirs)
    first = asyncio.create_task(there.get_results(parts("b")))
    await theirs.asked.wait()  # there, b is being loaded
    both = asyncio.create_task(here.get_results(parts("a", "b")))
    await ours.asked.wait()  # here, a is being loaded though b is not to be had yet
    crossed = asyncio.create_task(there.get_results(parts("b", "a")))
    ours.go.set()
    theirs.go.set()
    async with asyncio.timeout(5):  # before any lease could lapse
        results = await asyncio.gather(first, both, crossed)
    assert [[read.value for read in reads] for reads in results] == [
        [Episode("b")],
        [Episode("a"), Episode("b")],
        [Episode("b"), Episode("a")],
    ]
    assert (ours.calls, theirs.calls, alone.calls) == ([["a"]], [["b"]], [])
    assert results[1][0].outcome is Outcome.LOADED
