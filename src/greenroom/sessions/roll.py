"""A roll: who is here, in a sorted set scored by its server's time, counted without SCAN.

Other programs can write there: a member that cannot be one of ours is passed over, and taken out.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import timedelta

from greenroom.engine import Engine, Lane, Script
from greenroom.engine.protocol.wire import Command
from greenroom.engine.shapes import NUMBER, Shape, are_texts
from greenroom.errors import CommandFailed, EngineError, EngineUnavailable
from greenroom.keyspace.pattern import is_part
from greenroom.sessions.limits import ms

log = logging.getLogger("greenroom.sessions")


def _is_present(reply: int | list[object], command: Command) -> bool:
    if command[-1] == "1":
        return isinstance(reply, list) and are_texts(reply)
    return isinstance(reply, int)


ENTER = Script.named("roll_enter", NUMBER, bool)
PRESENT = Script.named("roll_present", Shape(frozenset({int, list}), _is_present))
SCRIPTS = (ENTER, PRESENT)
_SOON = 0.1
"""Seconds for which a roll is waited for that others need not wait for."""


class Roll:
    """One sorted set.

    Arguments:
        name: its key.
        longest: after so long without entering again a member is not here any more.
        is_member: whether a text can be a member.
    """

    __slots__ = ("_engine", "_is_member", "_longest", "_name")

    def __init__(
        self, engine: Engine, name: str, longest: timedelta, *, is_member: Callable[[str], bool] = is_part
    ) -> None:
        self._engine = engine
        self._name = name
        self._is_member = is_member
        self._longest = ms(longest)

    async def enter(self, member: str, stay: timedelta | None = None, *, until: float | None = None) -> None:
        """Put a member in, or renew its stay.

        Arguments:
            stay: how long it stays, if that is less than the longest.
        """
        stay_ms = self._longest if stay is None else min(ms(stay), self._longest)
        await self._engine.run(Lane.PLAIN, ENTER, (self._name,), (member, self._longest, stay_ms), until=until)

    async def note(self, member: str, stay: timedelta | None = None, *, until: float | None = None) -> None:
        """As `enter`, but where its server does not answer soon nothing.

        For the rolls that have everybody: on a cluster each is one node's, and all others go on while that is away. Who
        could not enter is missed until the next time.
        """
        with suppress(EngineUnavailable, TimeoutError):
            async with asyncio.timeout(_SOON):
                await self.enter(member, stay, until=until)

    async def leave(self, member: str, *, until: float | None = None) -> None:
        """Take a member out."""
        await self._remove((member,), until)

    async def count(self) -> int:
        """How many are here."""
        return int(await self._engine.run(Lane.PLAIN, PRESENT, (self._name,), (self._longest, "0")))

    async def present(self, *, until: float | None = None) -> list[str]:
        """Who is here; those who entered first come first."""
        found = await self._engine.run(Lane.PLAIN, PRESENT, (self._name,), (self._longest, "1"), until=until)
        texts = {member: member.decode("utf-8", "replace") for member in found}
        if foreign := [member for member, text in texts.items() if not self._is_member(text)]:
            log.warning(
                "%s held %d members that are none, as %r; they are taken out", self._name, len(foreign), foreign[0]
            )
            with suppress(EngineError):
                await self._remove(foreign, until)
        return [text for text in texts.values() if self._is_member(text)]

    async def _remove(self, members: Sequence[str | bytes], until: float | None) -> None:
        try:
            await self._engine.execute(Lane.PLAIN, self._name, "ZREM", self._name, *members, until=until)
        except CommandFailed as error:
            # Of another type nobody is on it; whoever enters next replaces it.
            if not error.of_another_type:
                raise
