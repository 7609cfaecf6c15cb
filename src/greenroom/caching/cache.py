"""A read-through cache over one keyspace: near, then the server's value, or else the loader's, stored for the next."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from contextvars import Context
from functools import partial
from threading import get_ident
from typing import NamedTuple, TypeVar, cast

from greenroom.caching import far_reads
from greenroom.caching.batch import BatchLoader
from greenroom.caching.cache_peeks import CachePeeks
from greenroom.caching.fallback import MAX_CONCURRENT
from greenroom.caching.invalidation import Backing
from greenroom.caching.ladder import Asked, Ladder
from greenroom.caching.loader import LOADER_DEADLINE, Loader
from greenroom.caching.near import Entry
from greenroom.caching.questions import Miss, Question
from greenroom.caching.releases import BACKOFF
from greenroom.caching.result import CacheResult, Loaded, Outcome
from greenroom.engine import Ask
from greenroom.errors import LoadFailed
from greenroom.keyspace import Keyspace
from greenroom.opened import Opened

T = TypeVar("T")

NEAR_FOR = 30.0
"""Seconds for which a value is served from this process without asking the server."""
# docs/decisions/0032-get-many-by-thousands.md
_TOGETHER = 1000
"""Keys of one call that are read at a time."""
_COMMANDS = 5
"""Commands for a key that may be outstanding together, besides one for each group: three of a read, of which two may
be asked once more."""


class LoadUnderWay(NamedTuple):
    """A load that has not ended.

    Arguments:
        age: seconds since it began.
        waiting: callers in this process who wait for it.
    """

    key: str
    age: float
    waiting: int


class Cache(CachePeeks[T]):
    """Typed read-through access to one keyspace.

    It may be declared before its room is open, and answers while the room is. Parts are given by position in the order
    of the pattern, or by keyword. A part that no key can hold is refused with
    `InvalidInput` before anything is sent.

    Arguments:
        keyspace: what the keys and values are.
        load: reads one value from the record, given the key's parts by keyword; None means there is none.
        load_many: reads several, given a list of parts, and returns as many values in their order.
        loader_deadline: seconds after which a load is cancelled.
        near_for: seconds for which a value is served from this process; 0 keeps nothing here.
        groups: the groups that a key belongs to, as `episodes:{show_id}`, made of parts of the key.
        max_concurrent: loads at a time while the server cannot be asked.
        failures_for: seconds for which a loader's failure is remembered; 0 remembers none.
        passes: exceptions of the loader that are answers, and no failures.
    """

    def __init__(
        self,
        keyspace: Keyspace[T],
        load: Loader[T],
        *,
        backing: Backing | None = None,
        load_many: BatchLoader[T] | None = None,
        loader_deadline: float = LOADER_DEADLINE,
        near_for: float = NEAR_FOR,
        groups: Sequence[str] = (),
        max_concurrent: int = MAX_CONCURRENT,
        failures_for: float = BACKOFF,
        passes: tuple[type[Exception], ...] = (),
    ) -> None:
        super().__init__(keyspace, groups)
        self._load = load
        self._loader_deadline = loader_deadline
        self._new_ladder = partial(
            Ladder,
            keyspace=keyspace,
            load=load,
            load_many=load_many,
            loader_deadline=loader_deadline,
            near_for=near_for,
            groups=self._groups.values(),
            max_concurrent=max_concurrent,
            failures_for=failures_for,
            passes=passes,
        )
        self._counted_hit = keyspace.name, Outcome.HIT.value
        if backing is not None:
            self.open(backing, Opened())

    def open(self, backing: Backing, opened: Opened) -> None:
        """Begin to answer, from the caches' server of a room that was opened."""
        self._backing = backing
        self._opened = opened
        self._loop_runs = opened.loop_runs
        self._ladder: Ladder[T] = self._new_ladder(backing)
        # For `get`, which looks at them before it asks the ladder.
        self._near = backing.near
        self._flights = self._ladder.flights
        self._fallback = self._ladder.fallback
        self._remote = self._ladder.remote
        self._outbox_drops = backing.outbox_drops
        self._pending_groups: Set[str] = backing.groups.pending_drops if self._groups else frozenset()
        self._now = backing.clock.monotonic
        self._counts = backing.counters.reads
        backing.counters.begin_cache(self.keyspace.name, (outcome.value for outcome in Outcome))

    async def close(self) -> None:
        """Cancel the loads under way; nothing can be read or dropped until it is opened again."""
        self._opened.end()
        await self._ladder.close()

    @property
    def context(self) -> Context:
        """A copy of the context in which the room was opened: loaders run in one.

        Raises:
            As `get`, for a room that is not open.
        """
        self._check_open()
        return self._backing.context.copy()

    # What callers use ------------------------------------------------------------------------------

    async def get(self, *args: object, **parts: object) -> T | None:
        """The value; None where the record holds none.

        Raises:
            InvalidInput: for parts that no key can hold.
            RoomClosed, RoomNotOpen: when the room is not open.
            RoomElsewhere: in another event loop, or another process, than that which opened the room.
            LoadTimeout: when the loader did not end in time.
            LoadFailed: when it has just failed in another process, or here a moment ago.
            Overloaded: when too much is under way already; slow down, then retry.
            Whatever the loader raises.
        """
        if get_ident() != self._opened.thread or not self._loop_runs():
            self._opened.check()
        # docs/decisions/0120-what-a-near-hit-costs.md
        # A part by position, and near: what is asked for most, without a call that it does not need.
        key = self._keys.get(args[0]) if len(args) == 1 and type(args[0]) is str and not parts else None
        if key is None:
            key = self._key(args, parts)
        if self._pending_groups or self._outbox_drops.any:
            return (await self.get_result(*args, **parts)).value
        now = self._now()
        entry = self._near.get(key, now)
        if entry is not None and now < entry.fresh_until:
            value: T | None = entry.value
            if value is not None:
                self._counts[self._counted_near] += 1
                return value
        if entry is not None or not self._fallback.empty or self._flights.find(key) is not None:
            return (await self.get_result(*args, **parts)).value
        answer = await self._remote.read(key, lifetime=not self._remote.value_alone)
        # `_got` would say the same, for a tenth of what the read costs.
        if type(answer) is Entry and now < answer.fresh_until:
            self._counts[self._counted_hit] += 1
            return cast("T", answer.value)
        return await self._got(key, answer, now, args, parts)

    async def _got(
        self, key: str, answer: Entry | Miss, now: float, args: tuple[object, ...], parts: Mapping[str, object]
    ) -> T | None:
        """What the server has said, or else what is loaded."""
        if isinstance(answer, Entry) and now < answer.fresh_until:
            self._counts[self._counted_hit] += 1
            return cast("T", answer.value)
        known = {key: self._ladder.from_server(answer, args, parts)}
        return (await self._ladder.load({key: (args, parts)}, known, together=False))[key].value

    # docs/decisions/0118-far-reads-of-threads-need-no-task.md
    def begin(self, key: str, answered: Callable[[Question, Entry | None], None]) -> bool:
        """Begin what `get` does for a key that is on the server alone; in the room's loop.

        Arguments:
            answered: called in the loop with the value that the server has given, or with None where it has given
                none that is fresh: `resumed` goes on then. It must not raise.

        Returns:
            Whether it was begun; where it was not, `get` has more to do.
        """
        if get_ident() != self._opened.thread or not self._loop_runs():
            return False  # `get` says why
        if self._heeds_more(key) or self._near.peek(key, self._now()) is not None:
            return False

        def heard(question: Question, entry: Entry | None) -> None:
            if entry is not None and question.asked < entry.fresh_until:
                self._counts[self._counted_hit] += 1
                answered(question, entry)
            else:
                answered(question, None)

        return far_reads.begin(self._remote, key, heard)

    @property
    def keeps_nothing_near(self) -> bool:
        """Whether every value is read from the server."""
        return self._remote.keeps_nothing_near

    # docs/decisions/0121-a-lone-thread-asks-the-server-itself.md
    def directly(self, ask: Ask, key: str) -> Question | Entry | None:
        """As `begin`, in any thread.

        Returns:
            The value that the server has given; the question where it has given none that is fresh, for `resumed`;
            None where it was not asked.
        """
        return None if self._heeds_more(key) else far_reads.directly(self._remote, ask, key)

    def _heeds_more(self, key: str) -> bool:
        """Whether `get` would look at more than what is near and on the server: a thread's read is left to it then."""
        return bool(
            self._pending_groups
            or self._outbox_drops.any
            or not self._fallback.empty
            or self._flights.find(key) is not None
        )

    async def resumed(self, question: Question, args: tuple[object, ...], parts: Mapping[str, object]) -> T | None:
        """As `get`, from the server's answer on."""
        return await self._got(question.key, await self._remote.finish(question), question.asked, args, parts)

    async def __call__(self, *args: object, **parts: object) -> T | None:
        """As `get`."""
        return await self.get(*args, **parts)

    async def load(self, *args: object, **parts: object) -> T | None:
        """What the loader reads from the record now, in the caller's context; no cache is asked, and nothing stored.

        Raises:
            InvalidInput: for parts that no key can hold.
            Whatever the loader raises.
        """
        self.keyspace.key(*args, **parts)  # or the loader would be given what no key can hold
        loaded = await self._load(**self.keyspace.pattern.for_loader(*args, **parts))
        return loaded.value if isinstance(loaded, Loaded) else loaded

    async def get_bytes(self, *args: object, **parts: object) -> bytes | None:
        """The value's JSON as it is stored, checked against the schema.

        Raises:
            As `get`.
        """
        return (await self.get_result(*args, **parts)).body

    async def get_many(self, parts: Iterable[object]) -> list[T | None]:
        """The values of several keys, in the order asked.

        Arguments:
            parts: of each key a tuple or a mapping; bare values where the keys have one part.

        Raises:
            As `get`.
        """
        values: list[T | None] = []
        for keys, asked in self._asked_together(parts):
            if len(asked) == len(keys) or self.keyspace.frozen:
                by_key = await self._ladder.values(asked)
                values += [by_key[key] for key in keys]
            else:
                results = await self._results(keys, asked, lifetime=not self._remote.value_alone)
                values += [result.value for result in results]
        return values

    async def get_result(self, *args: object, **parts: object) -> CacheResult[T]:
        """The value and how it came about.

        Raises:
            As `get`.
        """
        self._check_open()
        key = self._key(args, parts)
        if not self._pending_groups and not self._outbox_drops.any:
            # Without the way of many keys, which costs three times as much.
            near = self._ladder.near_result(key, args, parts)
            if near is not None:
                return self._ladder.counted(near)
        return (await self._ladder.read({key: (args, parts)}, together=False))[key]

    async def find(self, *args: object, **parts: object) -> CacheResult[T] | None:
        """As `get_result`, of a value that this process or the server has; None where it would have to be loaded.

        Nothing is loaded, and no load of another caller waited for.

        Raises:
            As `get`.
        """
        self._check_open()
        return await self._ladder.find(self._key(args, parts), (args, parts))

    async def get_results(self, parts: Iterable[object]) -> list[CacheResult[T]]:
        """Several values and how each came about, in the order asked; takes its keys as `get_many`.

        What is cached is read in one round trip; the rest is loaded together where there is a batch loader. More than
        1,000 keys are read and loaded 1,000 at a time: all at once could be more commands than may be outstanding.

        Raises:
            As `get`.
        """
        results: list[CacheResult[T]] = []
        for keys, asked in self._asked_together(parts):
            results += await self._results(keys, asked, lifetime=True)
        return results

    def _asked_together(self, parts: Iterable[object]) -> list[tuple[list[str], dict[str, Asked]]]:
        """The keys of one call, all of them checked, as they are read: those of a chunk, and their parts."""
        self._check_open()
        from greenroom.caching.keys_of_a_call import (
            asked_together,  # not with the package: who reads one by one does without
        )

        asked = asked_together(self.keyspace, parts)
        keys = [self._key(*one) for one in asked]
        size = min(_TOGETHER, max(1, self._backing.engine.limits.outstanding // (_COMMANDS + len(self._groups))))
        chunks = (slice(start, start + size) for start in range(0, len(keys), size))
        return [(keys[chunk], dict(zip(keys[chunk], asked[chunk], strict=True))) for chunk in chunks]

    async def _results(
        self, keys: Sequence[str], asked: Mapping[str, Asked], *, lifetime: bool
    ) -> list[CacheResult[T]]:
        """The results of one chunk; of a key that is asked for twice there are two values, where they can be changed.

        Arguments:
            lifetime: whether they shall say how fresh they are, although the cache itself need not know.
        """
        by_key = await self._ladder.read(asked, together=True, lifetime=lifetime)
        results: list[CacheResult[T]] = []
        given = set[str]()
        for key in keys:
            results.append(self._ladder.own(by_key[key]) if key in given else by_key[key])
            given.add(key)
        return results

    def loads(self) -> list[LoadUnderWay]:
        """What is being loaded in this process, or waited for while another one loads it, the oldest first."""
        self._check_open()
        return [LoadUnderWay(one.key, one.age, one.waiting) for one in self._flights.under_way()]

    def cancel_load(self, key: str) -> int:
        """Cancel the loads of a key in this process; their callers get `LoadFailed`. Returns the number of callers.

        Nothing is stored, and no failure remembered: the next caller begins anew. What the loader has asked of a
        database may go on there.
        """
        self._check_open()
        return self._flights.fail(key, lambda: LoadFailed(key, "it was cancelled"))
