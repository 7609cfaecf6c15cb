"""The values of a store near and on the server: tracked reads, and writes after which this process has none of them.

A caller sees his own writes: from the call of a write to its end nothing of its key is put near. Prevents: a read is on
its way · the value is set · the old value arrives, and is put near · whoever set it reads the old one.
"""

from __future__ import annotations

from collections.abc import Coroutine, Iterable, Sequence
from math import inf
from time import monotonic
from typing import Any, Generic, TypeVar

from greenroom.caching.drops import drop_singly, drop_together
from greenroom.caching.invalidation import Backing
from greenroom.caching.near import Entry, EntrySource
from greenroom.caching.result import CacheResult, Outcome
from greenroom.engine import Ask, Channel, Command, Script
from greenroom.engine.several import KeyCommands, execute_each
from greenroom.engine.shapes import NUMBER, Shape
from greenroom.errors import BrokenValue, CommandFailed, EngineError, InvalidInput
from greenroom.keyspace import Keyspace
from greenroom.keyspace.mismatch import SchemaMismatch

T = TypeVar("T")

INCREMENT = Script.named(
    "store_increment", Shape(frozenset({int, bytes, type(None)})), lambda number: number is not None
)
COMPARE_AND_SET = Script.named("store_compare_and_set", NUMBER, deleted=bool, functions=("text",))
SCRIPTS = (INCREMENT, COMPARE_AND_SET)
COMMANDS = frozenset({"get", "pttl", "set", "del", "pexpire"})
"""What a store sends besides its scripts."""
_TOGETHER = 1000
"""Keys of one call that are read or written at a time: more could be above the commands that may be outstanding."""


