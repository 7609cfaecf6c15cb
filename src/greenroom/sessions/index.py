"""Where sessions are listed: each under its user, and all in the set of active sessions.

A session is listed, acknowledged, before it is created. Prevents: it is created · its process dies · it is on no list,
and no end-all finds it. In the set of active ones it stands before it begins or goes on, and until it has ended: a
crash can only count too many, until the idle limit. Only where that set's node of a cluster is away are those who
begin meanwhile, or are used for the first time, not counted, until their next touch.

Each is a sorted set scored by its server's time, counted without SCAN.

Other programs can write there: a member that cannot be one of ours is passed over, and taken out.

The open streams of a session are in such a set too, a companion of the session: it says what each is of, and when it
was opened. What a session's JSON says of them is set anew from there at every opening and closing, and at a touch: a
server that was killed closes nothing, its streams lapse.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
import secrets
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial

from greenroom.engine import Channel, Command, Engine, Script
from greenroom.engine.deadline import TimeBudget
from greenroom.engine.shapes import NUMBER, Shape, are_texts
from greenroom.errors import CommandFailed, EngineError, EngineUnavailable, InvalidInput
from greenroom.keyspace.derived_keys import derived_key
from greenroom.keyspace.parts import check_part, is_part
from greenroom.sessions.background import Leftovers
from greenroom.sessions.limits import LONGEST, SessionLimits, ms
from greenroom.sessions.owner import UserMember
from greenroom.sessions.settings import StreamNames
from greenroom.sessions.store import SessionStore

log = logging.getLogger("greenroom.sessions")


def _is_members(reply: int | list[object], command: Command) -> bool:
    if command[-1] == "1":
        return isinstance(reply, list) and are_texts(reply)
    return isinstance(reply, int)


SET_ADD = Script.named("expiring_set_add", NUMBER, bool)
SET_MEMBERS = Script.named("expiring_set_members", Shape(frozenset({int, list}), _is_members))
SCRIPTS = (SET_ADD, SET_MEMBERS)
_MEMBER = re.compile(r"[0-9]{16}:[A-Za-z0-9._~-]+:[A-Za-z0-9._~-]{1,128}")
# docs/decisions/0095-user-lists-are-scored-by-end-minus-usual.md
_USUAL = SessionLimits().absolute + SessionLimits().late
"""What a session stays on its user's list unless it lives for longer or shorter. It is the same whatever the settings:
processes with other settings agree on who has left."""
_SOON = 0.1
"""Seconds for which a set is waited for that others need not wait for."""


class ExpiringSet:
    """One sorted set.

    Arguments:
        name: its key.
        usual: after so long without entering again a member is not here any more, unless it has entered for another
            time.
        is_member: whether a text can be a member.
    """

    __slots__ = ("_engine", "_is_member", "_name", "_usual")

    def __init__(
        self, engine: Engine, name: str, usual: timedelta, *, is_member: Callable[[str], bool] = is_part
    ) -> None:
        self._engine = engine
        self._name = name
        self._is_member = is_member
        self._usual = ms(usual)

    async def add(self, member: str, stay: timedelta | None = None, *, deadline: float | None = None) -> None:
        """Put a member in, or renew its stay.

        Arguments:
            stay: how long it stays, if not as usual.
        """
        stay_ms = self._usual if stay is None else ms(stay)
        await self._engine.run(Channel.PLAIN, SET_ADD, (self._name,), (member, self._usual, stay_ms), deadline=deadline)

    async def try_add(self, member: str, stay: timedelta | None = None, *, deadline: float | None = None) -> None:
        """As `add`; does nothing if its server does not answer soon.

        For the sets that have everybody: on a cluster each is one node's, and all others go on while that is away. Who
        could not enter is missed until the next time.
        """
        with suppress(EngineUnavailable, TimeoutError):
            async with asyncio.timeout(_SOON):
                await self.add(member, stay, deadline=deadline)

    async def remove(self, member: str, *, deadline: float | None = None) -> None:
        """Take a member out."""
        await self._remove((member,), deadline)

    async def count(self) -> int:
        """How many are here."""
        return int(await self._engine.run(Channel.PLAIN, SET_MEMBERS, (self._name,), (self._usual, "0")))

    async def members(self, *, deadline: float | None = None) -> list[str]:
        """The members of the list, in the order in which they entered."""
        reply = await self._engine.run(Channel.PLAIN, SET_MEMBERS, (self._name,), (self._usual, "1"), deadline=deadline)
        texts = {member: member.decode("utf-8", "replace") for member in reply}
        if foreign := [member for member, text in texts.items() if not self._is_member(text)]:
            log.warning(
                "%s held %d members that are none, as %r; they are taken out", self._name, len(foreign), foreign[0]
            )
            with suppress(EngineError):
                await self._remove(foreign, deadline)
        return [text for text in texts.values() if self._is_member(text)]

    async def _remove(self, members: Sequence[str | bytes], deadline: float | None) -> None:
        try:
            await self._engine.execute(Channel.PLAIN, self._name, "ZREM", self._name, *members, deadline=deadline)
        except CommandFailed as error:
            # Of another type nobody is on it; the next member that enters replaces it.
            if not error.of_another_type:
                raise


class SessionIndex:
    """The lists of one platform's sessions."""

    def __init__(
        self,
        engine: Engine,
        prefix: str,
        store: SessionStore,
        limits: SessionLimits,
        leftovers: Leftovers,
        user: UserMember,
    ) -> None:
        self._engine = engine
        self._user = user
        self._leftovers = leftovers
        self._prefix = prefix
        self._store = store
        self._limits = limits
        self.active = ExpiringSet(engine, derived_key(prefix, "active", "sessions"), limits.lifetime + limits.late)
        """Every session that may be alive."""

    def of_user(self, user_id: str | int) -> ExpiringSet:
        """The ids of a user's sessions, of those being begun, and of some that are over.

        Raises:
            InvalidInput: when it is no user's id.
        """
        name = derived_key(self._prefix, "sessions", f"user:{_part(self._user.check(user_id))}")
        return ExpiringSet(self._engine, name, _USUAL)

    async def add(
        self, session: str, user: str | None, budget: TimeBudget, limits: SessionLimits, *, unused: bool = False
    ) -> int:
        """List a session that shall begin; returns when that was, by its server's time in µs.

        Arguments:
            limits: the session's own.
            unused: whether it ends soon if its token does not come back.
        """
        mine = [] if user is None else [self._of(user)]
        stay = (limits.unused if unused else limits.lifetime) + limits.late

        with budget.spending() as deadline:
            entries = asyncio.gather(
                self.active.try_add(session, stay, deadline=deadline),
                *(one.add(session, limits.absolute + limits.late, deadline=deadline) for one in mine),
            )
            # The server's time with them, and not later: what is listed for long may have been ended meanwhile.
            now, _ = await asyncio.gather(self._store.now(session, deadline=deadline), entries)
            return now

    async def renew(self, session: str, user: str | None, budget: TimeBudget, limits: SessionLimits) -> None:
        """List a session again that goes on, where that can be done soon; with the session's own limits."""
        # On its user's list for its whole life. What is left of that is less: it is ended in vain, if at all.
        stays = limits.lifetime + limits.late, limits.absolute + limits.late
        with budget.spending() as deadline:
            sets = zip(self._sets(user), stays, strict=False)
            await asyncio.gather(*(one.try_add(session, stay, deadline=deadline) for one, stay in sets))

    async def remove(self, session: str, user: str | None, budget: TimeBudget) -> None:
        """Unlist a session that is over; never fails, since what was asked for is done: the rest is done behind."""

        async def left(deadline: float | None = None) -> None:
            await asyncio.gather(*(one.remove(session, deadline=deadline) for one in self._sets(user)))

        try:
            with budget.spending() as deadline:
                await left(deadline)
        except BaseException as error:
            self._leftovers.add(f"the list of {session}", left, LONGEST.total_seconds())
            if not isinstance(error, EngineError):
                raise

    def forget(self, session: str, user: str | None) -> None:
        """Unlist behind a session that has not begun, and never will: its id is marked as ended first."""
        undo = partial(self._forget, session, user)
        self._leftovers.add(f"the session {session}", undo, LONGEST.total_seconds())

    def check(self, session: str) -> None:
        """Make the set of active sessions true behind, of a session that may be in it for longer than it lives."""
        self._leftovers.add(f"the list of {session}", partial(self._check, session), LONGEST.total_seconds())

    async def _forget(self, session: str, user: str | None) -> None:
        await self._store.end(session, secrets.token_hex(8), tombstone=True)
        await asyncio.gather(*(one.remove(session) for one in self._sets(user)))

    async def _check(self, session: str) -> None:
        stored = await self._store.look(session)
        if stored.body is None or stored.started_at is None:
            await self.active.remove(session)
        elif stored.unused:
            # A change that has failed may have put it there as one in use, so let it be one. Instead of that a
            # shorter stay could undo that of a touch meanwhile: it would be alive and not counted.
            limits = self._limits.of(stored.started_at)
            await self.active.add(session, limits.lifetime + limits.late)
            writer = secrets.token_hex(8)
            if await self._store.write(session, stored.body, stored.body, writer, touch=True) is None:
                await self.active.remove(session)

    def _sets(self, user: str | None) -> list[ExpiringSet]:
        sets = [self.active]
        if user is not None:
            with suppress(InvalidInput):  # somebody else has written it, and it was never listed
                sets.append(self._of(user))
        return sets

    def _of(self, user: str) -> ExpiringSet:
        """The list of a user whose id is in a session's JSON."""
        return self.of_user(int(user) if self._user.numbers and not self._user.text else user)


