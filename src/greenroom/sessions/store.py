"""One session on the server: key and companions share a cluster slot, so that what happens to them is one script."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar

from greenroom.engine import Ask, Channel, Command, Engine, Script
from greenroom.engine.deadline import TimeBudget
from greenroom.engine.shapes import NUMBER, Shape, are_texts_or_none
from greenroom.engine.unacknowledged import Kept
from greenroom.errors import EngineError, OutcomeUnknown
from greenroom.keyspace.derived_keys import derived_key
from greenroom.keyspace.pattern import Pattern
from greenroom.sessions.limits import LONGEST, SessionLifetime, SessionLimits, ms
from greenroom.sessions.raw_json import ACTIVITY, around
from greenroom.sessions.revocations import Revocations
from greenroom.sessions.snapshot import Claimed, Differs, StoredSession, WrittenSession


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

_NO_KEY = -2
"""The PTTL of a key that is not there; that of one without a lifetime is -1."""


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
        command = self._looking(session)
        return StoredSession(*await self._engine.execute(channel, str(command[1]), *command, deadline=deadline))

    def look_directly(self, ask: Ask, session: str) -> StoredSession | None:
        """As `look`, in any thread; None where the server was not asked, or says that it cannot answer.

        Raises:
            EngineUnavailable: when it was asked, and has not answered.
        """
        replies = ask((self._looking(session),))
        return StoredSession(*replies[0]) if replies is not None and type(replies[0]) is list else None

    def _looking(self, session: str) -> Command:
        # The copy last: in a slot on its way each key is read by itself. Prevents: the copy is not there yet · the
        # session is rotated · its key is gone. What ends in between is over in whatever order.
        return "MGET", *self._names(session, "touched", "life", "grace")

    async def stay(self, session: str) -> tuple[StoredSession, int]:
        """Read a session on the tracked connection; also how many ms it stays if nobody writes it."""
        names = self._names(session, "touched", "life", "grace")
        # The times first: a write in between can then only give a later value an earlier end.
        commands = ("PTTL", names[0]), ("PTTL", names[2]), ("MGET", *names)
        idle, life, values = await self._engine.execute_all(Channel.TRACKED, names[0], commands)
        stored = StoredSession(*values)
        return stored, _left(idle, life, ms(self._limits.of(stored.started_at).lifetime))

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


def _left(idle: int, life: int, usual: int) -> int:
    """The ms that a session stays if nobody writes it, of the PTTLs of its key and its life; `usual` if neither says.

    Prevents: another program writes a session without a lifetime, and its PTTL is -1 · that counts as nothing left ·
    each of its sockets asks the server for it a hundred times in a second.
    """
    if _NO_KEY in (idle, life):
        return 0
    return min((left for left in (idle, life) if left >= 0), default=usual)


def _written(reply: list[Any]) -> WrittenSession | Differs | None:
    match reply[0]:
        case b"written":
            return WrittenSession(reply[1], reply[2])
        case b"differs":
            return Differs(reply[1])
        case _:
            return None
