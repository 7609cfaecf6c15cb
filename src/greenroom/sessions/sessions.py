"""Sessions on the server: start, read, touch, change, rotate, end. The clocks are the server's.

The key lives for the idle limit and one touch interval. While its companion `touched` stands, no request writes: a busy
session costs one write a minute, and is never ended sooner than its idle limit. The companion `life` is set once, with
the absolute lifetime; without it a session is over, whatever its key says.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from functools import partial
from typing import Generic, TypeVar

from greenroom.argument_types import function, instance, text
from greenroom.clock import Clock
from greenroom.counters import Counters
from greenroom.engine import Ask, Channel, Engine
from greenroom.engine.deadline import TimeBudget
from greenroom.engine.key_events import KeyEvents
from greenroom.errors import BrokenValue, InvalidInput
from greenroom.keyspace import Keyspace
from greenroom.keyspace.derived_keys import owner
from greenroom.opened import Opened
from greenroom.sessions import arguments, index, store
from greenroom.sessions.background import Background, Leftovers
from greenroom.sessions.changes import SessionChanges
from greenroom.sessions.ending import SessionEnds
from greenroom.sessions.index import SessionIndex, Streams
from greenroom.sessions.limits import LONGEST, SessionLifetime, SessionLimits, lifetime_of
from greenroom.sessions.owner import UserMember
from greenroom.sessions.raw_json import Members
from greenroom.sessions.revocations import Revocations
from greenroom.sessions.schema import SessionSchema
from greenroom.sessions.settings import StreamNames
from greenroom.sessions.snapshot import SessionGone, SessionSnapshot, StoredSession
from greenroom.sessions.store import SessionStore
from greenroom.sessions.token import is_token, session_id
from greenroom.sessions.websocket import SessionWatch

log = logging.getLogger("greenroom.sessions")

T = TypeVar("T")

SCRIPTS = (*store.SCRIPTS, *index.SCRIPTS)
"""Those that sessions run on their server."""
_AT_A_TIME = 100
"""Sessions of one user that are asked for at a time."""


class Sessions(Generic[T]):
    """The sessions of one room.

    Every call raises `EngineError` when the server cannot be asked: that says nothing about a session. Once the
    room is closed it raises `RoomClosed`.

    Arguments:
        engine: not started yet.
        keyspace: `session:{session_id}`, whose values have a `last_activity_timestamp` and may have a `user_id`.
        counters: where what happens to sessions is counted.
        ends: those that the engine sends again to a server that has come back.
        new: members that a session begins with where it is not given others.
        streams: what open streams are called where they are stored.
        remember: the lifetime of a session that is remembered.
        opened: the room's, which ends it.
        clock: where the time between two touches is counted; None for the system's.

    Raises:
        InvalidInput: naming an argument of another type, or a member that cannot be JSON.
    """

    def __init__(
        self,
        engine: Engine,
        keyspace: Keyspace[T],
        limits: SessionLimits | None = None,
        *,
        counters: Counters | None = None,
        ends: Revocations | None = None,
        new: Mapping[str, object] | None = None,
        streams: StreamNames | None = None,
        remember: SessionLifetime | None = None,
        opened: Opened | None = None,
        clock: Clock | None = None,
    ) -> None:
        instance("keyspace", keyspace, Keyspace, "give the keyspace of the sessions")
        if limits is not None:
            instance("limits", limits, SessionLimits, "give SessionLimits")
        new_members = arguments.mapping(new)
        self.user = UserMember.of_type(keyspace.type)
        """The member that says whose a session is."""
        self.user.changed(b"{}", new_members)  # refuses what cannot be JSON
        self._remember = remember
        self.limits = limits or SessionLimits()
        self.counters = counters if counters is not None else Counters()
        self.counters.begin_sessions()
        self._key_events = KeyEvents(owner)
        self.engine = engine
        ends = ends if ends is not None else Revocations()
        self.prefix = keyspace.pattern.prefix
        self.store = SessionStore(engine, keyspace.pattern, self.limits, ends)
        self.streams = Streams(engine, self.store, self.limits, streams or StreamNames())
        engine.add_listener(self._key_events, SCRIPTS)
        engine.add_listener(ends)
        self._schema = SessionSchema(keyspace)
        self.leftovers = Leftovers()
        """What calls that failed have left, to be undone behind."""
        self._index = SessionIndex(engine, self.prefix, self.store, self.limits, self.leftovers, self.user)
        self._changes = SessionChanges(
            self.store, self._schema, self._index, self.streams, self.limits, new_members, self.user
        )
        self._background = Background(self.limits.touch.total_seconds(), clock)
        self._ends = SessionEnds(self.store, self._index, self.counters, self.user)
        self.opened = opened if opened is not None else Opened()
        """The room's: whether it is open, and where."""

    # One session -----------------------------------------------------------------------------------

    async def start(
        self,
        members: Mapping[str, object] | None = None,
        /,
        *,
        remember: bool = False,
        lifetime: SessionLifetime | timedelta | None = None,
        **more: object,
    ) -> tuple[SessionSnapshot[T], str]:
        """Begin a session; returns it and its token, which is for its client only.

        One without a `user_id` is over after `SessionLimits.unused` if its token does not come back: see `read`.

        Arguments:
            members: what it holds, by the names in JSON; the time of its activity is the server's.
            remember: whether it lives as long as `SessionSettings(remember=…)` says.
            lifetime: how long this one lives, where that is another time; one time stands for both limits.
            more: further members, by keyword; `user_id` is whose it is.

        Raises:
            InvalidInput: naming the member that cannot be JSON, or does not fit the keyspace; and for a session to be
                remembered where the room has no time for that.
            SessionGone: when `end_all` of its user came meanwhile.
        """
        self.opened.check()
        own = self.own_lifetime(remember=remember, lifetime=lifetime)
        given = arguments.mapping(members, self.user.renamed(more))
        live, token = await self._changes.start(given, own)
        self.counters.sessions["started",] += 1
        return live, token

    async def read(
        self, token: str, *, channel: Channel = Channel.PLAIN, deadline: float | None = None
    ) -> SessionSnapshot[T] | None:
        """The live session of a token; None for what is no token, or names none.

        The first read of an anonymous session's token begins a touch: from then on it has the usual limits.

        Arguments:
            channel: TRACKED for a caller that wants a push when it changes or ends.
            deadline: by which the server must have answered, in seconds of `time.monotonic`; by default the time of
                a command from now on.

        Raises:
            BrokenValue: when its JSON does not fit; it is neither over nor overwritten.
            InvalidInput: for a token that is no string.
        """
        self.opened.check()
        text("token", token, "give the text of the cookie, or of the Authorization header")
        instance("channel", channel, Channel, "give Channel.PLAIN or Channel.TRACKED")
        if not is_token(token):
            return None
        session = session_id(token)
        stored = await self.store.look(session, channel, deadline=deadline)
        live = self.snapshot(session, stored)
        if live is not None and stored.unused:
            self.touch(live)
        return live

    # docs/decisions/0121-a-lone-thread-asks-the-server-itself.md
    def directly(self, ask: Ask, token: str) -> SessionSnapshot[T] | None:
        """The live session of a token, asked for in any thread; None where there is more to do: `read`.

        Raises:
            EngineUnavailable: when the server was asked, and has not answered.
        """
        if not isinstance(token, str) or not is_token(token):
            return None
        session = session_id(token)
        stored = self.store.look_directly(ask, session)
        if stored is None or stored.unused:
            return None
        with suppress(BrokenValue):
            return self._whole(session, stored)
        return None

    async def read_id(self, session: str, *, channel: Channel = Channel.PLAIN) -> SessionSnapshot[T] | None:
        """As `read`, by id."""
        self.opened.check()
        arguments.session_part("session", session)
        instance("channel", channel, Channel, "give Channel.PLAIN or Channel.TRACKED")
        return self.snapshot(session, await self.store.look(session, channel))

    @asynccontextmanager
    async def watched(self, session: str) -> AsyncIterator[SessionWatch[T]]:
        """Keep an eye on a session while its socket is open; see `SessionWatch`.

        Raises:
            As `read`.
        """
        self.opened.check()
        arguments.session_part("session", session)
        with self._key_events.listening(self.store.key(session)) as pushed:
            watch = SessionWatch(session, self.store, self.snapshot, self.touch, pushed)
            async with watch.open():
                yield watch

    def snapshot(self, session: str, stored: StoredSession) -> SessionSnapshot[T] | None:
        """The session that a look-up has found, or its copy; None where it is over.

        Raises:
            As `read`.
        """
        if (whole := self._whole(session, stored)) is not None:
            return whole
        if stored.body is not None or stored.started_at is not None:
            # It has lapsed, and its life would stand for hours; or somebody has written what only we may begin.
            self._background.begin(session, self.store.sweep(session))
        if (copy := stored.left) is None:
            return None
        if stored.body is not None:
            self._schema.decode(stored.body)  # as the text in `StoredSession.left`, it may go on into another's reply
        return SessionSnapshot(session, self._schema.decode(copy), copy, writable=False)

    def _whole(self, session: str, stored: StoredSession) -> SessionSnapshot[T] | None:
        if stored.body is None or stored.started_at is None:
            return None
        due = stored.touched is None or stored.unused
        value = self._schema.decode(stored.body)
        return SessionSnapshot(session, value, stored.body, touch_due=due, started_text=stored.started_at)

    def touch(self, live: SessionSnapshot[T]) -> None:
        """Note that the session is in use, if that is due; returns at once, also if the server is unreachable."""
        instance("live", live, SessionSnapshot, "give a session as it was read")
        if live.touch_due and live.writable and self._background.is_first(live.session_id):
            self._background.begin(live.session_id, self._touched(live))

    async def change(self, session: str, change: Callable[[bytes], bytes]) -> SessionSnapshot[T]:
        """Change a session's JSON; of two at once neither is lost.

        Arguments:
            change: from the JSON as it is to the JSON as it shall be; called again with newer JSON on a conflict, so
                it must do nothing else.

        Raises:
            SessionGone: when it is over; nothing comes back to life.
            BrokenValue: when what is there does not fit the keyspace; nothing is overwritten.
            InvalidInput: when the result is no JSON object, too large or another user's; or does not fit the keyspace,
                naming the member.
            OutcomeUnknown: when the connection was lost and nobody can tell any more whether it was changed.
        """
        self.opened.check()
        arguments.session_part("session", session)
        function("change", change, arguments.CHANGE)

        async def made(body: bytes, _: TimeBudget) -> bytes:
            return arguments.made(change, body)

        return await self._changes.apply(session, made)

    async def settle(self, session: str) -> SessionSnapshot[T]:
        """Store the newest open stream of a session in its member.

        Raises:
            As `change`.
        """
        self.opened.check()
        arguments.session_part("session", session)
        return await self._changes.settle(session)

    async def rotate(
        self,
        session: str,
        members: Members,
        *,
        remember: bool = False,
        lifetime: SessionLifetime | timedelta | None = None,
    ) -> tuple[SessionSnapshot[T], str]:
        """Continue under a new token, with some members set; the old session ends, but for a short copy to read.

        With a `user_id` among the members it is a log-in, and a new lifetime begins, which may be the session's own, as
        at `start`; else the old one goes on.
        Of another user's session no member is taken over. Streams are not taken over either: their sockets are closed.
        A crash in between can sign a user out, but never in. The old id never leads to the new session.

        Raises:
            SessionGone: when it is over, another rotation was first, or `end_all` of its user came meanwhile.
            InvalidInput: naming the member that cannot be JSON, or does not fit; the session stays as it was.
            BrokenValue: when what is there does not fit; it stays as it was.
        """
        self.opened.check()
        arguments.session_part("session", session)
        own = self.own_lifetime(remember=remember, lifetime=lifetime)
        live, token = await self._changes.rotate(session, members, own)
        self.counters.sessions["rotated",] += 1
        return live, token

    async def end(self, session: str) -> bool:
        """End a session; False if it had already ended. May be repeated; goes on when its caller is cancelled.

        Raises:
            EngineError: when the server did not acknowledge; it is sent again to a new connection.
        """
        self.opened.check()
        arguments.session_part("session", session)
        return await self._ends.end(session)

    # All of a user, and all ------------------------------------------------------------------------

    async def end_all(self, user_id: str | int, *, but: str | None = None) -> int:
        """End every session of a user; returns how many this call has ended.

        Arguments:
            but: the id of one that goes on, as that of the user who has just changed the password.

        A log-in meanwhile is either ended too, or stays and stays listed: only what was ended leaves the list. After an
        error some may have ended: the call may be repeated, and ends the others. It goes on when its caller is
        cancelled.
        """
        self.opened.check()
        self._check_ends(user_id, but)
        return await self._ends.end_all(user_id, but)

    def end_all_behind(self, user_id: str | int, *, but: str | None = None) -> None:
        """End every session of a user as soon as the server can be asked; returns at once.

        For a caller to whom `end_all` has said that it cannot be asked now. A process that ends meanwhile ends none.
        """
        self.opened.check()
        self._check_ends(user_id, but)  # behind, nobody would be told
        undo = partial(self._ends.end_all_once, user_id, but)
        self.leftovers.add(f"the sessions of {user_id}", undo, LONGEST.total_seconds())

    def _check_ends(self, user_id: str | int, but: str | None) -> None:
        self._index.of_user(user_id)
        if but is not None:
            arguments.session_part("but", but)

    async def of_user(self, user_id: str | int) -> list[SessionSnapshot[T]]:
        """A user's live sessions, the oldest first; one that cannot be decoded is left out."""
        self.opened.check()
        listed, sessions = await self._index.of_user(user_id).members(), list[SessionSnapshot[T] | None]()
        for at in range(0, len(listed), _AT_A_TIME):
            sessions += await asyncio.gather(*map(self._readable, listed[at : at + _AT_A_TIME]))
        mine = (one for one in sessions if one is not None and one.writable and self.user.of(one.body) == str(user_id))
        return sorted(mine, key=lambda live: live.started_text)

    async def active(self) -> int:
        """Sessions that are alive; after a crash at most too many, until the limit that they had."""
        self.opened.check()
        return await self._index.active.count()

    async def close(self) -> None:
        """Finish the touches and ends under way, and what is left to be undone."""
        await self._background.close()
        await self._ends.close()
        await self.leftovers.close()

    def own_lifetime(self, *, remember: bool, lifetime: SessionLifetime | timedelta | None) -> SessionLifetime | None:
        """The lifetime of its own of a session that begins so; None for the usual one.

        Raises:
            InvalidInput: as `start`.
        """
        instance("remember", remember, bool, "use True or False")
        if lifetime is not None:
            if remember:
                raise InvalidInput("remember", "is given beside a lifetime", "give one of them")
            return lifetime_of(lifetime)
        if remember and self._remember is None:
            remedy = "make the room with SessionSettings(…, remember=timedelta(days=30))"
            raise InvalidInput("remember", "the room has no time for remembered sessions", remedy)
        return self._remember if remember else None

    # ------------------------------------------------------------------------------------------------

    async def _touched(self, live: SessionSnapshot[T]) -> None:
        try:
            await self._changes.touch(live)
        except SessionGone:
            pass
        except BaseException:
            self._index.check(live.session_id)  # it was listed again first, and may be over
            raise

    async def _readable(self, session: str) -> SessionSnapshot[T] | None:
        try:
            return await self.read_id(session)
        except BrokenValue as error:
            log.warning("a session does not fit its schema: %s", error.reason)
            return None
