"""Sessions on the server: start, read, touch, change, rotate, end. The clocks are the server's.

The key lives for the idle limit and one touch interval. While its companion `touched` stands, no request writes: a busy
session costs one write a minute, and is never ended sooner than its idle limit. The companion `life` is set once, with
the absolute lifetime; without it a session is over, whatever its key says.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Generic, TypeVar

import msgspec

from greenroom.engine import Engine, Lane
from greenroom.engine.scripts import Script
from greenroom.errors import BrokenValue, Conflict, EngineError, GreenroomError
from greenroom.keyspace import Keyspace
from greenroom.keyspace.companions import companion_key
from greenroom.sessions.document import around, changed
from greenroom.sessions.token import is_token, new_token, session_id

log = logging.getLogger("greenroom.sessions")

T = TypeVar("T")

_TIMESTAMP = Script.named("timestamp").source
START = Script(_TIMESTAMP + Script.named("session_start").source)
CHANGE = Script(_TIMESTAMP + Script.named("session_change").source)
END = Script.named("session_end")
LISTED = Script.named("listed")
COUNTED = Script.named("counted")
SCRIPTS = (START, CHANGE, END, LISTED, COUNTED)

ACTIVITY = "last_activity_timestamp"
"""The member that every write sets, to the server's time."""
USER = "user_id"
"""The member that names whose session it is."""
_ATTEMPTS = 1000
"""Conflicts after which a change gives up; each means that another has succeeded."""


class SessionGone(GreenroomError):
    """The session has ended, or never was: sign in again."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How long a session lives.

    Arguments:
        idle: without a request for so long it is over.
        touch: a request writes the time of its activity at most once in this interval.
        absolute: over, however active.
        copy: for so long a rotated session can still be read by requests under way.
        mark: for so long an ended id cannot be created.
    """

    idle: timedelta = timedelta(minutes=30)
    touch: timedelta = timedelta(minutes=1)
    absolute: timedelta = timedelta(hours=12)
    copy: timedelta = timedelta(seconds=5)
    mark: timedelta = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Live(Generic[T]):
    """A session as it was read.

    Arguments:
        session_id: its key's part; never to be shown to anyone.
        value: what it holds.
        body: its JSON, byte for byte.
        writable: False for the copy that a rotation leaves.
        touch_due: whether no write has been made for a touch interval.
    """

    session_id: str
    value: T
    body: bytes
    writable: bool = True
    touch_due: bool = False


