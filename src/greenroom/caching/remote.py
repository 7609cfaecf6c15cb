"""What the server holds of one keyspace: read, checked, placed in its lifetime, and kept near."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import inf
from time import monotonic
from typing import Any, Generic, NamedTuple, TypeVar, cast

from greenroom.caching.freshness import placed
from greenroom.caching.invalidation import Backing
from greenroom.caching.lease import ANOTHER_TYPE, NOTHING_REFUSED, fingerprint
from greenroom.caching.near import Entry, EntrySource
from greenroom.engine import Channel, Command, Hook
from greenroom.engine.deadline import TimeBudget
from greenroom.errors import (
    BrokenValue,
    CommandFailed,
    EngineError,
    EngineRefused,
    EngineUnavailable,
    OtherVersionValue,
    Overloaded,
)
from greenroom.keyspace import Keyspace
from greenroom.keyspace.mismatch import OtherVersion, SchemaMismatch

log = logging.getLogger("greenroom.caching")

T = TypeVar("T")

_NO_PTTL = -2
"""In place of a PTTL that is no number: the server gave an error."""


@dataclass(frozen=True, slots=True)
class Miss:
    """The server gives no value.

    Arguments:
        budget: what is left of the read's time with the server.
        reachable: whether it could be asked.
        rejected_digest: the fingerprint of what it holds instead of a value.
        broken: what is wrong with that, for `RemoteTier.tell`.
    """

    budget: TimeBudget
    reachable: bool = True
    rejected_digest: str = NOTHING_REFUSED
    broken: BrokenValue | None = None


@dataclass(frozen=True, slots=True)
class _Unbounded:
    """A value whose key has no lifetime, or too long a one."""

    entry: Entry


@dataclass(frozen=True, slots=True)
class _Outdated:
    """A value from before a drop of its keyspace, or one of which that cannot be told.

    Arguments:
        rejected_digest: its fingerprint, where the server cannot tell by its mark.
    """

    rejected_digest: str = NOTHING_REFUSED


@dataclass(frozen=True, slots=True)
class _Broken:
    error: BrokenValue
    body: bytes


class RemoteTier(Generic[T]):
    """Reads of one keyspace's values on the server.

    Arguments:
        near_for: seconds for which a value is kept in this process at most; 0 keeps nothing.
    """

    def __init__(self, backing: Backing, keyspace: Keyspace[T], near_for: float) -> None:
        self._engine = backing.engine
        self._backing = backing
        self.generation = backing.generations.of(keyspace)
        """The generation of the keyspace."""
        self._refused_drops = backing.drops.refused
        self._near = backing.near
        self._now = backing.clock.monotonic
        self._counters = backing.counters
        self._keyspace = keyspace
        self._decode = keyspace.codec.decode
        self._lifetime = keyspace.lifetime
        self._frozen = keyspace.frozen
        self.near_for = near_for
        """Seconds for which a value or an absence is kept in this process at most."""
        self.value_alone = not near_for and keyspace.lifetime.fresh is None
        """Whether a read depends on the value only, and not on what is left of its lifetime."""

    # docs/decisions/0113-what-a-hit-in-valkey-costs.md
    async def read(self, key: str, *, lifetime: bool = True) -> Entry | Miss:
        """The value, or why there is none to be had.

        Arguments:
            lifetime: whether to ask what is left of it.

        Raises:
            Overloaded: when too many commands are outstanding; that is neither down nor a miss.
        """
        if self.generation.pending and not await self.generation.settled():
            return Miss(TimeBudget(0.0), reachable=False)
        asked = self._ask(key, lifetime)
        if type(asked) is not Question:
            return cast(Miss, asked)
        # A value that comes at once takes no further call: what `finish` does for it stands here again, since each
        # call costs a twentieth of the read.
        if asked.future is not None:
            try:
                replies = await asked.future
            except EngineError:
                pass  # `finish` hears the same
            else:
                result = None if asked.arrival is None else asked.arrival.result
                if result is None and type(replies[-1]) is bytes:
                    result = self._entered(key, asked.asked, replies, None, asked.marked)
                if type(result) is Entry:
                    return result
        return await self.finish(asked)

    async def read_many(self, keys: Sequence[str], *, lifetime: bool = True) -> list[Entry | Miss]:
        """Several values, each as `read`, without a task for each: all questions leave in one write."""
        if self.generation.pending:
            return list(await asyncio.gather(*(self.read(key, lifetime=lifetime) for key in keys)))
        asked: list[Question | Miss] = []
        answers: list[Entry | Miss] = []
        later: dict[int, asyncio.Task[Entry | Miss]] = {}
        try:
            asked += (self._ask(key, lifetime) for key in keys)
            for number, one in enumerate(asked):
                if isinstance(one, Miss):
                    answers.append(one)
                    continue
                replies = await _heard(one.future)
                answer = None if replies is None else self._answer(one, replies)
                if isinstance(answer, Entry | Miss):
                    answers.append(answer)
                    continue
                # Those that need another command wait for it together.
                work = self.finish(one) if answer is None else self._bounded(answer)
                later[number] = asyncio.get_running_loop().create_task(work)
                answers.append(_NOT_YET)
            for number, task in later.items():
                answers[number] = await task
        except BaseException:
            for one in asked:
                if isinstance(one, Question) and one.future is not None:
                    one.future.cancel()  # nobody looks any more at how it ends
            for task in later.values():
                task.cancel()
            raise
        return answers

    def _ask(self, key: str, lifetime: bool, hook: Hook | None = None) -> Question | Miss:
        """Ask the server, if it can be asked at once.

        Arguments:
            hook: called in place of the question's arrival, which it calls.
        """
        if self._refused_drops and key in self._refused_drops:
            return Miss(TimeBudget(0.0), reachable=False)
        began, asked = monotonic(), self._now()
        # docs/decisions/0019-pttl-before-get.md
        # PTTL first: a write between the two can then only give a new value an old deadline.
        commands: tuple[Command, ...] = (("PTTL", key), ("GET", key)) if lifetime else (("GET", key),)
        marked = False
        if self.generation.current:
            commands = ("PTTL", key), ("GET", key)
            if marked := self.generation.checks():
                # Mark first. Prevents: the old value is read · it is replaced, and the new one marked · the mark is
                # read, and the old value passes.
                commands = ("GET", self._keyspace.mark_key(key)), *commands
        arrival = _Arrival(self, key, asked, marked) if self.near_for or marked else None
        try:
            future = self._engine.read(key, commands, arrival if hook is None else hook)
        except Overloaded:
            self._count("overloaded", key)
            raise
        except EngineError as error:
            return self._unreadable(key, error, began)
        # Not by its own constructor, which is a function of Python.
        return tuple.__new__(Question, (key, commands, arrival, asked, began, marked, future))

    def begin(self, key: str, answered: Callable[[Question, Entry | None], None]) -> bool:
        """Ask the server; returns whether it could be asked.

        Arguments:
            answered: called with the value in the socket's reader, or with None when there is more to do: `finish`.
                It must not raise.
        """
        if self.generation.pending:
            return False
        reading = _Reading(self, answered)
        try:
            question = self._ask(key, not self.value_alone, reading)
        except Overloaded:
            return False  # whoever asks again hears the same
        if type(question) is not Question or question.future is None:
            return False
        reading.question = question
        question.future.add_done_callback(reading.ended)
        return True

    def read_at_once(self, question: Question, replies: list[Any], source: EntrySource) -> Entry | None:
        """The value that replies hold, which were read just now; None where there is more to do."""
        result = None
        if question.arrival is not None:
            question.arrival(replies, source)
            result = question.arrival.result
        if result is None and type(replies[-1]) is bytes:
            result = self._entered(question.key, question.asked, replies, None, question.marked)
        return result if type(result) is Entry else None

    async def finish(self, asked: Question) -> Entry | Miss:
        answer = self._answer(asked, await self._replies(asked))
        return await self._bounded(answer) if isinstance(answer, _Unbounded) else answer

    async def _replies(self, asked: Question) -> list[Any] | EngineError:
        """The replies; asked once more, within the same budget, where the server could not answer."""
        try:
            replies = await _heard(asked.future)
            if replies is None:
                deadline = asked.began + self._engine.call_budget
                return await self._engine.execute_all(
                    Channel.TRACKED, asked.key, asked.commands, hook=asked.arrival, deadline=deadline
                )
            return replies
        except Overloaded:
            self._count("overloaded", asked.key)
            raise
        except EngineError as error:
            return error

    def _answer(self, asked: Question, replies: list[Any] | EngineError) -> Entry | Miss | _Unbounded:
        """What the replies say."""
        key = asked.key
        if isinstance(replies, EngineError):
            return self._unreadable(key, replies, asked.began)
        result: Any = None if asked.arrival is None else asked.arrival.result
        if result is None:
            result = replies[-1]
            if type(result) is bytes:
                result = self._entered(key, asked.asked, replies, None, asked.marked)
        if type(result) is Entry or isinstance(result, _Unbounded):
            return result
        if result is None:
            return Miss(self._left(asked.began))
        if isinstance(result, _Outdated):
            return Miss(self._left(asked.began), rejected_digest=result.rejected_digest)
        if isinstance(result, _Broken):
            return self._broken(result.error, asked.began, fingerprint(result.body))
        return self._unreadable(key, result, asked.began)

    def arrived(self, key: str, asked: float, replies: list[Any], source: EntrySource, marked: bool) -> _Result | None:
        """Check what was read, and keep it near; None where it is no value.

        In the socket's reader: what follows this reply on the wire may be the push that evicts what is kept here.
        """
        if type(replies[-1]) is not bytes:
            return None
        result = self._entered(key, asked, replies, source, marked)
        self._keep(result, source)
        return result

    def admit(self, key: str, body: bytes, remaining_ms: int, asked: float, source: EntrySource) -> None:
        """Keep near what a script has read and tracked; in the socket's reader, as `arrived`.

        Arguments:
            remaining_ms: its PTTL.
            asked: when the script was sent.
        """
        if self.near_for:
            self._keep(self._checked(key, asked, [remaining_ms, body], source), source)

    def admit_absence(self, key: str, remaining_ms: int, asked: float, source: EntrySource) -> None:
        """Keep near that the record holds nothing, as `admit`; by a caller who knows that no drop is pending.

        Both value and absence are tracked by the script that read it, so that either's push evicts the entry.
        """
        expires_at = asked + remaining_ms / 1000
        until = min(expires_at, asked + self.near_for)
        if until > asked and self._backing.may_keep(key, source):
            self._near.put(Entry(key, None, None, expires_at, expires_at, until, source))

    def _keep(self, result: _Result, source: EntrySource) -> None:
        if self.generation.pending or not self.near_for:
            return
        if type(result) is Entry and result.near_until and self._backing.may_keep(result.key, source):
            self._near.put(result if self._frozen else result.without_value())

    def _entered(self, key: str, asked: float, replies: list[Any], source: EntrySource | None, marked: bool) -> _Result:
        """As `_checked`, of what may be from before a drop of the keyspace.

        By the generation that is known when the reply is read, and not by that of the question.

        Arguments:
            marked: whether the first reply is the value's mark.
        """
        generation = self.generation
        if not generation.current:
            return self._checked(key, asked, replies, source)
        if marked:
            current = replies[0] == generation.current.encode()
            return self._checked(key, asked, replies[1:], source) if current else _Outdated()
        if generation.checks():
            return _Outdated()  # it was dropped while the value was on its way
        # Prevents: another program stores a value for ever · the keyspace is dropped · nobody reads the key until marks
        # are looked at no more, and then the value is served.
        result = self._checked(key, asked, replies, source)
        return _Outdated(fingerprint(replies[-1])) if isinstance(result, _Unbounded) else result

    def _checked(self, key: str, asked: float, replies: list[Any], source: EntrySource | None) -> _Checked:
        """Check what comes from the server, once, when it enters.

        Its times count from when it was `asked` for: a reply that comes late must not be served for longer.
        """
        body = replies[-1]
        try:
            value = self._decode(body)
        except SchemaMismatch as error:
            kind = OtherVersionValue if isinstance(error, OtherVersion) else BrokenValue
            return _Broken(kind(key, str(error)), body)
        if len(replies) == 1:
            return Entry(key, value, body, inf, inf, 0.0, source)
        remaining = replies[0]
        at = placed(self._lifetime, remaining if type(remaining) is int else _NO_PTTL, asked)
        if at.adjust:
            return _Unbounded(Entry(key, value, body, at.fresh_until, at.expires_at, 0.0, source))
        until = min(at.expires_at, asked + self.near_for) if at.near and source is not None else 0.0
        return Entry(key, value, body, at.fresh_until, at.expires_at, until, source)

    async def _bounded(self, found: _Unbounded) -> Entry:
        """Give the key the lifetime that its writer left out, or set too long: else the value might never end."""
        key, lifetime = found.entry.key, self._keyspace.lifetime.ttl_ms
        try:
            await self._engine.execute(Channel.TRACKED, key, "PEXPIRE", key, lifetime, "LT")
        except EngineError as error:
            log.debug("giving %s its lifetime: %s", key, error)  # the next read tries again
        return found.entry

    def _unreadable(self, key: str, error: EngineError, began: float) -> Miss:
        if isinstance(error, CommandFailed) and error.of_another_type:
            return self._broken(BrokenValue(key, "it is not a string"), began, ANOTHER_TYPE)
        self._count("engine", key)
        log.debug("reading %s: %s", key, error)
        return Miss(self._left(began), reachable=False)

    def _left(self, began: float) -> TimeBudget:
        return TimeBudget(max(0.0, began + self._engine.call_budget - monotonic()))

    def _broken(self, error: BrokenValue, began: float, rejected_digest: str) -> Miss:
        self._count("version" if isinstance(error, OtherVersionValue) else "broken", error.key)
        return Miss(self._left(began), rejected_digest=rejected_digest, broken=error)

    def tell(self, misses: Iterable[Miss]) -> None:
        """Log what is wrong with the values of one call: one line, however many they are."""
        errors = [miss.broken for miss in misses if miss.broken is not None]
        broken = [error for error in errors if not isinstance(error, OtherVersionValue)]
        if broken:
            more = f", and {len(broken) - 1} more" if len(broken) > 1 else ""
            log.warning("%s; the value is replaced%s", broken[0], more)
        elif errors:
            log.debug("%s; it is replaced, of %d that are of another version", errors[0], len(errors))

    def _count(self, kind: str, key: str) -> None:
        self._counters.trouble(self._keyspace.name, kind, key)


_Checked = Entry | _Unbounded | _Broken
_Result = _Checked | _Outdated


class _Arrival:
    """The hook of one read, and what it has checked."""

    __slots__ = ("_asked", "_key", "_marked", "_remote", "result")

    def __init__(self, remote: RemoteTier[Any], key: str, asked: float, marked: bool) -> None:
        self._remote = remote
        self._key = key
        self._asked = asked
        self._marked = marked
        self.result: _Result | None = None

    def __call__(self, replies: list[Any], source: EntrySource) -> None:
        self.result = self._remote.arrived(self._key, self._asked, replies, source, self._marked)


class Question(NamedTuple):
    """A question that was sent.

    Arguments:
        asked: when, in seconds of the room's clock; `began` is of `time.monotonic`.
        marked: whether the first command asks for the value's mark.
        future: the replies; None where no connection could be asked at once.
    """

    key: str
    commands: tuple[Command, ...]
    arrival: _Arrival | None
    asked: float
    began: float
    marked: bool
    future: asyncio.Future[list[Any]] | None


class _Reading:
    """The hook of a read whose caller is told in the socket's reader."""

    __slots__ = ("_answered", "_remote", "question")

    question: Question

    def __init__(self, remote: RemoteTier[Any], answered: Callable[[Question, Entry | None], None]) -> None:
        self._remote = remote
        self._answered = answered

    def __call__(self, replies: list[Any], source: EntrySource) -> None:
        entry, future = self._remote.read_at_once(self.question, replies, source), self.question.future
        # Its deadline may have passed, so that its caller was told, and has gone on.
        if entry is not None and future is not None and not future.done():
            # What ends otherwise is told by the future, which would cost the loop another turn.
            future.remove_done_callback(self.ended)
            self._answered(self.question, entry)

    def ended(self, _: object) -> None:
        """The future is done, and the caller was not told."""
        self._answered(self.question, None)


_NOT_YET = Miss(TimeBudget(0.0))


async def _heard(future: asyncio.Future[list[Any]] | None) -> list[Any] | None:
    """The replies; None where they are none of a server that can be used."""
    if future is None:
        return None
    try:
        replies = await future
    except EngineUnavailable:
        return None
    return None if isinstance(replies[-1], EngineUnavailable | EngineRefused) else replies
