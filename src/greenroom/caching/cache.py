"""A read-through cache over one keyspace: near, then the server's value, or else the loader's, stored for the next."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Generic, TypeVar, cast

import msgspec

from greenroom.caching.batch import Batch, BatchLoader
from greenroom.caching.fallback import MAX_CONCURRENT, Fallback
from greenroom.caching.invalidation import Backing
from greenroom.caching.lease import LIFE
from greenroom.caching.loader import LOADER_DEADLINE, Loader
from greenroom.caching.loading import LeasedLoader
from greenroom.caching.near import Entry
from greenroom.caching.refresh import Refresh
from greenroom.caching.remote import Miss, RemoteTier
from greenroom.caching.result import CacheResult, Outcome
from greenroom.caching.single_flight import Flight, Flights
from greenroom.engine.deadline import TimeBudget
from greenroom.errors import InvalidInput, RoomClosed
from greenroom.keyspace import Keyspace, Pattern

T = TypeVar("T")

NEAR_FOR = 30.0
"""Seconds for which a value is served from this process without asking the server."""


_KEYS = 20_000
"""Keys remembered by their parts."""
# docs/decisions/0032-get-many-by-thousands.md
_TOGETHER = 1000
"""Keys of one call that are read at a time, with two commands each."""


class Cache(Generic[T]):
    """Typed read-through access to one keyspace.

    Parts are given by keyword or, where there is one, by position. A part that no key can hold is refused with
    `InvalidInput` before anything is sent.

    Arguments:
        keyspace: what the keys and values are.
        load: reads one value from the record, given the key's parts by keyword; None means there is none.
        load_many: reads several, given a list of parts, and returns as many values in their order.
        loader_deadline: seconds after which a load is cancelled.
        near_for: seconds for which a value is served from this process; 0 keeps nothing here.
        groups: the groups that a key belongs to, as `episodes:{show_id}`, made of parts of the key.
        places: loads at a time while the server cannot be asked.
    """

    def __init__(
        self,
        keyspace: Keyspace[T],
        load: Loader[T],
        *,
        backing: Backing,
        load_many: BatchLoader[T] | None = None,
        loader_deadline: float = LOADER_DEADLINE,
        near_for: float = NEAR_FOR,
        groups: Sequence[str] = (),
        places: int = MAX_CONCURRENT,
    ) -> None:
        self.keyspace = keyspace
        self._backing = backing
        self._near = backing.near
        self._drops = backing.outbox_drops
        self._now = backing.clock.monotonic
        self._keys: dict[object, str] = {}
        self._closed = False
        self._counts = backing.counters.reads
        self._counted_near = keyspace.name, Outcome.NEAR.value
        self._counted_hit = keyspace.name, Outcome.HIT.value
        self._groups = {text: _group_pattern(text, keyspace) for text in groups}
        self._undropped: Collection[str] = backing.groups.pending_drops if groups else ()
        self._flights: Flights[CacheResult[T]] = Flights()
        self._outage: Fallback[CacheResult[T]] = Fallback(backing.clock, places)
        self._stored = RemoteTier(backing, keyspace, near_for)
        self._loads = LeasedLoader(
            backing,
            keyspace,
            load,
            self._flights,
            self._outage,
            self._stored,
            deadline=loader_deadline,
            near_for=near_for,
            groups=self._groups_of,
        )
        self._batch = Batch(self._loads, self._flights, load_many) if load_many is not None else None
        self._refresh = Refresh(self._loads, keyspace.name, backing.clock, backing.counters)
        backing.register(self._flights, self._outage)

    # What callers use ------------------------------------------------------------------------------

    async def get(self, *args: object, **parts: object) -> T | None:
        """The value; None where the record holds none.

        Raises:
            InvalidInput: for parts that no key can hold.
            RoomClosed: when the room was closed.
            LoadTimeout: when the loader did not end in time.
            LoadFailed: when it has just failed in another process, or here a moment ago.
            Overloaded: when too much is under way already; slow down, then retry.
            Whatever the loader raises.
        """
        # What is asked for most, a part by position and near, without a call that it does not need.
        key = self._keys.get(args[0]) if len(args) == 1 and type(args[0]) is str and not parts else None
        if key is None:
            key = self._key(args, parts)
        if self._undropped and self._is_undropped(args, parts):
            return (await self._missed(key, args, parts, _away())).value
        if self._drops.any and not await self._drops.settled(key):
            return (await self._missed(key, args, parts, _away())).value
        now = self._now()
        entry = self._near.get(key, now)
        if entry is not None and now < entry.fresh_until:
            value: T | None = entry.value
            if value is not None:
                self._counts[self._counted_near] += 1
                return value
        if entry is not None or not self._outage.empty or self._flights.find(key) is not None:
            return (await self.get_result(*args, **parts)).value
        found = await self._stored.read(key, lifetime=not self._stored.value_alone)
        if not isinstance(found, Entry):
            return (await self._missed(key, args, parts, found)).value
        if now < found.fresh_until:
            self._counts[self._counted_hit] += 1
            return cast("T", found.value)
        return self._counted(self._served(found, Outcome.HIT, args, parts)).value

    async def get_bytes(self, *args: object, **parts: object) -> bytes | None:
        """The value's JSON as it is stored, checked against the schema; raises as `get`."""
        return (await self.get_result(*args, **parts)).body

    async def get_many(self, parts: Sequence[Mapping[str, object]]) -> list[T | None]:
        """The values of several keys, in the order asked; raises as `get`."""
        return [read.value for read in await self.get_results(parts)]

    async def get_result(self, *args: object, **parts: object) -> CacheResult[T]:
        """The value and how it came about; raises as `get`."""
        key = self._key(args, parts)
        if self._undropped and self._is_undropped(args, parts):
            return await self._missed(key, args, parts, _away())
        if self._drops.any and not await self._drops.settled(key):
            return await self._missed(key, args, parts, _away())
        entry = self._near.get(key, self._now())
        if entry is not None:
            return self._counted(self._served(entry, Outcome.NEAR, args, parts))
        kept = self._outage.kept(key)
        if kept is not None:
            return self._counted(self._own(kept))
        flight = self._flights.find(key)
        if flight is not None:
            return self._counted(self._joined(await flight.result()))
        found = await self._stored.read(key)
        if isinstance(found, Entry):
            return self._counted(self._served(found, Outcome.HIT, args, parts))
        return await self._missed(key, args, parts, found)

    async def get_results(self, parts: Sequence[Mapping[str, object]]) -> list[CacheResult[T]]:
        """Several values and how each came about, in the order asked; raises as `get`.

        What is cached is read in one round trip; the rest is loaded together where there is a batch loader. More than
        1,000 keys are read and loaded 1,000 at a time: all at once could be more commands than may be outstanding.
        """
        self._check_open()
        for one in parts:
            if not isinstance(one, Mapping):
                raise InvalidInput("parts", f"{one!r:.80} is not a mapping", "give dicts, like {'episode_id': 'e1'}")
        keys = [self.keyspace.key(**one) for one in parts]
        reads: list[CacheResult[T]] = []
        for start in range(0, len(keys), _TOGETHER):
            reads += await self._read_together(keys[start : start + _TOGETHER], parts[start : start + _TOGETHER])
        return reads

    async def invalidate(self, *args: object, **parts: object) -> None:
        """Drop the value: the next read loads it anew. To be called after the change is committed.

        Raises:
            InvalidInput: for parts that no key can hold.
            EngineError: when the server did not acknowledge. The invalidation is kept, and sent before this process
                reads from the server again; other processes may serve the old value until then.
        """
        self._check_open()
        await self._backing.drop(self.keyspace.key(*args, **parts), self.keyspace.lifetime.ttl_ms / 1000)

    async def invalidate_numbered(self, name: str, numbers: range, **parts: object) -> None:
        """Drop the values for every number of a part: as `invalidate` for each, without holding the event loop.

        Raises:
            InvalidInput: for parts that no key can hold; nothing is sent then.
            EngineError: as `invalidate`, after all were sent or kept.
        """
        self._check_open()
        keys = self.keyspace.pattern.numbered(name, numbers, **parts)
        await self._backing.drop_many(keys, self.keyspace.lifetime.ttl_ms / 1000)

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
        named = self._groups.get(args[0]) if args and isinstance(args[0], str) else None
        if named is not None:  # no part of a key has braces
            args = args[1:]
        elif len(self._groups) == 1:
            (named,) = self._groups.values()
        else:
            raise TypeError(f"{self.keyspace} has {', '.join(self._groups) or 'no group'}; name one of them first")
        longest_ms = self.keyspace.lifetime.ttl_ms + int(LIFE * 1000)
        await self._backing.drop_group(named.key(*args, **parts), longest_ms)

    def watch(self, told: Callable[[], None], *args: object, **parts: object) -> Callable[[], None]:
        """Have `told` called whenever the value may have changed; returns what ends that. See `Backing.watch`."""
        return self._backing.watch(self._key(args, parts), told)

    async def close(self) -> None:
        """Cancel the loads under way; nothing can be read or dropped any more."""
        self._closed = True
        self._keys.clear()  # so that what is asked for next comes by `_key`, which says so
        await self._refresh.close()
        await self._flights.cancel()

    # ------------------------------------------------------------------------------------------------

    def _key(self, args: tuple[object, ...], parts: Mapping[str, object]) -> str:
        """The key; those asked for lately are remembered, since building one costs more than a near hit may."""
        self._check_open()
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
            if len(self._keys) >= _KEYS:
                self._keys.clear()
            self._keys[asked] = key
        return key

    def _check_open(self) -> None:
        if self._closed:
            raise RoomClosed

    async def _read_together(self, keys: Sequence[str], parts: Sequence[Mapping[str, object]]) -> list[CacheResult[T]]:
        wanted = dict(zip(keys, parts, strict=True))
        undropped = {key for key, one in wanted.items() if self._undropped and self._is_undropped((), one)}
        if self._drops.any:
            settled = await asyncio.gather(*map(self._drops.settled, wanted))
            undropped |= {key for key, done in zip(wanted, settled, strict=True) if not done}
        reads: dict[str, CacheResult[T]] = {}
        for key, one in wanted.items():
            entry = self._near.get(key, self._now()) if key not in undropped else None
            if entry is not None:
                reads[key] = self._counted(self._served(entry, Outcome.NEAR, (), one))
            elif (kept := self._outage.kept(key)) is not None:
                reads[key] = self._counted(self._own(kept))
        rest = [key for key in wanted if key not in reads]
        joined = {key: flight for key in rest if (flight := self._flights.find(key)) is not None}
        missing: dict[str, tuple[Mapping[str, object], Miss]] = {
            key: (wanted[key], _away()) for key in rest if key in undropped and key not in joined
        }
        rest = [key for key in rest if key not in joined and key not in missing]
        found = await asyncio.gather(*(self._stored.read(key) for key in rest))
        for key, entry_or_miss in zip(rest, found, strict=True):
            if isinstance(entry_or_miss, Entry):
                reads[key] = self._counted(self._served(entry_or_miss, Outcome.HIT, (), wanted[key]))
            elif (flight := self._flights.find(key)) is not None:
                joined[key] = flight
            elif not entry_or_miss.reachable and (kept := self._outage.kept(key)) is not None:
                reads[key] = self._counted(self._own(kept))
            else:
                missing[key] = wanted[key], entry_or_miss
        begun = self._begun_many(missing)
        for key, read in zip(begun, await _all_landed(begun.values()), strict=True):
            reads[key] = self._counted(read)
        for key, read in zip(joined, await _all_landed(joined.values()), strict=True):
            reads[key] = self._counted(self._joined(read))
        if len(reads) == len(keys):
            return [reads[key] for key in keys]
        # Of a key that is asked for twice there are two values, where they can be changed.
        first = {key: place for place, key in reversed(list(enumerate(keys)))}
        return [reads[key] if first[key] == place else self._own(reads[key]) for place, key in enumerate(keys)]

    async def _missed(
        self, key: str, args: tuple[object, ...], parts: Mapping[str, object], miss: Miss
    ) -> CacheResult[T]:
        flight = self._flights.find(key)
        if flight is not None:  # others have missed it meanwhile, and begun
            return self._counted(self._joined(await flight.result()))
        if not miss.reachable and (kept := self._outage.kept(key)) is not None:  # or have loaded it already
            return self._counted(self._own(kept))
        return self._counted(await self._begun(key, self.keyspace.pattern.values(*args, **parts), miss).result())

    def _served(
        self, entry: Entry, outcome: Outcome, args: tuple[object, ...], parts: Mapping[str, object]
    ) -> CacheResult[T]:
        """A value that was found, near or on the server; past its soft lifetime it is refreshed behind."""
        value: T | None = entry.value
        if value is None and entry.body is not None:
            value = self.keyspace.decode(entry.key, entry.body)  # of a type that callers could change
        left = entry.fresh_until - self._now()
        if left <= 0 and entry.body is not None:
            outcome = Outcome.STALE
            self._refresh.behind(entry.key, self.keyspace.pattern.values(*args, **parts), entry.body)
        return CacheResult(value, entry.body, outcome, ttl=left, entry=entry)

    def _begun(self, key: str, parts: Mapping[str, object], miss: Miss) -> Flight[CacheResult[T]]:
        flight = self._flights.begin(key)
        self._flights.work_on((flight,), self._loads.fly(flight, parts, miss))
        return flight

    def _begun_many(
        self, missing: Mapping[str, tuple[Mapping[str, object], Miss]]
    ) -> dict[str, Flight[CacheResult[T]]]:
        if self._batch is not None and missing:
            return self._batch.begin(missing)
        return {key: self._begun(key, *one) for key, one in missing.items()}

    def _groups_of(self, parts: Mapping[str, object]) -> list[str]:
        return [group.key(**{name: parts[name] for name in group.names}) for group in self._groups.values()]

    def _is_undropped(self, args: tuple[object, ...], parts: Mapping[str, object]) -> bool:
        """Whether a drop of a group of the key was asked for here whose server could not be asked yet for its keys."""
        values = self.keyspace.pattern.values(*args, **parts)
        return any(group in self._undropped for group in self._groups_of(values))

    def _joined(self, read: CacheResult[T]) -> CacheResult[T]:
        """What a flight brought, for a caller who has not begun it."""
        read = self._own(read)
        if read.outcome is not Outcome.LOADED:
            return read
        return CacheResult(read.value, read.body, Outcome.SHARED, stored=read.stored)

    def _own(self, read: CacheResult[T]) -> CacheResult[T]:
        """What others are given too: a value that callers could change is decoded for each of them."""
        if self.keyspace.frozen or read.body is None:
            return read
        return msgspec.structs.replace(read, value=self.keyspace.codec.decode(read.body))

    def _counted(self, read: CacheResult[T]) -> CacheResult[T]:
        self._counts[self.keyspace.name, read.outcome.value] += 1
        return read


def _group_pattern(text: str, keyspace: Keyspace[Any]) -> Pattern:
    """A group's pattern, whose parts are some of the keyspace's, with their bounds.

    Raises:
        InvalidInput: for a part that the keyspace's keys do not have.
    """
    parts = keyspace.pattern
    names = Pattern(text).names
    if unknown := sorted(set(names) - set(parts.names)):
        has = ", ".join(parts.names) or "none"
        raise InvalidInput("groups", f"{text!r} has the part {', '.join(unknown)}", f"use parts of {keyspace}: {has}")
    return Pattern(text, numbers={name: parts.numbers[name] for name in names if name in parts.numbers})


def _away() -> Miss:
    """What is not read from the server, although it may be there."""
    return Miss(TimeBudget(0.0), reachable=False)


async def _all_landed(flights: Any) -> list[CacheResult[Any]]:
    return list(await asyncio.gather(*(flight.result() for flight in flights)))
