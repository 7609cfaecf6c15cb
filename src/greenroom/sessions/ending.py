"""The end of a session, and of all sessions of a user. Each goes on when its caller is cancelled."""

from __future__ import annotations

import asyncio
import secrets

from greenroom.counters import Counters
from greenroom.detached import CLOSING, Detached
from greenroom.sessions.index import SessionIndex
from greenroom.sessions.owner import UserMember
from greenroom.sessions.store import SessionStore

_AT_A_TIME = 100
"""Sessions of one user that are ended at a time."""


class SessionEnds:
    """Ends the sessions of one room; see `Sessions.end` and `Sessions.end_all`."""

    def __init__(self, store: SessionStore, index: SessionIndex, counters: Counters, user: UserMember) -> None:
        self._store = store
        self._index = index
        self._counters = counters
        self._user = user
        self._under_way = Detached()

    def __len__(self) -> int:
        """Ends under way."""
        return len(self._under_way)

    async def end(self, session: str) -> bool:
        """End a session; False where it had ended already."""
        return await self._under_way.finish(self._end(session))

    async def end_all(self, user_id: str | int, but: str | None) -> int:
        """End every session of a user but one; returns how many this call has ended."""
        return await self._under_way.finish(self.end_all_once(user_id, but))

    async def close(self) -> None:
        """Wait for what is under way."""
        await self._under_way.close(CLOSING)

    async def end_all_once(self, user_id: str | int, but: str | None) -> int:
        """As `end_all`, of a caller who stays until it is done."""
        listed, ended, seen = self._index.of_user(user_id), 0, {but}

        async def end(session: str) -> bool:
            ended = await self._store.end(session, secrets.token_hex(8), tombstone=True)
            await self._index.remove(session, str(user_id), self._store.new_budget())
            return ended

        # The list is read again until nothing new is on it. Prevents: it is read · a session is rotated, its new id is
        # listed and created · the old id is ended, and the user is still signed in.
        while unseen := [one for one in await listed.members() if one not in seen]:
            for at in range(0, len(unseen), _AT_A_TIME):
                # None is left under way when one fails: a repetition of the call would run beside it.
                results = await asyncio.gather(*map(end, unseen[at : at + _AT_A_TIME]), return_exceptions=True)
                for result in results:
                    if isinstance(result, BaseException):
                        raise result
                    ended += result
            seen.update(unseen)
        self._counters.sessions["ended",] += ended
        return ended

    async def _end(self, session: str) -> bool:
        budget, by = self._store.new_budget(), secrets.token_hex(8)
        with budget.spending() as deadline:
            stored = await self._store.look(session, deadline=deadline)
        with budget.spending() as deadline:
            ended = await self._store.end(session, by, tombstone=False, deadline=deadline)
        self._counters.sessions["ended",] += ended
        await self._index.remove(session, self._user.of(stored.body or stored.left or b""), budget)
        return ended
