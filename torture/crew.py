"""The processes of a round: some of them are killed, and others take their places."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

from torture.history import DRIVER, Killed, Stood, now
from torture.journal import Journal
from torture.plan import Plan
from torture.process import Process

_BEAT, _STOOD = 0.02, 0.1


class Crew:
    """Made by `spawned`.

    Arguments:
        addresses: of each place, its ways to the servers, as members of `Plan`.
        plan: what all are told besides.
    """

    def __init__(
        self,
        addresses: Sequence[Mapping[str, str]],
        directory: Path,
        seed: str,
        journal: Journal,
        plan: Mapping[str, object],
    ) -> None:
        self._addresses = addresses
        self._directory = directory
        self._seed = seed
        self._journal = journal
        self._plan = plan
        self._places: list[Process] = []
        self._ancestors: list[tuple[int, ...]] = [() for _ in addresses]
        self._numbers = list(range(len(addresses)))
        self._next = len(addresses)
        self._beat: asyncio.Task[None] | None = None

    @classmethod
    async def spawned(
        cls,
        addresses: Sequence[Mapping[str, str]],
        directory: Path,
        seed: str,
        journal: Journal,
        stack: AsyncExitStack,
        plan: Mapping[str, object],
    ) -> Crew:
        """Start a process at each place; the stack ends those that still run."""
        self = cls(addresses, directory, seed, journal, plan)
        stack.push_async_callback(self._end)
        self._places = list(await asyncio.gather(*map(self._process, range(len(addresses)))))
        self._beat = asyncio.create_task(self._look_at_clock())
        return self

    def __len__(self) -> int:
        return len(self._places)

    async def told_all(self, line: str) -> None:
        """Tell all processes something, and return when it is done."""
        await asyncio.gather(*(process.told(line) for process in self._places))

    async def told_one(self, line: str) -> None:
        """Tell the first something."""
        await self._places[0].told(line)

    async def end(self) -> None:
        """Let all end."""
        for process in self._places:
            await process.end()

    def signal(self, place: int, number: int) -> None:
        """Send a process a signal."""
        os.kill(self._places[place].pid, number)

    async def kill(self, place: int) -> None:
        """Kill a process; `replace` must follow."""
        killed, began = self._numbers[place], now()
        await self._places[place].kill()
        self._journal.add(Killed(killed, began, now()))
        self._ancestors[place] += (killed,)

    async def replace(self, place: int) -> None:
        """Start another process at the place of one that was killed; it sends what that has left."""
        self._numbers[place], self._next = self._next, self._next + 1
        self._places[place] = await self._process(place)
        await self._places[place].told("start")

    # ------------------------------------------------------------------------------------------------

    async def _process(self, place: int) -> Process:
        number = self._numbers[place]
        mine = {"seed": f"{self._seed} {number}", "process": number, "directory": str(self._directory)}
        plan = {**mine, **self._addresses[place], **self._plan, "heir_of": self._ancestors[place]}
        return await Process.spawn(Plan(**plan))  # type: ignore[arg-type]

    async def _look_at_clock(self) -> None:
        """The ways to the servers are ours: when we do not run, nothing is passed on."""
        while True:
            began = now()
            await asyncio.sleep(_BEAT)
            if now() - began > _BEAT + _STOOD:
                self._journal.add(Stood(DRIVER, began, now()))

    async def _end(self) -> None:
        if self._beat is not None:
            self._beat.cancel()
        for process in self._places:
            await process.kill()
