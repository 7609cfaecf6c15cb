"""One session on the server: key and companions share a cluster slot, so that what happens to them is one script."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Generic, NamedTuple, TypeVar

from greenroom.engine import Channel, Command, Engine, Script
from greenroom.engine.deadline import TimeBudget
from greenroom.engine.replay import Kept
from greenroom.engine.shapes import NUMBER, Shape, are_texts_or_none
from greenroom.errors import EngineError, GreenroomError, OutcomeUnknown
from greenroom.keyspace.derived_keys import derived_key
from greenroom.keyspace.pattern import Pattern
from greenroom.sessions.raw_json import ACTIVITY, around, readable
from greenroom.sessions.revocations import Revocations
from greenroom.sessions.settings import LONGEST, SessionLifetime, SessionLimits, ms


def _is_start(reply: list[Any] | None, _: Command) -> bool:
    return reply is None or (len(reply) == 2 and are_texts_or_none(reply))


def _is_change(reply: list[Any], _: Command) -> bool:
    match reply:
        case [b"written", bytes(), bytes()] | [b"differs", bytes()] | [b"gone"]:
            return True
    return False


def _is_claimed(reply: list[Any], _: Command) -> bool:
    match reply:
        case [b"taken", int(), bytes()] | [b"differs", bytes()] | [b"gone"]:
            return True
    return False


def _has_written(reply: list[Any]) -> bool:
    return reply[0] in (b"written", b"taken")


def _is_gone(reply: list[Any]) -> bool:
    return bool(reply == [b"gone"])


_LIST = frozenset({list})
_FUNCTIONS = ("timestamp", "text")
START = Script.named("session_start", Shape(frozenset({list, type(None)}), _is_start), bool, functions=_FUNCTIONS)
CHANGE = Script.named("session_change", Shape(_LIST, _is_change), _has_written, _is_gone, functions=_FUNCTIONS)
CLAIM = Script.named("session_claim", Shape(_LIST, _is_claimed), _has_written, functions=("text",))
END = Script.named("session_end", NUMBER, deleted=bool, functions=("text",))
SCRIPTS = (START, CHANGE, CLAIM, END)

T = TypeVar("T")


class SessionGone(GreenroomError):
    """The session has ended, or never was: sign in again."""


@dataclass(frozen=True, slots=True)
class SessionSnapshot(Generic[T]):
    """A session as it was read; its repr, which may reach a log, shows nothing of it.

    Arguments:
        session_id: its key's part; never to be shown to anyone.
        value: what it holds.
        body: its JSON, byte for byte.
        writable: False for the copy that a rotation leaves.
        touch_due: whether no write has been made for a touch interval, or since an anonymous session began.
        started_text: when it began, and a lifetime of its own, as the server wrote it; empty for a copy.
        max_age: of a session that has just got its token and a lifetime of its own, the seconds for which its client
            shall keep it; None: until the browser ends.
    """

    session_id: str = field(repr=False)
    value: T = field(repr=False)
    body: bytes = field(repr=False)
    writable: bool = True
    touch_due: bool = False
    started_text: bytes = b""
    max_age: int | None = None

    @property
    def members(self) -> dict[str, Any]:
        """All that it holds, decoded anew: what others keep in it is not in `value`.

        A member that cannot be decoded, as 1e999 or a lone surrogate, is given as its JSON, a `msgspec.Raw`.
        """
        return readable(self.body)

    @property
    def started_at(self) -> datetime | None:
        """When it began, at the log-in and not at a later rotation, by the server's clock; None where not known."""
        try:
            return datetime.fromisoformat(self.started_text.partition(b" ")[0].decode())
        except ValueError:  # a copy's, or another program has written it
            return None


