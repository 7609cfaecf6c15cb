"""What the server holds of one keyspace: asked for, and what is made of its answers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence
from time import monotonic
from typing import Any, Generic, TypeVar, cast

from greenroom.caching.admission import Admission, Arrival, Broken, Outdated, Unbounded
from greenroom.caching.invalidation import Backing
from greenroom.caching.lease import ANOTHER_TYPE, fingerprint
from greenroom.caching.near import Entry
from greenroom.caching.questions import Miss, Question
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

log = logging.getLogger("greenroom.caching")

T = TypeVar("T")


class RemoteTier(Generic[T]):
    """Reads of one keyspace's values on the server.

    Arguments:
        near_for: seconds for which a value is kept in this process at most; 0 keeps nothing.
    """

    def __init__(self, backing: Backing, keyspace: Keyspace[T], near_for: float) -> None:
        self._engine = backing.engine
        self.admission = Admission(backing, keyspace, near_for)
        """Checks what was read, and keeps it near."""
        self.generation = self.admission.generation
        """The generation of the keyspace."""
        self._refused_drops = backing.drops.refused
        self._now = backing.clock.monotonic
        self._counters = backing.counters
        self._keyspace = keyspace
        self.keeps_nothing_near = not near_for
        """Whether every value is read from the server."""
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
        asked = self.ask(key, lifetime)
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
                    result = self.admission.entered(key, asked.asked, replies, None, asked.marked)
                if type(result) is Entry:
                    return result
        return await self.finish(asked)

    async def read_many(self, keys: Sequence[str], *, lifetime: bool = True) -> list[Entry | Miss]:
        """Several values, each as `read`, without a task for each: all questions leave in one write."""
        if self.generation.pending and not await self.generation.settled():
            return [Miss(TimeBudget(0.0), reachable=False) for _ in keys]
        if self.keeps_nothing_near and not (lifetime or self._refused_drops or self.generation.current):
            return await self._read_alone(keys)
        asked: list[Question | Miss] = []
        answers: list[Entry | Miss] = []
        later: dict[int, asyncio.Task[Entry | Miss]] = {}
        try:
            for key in keys:
                asked.append(self.ask(key, lifetime))
            for number, one in enumerate(asked):
                if isinstance(one, Miss):
                    answers.append(one)
                    continue
                answer: Entry | Miss | None = None
                if one.future is not None:
                    try:
                        replies = await one.future
                    except EngineError:
                        pass  # `finish` hears the same
                    else:
                        answer = self.entry_in(one, replies) or self._miss_in(one, replies)
                if answer is None:
                    later[number] = self._finishing(one)
                    answer = _NOT_YET
                answers.append(answer)
            for number, task in later.items():
                answers[number] = await task
        except BaseException:
            for one in asked:
                if isinstance(one, Question) and one.future is not None:
                    one.future.cancel()  # nobody looks any more at how it ends
            _abandon(later.values())
            raise
        return answers

    # docs/decisions/0114-many-fresh-values-need-no-results.md
    async def _read_alone(self, keys: Sequence[str]) -> list[Entry | Miss]:
        """As `read_many`, of values that are not kept near and whose lifetimes nobody asks for: they need no hook."""
        began, asked = monotonic(), self._now()
        commands: list[Command] = [("GET", key) for key in keys]
        try:
            sent = self._engine.read_together(keys, commands)
        except Overloaded:
            self._count("overloaded", keys[0])
            raise
        except EngineError as error:
            return [self._unreadable(key, error, began) for key in keys]
        answers: list[Entry | Miss] = [_NOT_YET] * len(keys)
        later: dict[int, asyncio.Task[Entry | Miss]] = {}
        try:
            for numbers, future in sent:
                replies: Sequence[Any] | None = None
                if future is not None:
                    try:
                        replies = await future
                    except EngineError:
                        pass  # `finish` asks once more
                for place, number in enumerate(numbers):
                    reply = None if replies is None else replies[place]
                    if type(reply) is bytes:
                        entry = self.admission.entered(keys[number], asked, [reply], None, False)
                        if type(entry) is Entry:
                            answers[number] = entry
                            continue
                    one = Question(keys[number], (commands[number],), None, asked, began, marked=False, future=None)
                    miss = None if replies is None else self._miss_in(one, [reply])
                    if miss is None:
                        later[number] = self._finishing(one)
                    else:
                        answers[number] = miss
            for number, task in later.items():
                answers[number] = await task
        except BaseException:
            for part in sent:
                part.abandon()
            _abandon(later.values())
            raise
        return answers

    def _finishing(self, asked: Question) -> asyncio.Task[Entry | Miss]:
        """`finish` of one of many, begun at once: what others still wait for may take all of its time."""
        return asyncio.get_running_loop().create_task(self.finish(asked))

    def ask(self, key: str, lifetime: bool, hook: Hook | None = None) -> Question | Miss:
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
        arrival = Arrival(self.admission, key, asked, marked) if marked or not self.keeps_nothing_near else None
        try:
            future = self._engine.read(key, commands, arrival if hook is None else hook)
        except Overloaded:
            if hook is None:  # who gives one asks again, and hears the same
                self._count("overloaded", key)
            raise
        except EngineError as error:
            return self._unreadable(key, error, began)
        # Not by its own constructor, which is a function of Python.
        return tuple.__new__(Question, (key, commands, arrival, asked, began, marked, future))

    def alone(self, key: str) -> Question | None:
        """A question to be asked without the event loop; None where one must know what the loop knows."""
        generation = self.generation
        if not self.keeps_nothing_near or generation.current or generation.pending or key in self._refused_drops:
            return None
        commands: tuple[Command, ...] = (("GET", key),) if self.value_alone else (("PTTL", key), ("GET", key))
        return tuple.__new__(Question, (key, commands, None, self._now(), monotonic(), False, None))

    def entry_in(self, asked: Question, replies: list[Any]) -> Entry | None:
        """The value that has come with the replies; None where there is more to do: `finish`."""
        result = None if asked.arrival is None else asked.arrival.result
        if result is None and type(replies[-1]) is bytes:
            result = self.admission.entered(asked.key, asked.asked, replies, None, asked.marked)
        return result if type(result) is Entry else None

    def _miss_in(self, asked: Question, replies: list[Any]) -> Miss | None:
        """As `entry_in`, where the replies need no further command and hold no value."""
        if isinstance(replies[-1], EngineUnavailable | EngineRefused):
            return None
        answer = self._answer(asked, replies)
        return answer if isinstance(answer, Miss) else None

    async def finish(self, asked: Question) -> Entry | Miss:
        """The value, or why there is none to be had, of a question that was sent."""
        answer = self._answer(asked, await self._replies(asked))
        return await self._bounded(answer) if isinstance(answer, Unbounded) else answer

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

    def _answer(self, asked: Question, replies: list[Any] | EngineError) -> Entry | Miss | Unbounded:
        """What the replies say."""
        key = asked.key
        if isinstance(replies, EngineError):
            return self._unreadable(key, replies, asked.began)
        result: Any = None if asked.arrival is None else asked.arrival.result
        if result is None:
            result = replies[-1]
            if type(result) is bytes:
                result = self.admission.entered(key, asked.asked, replies, None, asked.marked)
        if type(result) is Entry or isinstance(result, Unbounded):
            return result
        if result is None:
            return Miss(self._left(asked.began))
        if isinstance(result, Outdated):
            return Miss(self._left(asked.began), rejected_digest=result.rejected_digest)
        if isinstance(result, Broken):
            return self._broken(result.error, asked.began, fingerprint(result.body))
        return self._unreadable(key, result, asked.began)

    async def _bounded(self, found: Unbounded) -> Entry:
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

    def _count(self, kind: str, key: str) -> None:
        self._counters.trouble(self._keyspace.name, kind, key)


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


def _abandon(tasks: Iterable[asyncio.Task[Entry | Miss]]) -> None:
    """Nobody looks any more at how these end, or have ended."""
    for task in tasks:
        if not task.cancel() and not task.cancelled():
            task.exception()  # or the loop would tell of an error that nobody has asked for