class StoreTier(Generic[T]):
    """What a store reads and writes by key, in one opening of its room.

    Arguments:
        keyspace: what the keys and values are.
        near_for: seconds for which a value is served from this process; 0 keeps nothing here.
    """

    def __init__(self, backing: Backing, keyspace: Keyspace[T], near_for: float) -> None:
        self._keyspace = keyspace
        self._near_for = near_for
        self._engine = backing.engine
        self._near = backing.near
        self._now = backing.clock.monotonic
        self._counts = backing.counters.reads
        self._counters = backing.counters
        self._writing: dict[str, int] = {}
        self._counted = {outcome: (keyspace.name, outcome.value) for outcome in (Outcome.NEAR, Outcome.HIT)}
        self._missed = keyspace.name, "miss"
        outcomes = [outcome for _, outcome in (*self._counted.values(), self._missed)]
        backing.counters.begin_store(keyspace.name, outcomes)

    async def read(self, key: str, *, deadline: float | None = None) -> CacheResult[T]:
        """The value, near or from the server.

        Arguments:
            deadline: see `Engine`.
        """
        now = self._now()
        entry = self._near.get(key, now)
        if entry is not None:
            return self._result(entry, Outcome.NEAR, now)
        arrival = _Arrival(self, key, now)
        try:
            await self._engine.execute_all(Channel.TRACKED, key, _read(key), hook=arrival, deadline=deadline)
        except CommandFailed as error:
            raise self._unread(key, error) from None
        return self._had(key, arrival, now)

    # docs/decisions/0121-a-lone-thread-asks-the-server-itself.md
    def directly(self, ask: Ask, key: str) -> Entry | None:
        """What the server has, asked for in any thread; None where it was not asked, or has nothing that can be read.

        Raises:
            EngineUnavailable: when it was asked, and has not answered.
        """
        replies = ask((("GET", key),))
        if replies is None:
            return None
        (body,) = replies
        if body is None:
            return Entry(key, None, None, inf, inf, 0.0, None)
        if type(body) is not bytes:
            return None
        try:
            return Entry(key, self._keyspace.codec.decode(body), body, inf, inf, 0.0, None)
        except SchemaMismatch:
            return None

    async def read_many(self, keys: Sequence[str]) -> list[CacheResult[T]]:
        """Several values, each as `read`, without a task for each; raises the first error when all have ended."""
        results = list[CacheResult[T]]()
        for start in range(0, len(keys), _TOGETHER):
            results += await self._read_together(keys[start : start + _TOGETHER])
        return results

    async def _read_together(self, keys: Sequence[str]) -> list[CacheResult[T]]:
        now = self._now()
        near = [self._near.get(key, now) for key in keys]
        arrivals = {number: _Arrival(self, keys[number], now) for number, entry in enumerate(near) if entry is None}
        calls = [KeyCommands(keys[number], _read(keys[number]), arrival) for number, arrival in arrivals.items()]
        answers = await execute_each(self._engine, Channel.TRACKED, calls)
        for call, answer in zip(calls, answers, strict=True):
            if isinstance(answer, EngineError):
                raise self._unread(call.key, answer) from None
        results, broken = list[CacheResult[T]](), list[BrokenValue]()
        for number, (key, entry) in enumerate(zip(keys, near, strict=True)):
            try:
                found = (
                    self._had(key, arrivals[number], now) if entry is None else self._result(entry, Outcome.NEAR, now)
                )
                results.append(found)
            except BrokenValue as error:
                broken.append(error)  # each is counted
        if broken:
            raise broken[0]
        return results

    def arrived(self, key: str, asked: float, replies: list[Any], source: EntrySource) -> Entry | SchemaMismatch | None:
        """Check what was read, and keep it near; in the socket's reader, before what follows it on the wire."""
        remaining, body = replies
        if isinstance(remaining, Exception) or isinstance(body, Exception):
            return None
        value: T | None = None
        if body is not None:
            try:
                value = self._keyspace.codec.decode(body)
            except SchemaMismatch as error:
                return error
        expires_at = asked + remaining / 1000 if remaining >= 0 else inf
        entry = Entry(key, value, body, inf, expires_at, min(asked + self._near_for, expires_at), source)
        # Not one that was created between the two questions: its lifetime is not known.
        known = remaining != -2 or body is None
        if known and entry.near_until > asked and key not in self._writing and source.owns(key):
            self._near.put(entry if self._keyspace.frozen else entry.without_value())
        return entry

    async def increment(self, key: str, amount: int, lifetime: int, *, create: bool) -> int | None:
        """Add to a whole number; None where there is none and none may be created."""
        try:
            reply = await self._run(INCREMENT, key, (amount, lifetime, "1" if create else ""))
        except CommandFailed as error:
            if not error.of_data:
                raise
            raise BrokenValue(key, f"it cannot be counted in: {error}") from None
        return None if reply is None else int(reply)

    async def compare_and_set(self, key: str, body: bytes | None, new: T | None, lifetime: int) -> bool:
        """Store a value, or delete it with None, if these bytes are there; returns whether they were.

        Arguments:
            body: the bytes that were read; None where there was no value.
            lifetime: in milliseconds.
        """
        encoded = b"" if new is None else self.encoded(key, new)
        return bool(await self._run(COMPARE_AND_SET, key, (body or b"", encoded, lifetime)))

    async def send(self, key: str, command: Command, *, retry: bool = False) -> Any:
        """The reply to one command that writes a key.

        Arguments:
            retry: whether it may be repeated after a lost connection.
        """
        send = self._engine.execute_all(Channel.TRACKED, key, (command,), retry=retry)
        return (await self._written(key, send))[0]

    async def send_each(self, writes: Sequence[tuple[str, Command]]) -> None:
        """Send a command for each of several keys; raises the first error when all of its thousand have ended."""
        for start in range(0, len(writes), _TOGETHER):
            calls = [KeyCommands(key, (command,)) for key, command in writes[start : start + _TOGETHER]]
            keys = [call.key for call in calls]
            self._begin_writing(keys)
            try:
                answers = await execute_each(self._engine, Channel.TRACKED, calls, retry=False)
            finally:
                self._end_writing(keys)
            for answer in answers:
                if isinstance(answer, EngineError):
                    raise answer

    async def delete_each(self, keys: Sequence[str]) -> int:
        """Delete several values; returns how many there were. Raises the first error as `send_each`."""
        deleted = 0
        for start in range(0, len(keys), _TOGETHER):
            together = keys[start : start + _TOGETHER]
            self._begin_writing(together)
            try:
                deleted += await self._delete_together(together)
            finally:
                self._end_writing(together)
        return deleted

    async def _delete_together(self, keys: Sequence[str]) -> int:
        deadline = monotonic() + self._engine.call_budget
        deleted = 0

        def answered(_: Sequence[str], replies: list[Any], __: Any) -> None:
            nonlocal deleted
            deleted += sum(reply for reply in replies if isinstance(reply, int))

        async def again(key: str) -> None:
            command: Command = "DEL", key
            await self._engine.execute_all(
                Channel.TRACKED, key, (command,), hook=lambda *said: answered((key,), *said), deadline=deadline
            )

        turned_away, unanswered = await drop_together(self._engine, keys, _ITSELF, answered)
        for error in (await drop_singly(turned_away | unanswered, again)).values():
            raise error
        return deleted

    def encoded(self, key: str, value: T) -> bytes:
        """A value as it is stored.

        Raises:
            InvalidInput: for one above the keyspace's limit.
            BrokenValue: as `Keyspace.encode`.
        """
        body = self._keyspace.encode(key, value)
        if len(body) > self._keyspace.limit:
            reason = f"{len(body)} bytes are more than the keyspace's limit"
            raise InvalidInput("value", reason, f"keep it under {self._keyspace.limit}, or declare Keyspace(limit=…)")
        return body

    def _result(self, entry: Entry, outcome: Outcome, now: float) -> CacheResult[T]:
        if entry.body is None:
            self._counts[self._missed if outcome is Outcome.HIT else self._counted[outcome]] += 1
            return CacheResult(None, None, outcome)
        self._counts[self._counted[outcome]] += 1
        value: T = entry.value if entry.value is not None else self._keyspace.decode(entry.key, entry.body)
        ttl = None if entry.expires_at == inf else entry.expires_at - now
        return CacheResult(value, entry.body, outcome, ttl=ttl, entry=entry)

    async def _run(self, script: Script, key: str, args: tuple[str | bytes | int, ...]) -> Any:
        return await self._written(key, self._engine.run(Channel.TRACKED, script, (key,), args, retry=False))

    async def _written(self, key: str, write: Coroutine[Any, Any, Any]) -> Any:
        """What a write is answered; however it ends, this process has no value of its key."""
        self._begin_writing((key,))
        try:
            return await write
        finally:
            self._end_writing((key,))

    def _begin_writing(self, keys: Iterable[str]) -> None:
        writing = self._writing
        for key in keys:
            writing[key] = writing.get(key, 0) + 1
            self._near.pop(key)

    def _end_writing(self, keys: Iterable[str]) -> None:
        writing = self._writing
        for key in keys:
            writing[key] -= 1
            if not writing[key]:
                del writing[key]

    def _had(self, key: str, arrival: _Arrival, now: float) -> CacheResult[T]:
        """What a read has found on the server."""
        found = arrival.found
        if isinstance(found, SchemaMismatch):
            raise self._broken(BrokenValue(key, str(found)))
        assert found is not None  # an error among the replies was raised
        return self._result(found, Outcome.HIT, now)

    def _unread(self, key: str, error: EngineError) -> EngineError | BrokenValue:
        """What a read raises that was answered with an error."""
        if isinstance(error, CommandFailed) and error.of_another_type:
            return self._broken(BrokenValue(key, "it is not a string"))
        return error

    def _broken(self, error: BrokenValue) -> BrokenValue:
        self._counters.trouble(self._keyspace.name, "broken", error.key)
        return error


class _Arrival:
    """The hook of one read, and what it has found."""

    __slots__ = ("_asked", "_key", "_tier", "found")

    def __init__(self, tier: StoreTier[Any], key: str, asked: float) -> None:
        self._tier = tier
        self._key = key
        self._asked = asked
        self.found: Entry | SchemaMismatch | None = None

    def __call__(self, replies: list[Any], source: EntrySource) -> None:
        self.found = self._tier.arrived(self._key, self._asked, replies, source)


def _read(key: str) -> tuple[Command, ...]:
    # PTTL first: a write between the two can then only give a new value an old deadline.
    return ("PTTL", key), ("GET", key)


class _Itself:
    """What is deleted for a key of a store: it has no companions."""

    def __call__(self, key: str) -> tuple[str, ...]:
        return (key,)

    def together(self, keys: Sequence[str]) -> Command:
        return "DEL", *keys


_ITSELF = _Itself()