def _part(user_id: str) -> str:
    """What stands for a user in a key: the id, or the hash of one that a key cannot hold, as an e-mail address.

    The `#` is in no id that stands there itself, so that nobody can choose an id whose list is another's.

    """
    try:
        return check_part("user_id", user_id)
    except InvalidInput:
        return f"#{hashlib.sha256(user_id.encode('utf-8', 'surrogatepass')).hexdigest()}"


@dataclass(frozen=True, slots=True)
class Stream:
    """Somebody listens to something, over one socket.

    Arguments:
        content_id: what is listened to.
        member: its name in the sets; of two the later one is greater.
        session_id: whose it is; None for a listener without a session.
    """

    content_id: str
    member: str = field(repr=False)
    session_id: str | None = field(repr=False)


def stream(content_id: str, session: str | None, opened: int, name: str) -> Stream:
    """A stream opened at a time of the server, in µs, with a name that no other has."""
    return Stream(content_id, f"{opened:016d}:{name}:{content_id}", session)


def _is_stream(text: str) -> bool:
    return _MEMBER.fullmatch(text) is not None


class Streams:
    """The open streams of every session."""

    def __init__(self, engine: Engine, store: SessionStore, limits: SessionLimits, names: StreamNames) -> None:
        self.names = names
        self._engine = engine
        self._store = store
        self._limits = limits

    def of(self, session: str) -> ExpiringSet:
        """The set of a session's streams."""
        return ExpiringSet(
            self._engine, self._store.derived_key("streams", session), self._limits.stream, is_member=_is_stream
        )

    async def newest(self, session: str, *, deadline: float | None = None) -> str | None:
        """The content of the stream that was opened last, of those that are still open."""
        present = await self.of(session).members(deadline=deadline)
        return max(present).rpartition(":")[2] if present else None
