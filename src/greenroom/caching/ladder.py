"""The ladder of a read: near, fallback, in flight, server, load. Each key is answered by the first step that has it."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Set
from typing import Generic, TypeVar

import msgspec

from greenroom.caching.batch import Batch, BatchLoader
from greenroom.caching.fallback import Fallback
from greenroom.caching.invalidation import Backing
from greenroom.caching.load_steps import LoadSteps
from greenroom.caching.loader import Loader
from greenroom.caching.loading import LeasedLoader, Refreshes
from greenroom.caching.near import Entry
from greenroom.caching.questions import Miss, tell
from greenroom.caching.remote import RemoteTier
from greenroom.caching.result import CacheResult, Outcome
from greenroom.caching.single_flight import Flight, Flights
from greenroom.engine.deadline import TimeBudget
from greenroom.keyspace import Keyspace, Pattern

T = TypeVar("T")

Asked = tuple[tuple[object, ...], Mapping[str, object]]
"""A key's parts as a caller has given them: by position, and by keyword."""


class Ladder(Generic[T]):
    """The steps of one keyspace's reads.

    Arguments:
        load: reads one value from the record, given the key's parts by keyword; None means there is none.
        load_many: reads several, given a list of parts, and returns as many values in their order.
        loader_deadline: seconds after which a load is cancelled.
        near_for: seconds for which a value is served from this process; 0 keeps nothing here.
        groups: the groups that a key belongs to.
        max_concurrent: loads at a time while the server cannot be asked.
        failures_for: seconds for which a loader's failure is remembered; 0 remembers none.
        passes: exceptions of the loader that are answers, and no failures.
    """

    def __init__(
        self,
        backing: Backing,
        *,
        keyspace: Keyspace[T],
        load: Loader[T],
        load_many: BatchLoader[T] | None,
        loader_deadline: float,
        near_for: float,
        groups: Collection[Pattern],
        max_concurrent: int,
        failures_for: float,
        passes: tuple[type[Exception], ...],
    ) -> None:
        self._keyspace = keyspace
        self._now = backing.clock.monotonic
        self._counts = backing.counters.reads
        self._outbox_drops = backing.outbox_drops
        self._groups = groups
        self._pending_groups: Set[str] = backing.groups.pending_drops if groups else frozenset()
        self.near = backing.near
        self.fallback: Fallback[CacheResult[T]] = Fallback(backing.clock, max_concurrent)
        self.flights: Flights[CacheResult[T]] = Flights(backing.context)
        self.remote = RemoteTier(backing, keyspace, near_for)
        steps = LoadSteps(
            backing,
            keyspace,
            self.flights,
            self.fallback,
            self.remote,
            deadline=loader_deadline,
            failures_for=failures_for,
            passes=passes,
            groups=self._groups_of,
        )
        self.loads = LeasedLoader(steps, load)
        self._batch = None if load_many is None else Batch(self.loads, load_many)
        self.refreshes = Refreshes(self.loads, backing.clock, backing.context)
        backing.local.register(self.flights, self.fallback)

    @property
    def has_pending_drops(self) -> bool:
        """Whether a drop that was asked for here may not have reached its server yet."""
        return bool(self._pending_groups) or self._outbox_drops.any

    async def read(
        self, asked: Mapping[str, Asked], *, together: bool, lifetime: bool = True
    ) -> dict[str, CacheResult[T]]:
        """Near, fallback, in flight, server, load: each key is answered by the first that has it.

        Arguments:
            together: whether the batch loader, where there is one, loads what is missing.
            lifetime: whether to ask the server what is left of the values' lifetimes.
        """
        dropped: Collection[str] = ()
        if self.has_pending_drops:
            dropped = await self._pending_drops_of(asked)
        known: dict[str, CacheResult[T] | Flight[CacheResult[T]] | Miss] = {}
        unknown: list[str] = []
        for key, (args, parts) in asked.items():
            near = self.near_result(key, args, parts) if key not in dropped else None
            if near is not None:
                known[key] = near
            elif (here := self._loaded_here(key)) is not None:
                known[key] = here
            elif key in dropped:
                known[key] = _unreadable()
            else:
                unknown.append(key)
        if len(unknown) == 1:
            (key,) = unknown
            known[key] = self.from_server(await self.remote.read(key), *asked[key])
        elif unknown:
            read = await self.remote.read_many(unknown, lifetime=lifetime)
            known |= {key: self.from_server(one, *asked[key]) for key, one in zip(unknown, read, strict=True)}
        return await self.load(asked, known, together=together)

    # docs/decisions/0114-many-fresh-values-need-no-results.md
    async def values(self, asked: Mapping[str, Asked]) -> dict[str, T | None]:
        """As `read` of many keys, for their values alone: what is fresh, near or on the server, takes one step."""
        if self.has_pending_drops or not self.fallback.empty:
            results = await self.read(asked, together=True, lifetime=not self.remote.value_alone)
            return {key: result.value for key, result in results.items()}
        values: dict[str, T | None] = {}
        known: dict[str, CacheResult[T] | Flight[CacheResult[T]] | Miss] = {}
        unknown: list[str] = []
        now, near, flight_of = self._now(), self.near.get, self.flights.find
        for key in asked:
            entry = near(key, now)
            if entry is None:
                flight = flight_of(key)
                if flight is None:
                    unknown.append(key)
                else:
                    known[key] = flight
            elif entry.value is not None and now < entry.fresh_until:
                values[key] = entry.value
            else:
                known[key] = self._served(entry, Outcome.NEAR, *asked[key])
        nearby, answers = len(values), list[Entry | Miss]()
        if unknown:
            answers = await self.remote.read_many(unknown, lifetime=not self.remote.value_alone)
            now = self._now()
        for key, answer in zip(unknown, answers, strict=True):
            if type(answer) is Entry and now < answer.fresh_until:
                values[key] = answer.value
            else:
                known[key] = self.from_server(answer, *asked[key])
        self._counts[self._keyspace.name, Outcome.NEAR.value] += nearby
        self._counts[self._keyspace.name, Outcome.HIT.value] += len(values) - nearby
        if known:
            loaded = await self.load(asked, known, together=True)
            values |= {key: result.value for key, result in loaded.items()}
        return values

    def near_result(self, key: str, args: tuple[object, ...], parts: Mapping[str, object]) -> CacheResult[T] | None:
        """The first step alone: what this process has of a key that has no pending drop."""
        entry = self.near.get(key, self._now())
        return None if entry is None else self._served(entry, Outcome.NEAR, args, parts)

    async def find(self, key: str, asked: Asked) -> CacheResult[T] | None:
        """The steps without a load: near, then the server."""
        if self.has_pending_drops and await self._pending_drops_of({key: asked}):
            return None
        found = self.near_result(key, *asked)
        if found is None:
            answer = self.from_server(await self.remote.read(key), *asked)
            if isinstance(answer, Miss):
                tell((answer,))
                return None
            found = answer
        return self.counted(found)

    async def load(
        self,
        asked: Mapping[str, Asked],
        known: Mapping[str, CacheResult[T] | Flight[CacheResult[T]] | Miss],
        *,
        together: bool,
    ) -> dict[str, CacheResult[T]]:
        """Load what is missing, and wait for it and for what others load."""
        results: dict[str, CacheResult[T]] = {}
        joined: dict[str, Flight[CacheResult[T]]] = {}
        missing: dict[str, tuple[Mapping[str, object], Miss]] = {}
        for key, one in known.items():
            if isinstance(one, Miss):
                # While the server was asked others may have begun to load it, or have loaded it without the server.
                one = self._loaded_here(key, fallback=not one.reachable) or one
            if isinstance(one, Miss):
                args, parts = asked[key]
                missing[key] = self._keyspace.pattern.for_loader(*args, **parts), one
            elif isinstance(one, Flight):
                joined[key] = one
            else:
                results[key] = self.counted(one)
        if missing:
            tell(miss for _, miss in missing.values())
        if together and self._batch is not None and missing:
            begun = self._batch.begin(missing)
        else:
            begun = {key: self.loads.begin(key, *one) for key, one in missing.items()}
        for key, result in zip(begun, await _results_of(begun.values()), strict=True):
            results[key] = self.counted(result)
        for key, result in zip(joined, await _results_of(joined.values()), strict=True):
            results[key] = self.counted(self._joined(result))
        return results

    async def _pending_drops_of(self, asked: Mapping[str, Asked]) -> set[str]:
        """The keys that must not be read: a drop that was asked for here has not reached their server yet."""
        pending: set[str] = set()
        if self._pending_groups:
            for key, (args, parts) in asked.items():
                groups = self._groups_of(self._keyspace.pattern.for_loader(*args, **parts))
                if not self._pending_groups.isdisjoint(groups):
                    pending.add(key)
        if self._outbox_drops.any:
            settled = await asyncio.gather(*map(self._outbox_drops.settled, asked))
            pending |= {key for key, done in zip(asked, settled, strict=True) if not done}
        return pending

    def _loaded_here(self, key: str, *, fallback: bool = True) -> CacheResult[T] | Flight[CacheResult[T]] | None:
        """A value that was loaded here without the server, or the load that is under way."""
        kept = self.fallback.cached(key) if fallback else None
        return self.flights.find(key) if kept is None else self.own(kept)

    def from_server(
        self, answer: Entry | Miss, args: tuple[object, ...], parts: Mapping[str, object]
    ) -> CacheResult[T] | Miss:
        """What the server has answered, as `load` takes it."""
        return self._served(answer, Outcome.HIT, args, parts) if isinstance(answer, Entry) else answer

    def _served(
        self, entry: Entry, outcome: Outcome, args: tuple[object, ...], parts: Mapping[str, object]
    ) -> CacheResult[T]:
        """A value that was found, near or on the server; past its soft lifetime it is refreshed behind."""
        value: T | None = entry.value
        if value is None and entry.body is not None:
            value = self._keyspace.decode(entry.key, entry.body)  # of a type that callers could change
        left = entry.fresh_until - self._now()
        if left <= 0 and entry.body is not None:
            outcome = Outcome.STALE
            self.refreshes.begin(entry.key, self._keyspace.pattern.for_loader(*args, **parts), entry.body)
        return CacheResult(value, entry.body, outcome, ttl=left, entry=entry)

    def _groups_of(self, parts: Mapping[str, object]) -> list[str]:
        return [group.key(**{name: parts[name] for name in group.names}) for group in self._groups]

    def _joined(self, read: CacheResult[T]) -> CacheResult[T]:
        """What a flight brought, for a caller who has not begun it."""
        read = self.own(read)
        if read.outcome is not Outcome.LOADED:
            return read
        return CacheResult(read.value, read.body, Outcome.SHARED, stored=read.stored)

    def own(self, read: CacheResult[T]) -> CacheResult[T]:
        """What others are given too: a value that callers could change is decoded for each of them."""
        if self._keyspace.frozen or read.body is None:
            return read
        return msgspec.structs.replace(read, value=self._keyspace.codec.decode(read.body))

    def counted(self, read: CacheResult[T]) -> CacheResult[T]:
        """The read, which was answered so."""
        self._counts[self._keyspace.name, read.outcome.value] += 1
        return read

    async def close(self) -> None:
        """Cancel the loads under way."""
        await self.refreshes.close()
        await self.flights.cancel()


def _unreadable() -> Miss:
    """A value that is not read from the server, although it may be there."""
    return Miss(TimeBudget(0.0), reachable=False)


async def _results_of(flights: Collection[Flight[CacheResult[T]]]) -> list[CacheResult[T]]:
    if len(flights) == 1:
        (flight,) = flights
        return [await flight.result()]
    return [] if not flights else list(await asyncio.gather(*(flight.result() for flight in flights)))
