"""What is written to sessions: they begin, are changed, rotated and touched.

A change: read, change, write if the session is still as it was read, or else once more. Changes of one session that
have met in one process go on one after another.

Prevents: a thousand changes of one number read it · one is written, 999 differ and are read again · one is written, 998
differ: half a million commands. What fails the first for want of a server fails those behind it too.

A turn is waited for within the time that the call may take at all: else ten changes over a slow network take ten times
as long as one.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Generic, TypeVar
from weakref import WeakValueDictionary

import msgspec

from greenroom.engine.deadline import TimeBudget, before
from greenroom.errors import BrokenValue, CommandFailed, EngineUnavailable, InvalidInput, OutcomeUnknown, Overloaded
from greenroom.keyspace.parts import is_part
from greenroom.sessions import arguments
from greenroom.sessions.index import SessionIndex, Streams
from greenroom.sessions.raw_json import USER, Members, changed, members, user_of
from greenroom.sessions.schema import SessionSchema
from greenroom.sessions.settings import SessionLimits, ms
from greenroom.sessions.store import (
    Claimed,
    Differs,
    SessionGone,
    SessionSnapshot,
    SessionStore,
    WrittenSession,
)
from greenroom.sessions.token import new_token, session_id

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
    """The writes of one platform's sessions; changes of one session go one at a time.

    Arguments:
        new: members that a session begins with where it is not given others.
    """

    def __init__(
        self,
        store: SessionStore,
        schema: SessionSchema[T],
        index: SessionIndex,
        streams: Streams,
        limits: SessionLimits,
        new: Mapping[str, object],
    ) -> None:
        self._store = store
        self._schema = schema
        self._index = index
        self._streams = streams
        self._limits = limits
        self._new = new
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
                while isinstance(written, Differs):
                    old = written.body
                    self._schema.decode(old)
                    new = await change(old, budget)
                    self._schema.check(new, "change")
                    if user_of(new) != user_of(old):
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
        budget, writer, user = self._store.new_budget(), secrets.token_hex(8), user_of(live.body)
        # Onto its user's list again. Prevents: on a cluster the list is another node's · that dies before its replica
        # has the entry · the session goes on, and no end-all finds it.
        await self._index.renew(live.session_id, user, budget)
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

    async def start(self, given: Mapping[str, object]) -> tuple[SessionSnapshot[T], str]:
        """Begin a session; see `Sessions.start`."""
        token, budget = new_token(), self._store.new_budget()
        session, body = session_id(token), changed(b"{}", {**self._new, **given})
        self._schema.check(body)
        user = user_of(body)
        unused = user is None and self._limits.shortens
        try:
            listed = await self._index.add(session, user, budget, unused=unused)
            live = await self._begin(session, body, listed, self._new_life, budget, unused=unused)
        except (InvalidInput, SessionGone):
            raise  # nothing was listed, or it has been unlisted
        except BaseException:
            self._index.forget(session, user)  # nobody is given its token
            raise
        return live, token

    # docs/decisions/0038-one-of-two-logins-wins.md
    async def rotate(self, session: str, given: Members) -> tuple[SessionSnapshot[T], str]:
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
                user = user_of(new)
                # Before the old one ends. The other way round: the old id is taken · end-all reads the list, and ends
                # the old id · the new one is listed and created, and its user is still signed in.
                listed = await self._index.add(successor, _listable(user, new_members), budget)
                with budget.spending() as deadline:
                    claimed = await self._store.claim_for_rotation(session, old, claimant, deadline=deadline)
            if claimed is None:
                raise SessionGone("the session has ended")
            log_in = new_members.get(USER, msgspec.UNSET) is not msgspec.UNSET
            live = await self._begin(successor, new, listed, self._new_life if log_in else claimed, budget)
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

    @property
    def _new_life(self) -> Claimed:
        return Claimed(ms(self._limits.absolute), b"")

    async def _begin(
        self, session: str, body: bytes, listed: int, life: Claimed, budget: TimeBudget, *, unused: bool = False
    ) -> SessionSnapshot[T]:
        with budget.spending() as deadline:
            begun = await self._store.begin(
                session, body, life.left_ms, life.started_at, listed, unused=unused, deadline=deadline
            )
        if begun is None:
            await self._index.remove(session, user_of(body), budget)
            raise SessionGone("all sessions of the user were ended while this one began")
        return SessionSnapshot(session, self._schema.decode(begun.body), begun.body, started_text=begun.started_at)

    def _successor_json(self, body: bytes, given: Mapping[str, object]) -> bytes:
        before, after = user_of(body), given.get(USER, msgspec.UNSET)
        if before is not None and after not in (before, msgspec.UNSET):
            # Of one browser, where the first has not signed out; or one user's token planted into another's.
            return changed(b"{}", {**self._new, **given})
        return changed(body, {self._streams.names.member: msgspec.UNSET, **given})


@contextmanager
def _spending(budget: TimeBudget) -> Iterator[float]:
    """As `TimeBudget.spending`, around a write that has met others.

    Raises:
        Overloaded: when nothing is left: others have changed the session all the time.
    """
    if budget.left <= 0:
        raise Overloaded(_TOO_MANY)
    with budget.spending() as deadline:
        yield deadline


def _listable(user: str | None, given: Mapping[str, object]) -> str | None:
    """Whose list a rotated session goes on; no one's where another program has written a user that can have none."""
    return user if user is None or USER in given or is_part(user) else None
