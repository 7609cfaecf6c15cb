"""What drops the values of a cache: one, several, a group, or the whole keyspace."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from threading import get_ident
from typing import Generic, TypeVar

from greenroom.caching.changing import DropTarget
from greenroom.caching.invalidation import Backing
from greenroom.caching.keyspace_drops import KeyspaceDrop
from greenroom.caching.lease import ABSENCE
from greenroom.caching.releases import LIFE
from greenroom.errors import RoomClosed, RoomNotOpen
from greenroom.keyspace import Keyspace, Pattern
from greenroom.keyspace.keyspace import group_pattern
from greenroom.opened import Opened

T = TypeVar("T")


class CacheDrops(Generic[T]):
    """The half of a cache by which values are dropped; `Cache` reads them.

    Arguments:
        keyspace: what the keys and values are.
        groups: the groups that a key belongs to, as `episodes:{show_id}`, made of parts of the key.
    """

    _backing: Backing
    _loop_runs: Callable[[], bool]
    _loader_deadline: float

    def __init__(self, keyspace: Keyspace[T], groups: Sequence[str]) -> None:
        self.keyspace = keyspace
        self._groups = {text: group_pattern(text, keyspace) for text in groups}
        self._opened = Opened(begun=False)

    async def invalidate(self, *args: object, **parts: object) -> None:
        """Drop the value: the next read loads it anew. To be called after the change is committed.

        Raises:
            InvalidInput: for parts that no key can hold.
            EngineError: when the server did not acknowledge. The invalidation is kept, and sent before this process
                reads from the server again; other processes may serve the old value until then.
        """
        self._check_open()
        await self._backing.drops.drop(self.keyspace.key(*args, **parts), self._longest)

    async def invalidate_many(self, parts: Iterable[object]) -> None:
        """Drop several values, as `invalidate` drops one; takes its keys as `get_many`.

        Raises:
            InvalidInput: for parts that no key can hold; nothing is sent then.
            EngineError: as `invalidate`, after all were sent or kept.
        """
        self._check_open()
        from greenroom.caching.keys_of_a_call import asked_together  # as `Cache.get_results`

        keys = [self.keyspace.key(*args, **named) for args, named in asked_together(self.keyspace, parts)]
        await self._backing.drops.drop_many(keys, self._longest)

    async def invalidate_numbered(self, name: str, numbers: range, **parts: object) -> None:
        """Drop the values for every number of a part: as `invalidate` for each, without holding the event loop.

        Raises:
            InvalidInput: for parts that no key can hold; nothing is sent then.
            EngineError: as `invalidate`, after all were sent or kept.
        """
        self._check_open()
        keys = self.keyspace.pattern.numbered(name, numbers, **parts)
        await self._backing.drops.drop_many(keys, self._longest)

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
        await self._backing.drop_group(self._group(args, parts), self._longest)

    def of(self, *args: object, **parts: object) -> DropTarget:
        """The value as something that a change makes stale, for `Greenroom.changing`.

        Raises:
            As `invalidate`.
        """
        key, lifetime = self.keyspace.key(*args, **parts), self._longest

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
            await self._backing.drop_group(group, self._longest)

        return DropTarget(group, drop, self._longest, is_group=True)

    @property
    def group_patterns(self) -> tuple[Pattern, ...]:
        """The patterns of the groups, in the order in which they were declared."""
        return tuple(self._groups.values())

    def group_parts(self, *args: object) -> Sequence[str]:
        """The parts that a group still needs, given what stands by position for `group`.

        Raises:
            TypeError: as `invalidate_group`.
        """
        pattern, given = self._named_group(args)
        return pattern.names[len(given) :]

    async def drop_keyspace(self) -> None:
        """Drop every value of the keyspace, without looking for its keys: see `Greenroom.drop_keyspace`."""
        await self.begin_drop().send()

    def begin_drop(self) -> KeyspaceDrop:
        """As `drop_keyspace`, which counts in this process from this call on, and is sent by the result's `send`."""
        self._check_open()
        return KeyspaceDrop(self._backing.generations, self._backing.generations.of(self.keyspace))

    # ------------------------------------------------------------------------------------------------

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
    def _longest(self) -> float:
        """Seconds from a drop on for which what was read before it can be there at most: a value, or an absence.

        Prevents: a load in another process has read the old record · the drop is called, and its server cannot be
        reached from here · the load is stored, for a whole lifetime · the kept drop is forgotten before that ends.
        """
        stored = max(self.keyspace.lifetime.ttl_ms / 1000, ABSENCE)
        return stored + self._loader_deadline + LIFE

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
