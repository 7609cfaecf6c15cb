"""A read-through cache as threads use it: near hits are read in the caller's thread, all else through the portal.

What is not kept near a thread may ask for by itself: see `direct_calls`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Coroutine, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from greenroom.caching.cache import Cache as AsyncCache
from greenroom.caching.changing import DropTarget as AsyncDropTarget
from greenroom.caching.keys_of_a_call import asked_together
from greenroom.caching.ladder import Asked
from greenroom.caching.near import Entry
from greenroom.caching.questions import Question
from greenroom.caching.result import CacheResult, Loaded, Outcome
from greenroom.keyspace import Keyspace
from greenroom.sync.called_drops import CalledDrop
from greenroom.sync.loaders import PlainLoad, WaitingThreads
from greenroom.sync.near_reader import NearReader
from greenroom.sync.portal_call import PortalCall

if TYPE_CHECKING:
    from greenroom.sync.client import Greenroom

R = TypeVar("R")
T = TypeVar("T")


class DropTarget:
    """A value, or a group of values, that a change makes stale; made by `Cache.of` and `Cache.group`.

    Arguments:
        target: the same for the asynchronous room.
        key: its key; None of a group.
    """

    __slots__ = ("key", "target")

    def __init__(self, target: AsyncDropTarget, key: str | None) -> None:
        self.target = target
        self.key = key

    def __repr__(self) -> str:
        return f"DropTarget({self.target.name!r})"


class Cache(NearReader, Generic[T]):
    """Typed read-through access to one keyspace, from any thread; made by `Greenroom.cache`.

    Parts are given by position in the order of the pattern, or by keyword. Every call raises what that of
    `greenroom.Cache` raises, and `RoomElsewhere` in a thread where an event loop runs.

    Arguments:
        room: opens itself at the first call.
        declare: declares the cache in the asynchronous room.
        plain: the loader where it is not async.
        waiting: the threads that wait for keys.
    """

    def __init__(
        self,
        room: Greenroom,
        declare: Callable[[], AsyncCache[T]],
        plain: PlainLoad | None,
        waiting: WaitingThreads,
    ) -> None:
        self._room = room
        self._plain = plain
        self._waiting = waiting
        super().__init__(declare)
        self.asynchronous: AsyncCache[T]
        self.keyspace: Keyspace[T]

    # Reads ------------------------------------------------------------------------------------------

    def get(self, *args: object, **parts: object) -> T | None:
        """The value; None where the record holds none."""
        key = self._keys.get(args[0]) if len(args) == 1 and type(args[0]) is str and not parts else None
        if key is None:
            key = self._key(args, parts)
        now = self._now()
        entry = self._peek(key, now)
        # The marks are looked at after the entry: see `called_drops`.
        if (
            entry is not None
            and now < entry.fresh_until
            and key not in self._called_keys
            and not self._called_wide
            and not self._pending_groups
            and not self._outbox_drops.any
        ):
            value: T | None = entry.value
            if value is None and entry.body is not None:
                value = self.keyspace.decode(key, entry.body)  # of a type that callers could change
            if entry.frequency < 3:
                entry.frequency += 1
            self._local.cell.number += 1
            return value
        if self._plain is not None and self._room.in_transaction():
            return self._unshared(key, args, parts).value
        direct = self._direct
        if direct is not None and direct.alone():
            found = self.asynchronous.directly(direct.ask, key)
            if type(found) is Entry:
                self._far_local.cell.number += 1
                answer: T = found.value
                return answer
            if found is not None:
                question, resumed = cast("Question", found), self.asynchronous.resumed
                return self._room.run(lambda call: self._made(key, resumed(question, args, parts), call))
        return self._room.run(
            lambda call: self._made(key, self.asynchronous.get(*args, **parts), call),
            lambda call: self.asynchronous.begin(key, partial(self._answered, call, args, parts)),
        )

    def _made(
        self, key: str, reading: Coroutine[Any, Any, T | None], call: PortalCall
    ) -> Coroutine[Any, Any, T | None]:
        return reading if self._plain is None else self._waited((key,), lambda: reading, call)

    def _answered(
        self,
        call: PortalCall,
        args: tuple[object, ...],
        parts: Mapping[str, object],
        question: Question,
        entry: Entry | None,
    ) -> None:
        """Give a thread what the server has answered; in the loop."""
        if entry is not None:
            call.result = entry.value
            call.end()
            return
        resumed = self.asynchronous.resumed
        call.go_on(lambda call: self._made(question.key, resumed(question, args, parts), call))

    def __call__(self, *args: object, **parts: object) -> T | None:
        """As `get`."""
        return self.get(*args, **parts)

    def get_result(self, *args: object, **parts: object) -> CacheResult[T]:
        """The value and how it came about."""
        key = self._key(args, parts)
        if self._plain is not None and self._room.in_transaction():
            return self._unshared(key, args, parts)
        return self._room.run(partial(self._waited, (key,), lambda: self.asynchronous.get_result(*args, **parts)))

    def get_bytes(self, *args: object, **parts: object) -> bytes | None:
        """The value's JSON as it is stored, checked against the schema."""
        return self.get_result(*args, **parts).body

    def get_many(self, parts: Iterable[object]) -> list[T | None]:
        """The values of several keys, in the order asked.

        Arguments:
            parts: of each key a tuple or a mapping; bare values where the keys have one part.
        """
        if self._plain is not None and self._room.in_transaction():
            return [result.value for result in self.get_results(parts)]
        keys, asked = self._asked_together(parts)
        return self._run_waiting(keys, lambda: self.asynchronous.get_many(_given(asked)))

    def get_results(self, parts: Iterable[object]) -> list[CacheResult[T]]:
        """Several values and how each came about; takes its keys as `get_many`."""
        keys, asked = self._asked_together(parts)
        if self._plain is not None and self._room.in_transaction():
            return [self._unshared(key, *one) for key, one in zip(keys, asked, strict=True)]
        return self._run_waiting(keys, lambda: self.asynchronous.get_results(_given(asked)))

    def _asked_together(self, parts: Iterable[object]) -> tuple[list[str], list[Asked]]:
        """The keys of one call, all of them checked, and their parts."""
        asked = asked_together(self.keyspace, parts)
        return [self.keyspace.key(*args, **named) for args, named in asked], asked

    def peek(self, *args: object, **parts: object) -> T | None:
        """The value if this process has it and may serve it; asks no server, loads nothing, and does not wait."""
        key = self._key(args, parts)
        now = self._now()
        entry = self._peek(key, now)
        if entry is None or entry.body is None or now >= entry.fresh_until:
            return None
        # As in `get`, after the entry.
        if key in self._called_keys or self._called_wide or self._pending_groups or self._outbox_drops.any:
            return None
        value: T | None = entry.value
        return self.keyspace.decode(key, entry.body) if value is None else value

    def load(self, *args: object, **parts: object) -> T | None:
        """What the loader reads from the record now, in this thread; no cache is asked, and nothing stored."""
        self.keyspace.key(*args, **parts)  # or the loader would be given what no key can hold
        if self._plain is None:
            return self._room.run(lambda _: self.asynchronous.load(*args, **parts))
        loaded = self._load_here(self.keyspace.pattern.for_loader(*args, **parts))
        return loaded.value if isinstance(loaded, Loaded) else loaded

    # Drops ------------------------------------------------------------------------------------------

    def invalidate(self, *args: object, **parts: object) -> None:
        """Drop the value: the next read loads it anew. To be called after the change is committed.

        Raises:
            EngineError: when the server did not acknowledge. The invalidation is kept, and sent before this process
                reads from the server again; other processes may serve the old value until then.
        """
        drop = CalledDrop((self.keyspace.key(*args, **parts),))
        self._room.drop(drop, lambda: self.asynchronous.invalidate(*args, **parts))

    def invalidate_many(self, parts: Iterable[object]) -> None:
        """Drop several values, as `invalidate` drops one; takes its keys as `get_many`."""
        asked = asked_together(self.keyspace, parts)
        drop = CalledDrop([self.keyspace.key(*args, **named) for args, named in asked])
        self._room.drop(drop, lambda: self.asynchronous.invalidate_many(_given(asked)))

    def invalidate_group(self, *args: object, **parts: object) -> None:
        """Drop every key of a group, whose parts these are. To be called before *and* after the change.

        Arguments:
            args: the group's pattern first, where the cache has several.
        """
        self.asynchronous.group(*args, **parts)  # refuses what makes no key
        self._room.drop(CalledDrop(wide=True), lambda: self.asynchronous.invalidate_group(*args, **parts))

    def drop_keyspace(self) -> None:
        """Drop every value of the keyspace, without looking for its keys: see `Greenroom.drop_keyspace`."""
        self._room.drop(CalledDrop(wide=True), lambda: self.asynchronous.drop_keyspace())

    def of(self, *args: object, **parts: object) -> DropTarget:
        """The value as something that a change makes stale, for `Greenroom.changing`."""
        key = self.keyspace.key(*args, **parts)

        async def drop() -> None:
            await self.asynchronous.of(*args, **parts).drop()

        return DropTarget(replace(self.asynchronous.of(*args, **parts), drop=drop), key)

    def group(self, *args: object, **parts: object) -> DropTarget:
        """A group as something that a change makes stale, for `Greenroom.changing`."""

        async def drop() -> None:
            await self.asynchronous.group(*args, **parts).drop()

        return DropTarget(replace(self.asynchronous.group(*args, **parts), drop=drop), None)

    def group_parts(self, *args: object) -> Sequence[str]:
        """The parts that a group still needs, given what stands by position for `group`."""
        return self.asynchronous.group_parts(*args)

    # In the loop ------------------------------------------------------------------------------------

    def run_waiting(self, parts: tuple[object, ...], make: Callable[[], Coroutine[Any, Any, R]]) -> R:
        """Run a coroutine in the loop; a load of this key that is wanted meanwhile is done by this thread."""
        return self._run_waiting((self.keyspace.key(*parts),), make)

    def _run_waiting(self, keys: Collection[str], make: Callable[[], Coroutine[Any, Any, R]]) -> R:
        # In an open transaction this thread does no load whose value others get: one of the room's threads does it.
        if self._room.in_transaction():
            return self._room.run(lambda _: make())
        return self._room.run(partial(self._waited, keys, make))

    async def _waited(self, keys: Collection[str], make: Callable[[], Coroutine[Any, Any, R]], call: PortalCall) -> R:
        self._waiting.add(call, keys)
        try:
            return await make()
        finally:
            self._waiting.remove(call, keys)

    # In an open transaction ---------------------------------------------------------------------------

    def _unshared(self, key: str, args: tuple[object, ...], parts: Mapping[str, object]) -> CacheResult[T]:
        """A value that is loaded in this thread's open transaction, where nobody has it yet.

        Prevents: a transaction changes a row, and reads it through the cache · what it has read is stored, or given to
        another thread that waits · the transaction is rolled back, and everybody has what never was.
        """
        found = self._room.run(lambda _: self.asynchronous.find(*args, **parts))
        if found is not None:
            return found
        loaded = self._room.context.copy().run(self._load_here, self.keyspace.pattern.for_loader(*args, **parts))
        loaded = loaded.value if isinstance(loaded, Loaded) else loaded
        if loaded is None:
            return CacheResult(None, None, Outcome.LOADED)
        body, value = self.keyspace.round_trip(key, loaded)
        return CacheResult(value, body, Outcome.LOADED)

    def _load_here(self, parts: Mapping[str, object]) -> Any:
        assert self._plain is not None
        loaded = self._plain.here(*parts.values()) if len(parts) == 1 else self._plain.here(**parts)
        return self._room.run_loaded(loaded) if inspect.isawaitable(loaded) else loaded

    # ------------------------------------------------------------------------------------------------

    def __repr__(self) -> str:
        return f"<cache of {self.keyspace}>"


def _given(asked: Sequence[Asked]) -> list[object]:
    """The parts of several keys, as `get_many` takes them."""
    return [args[0] if args else named for args, named in asked]
