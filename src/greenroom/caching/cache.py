"""A read-through cache over one keyspace: near, then the server's value, or else the loader's, stored for the next."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from contextvars import Context
from functools import partial
from threading import get_ident
from typing import Generic, TypeVar, cast

from greenroom.caching.batch import BatchLoader
from greenroom.caching.drops import DropTarget
from greenroom.caching.fallback import MAX_CONCURRENT
from greenroom.caching.invalidation import Backing
from greenroom.caching.keyspace_drops import KeyspaceDrop
from greenroom.caching.ladder import Ladder
from greenroom.caching.loader import LOADER_DEADLINE, Loader
from greenroom.caching.near import Entry
from greenroom.caching.releases import BACKOFF, LIFE
from greenroom.caching.result import CacheResult, Loaded, Outcome
from greenroom.errors import RoomClosed, RoomNotOpen
from greenroom.keyspace import Keyspace, Pattern
from greenroom.keyspace.keyspace import group_pattern
from greenroom.opened import Opened

T = TypeVar("T")

NEAR_FOR = 30.0
"""Seconds for which a value is served from this process without asking the server."""
_MAX_KEYS = 20_000
"""Keys remembered by their parts."""
# docs/decisions/0032-get-many-by-thousands.md
_TOGETHER = 1000
"""Keys of one call that are read at a time, with two commands each."""


class Cache(Generic[T]):
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
        self.keyspace = keyspace
        self._load = load
        self._groups = {text: group_pattern(text, keyspace) for text in groups}
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
        self._keys: dict[object, str] = {}
        self._counted_near = keyspace.name, Outcome.NEAR.value
        self._counted_hit = keyspace.name, Outcome.HIT.value
        self._opened = Opened(begun=False)
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
        if isinstance(answer, Entry) and now < answer.fresh_until:
            self._counts[self._counted_hit] += 1
            return cast("T", answer.value)
        known = {key: self._ladder.from_server(answer, args, parts)}
        return (await self._ladder.load({key: (args, parts)}, known, together=False))[key].value

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
        return [result.value for result in await self.get_results(parts)]

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
        self._check_open()
        from greenroom.caching.many import asked_together  # not with the package: who reads one by one does without

        asked = asked_together(self.keyspace, parts)
        keys = [self.keyspace.key(*args, **named) for args, named in asked]
        results: list[CacheResult[T]] = []
        for start in range(0, len(keys), _TOGETHER):
            chunk = slice(start, start + _TOGETHER)
            by_key = await self._ladder.read(dict(zip(keys[chunk], asked[chunk], strict=True)), together=True)
            given = set[str]()
            for key in keys[chunk]:
                # Of a key that is asked for twice there are two values, where they can be changed.
                results.append(self._ladder.own(by_key[key]) if key in given else by_key[key])
                given.add(key)
        return results

    async def invalidate(self, *args: object, **parts: object) -> None:
        """Drop the value: the next read loads it anew. To be called after the change is committed.

        Raises:
            InvalidInput: for parts that no key can hold.
            EngineError: when the server did not acknowledge. The invalidation is kept, and sent before this process
                reads from the server again; other processes may serve the old value until then.
        """
        self._check_open()
        await self._backing.drops.drop(self.keyspace.key(*args, **parts), self.keyspace.lifetime.ttl_ms / 1000)

    async def invalidate_many(self, parts: Iterable[object]) -> None:
        """Drop several values, as `invalidate` drops one; takes its keys as `get_many`.

        Raises:
            InvalidInput: for parts that no key can hold; nothing is sent then.
            EngineError: as `invalidate`, after all were sent or kept.
        """
        self._check_open()
        from greenroom.caching.many import asked_together  # as `get_results`

        keys = [self.keyspace.key(*args, **named) for args, named in asked_together(self.keyspace, parts)]
        await self._backing.drops.drop_many(keys, self.keyspace.lifetime.ttl_ms / 1000)

    async def invalidate_numbered(self, name: str, numbers: range, **parts: object) -> None:
        """Drop the values for every number of a part: as `invalidate` for each, without holding the event loop.

        Raises:
            InvalidInput: for parts that no key can hold; nothing is sent then.
            EngineError: as `invalidate`, after all were sent or kept.
        """
        self._check_open()
        keys = self.keyspace.pattern.numbered(name, numbers, **parts)
        await self._backing.drops.drop_many(keys, self.keyspace.lifetime.ttl_ms / 1000)

    async def invalidate_group(self, *args: object, **parts: object) -> None:
        """Drop every key of a group, whose parts these are. To be called before *and* after the change.

        Arguments:
            args: the group's pattern first, where the cache has several.

        Raises:
            InvalidInput: for parts that no key can hold.
            EngineError: as `invalidate`.
            TypeError: where the cache has no group, or has several and none is named.
        """
        self._check_open()
        await self._backing.drop_group(self._group(args, parts), self._longest_ms)

    def of(self, *args: object, **parts: object) -> DropTarget:
        """The value as something that a change makes stale, for `Greenroom.changing`.

        Raises:
            As `invalidate`.
        """
        key, lifetime = self.keyspace.key(*args, **parts), self.keyspace.lifetime.ttl_ms / 1000

        async def drop() -> None:
            self._check_droppable(key)
            await self._backing.drops.drop(key, lifetime)

        return DropTarget(key, drop, lifetime)

    def group(self, *args: object, **parts: object) -> DropTarget:
        """A group as something that a change makes stale, for `Greenroom.changing`.

        Raises:
            As `invalidate_group`.
        """
        group = self._group(args, parts)

        async def drop() -> None:
            self._check_droppable(group)
            await self._backing.drop_group(group, self._longest_ms)

        return DropTarget(group, drop, self._longest_ms / 1000, is_group=True)

    def group_parts(self, *args: object) -> Sequence[str]:
        """The parts that a group still needs, given what stands by position for `group`.

        Raises:
            TypeError: as `invalidate_group`.
        """
        pattern, given = self._named_group(args)
        return pattern.names[len(given) :]

    def peek(self, *args: object, **parts: object) -> T | None:
        """The value if this process has it and may serve it; asks no server, loads nothing, and does not wait."""
        self._check_open()
        key = self._key(args, parts)
        if self._pending_groups or self._outbox_drops.any or key in self._backing.drops.pending:
            return None
        now = self._now()
        entry = self._near.peek(key, now)
        if entry is None or entry.body is None or now >= entry.fresh_until:
            return None
        value: T | None = entry.value
        return self.keyspace.decode(key, entry.body) if value is None else value

    async def drop_keyspace(self) -> None:
        """Drop every value of the keyspace, without looking for its keys: see `Greenroom.drop_keyspace`."""
        await self.begin_drop().send()

    def begin_drop(self) -> KeyspaceDrop:
        """As `drop_keyspace`, which counts in this process from this call on, and is sent by the result's `send`."""
        self._check_open()
        return KeyspaceDrop(self._backing.generations, self._remote.generation)

    def watch(self, callback: Callable[[], None], *args: object, **parts: object) -> Callable[[], None]:
        """Have `callback` called when the value may have changed; returns what ends that: see `LocalCopies.watch`."""
        self._check_open()
        return self._backing.local.watch(self._key(args, parts), callback)

    # ------------------------------------------------------------------------------------------------

    def _key(self, args: tuple[object, ...], parts: Mapping[str, object]) -> str:
        """The key; those asked for lately are remembered, since building one costs more than a near hit may."""
        # Exact types only: True and 1.0 equal 1, and neither is a page number.
        if len(args) == 1 and type(args[0]) is str and not parts:
            asked: object = args[0]
        elif parts and not args and all(type(part) is str or type(part) is int for part in parts.values()):
            asked = tuple(parts.items())
        else:
            return self.keyspace.key(*args, **parts)
        key = self._keys.get(asked)
        if key is None:
            key = self.keyspace.key(*args, **parts)
            if len(self._keys) >= _MAX_KEYS:
                self._keys.clear()
            self._keys[asked] = key
        return key

    def _check_open(self) -> None:
        if get_ident() != self._opened.thread or not self._loop_runs():
            self._opened.check()

    def _check_droppable(self, name: str) -> None:
        try:
            self._check_open()
        except RoomNotOpen:
            raise
        except RoomClosed as error:
            # It may be told after a change of the record, when the room was closed in between: then it is stale.
            remedy = "close the room after the changes, or invalidate this when it is open again"
            raise RoomClosed(f"{name} is not dropped, since {error}; {remedy}") from None

    @property
    def _longest_ms(self) -> int:
        """Milliseconds that a value of a group can live at most: what is loaded under a lease may be stored yet."""
        return self.keyspace.lifetime.ttl_ms + int(LIFE * 1000)

    def _group(self, args: tuple[object, ...], parts: Mapping[str, object]) -> str:
        pattern, given = self._named_group(args)
        return pattern.key(*given, **parts)

    def _named_group(self, args: tuple[object, ...]) -> tuple[Pattern, tuple[object, ...]]:
        """The group that is meant, and the parts by position that follow its name."""
        named = self._groups.get(args[0]) if args and isinstance(args[0], str) else None
        if named is not None:  # no part of a key has braces
            return named, args[1:]
        if len(self._groups) == 1:
            return next(iter(self._groups.values())), args
        raise TypeError(f"{self.keyspace} has {', '.join(self._groups) or 'no group'}; name one of them first")
