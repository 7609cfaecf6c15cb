"""Two sides that take their turns one by one, in every order that their steps can have."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

_PATIENCE = 30.0
"""Seconds that a step may take on a busy machine."""


class Turns:
    """One side of an interleaving: it stands still at each gate until the test lets it make one step."""

    def __init__(self) -> None:
        self._stands = asyncio.Event()
        self._open = asyncio.Event()
        self.task: asyncio.Future[Any] | None = None

    async def gate(self, *_: object) -> None:
        """To be awaited before each step."""
        self._stands.set()
        await self._open.wait()
        if not self.ended:
            self._open.clear()

    async def begin(self, work: Awaitable[Any]) -> None:
        """Begin the work; returns when it stands at its first gate."""
        self._stands.clear()
        self._open.clear()
        self.task = asyncio.ensure_future(work)
        # What the work has left to be done behind takes no turns: it would stand in the way of all that follows.
        self.task.add_done_callback(self._end)
        await self._stood()

    async def step(self) -> None:
        """Make one step; returns when it stands at the next gate, or the work has ended."""
        self._stands.clear()
        self._open.set()
        await self._stood()

    @property
    def ended(self) -> bool:
        """Whether there is no step left."""
        return self.task is not None and self.task.done()

    def _end(self, _: asyncio.Future[Any]) -> None:
        self._open.set()
        self._stands.set()

    async def _stood(self) -> None:
        async with asyncio.timeout(_PATIENCE):
            await self._stands.wait()


async def in_every_order(
    sides: Sequence[Turns], begin: Callable[[int], Awaitable[None]], check: Callable[[int], Awaitable[None]]
) -> int:
    """Try every order in which the sides can make their steps; returns how many there are.

    Arguments:
        begin: begins the work of every side, given the number of the trial.
        check: looks at what came of it, given that number.
    """
    number = 0
    orders: list[tuple[int, ...]] = [()]
    while orders:
        order = orders.pop()
        await begin(number)
        choices = 0
        while going := [side for side in sides if not side.ended]:
            if len(going) > 1:
                if choices == len(order):
                    orders.extend((*order, other) for other in range(1, len(going)))
                    order = (*order, 0)
                # A push that comes sooner than in the trial before may spare a side a step: then this is another order.
                going = [going[min(order[choices], len(going) - 1)]]
                choices += 1
            await going[0].step()
        for side in sides:
            assert side.task is not None
            await side.task
        await check(number)
        number += 1
    return number
