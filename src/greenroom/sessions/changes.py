"""Changes of a session: read, change, write if it is still as it was read, or else once more."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

import msgspec

from greenroom.engine.budget import Budget
from greenroom.errors import InvalidInput, Overloaded
from greenroom.sessions import arguments
from greenroom.sessions.document import STREAM, changed, members, user_of
from greenroom.sessions.lists import Lists
from greenroom.sessions.live import Live, SessionGone
from greenroom.sessions.shape import Shape
from greenroom.sessions.slot import Differs, Found, Slot, Written
from greenroom.sessions.streams import Streams
from greenroom.sessions.turns import Turns

T = TypeVar("T")

COMMANDS = 0.5
"""Seconds that the commands of one call may take together."""

Change = Callable[[bytes, Budget], Awaitable[bytes]]
"""From the JSON as it is to the JSON as it shall be."""


class Changes(Generic[T]):
    """Changes sessions one at a time."""

    def __init__(self, slot: Slot, shape: Shape[T], lists: Lists, streams: Streams) -> None:
        self._slot = slot
        self._shape = shape
        self._lists = lists
        self._streams = streams
        self._turns = Turns()

    async def change(self, session: str, change: Callable[[bytes], bytes]) -> Live[T]:
        """See `Sessions.change`."""

        async def changed_at_once(body: bytes, _: Budget) -> bytes:
            return arguments.made(change, body)

        return await self._change(session, changed_at_once)

    async def settle(self, session: str) -> Live[T]:
        """Let the session name the newest of its streams that are open; always a write.

        The roll is read after the JSON, and whoever changes the roll writes the JSON afterwards: the last to write has
        seen every change of the roll. Had one come after its look, that one's write would have come between.
        """

        async def settled(body: bytes, budget: Budget) -> bytes:
            newest = await budget.spend(lambda until: self._streams.newest(session, until=until))
            return changed(body, {STREAM: msgspec.UNSET if newest is None else newest})

        return await self._change(session, settled)

    async def touch(self, live: Live[T]) -> None:
        """Note that a session is in use; nothing, where it is over or was touched meanwhile.

        Raises:
            BrokenValue, EngineError: when that cannot be done.
        """
        budget, writer, user = Budget(COMMANDS), secrets.token_hex(8), user_of(live.body)
        # Onto its user's list again. Prevents: on a cluster the list is another node's · that dies before its replica
        # has the entry · the session goes on, and no end-all finds it.
        await self._lists.renew(live.session_id, user, budget)
        if STREAM in members(live.body):
            try:
                await self.settle(live.session_id)  # its server may have been killed
            except SessionGone:
                await self._lists.leave(live.session_id, user, budget)
            return
        found: Differs | Written | None = Differs(live.body)
        while isinstance(found, Differs):
            body = found.body
            self._shape.decode(body)
            found = await self._write(live.session_id, body, body, writer, budget, touch=True)
        if found is None:
            await self._lists.leave(live.session_id, user, budget)

    # ------------------------------------------------------------------------------------------------

    async def _change(self, session: str, change: Change) -> Live[T]:
        budget = Budget(COMMANDS)

        async def looked(until: float) -> Found:
            # Onto the roll first, and in the time of the look: a write prolongs the session's life.
            _, found = await asyncio.gather(
                self._lists.active.note(session, until=until), self._slot.look(session, until=until)
            )
            return found

        async with self._turns.of(session, budget):
            try:
                looked_up = await budget.spend(looked)
            except BaseException:
                self._lists.check(session)  # it may stand on the roll by now, and be over
                raise
            body = None if looked_up.begun is None else looked_up.body
            try:
                found = None if body is None else await self._attempt(session, body, change, budget)
                while isinstance(found, Differs):
                    found = await self._attempt(session, found.body, change, budget)
            except BaseException:
                if looked_up.unused:
                    self._lists.check(session)  # it stands on the roll as one in use, and may not have been written
                raise
        if found is None:
            await self._lists.leave(session, None, budget)
            raise SessionGone("the session has ended")
        return Live(session, self._shape.decode(found.body), found.body, begun=found.begun)

    async def _attempt(self, session: str, body: bytes, change: Change, budget: Budget) -> Written | Differs | None:
        self._shape.decode(body)
        new = await change(body, budget)
        self._shape.check(new, "change")
        if user_of(new) != user_of(body):
            raise InvalidInput("user_id", "a session cannot change its user", "rotate it")
        return await self._write(session, body, new, secrets.token_hex(8), budget)

    async def _write(
        self, session: str, old: bytes, new: bytes, writer: str, budget: Budget, *, touch: bool = False
    ) -> Written | Differs | None:
        if budget.left <= 0:
            raise Overloaded("the session changes faster than it can be written")
        return await budget.spend(lambda until: self._slot.write(session, old, new, writer, touch=touch, until=until))