class StoredSession(NamedTuple):
    """What a look-up gives of each key."""

    body: bytes | None
    touched: bytes | None
    started_at: bytes | None
    grace_copy: bytes | None

    @property
    def unused(self) -> bool:
        """Whether the session has not been used since it began, and ends soon if that stays so."""
        return self.touched is not None and self.touched.startswith(b"+")

    @property
    def left(self) -> bytes | None:
        """The copy that a rotation has left, if this is one: the rest was deleted, or read before that.

        Prevents: one digit of a length is wrong, and the text that says when a session was begun goes on into the next
        reply · the item behind that place, another's session, is taken for the copy. Such a text has an item's end in
        it, as ours never have; one of a rotated session is not there at all.
        """
        if self.started_at is not None or (self.touched is not None and b"\r\n" in self.touched):
            return None
        return self.grace_copy


@dataclass(frozen=True, slots=True)
class WrittenSession:
    """The session as it now is."""

    body: bytes
    started_at: bytes


@dataclass(frozen=True, slots=True)
class Differs:
    """Nothing was done: the session is not as it was read, but so."""

    body: bytes


@dataclass(frozen=True, slots=True)
class Claimed:
    """The session is over; its successor may go on for the rest of its life."""

    left_ms: int
    started_at: bytes


class SessionStore:
    """Every session's keys; `deadline` is that of the call, as the engine's."""

    def __init__(self, engine: Engine, pattern: Pattern, limits: SessionLimits, ends: Revocations) -> None:
        self._engine = engine
        self._pattern = pattern
        self._limits = limits
        self._ends = ends

    def new_budget(self) -> TimeBudget:
        """The time that the commands of one call may take together."""
        return TimeBudget(self._engine.call_budget)

    async def look(
        self, session: str, channel: Channel = Channel.PLAIN, *, deadline: float | None = None
    ) -> StoredSession:
        """Read a session, with one command."""
        # The copy last: in a slot on its way each key is read by itself. Prevents: the copy is not there yet · the
        # session is rotated · its key is gone. What ends in between is over in whatever order.
        names = self._names(session, "touched", "life", "grace")
        return StoredSession(*await self._engine.execute(channel, names[0], "MGET", *names, deadline=deadline))

    async def stay(self, session: str) -> tuple[StoredSession, int]:
        """Read a session on the tracked connection; also how many ms it stays if nobody writes it."""
        names = self._names(session, "touched", "life", "grace")
        # The times first: a write in between can then only give a later value an earlier end.
        commands = ("PTTL", names[0]), ("PTTL", names[2]), ("MGET", *names)
        idle, life, values = await self._engine.execute_all(Channel.TRACKED, names[0], commands)
        return StoredSession(*values), max(0, min(idle, life))

    async def now(self, session: str, *, deadline: float | None = None) -> int:
        """The time of the session's server in µs."""
        seconds, micros = await self._engine.execute(
            Channel.PLAIN, self._pattern.key(session), "TIME", deadline=deadline
        )
        return int(seconds) * 1_000_000 + int(micros)

    async def begin(
        self,
        session: str,
        body: bytes,
        life_ms: int,
        started_text: bytes,
        listed: int,
        *,
        own: SessionLifetime | None = None,
        unused: bool = False,
        deadline: float | None = None,
    ) -> WrittenSession | None:
        """Create a session; None where its id was ended since it was listed, or that is too long ago.

        Arguments:
            started_text: when, and its own lifetime, as the server has written it; empty for now.
            own: the lifetime of its own, of one that begins now.
            listed: when it was listed, as `now` tells.
            unused: whether it ends soon if its token does not come back.
        """
        head, tail = around(body, ACTIVITY)
        limits = self._limits.of(started_text) if started_text else self._limits.with_lifetime(own)
        spans, touched = (ms(limits.lifetime), life_ms, ms(limits.touch)), "1"
        if unused:
            short = ms(limits.unused)
            spans, touched = (short, short, short), f"+{life_ms - short}"
        behind = "" if own is None else own.text
        args = head, tail, *spans, started_text, listed // 1000, ms(limits.late), touched, behind
        names = self._names(session, "life", "touched", "ended")
        reply = await self._engine.run(Channel.PLAIN, START, names, args, deadline=deadline)
        # Without JSON, although it has begun: somebody has deleted it, or it has lapsed, before the repetition.
        return None if reply is None or None in reply else WrittenSession(*reply)

    async def write(
        self, session: str, old: bytes, new: bytes, writer: str, *, touch: bool = False, deadline: float | None = None
    ) -> WrittenSession | Differs | None:
        """Replace the JSON that was read; None where the session is over.

        Arguments:
            writer: a name for this one write. Prevents: A's write is carried out, its reply is lost, it is repeated ·
                the JSON differs from what A has read, as if another had written · A adds one for the second time.

        Raises:
            OutcomeUnknown: when the reply was lost and it cannot be told any more.
        """
        head, tail = around(new, ACTIVITY)
        names = self._names(session, "life", "touched")
        args = old, head, tail, ms(self._limits.lifetime), ms(self._limits.touch), writer, "1" if touch else "0"
        run = partial(self._engine.run, Channel.PLAIN, CHANGE, names, args, retry=False, deadline=deadline)
        try:
            return _written(await run())
        except OutcomeUnknown as unknown:
            try:
                written = _written(await run())
            except EngineError:
                raise unknown from None
            if isinstance(written, Differs):
                raise  # another has written since, over ours or over what was there before: nobody can tell
            return written

    async def sweep(self, session: str) -> None:
        """Delete what is left of a session that is over."""
        args = "", "", "", 1, 1, "-", "0"  # as a write over what is never there
        await self._engine.run(Channel.PLAIN, CHANGE, self._names(session, "life", "touched"), args)

    async def claim_for_rotation(
        self, session: str, old: bytes, claimant: str, *, deadline: float | None = None
    ) -> Claimed | Differs | None:
        """End a session for its successor, leaving a copy; None where it is over, or another rotation was first."""
        names = self._names(session, "life", "touched", "grace", "ended", "streams")
        args = old, claimant, ms(self._limits.tombstone), ms(self._limits.grace_copy)
        reply = await self._engine.run(Channel.PLAIN, CLAIM, names, args, deadline=deadline)
        match reply[0]:
            case b"taken":
                kept = self._keep(names, self._end_args(claimant, "alive"), self._limits.of(reply[2]).lifetime)
                self._ends.acknowledged(kept, names[0])
                return Claimed(reply[1], reply[2])
            case b"differs":
                return Differs(reply[1])
            case _:
                return None

    async def end(self, session: str, by: str, *, tombstone: bool, deadline: float | None = None) -> bool:
        """End a session and its copy; False where it was over. With `tombstone` an id not created yet never will be."""
        names = self._names(session, "life", "touched", "grace", "ended", "streams")
        args = self._end_args(by, "any" if tombstone else "one")
        # Of a session that is not looked at nobody knows for how long it lives.
        kept = self._keep(names, args, LONGEST)
        reply = await self._engine.run(Channel.PLAIN, END, names, args, deadline=deadline)
        self._ends.acknowledged(kept, names[0])
        return bool(reply)

    def key(self, session: str) -> str:
        """The session's key."""
        return self._pattern.key(session)

    def derived_key(self, use: str, session: str) -> str:
        """The name of a companion."""
        return derived_key(self._pattern.prefix, use, self._pattern.key(session))

    def _end_args(self, by: str, what: str) -> tuple[str | int, ...]:
        return by, ms(self._limits.tombstone), what

    def _keep(self, names: Sequence[str], args: Sequence[str | int], lifetime: timedelta) -> Kept:
        return self._ends.keep(END, names, args, lifetime.total_seconds())

    def _names(self, session: str, *uses: str) -> Sequence[str]:
        key, prefix = self._pattern.key(session), self._pattern.prefix
        return (key, *(derived_key(prefix, use, key) for use in uses))


def _written(reply: list[Any]) -> WrittenSession | Differs | None:
    match reply[0]:
        case b"written":
            return WrittenSession(reply[1], reply[2])
        case b"differs":
            return Differs(reply[1])
        case _:
            return None
