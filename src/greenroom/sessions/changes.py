"""Changes of a session: read, change, write if it is still as it was read, or else once more.

Changes of one session that have met in one process go on one after another.

Prevents: a thousand changes of one number read it · one is written, 999 differ and are read again · one is written, 998
differ: half a million commands. What fails the first for want of a server fails those behind it too.

A turn is waited for within the time that the call may take at all: else ten changes over a slow network take ten times
as long as one.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Generic, TypeVar
from weakref import WeakValueDictionary

import msgspec

from greenroom.engine.deadline import COMMANDS, TimeBudget, before
from greenroom.errors import EngineUnavailable, InvalidInput, OutcomeUnknown, Overloaded
from greenroom.sessions import arguments
from greenroom.sessions.index import SessionIndex, Streams
from greenroom.sessions.raw_json import changed, members, user_of
from greenroom.sessions.schema import SessionSchema
from greenroom.sessions.store import Differs, SessionGone, SessionSnapshot, SessionStore, WrittenSession

T = TypeVar("T")

_TOO_MANY = "the session changes faster than it can be written"


class _Turn:
    __slots__ = ("__weakref__", "changes", "failed", "lock")

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.changes = 0  # that have been made
        self.failed = False


# docs/decisions/0042-session-changes-queue-within-their-budget.md
class Turns:
    """Who changes which session at the moment."""

    def __init__(self) -> None:
        self._turns: WeakValueDictionary[str, _Turn] = WeakValueDictionary()

    @asynccontextmanager
    async def of(self, session: str, budget: TimeBudget) -> AsyncIterator[None]:
        """A turn of one's own; waiting for it spends the budget.

        Raises:
            EngineUnavailable: when the server failed somebody meanwhile.
            Overloaded: when others have made their changes meanwhile, and no time is left for this one.
        """
        turn = self._turns.setdefault(session, _Turn())
        made = turn.changes
        try:
            with budget.spending() as deadline:
                async with before(deadline):
                    await turn.lock.acquire()
        except TimeoutError:
            if turn.changes == made:
                raise EngineUnavailable("the change before this one had no answer in time") from None
            raise Overloaded(_TOO_MANY) from None
        try:
            if turn.failed:
                raise EngineUnavailable("the server of the sessions failed a change before this one")
            yield
            turn.changes += 1
        except (EngineUnavailable, OutcomeUnknown) as error:
            if turn.changes != made and type(error) is EngineUnavailable:
                raise Overloaded(_TOO_MANY) from error  # most of the time was spent on others, who were answered
            turn.failed = True
            if self._turns.get(session) is turn:
                del self._turns[session]
            raise
        finally:
            turn.lock.release()


Change = Callable[[bytes, TimeBudget], Awaitable[bytes]]
"""From the JSON as it is to the JSON as it shall be."""


class SessionChanges(Generic[T]):
    """Changes sessions one at a time."""

    def __init__(self, slot: SessionStore, shape: SessionSchema[T], lists: SessionIndex, streams: Streams) -> None:
        self._slot = slot
        self._shape = shape
        self._lists = lists
        self._streams = streams
        self._turns = Turns()

    async def change(self, session: str, change: Callable[[bytes], bytes]) -> SessionSnapshot[T]:
        """See `Sessions.change`."""

        async def changed_at_once(body: bytes, _: TimeBudget) -> bytes:
            return arguments.made(change, body)

        return await self._change(session, changed_at_once)

    async def settle(self, session: str) -> SessionSnapshot[T]:
        """Let the session name the newest of its streams that are open; always a write.

        The roll is read after the JSON, and whoever changes the roll writes the JSON afterwards: the last to write has
        seen every change of the roll. Had one come after its look, that one's write would have come between.
        """

        async def settled(body: bytes, budget: TimeBudget) -> bytes:
            with budget.spending() as deadline:
                newest = await self._streams.newest(session, deadline=deadline)
            return changed(body, {self._streams.names.member: msgspec.UNSET if newest is None else newest})

        return await self._change(session, settled)

    async def touch(self, live: SessionSnapshot[T]) -> None:
        """Note that a session is in use; nothing, where it is over or was touched meanwhile.

        Raises:
            BrokenValue, EngineError: when that cannot be done.
        """
        budget, writer, user = TimeBudget(COMMANDS), secrets.token_hex(8), user_of(live.body)
        # Onto its user's list again. Prevents: on a cluster the list is another node's · that dies before its replica
        # has the entry · the session goes on, and no end-all finds it.
        await self._lists.renew(live.session_id, user, budget)
        if self._streams.names.member in members(live.body):
            try:
                await self.settle(live.session_id)  # its server may have been killed
            except SessionGone:
                await self._lists.remove(live.session_id, user, budget)
            return
        found: Differs | WrittenSession | None = Differs(live.body)
        while isinstance(found, Differs):
            body = found.body
            self._shape.decode(body)
            found = await self._write(live.session_id, body, body, writer, budget, touch=True)
        if found is None:
            await self._lists.remove(live.session_id, user, budget)

    # ------------------------------------------------------------------------------------------------

    async def _change(self, session: str, change: Change) -> SessionSnapshot[T]:
        budget = TimeBudget(COMMANDS)
        async with self._turns.of(session, budget):
            try:
                with budget.spending() as deadline:
                    # Onto the roll first, and in the time of the look: a write prolongs the session's life.
                    _, looked_up = await asyncio.gather(
                        self._lists.active.try_add(session, deadline=deadline),
                        self._slot.look(session, deadline=deadline),
                    )
            except BaseException:
                self._lists.check(session)  # it may stand on the roll by now, and be over
                raise
            body = None if looked_up.started_at is None else looked_up.body
            try:
                found = None if body is None else await self._attempt(session, body, change, budget)
                while isinstance(found, Differs):
                    found = await self._attempt(session, found.body, change, budget)
            except BaseException:
                if looked_up.unused:
                    self._lists.check(session)  # it stands on the roll as one in use, and may not have been written
                raise
        if found is None:
            await self._lists.remove(session, None, budget)
            raise SessionGone("the session has ended")
        return SessionSnapshot(session, self._shape.decode(found.body), found.body, begun=found.started_at)

    async def _attempt(
        self, session: str, body: bytes, change: Change, budget: TimeBudget
    ) -> WrittenSession | Differs | None:
        self._shape.decode(body)
        new = await change(body, budget)
        self._shape.check(new, "change")
        if user_of(new) != user_of(body):
            raise InvalidInput("user_id", "a session cannot change its user", "rotate it")
        return await self._write(session, body, new, secrets.token_hex(8), budget)

    async def _write(
        self, session: str, old: bytes, new: bytes, writer: str, budget: TimeBudget, *, touch: bool = False
    ) -> WrittenSession | Differs | None:
        if budget.left <= 0:
            raise Overloaded(_TOO_MANY)
        with budget.spending() as deadline:
            return await self._slot.write(session, old, new, writer, touch=touch, deadline=deadline)
