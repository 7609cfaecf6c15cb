"""A roll: who is here, in a sorted set scored by its server's time, counted without SCAN."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import timedelta

from greenroom.engine import Engine, Lane, Script
from greenroom.errors import EngineUnavailable
from greenroom.sessions.limits import ms

ENTER = Script.named("roll_enter")
PRESENT = Script.named("roll_present")
SCRIPTS = (ENTER, PRESENT)
_SOON = 0.1
"""Seconds for which a roll is waited for that others need not wait for."""


class Roll:
    """One sorted set.

    Arguments:
        name: its key.
        longest: after so long without entering again a member is not here any more.
    """

    __slots__ = ("_engine", "_longest", "_name")

    def __init__(self, engine: Engine, name: str, longest: timedelta) -> None:
        self._engine = engine
        self._name = name
        self._longest = ms(longest)

    async def enter(self, member: str, *, until: float | None = None) -> None:
        """Put a member in, or renew its stay."""
        await self._engine.run(Lane.PLAIN, ENTER, (self._name,), (member, self._longest), until=until)

    async def note(self, member: str, *, until: float | None = None) -> None:
        """As `enter`, but where its server does not answer soon nothing.

        For the rolls that have everybody: on a cluster each is one node's, and all others go on while that is away. Who
        could not enter is missed until the next time.
        """
        with suppress(EngineUnavailable, TimeoutError):
            async with asyncio.timeout(_SOON):
                await self.enter(member, until=until)

    async def leave(self, member: str, *, until: float | None = None) -> None:
        """Take a member out."""
        await self._engine.execute(Lane.PLAIN, self._name, "ZREM", self._name, member, until=until)

    async def count(self) -> int:
        """How many are here."""
        return int(await self._engine.run(Lane.PLAIN, PRESENT, (self._name,), (self._longest, "0")))

    async def present(self, *, until: float | None = None) -> list[str]:
        """Who is here; those who entered first come first."""
        found = await self._engine.run(Lane.PLAIN, PRESENT, (self._name,), (self._longest, "1"), until=until)
        return [member.decode() for member in found]
