"""Where sessions are listed: each under its user, and all on the roll of who is active.

A session is listed, acknowledged, before it is created. Prevents: it is created · its process dies · it is on no list,
and no end-all finds it. On the roll of active ones it stands before it begins or goes on, and until it has ended: a
crash can only count too many, until the idle limit. Only where that roll's node of a cluster is away are those who
begin meanwhile, or are used for the first time, not counted, until their next touch.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from contextlib import suppress
from functools import partial

from greenroom.engine import Engine
from greenroom.engine.deadline import Budget
from greenroom.errors import EngineError, InvalidInput
from greenroom.keyspace.derived_keys import companion_key
from greenroom.keyspace.pattern import check_part
from greenroom.sessions.leftovers import Leftovers
from greenroom.sessions.limits import Limits
from greenroom.sessions.roll import Roll
from greenroom.sessions.store import Slot
from greenroom.sessions.user_id import check_user_id


class Lists:
    """The lists of one platform's sessions."""

    def __init__(self, engine: Engine, prefix: str, slot: Slot, limits: Limits, leftovers: Leftovers) -> None:
        self._engine = engine
        self._leftovers = leftovers
        self._prefix = prefix
        self._slot = slot
        self._limits = limits
        self.active = Roll(engine, companion_key(prefix, "active", "sessions"), limits.lifetime + limits.late)
        """Every session that may be alive."""

    def of_user(self, user_id: str) -> Roll:
        """The ids of a user's sessions, of those being begun, and of some that are over.

        Raises:
            InvalidInput: when it is no user's id.
        """
        name = companion_key(self._prefix, "sessions", f"user:{_part(user_id)}")
        return Roll(self._engine, name, self._limits.absolute + self._limits.late)

    async def enter(self, session: str, user: str | None, budget: Budget, *, unused: bool = False) -> int:
        """List a session that shall begin; returns when that was, by its server's time in µs.

        Arguments:
            unused: whether it ends soon if its token does not come back.
        """
        mine = [] if user is None else [self.of_user(user)]
        stay = self._limits.unused + self._limits.late if unused else None

        async def entered(until: float) -> int:
            entries = asyncio.gather(
                self.active.note(session, stay, until=until), *(roll.enter(session, until=until) for roll in mine)
            )
            # The server's time with them, and not later: what is listed for long may have been ended meanwhile.
            now, _ = await asyncio.gather(self._slot.now(session, until=until), entries)
            return now

        return await budget.spend(entered)

    async def renew(self, session: str, user: str | None, budget: Budget) -> None:
        """List a session again that goes on, where that can be done soon."""

        async def renewed(until: float) -> None:
            await asyncio.gather(*(roll.note(session, until=until) for roll in self._rolls(user)))

        await budget.spend(renewed)

    async def leave(self, session: str, user: str | None, budget: Budget) -> None:
        """Unlist a session that is over; never fails, since what was asked for is done: the rest is done behind."""

        async def left(until: float | None = None) -> None:
            await asyncio.gather(*(roll.leave(session, until=until) for roll in self._rolls(user)))

        try:
            await budget.spend(left)
        except BaseException as error:
            self._leftovers.add(f"the list of {session}", left, self._limits.lifetime.total_seconds())
            if not isinstance(error, EngineError):
                raise

    def forget(self, session: str, user: str | None) -> None:
        """Unlist behind a session that has not begun, and never will: its id is marked as ended first."""
        undo = partial(self._forget, session, user)
        self._leftovers.add(f"the session {session}", undo, self._limits.lifetime.total_seconds())

    def check(self, session: str) -> None:
        """Make the roll true behind, of a session that may stand on it for longer than it lives."""
        self._leftovers.add(f"the list of {session}", partial(self._check, session), self._limits.idle.total_seconds())

    async def _forget(self, session: str, user: str | None) -> None:
        await self._slot.end(session, secrets.token_hex(8), mark=True)
        await asyncio.gather(*(roll.leave(session) for roll in self._rolls(user)))

    async def _check(self, session: str) -> None:
        found = await self._slot.look(session)
        if found.body is None or found.begun is None:
            await self.active.leave(session)
        elif found.unused:
            # A change that has failed may have put it on the roll as one in use, so let it be one. Instead of that a
            # shorter stay on the roll could undo that of a touch meanwhile: it would be alive and not counted.
            await self.active.enter(session)
            writer = secrets.token_hex(8)
            if await self._slot.write(session, found.body, found.body, writer, touch=True) is None:
                await self.active.leave(session)

    def _rolls(self, user: str | None) -> list[Roll]:
        rolls = [self.active]
        if user is not None:
            with suppress(InvalidInput):  # somebody else has written it, and it was never listed
                rolls.append(self.of_user(user))
        return rolls


def _part(user_id: str) -> str:
    """What stands for a user in a key: the id, or the hash of one that a key cannot hold, as an e-mail address.

    The `#` is in no id that stands there itself, so that nobody can choose an id whose list is another's.

    Raises:
        InvalidInput: when it is no user's id.
    """
    check_user_id(user_id)
    try:
        return check_part("user_id", user_id)
    except InvalidInput:
        return f"#{hashlib.sha256(user_id.encode('utf-8', 'surrogatepass')).hexdigest()}"