class Sessions(Generic[T]):
    """The sessions of one platform.

    Arguments:
        keyspace: `session:{session_id}`, whose values have a `last_activity_timestamp` and may have a `user_id`.
    """

    def __init__(self, engine: Engine, keyspace: Keyspace[T], limits: Limits | None = None) -> None:
        self._engine = engine
        self._keyspace = keyspace
        self._limits = limits or Limits()
        self._touches: set[asyncio.Task[None]] = set()

    # One session -----------------------------------------------------------------------------------

    async def start(self, members: Mapping[str, object]) -> tuple[Live[T], str]:
        """Begin a session; returns it and its token, which only its client may have.

        Arguments:
            members: what it holds; the time of its activity is the server's.

        Raises:
            InvalidInput, BrokenValue: when the members do not fit the keyspace.
            EngineError: when it could not be begun.
        """
        while True:
            token = new_token()
            live = await self._begin(session_id(token), changed(b"{}", members))
            if live is not None:
                return live, token

    async def read(self, token: str) -> Live[T] | None:
        """The live session of a token; None for what is no token, or names none.

        Raises:
            EngineError: when the store cannot be asked; that says nothing about the session.
            BrokenValue: when its JSON does not fit; it is neither over nor overwritten.
        """
        return await self.read_id(session_id(token)) if is_token(token) else None

    async def read_id(self, session: str) -> Live[T] | None:
        """As `read`, by id."""
        key = self._keyspace.key(session)
        value, touched, life = await self._engine.execute(
            Lane.PLAIN, key, "MGET", key, self._companion("touched", key), self._companion("life", key)
        )
        if value is not None and life is not None:
            return Live(session, self._keyspace.decode(key, value), value, touch_due=touched is None)
        copy = self._companion("grace", key)
        old = await self._engine.execute(Lane.PLAIN, key, "GET", copy)
        return None if old is None else Live(session, self._keyspace.decode(key, old), old, writable=False)

    def touch(self, live: Live[T]) -> None:
        """Note that the session is in use, if that is due; returns at once, and never fails."""
        if not live.touch_due or not live.writable:
            return
        task = asyncio.get_running_loop().create_task(self._touched(live))
        self._touches.add(task)
        task.add_done_callback(self._touches.discard)

    async def change(self, session: str, change: Callable[[bytes], bytes]) -> Live[T]:
        """Change a session's JSON; of two at once neither is lost.

        Arguments:
            change: from the JSON as it is to the JSON as it shall be; called again with newer JSON on a conflict, so
                it must do nothing else.

        Raises:
            SessionGone: when it is over; nothing comes back to life.
            BrokenValue: when the result would not fit the keyspace.
            EngineError, OutcomeUnknown: as the engine.
        """
        live = await self.read_id(session)
        if live is None or not live.writable:
            raise SessionGone("the session has ended")
        body = live.body
        for _ in range(_ATTEMPTS):
            reply = await self._write(session, body, change(body))
            if reply[0] == b"ok":
                found = await self.read_id(session)
                if found is None:
                    raise SessionGone("the session has ended")
                return found
            if reply[0] == b"gone":
                raise SessionGone("the session has ended")
            body = reply[1]
        raise Conflict("the session changes faster than it can be written")

    async def rotate(self, session: str, members: Mapping[str, object]) -> tuple[Live[T], str]:
        """Go on under a new token, with some members changed; the old one is over, but for a short copy to read.

        A crash in between signs out, never in. The old id never leads to the new session.

        Raises:
            SessionGone: when it is over, or another rotation was first.
        """
        old = await self._take(session, copy=True)
        if old is None:
            raise SessionGone("the session has ended")
        while True:
            token = new_token()
            live = await self._begin(session_id(token), changed(old, members))
            if live is not None:
                return live, token

    async def end(self, session: str) -> bool:
        """End a session; False where it was over. Twice is as good as once."""
        user = None
        value = await self._take(session, copy=False)
        if value is not None:
            user = _user(value)
        await self._unlist(self._active, session)
        if user is not None:
            await self._unlist(self._owner(user), session)
        return value is not None

    # All of a user, and all ------------------------------------------------------------------------

    async def end_all(self, user_id: str) -> int:
        """End every session of a user; returns how many.

        A log-in meanwhile is either ended too, or stays and stays listed: only what was ended leaves the list.
        """
        ended = 0
        for session in await self._listed(self._owner(user_id)):
            ended += await self._take(session, copy=False) is not None
            await self._unlist(self._owner(user_id), session)
            await self._unlist(self._active, session)
        return ended

    async def of_user(self, user_id: str) -> list[Live[T]]:
        """A user's live sessions, the oldest first."""
        found = await asyncio.gather(*(self.read_id(one) for one in await self._listed(self._owner(user_id))))
        return [live for live in found if live is not None and live.writable]

    async def active(self) -> int:
        """Sessions used within the idle limit; after a crash at most too many, until that limit."""
        name = self._active
        longest = _ms(self._limits.idle + self._limits.touch)
        return int(await self._engine.run(Lane.PLAIN, COUNTED, (name,), (longest,)))

    async def close(self) -> None:
        """Finish the touches under way."""
        if self._touches:
            await asyncio.wait(self._touches)

    # ------------------------------------------------------------------------------------------------

    async def _begin(self, session: str, body: bytes) -> Live[T] | None:
        """List the session, acknowledged, and then create it; None where its id was ended meanwhile.

        The other order: created · crash · never listed, and end-all does not find it.
        """
        key = self._keyspace.key(session)
        head, tail = around(body, ACTIVITY)
        self._keyspace.decode(key, head + b"2000-01-01T00:00:00Z" + tail)
        user = _user(body)
        absolute = _ms(self._limits.absolute)
        if user is not None:
            await self._engine.run(Lane.PLAIN, LISTED, (self._owner(user),), (session, absolute))
        await self._engine.run(
            Lane.PLAIN, LISTED, (self._active,), (session, _ms(self._limits.idle + self._limits.touch))
        )
        names = key, self._companion("life", key), self._companion("touched", key), self._companion("ended", key)
        args = head, tail, self._lifetime, absolute, _ms(self._limits.touch)
        begun = await self._engine.run(Lane.PLAIN, START, names, args, retry=False)
        return await self.read_id(session) if begun else None

    async def _write(self, session: str, old: bytes, new: bytes, *, touch: bool = False) -> list[Any]:
        key = self._keyspace.key(session)
        head, tail = around(new, ACTIVITY)
        self._keyspace.decode(key, head + b"2000-01-01T00:00:00Z" + tail)
        names = key, self._companion("life", key), self._companion("touched", key)
        args = old, head, tail, self._lifetime, _ms(self._limits.touch), "1" if touch else "0"
        reply: list[Any] = await self._engine.run(Lane.PLAIN, CHANGE, names, args, retry=False)
        return reply

    async def _touched(self, live: Live[T]) -> None:
        body = live.body
        try:
            for _ in range(_ATTEMPTS):
                reply = await self._write(live.session_id, body, body, touch=True)
                if reply[0] != b"conflict":
                    break
                body = reply[1]
            longest = _ms(self._limits.idle + self._limits.touch)
            await self._engine.run(Lane.PLAIN, LISTED, (self._active,), (live.session_id, longest))
        except (EngineError, BrokenValue) as error:
            log.warning("a session could not be touched: %s", type(error).__name__)  # the next request tries again

    async def _take(self, session: str, *, copy: bool) -> bytes | None:
        key = self._keyspace.key(session)
        names = tuple(self._companion(use, key) for use in ("life", "touched", "grace", "ended"))
        args = _ms(self._limits.mark), _ms(self._limits.copy) if copy else 0
        value, _left = await self._engine.run(Lane.PLAIN, END, (key, *names), args, retry=not copy)
        taken: bytes | None = value
        return taken

    async def _listed(self, name: str) -> list[str]:
        return [one.decode() for one in await self._engine.execute(Lane.PLAIN, name, "ZRANGE", name, 0, -1)]

    async def _unlist(self, name: str, session: str) -> None:
        await self._engine.execute(Lane.PLAIN, name, "ZREM", name, session)

    def _companion(self, use: str, key: str) -> str:
        prefix = self._keyspace.pattern.prefix
        return companion_key(prefix, use, key)

    def _owner(self, user_id: str) -> str:
        return companion_key(self._keyspace.pattern.prefix, "sessions", f"user:{user_id}")

    @property
    def _active(self) -> str:
        return companion_key(self._keyspace.pattern.prefix, "active", "sessions")

    @property
    def _lifetime(self) -> int:
        return _ms(self._limits.idle + self._limits.touch)


def _user(body: bytes) -> str | None:
    class _Owned(msgspec.Struct):
        user_id: str | None = None

    return msgspec.json.decode(body, type=_Owned).user_id


def _ms(span: timedelta) -> int:
    return span // timedelta(milliseconds=1)
