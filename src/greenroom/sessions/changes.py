"""What is written to sessions: they begin, are changed, rotated and touched.

A change: read, change, write if the session is still as it was read, or else once more. Changes of one session that
have met in one process go on one after another (`turns`).
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Generic, TypeVar

import msgspec

from greenroom.engine.deadline import TimeBudget
from greenroom.errors import BrokenValue, CommandFailed, InvalidInput, Overloaded
from greenroom.keyspace.parts import is_part
from greenroom.sessions import arguments
from greenroom.sessions.index import SessionIndex, Streams
from greenroom.sessions.limits import SessionLifetime, SessionLimits, ms, own_lifetime
from greenroom.sessions.owner import UserMember
from greenroom.sessions.raw_json import Members, changed, members
from greenroom.sessions.schema import SessionSchema
from greenroom.sessions.snapshot import Claimed, Differs, SessionGone, SessionSnapshot, WrittenSession
from greenroom.sessions.store import SessionStore
from greenroom.sessions.token import new_token, session_id
from greenroom.sessions.turns import TOO_MANY, Turns

T = TypeVar("T")


Change = Callable[[bytes, TimeBudget], Awaitable[bytes]]
"""From the JSON as it is to the JSON as it shall be."""


class SessionChanges(Generic[T]):
    """The writes of one platform's sessions; changes of one session go one at a time.

    Arguments:
        new: members that a session begins with where it is not given others.
        user: the member that says whose it is.
    """

    def __init__(
        self,
        store: SessionStore,
        schema: SessionSchema[T],
        index: SessionIndex,
        streams: Streams,
        limits: SessionLimits,
        new: Mapping[str, object],
        user: UserMember,
    ) -> None:
        self._store = store
        self._schema = schema
        self._index = index
        self._streams = streams
        self._limits = limits
        self._new = new
        self._user = user
        self._turns = Turns()

    # Changes ---------------------------------------------------------------------------------------

    async def apply(self, session: str, change: Change) -> SessionSnapshot[T]:
        """Change a session's JSON; see `Sessions.change`."""
        budget = self._store.new_budget()
        async with self._turns.of(session, budget):
            try:
                with budget.spending() as deadline:
                    # Listed as active first, and in the time of the look: a write prolongs the session's life.
                    _, stored = await asyncio.gather(
                        self._index.active.try_add(session, deadline=deadline),
                        self._store.look(session, deadline=deadline),
                    )
            except BaseException:
                self._index.check(session)  # it may be listed by now, and be over
                raise
            written: WrittenSession | Differs | None = None
            if stored.body is not None and stored.started_at is not None:
                written = Differs(stored.body)
            try:
                if (own := own_lifetime(stored.started_at)) is not None:
                    limits = self._limits.with_lifetime(own)
                    with budget.spending() as deadline:
                        await self._index.active.try_add(session, limits.lifetime + limits.late, deadline=deadline)
                while isinstance(written, Differs):
                    old = written.body
                    self._schema.decode(old)
                    new = await change(old, budget)
                    self._schema.check(new, "change")
                    if self._user.of(new) != self._user.of(old):
                        raise InvalidInput("user_id", "a session cannot change its user", "rotate it")
                    with _spending(budget) as deadline:
                        written = await self._store.write(session, old, new, secrets.token_hex(8), deadline=deadline)
            except BaseException:
                if stored.unused:
                    self._index.check(session)  # it is listed as one in use, and may not have been written
                raise
        if written is None:
            await self._index.remove(session, None, budget)
            raise SessionGone("the session has ended")
        return SessionSnapshot(
            session, self._schema.decode(written.body), written.body, started_text=written.started_at
        )

    async def settle(self, session: str) -> SessionSnapshot[T]:
        """Let the session name the newest of its streams that are open; always a write.

        The set of streams is read after the JSON, and a caller that changes the set writes the JSON afterwards: the
        last to write has seen every change of the set. A change after its look would have brought a write in between.
        """

        async def settled(body: bytes, budget: TimeBudget) -> bytes:
            with budget.spending() as deadline:
                newest = await self._streams.newest(session, deadline=deadline)
            return changed(body, {self._streams.names.member: msgspec.UNSET if newest is None else newest})

        return await self.apply(session, settled)

    async def touch(self, live: SessionSnapshot[T]) -> None:
        """Note that a session is in use; nothing, where it is over or was touched meanwhile.

        Raises:
            BrokenValue, EngineError: when that cannot be done.
        """
        budget, writer, user = self._store.new_budget(), secrets.token_hex(8), self._user.of(live.body)
        # Onto its user's list again. Prevents: on a cluster the list is another node's · that dies before its replica
        # has the entry · the session goes on, and no end-all finds it.
        await self._index.renew(live.session_id, user, budget, self._limits.of(live.started_text))
        if self._streams.names.member in members(live.body):
            try:
                await self.settle(live.session_id)  # its server may have been killed
            except SessionGone:
                await self._index.remove(live.session_id, user, budget)
            return
        written: WrittenSession | Differs | None = Differs(live.body)
        while isinstance(written, Differs):
            body = written.body
            self._schema.decode(body)
            with _spending(budget) as deadline:
                written = await self._store.write(live.session_id, body, body, writer, touch=True, deadline=deadline)
        if written is None:
            await self._index.remove(live.session_id, user, budget)

    # Sessions that begin ---------------------------------------------------------------------------

    async def start(
        self, given: Mapping[str, object], own: SessionLifetime | None = None
    ) -> tuple[SessionSnapshot[T], str]:
        """Begin a session, which may have a lifetime of its own; see `Sessions.start`."""
        token, budget = new_token(), self._store.new_budget()
        session, body = session_id(token), self._user.changed(b"{}", {**self._new, **given})
        limits = self._limits.with_lifetime(own)
        self._schema.check(body)
        user = self._user.of(body)
        unused = user is None and limits.shortens
        try:
            listed = await self._index.add(session, user, budget, limits, unused=unused)
            life = Claimed(ms(limits.absolute), b"")
            live = await self._begin(session, body, listed, life, budget, own=own, unused=unused)
        except (InvalidInput, SessionGone):
            raise  # nothing was listed, or it has been unlisted
        except BaseException:
            self._index.forget(session, user)  # nobody is given its token
            raise
        return live, token

    # docs/decisions/0038-one-of-two-logins-wins.md
    async def rotate(
        self, session: str, given: Members, own: SessionLifetime | None = None
    ) -> tuple[SessionSnapshot[T], str]:
        """Go on under a new token; see `Sessions.rotate`."""
        token, claimant, budget = new_token(), secrets.token_hex(8), self._store.new_budget()
        successor = session_id(token)
        with budget.spending() as deadline:
            stored = await self._store.look(session, deadline=deadline)
        if stored.body is None or stored.started_at is None:
            raise SessionGone("the session has ended")
        claimed: Claimed | Differs | None = Differs(stored.body)
        user = None
        try:
            while isinstance(claimed, Differs):
                old = claimed.body
                self._schema.decode(old)
                new_members = arguments.given(given, old)
                new = self._successor_json(old, new_members)
                self._schema.check(new)
                user = self._user.of(new)
                # Before the old one ends. The other way round: the old id is taken · end-all reads the list, and ends
                # the old id · the new one is listed and created, and its user is still signed in.
                log_in = new_members.get(self._user.name, msgspec.UNSET) is not msgspec.UNSET
                if own is not None and not log_in:
                    raise InvalidInput("lifetime", "is given without a user_id", "give it at a log-in")
                limits = self._limits.with_lifetime(own) if log_in else self._limits.of(stored.started_at)
                listed = await self._index.add(successor, self._listable(user, new_members), budget, limits)
                with budget.spending() as deadline:
                    claimed = await self._store.claim_for_rotation(session, old, claimant, deadline=deadline)
            if claimed is None:
                raise SessionGone("the session has ended")
            life = Claimed(ms(limits.absolute), b"") if log_in else claimed
            live = await self._begin(successor, new, listed, life, budget, own=own)
            await self._index.remove(session, None, budget)  # its user's list keeps it: end-all ends the copy too
        except (SessionGone, InvalidInput, BrokenValue, CommandFailed):
            await self._index.remove(successor, user, budget)
            self._index.check(session)
            raise
        except BaseException:
            # Nobody will be given its token, and of the old one it cannot be told here whether it was taken.
            self._index.forget(successor, user)
            self._index.check(session)
            raise
        return live, token

    async def _begin(
        self,
        session: str,
        body: bytes,
        listed: int,
        life: Claimed,
        budget: TimeBudget,
        *,
        own: SessionLifetime | None,
        unused: bool = False,
    ) -> SessionSnapshot[T]:
        with budget.spending() as deadline:
            begun = await self._store.begin(
                session, body, life.left_ms, life.started_at, listed, own=own, unused=unused, deadline=deadline
            )
        if begun is None:
            await self._index.remove(session, self._user.of(body), budget)
            raise SessionGone("all sessions of the user were ended while this one began")
        return SessionSnapshot(
            session,
            self._schema.decode(begun.body),
            begun.body,
            started_text=begun.started_at,
            max_age=None if own_lifetime(begun.started_at) is None else max(1, life.left_ms // 1000),
        )

    def _successor_json(self, body: bytes, given: Mapping[str, object]) -> bytes:
        before, after = self._user.of(body), given.get(self._user.name, msgspec.UNSET)
        if before is not None and after is not msgspec.UNSET and before != self._user.of(changed(b"{}", given)):
            # Of one browser, where the first has not signed out; or one user's token planted into another's.
            return self._user.changed(b"{}", {**self._new, **given})
        return self._user.changed(body, {self._streams.names.member: msgspec.UNSET, **given})

    def _listable(self, user: str | None, given: Mapping[str, object]) -> str | None:
        """Whose list a session goes on; no one's where another program has written a user that can have none."""
        return user if user is None or self._user.name in given or is_part(user) else None


@contextmanager
def _spending(budget: TimeBudget) -> Iterator[float]:
    """As `TimeBudget.spending`, around a write that has met others.

    Raises:
        Overloaded: when nothing is left: others have changed the session all the time.
    """
    if budget.left <= 0:
        raise Overloaded(TOO_MANY)
    with budget.spending() as deadline:
        yield deadline
