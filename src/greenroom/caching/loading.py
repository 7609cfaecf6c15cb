"""From a miss to a value: the record is read once, however many callers in however many processes miss one key."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from time import monotonic
from typing import Any, Generic, TypeVar

from greenroom.caching.failures import Failures, kind_of
from greenroom.caching.fallback import Fallback
from greenroom.caching.freshness import placed
from greenroom.caching.invalidation import Backing
from greenroom.caching.lease import (
    ABSENCE,
    BACKOFF,
    Absent,
    Acquired,
    Answer,
    FailedElsewhere,
    Hit,
    Holder,
    Leases,
    Wait,
    fingerprint,
)
from greenroom.caching.loader import Loader
from greenroom.caching.near import Entry, EntrySource
from greenroom.caching.remote import Miss, RemoteTier
from greenroom.caching.result import CacheResult, Outcome
from greenroom.caching.single_flight import Flight, Flights
from greenroom.engine.deadline import COMMANDS, TimeBudget
from greenroom.errors import (
    BrokenValue,
    CommandFailed,
    EngineError,
    LoadFailed,
    LoadTimeout,
    OutOfMemory,
    Overloaded,
)
from greenroom.keyspace import Keyspace

log = logging.getLogger("greenroom.caching")

T = TypeVar("T")

_LATE = 0.05
"""Seconds that a waiter sleeps past the lease it waits for: its end is pushed late, and pushes can be lost."""


class LeasedLoader(Generic[T]):
    """Loads under leases, for one keyspace.

    Arguments:
        load: reads one value from the record, given the key's parts by keyword; None means there is none.
        flights: those that are closed when their load has no lease, or has lost it.
        outage: the bounds of loads without a lease.
        stored: what keeps near what was stored or found.
        deadline: seconds after which a load is cancelled.
        near_for: seconds for which an absence is remembered in this process at most.
        groups: the groups of a key, from its parts.
    """

    def __init__(
        self,
        backing: Backing,
        keyspace: Keyspace[T],
        load: Loader[T],
        flights: Flights[CacheResult[T]],
        outage: Fallback[CacheResult[T]],
        stored: RemoteTier[T],
        *,
        deadline: float,
        near_for: float,
        groups: Callable[[Mapping[str, object]], Sequence[str]],
    ) -> None:
        self.outage = outage
        self.flights = flights
        self.leases = Leases(backing.engine, keyspace, backing.clock, backing.releases, backing.renewed)
        self._backing = backing
        self._clock = backing.clock
        self._counters = backing.counters
        self._keyspace = keyspace
        self._load = load
        self._stored = stored
        self._deadline = deadline
        self._near_for = near_for
        self._groups = groups
        self._oversize_told = False
        self._failures = Failures()

    # What a flight does ----------------------------------------------------------------------------

    async def fly(self, flight: Flight[CacheResult[T]], parts: Mapping[str, object], miss: Miss) -> None:
        """Work for one flight: find the value, wait for whoever loads it, or load it."""
        if not miss.reachable:
            await self._bypass(flight, parts)
            return
        holder = self.leases.holder(flight.key)
        try:
            await self._answered(flight, parts, miss, holder)
        finally:
            holder.release()

    async def _answered(
        self, flight: Flight[CacheResult[T]], parts: Mapping[str, object], miss: Miss, holder: Holder
    ) -> None:
        key, refused, budget = flight.key, miss.rejected_digest, miss.budget
        waited = False
        while True:
            # Before the question: its answer and the push that ends the wait may come in one chunk.
            flight.pushed.clear()
            try:
                answer = await self.ask(holder, flight, Miss(budget, rejected_digest=refused))
            except Overloaded:
                self._count("overloaded")
                raise
            except OutOfMemory:
                self._count("out_of_memory")
                await self.unstored(flight, parts, Outcome.LOADED)
                return
            except CommandFailed as error:
                holder.release()
                self._count("engine")
                log.warning("asking for %s: %s", key, error)
                await self.unstored(flight, parts, Outcome.BYPASSED)
                return
            except EngineError as error:
                holder.release()  # before the load, which others would wait for
                self._count("engine")
                log.debug("asking for %s: %s", key, error)
                await self._bypass(flight, parts)
                return
            match answer:
                case Wait(remaining_ms):
                    waited = True
                    self._counters.cache_events[self._keyspace.name, "lease_wait"] += 1
                    await _woken(flight.pushed, remaining_ms / 1000 + _LATE)
                    # The server has answered, and who waits has spent nothing: with what the first question has left
                    # a slow network would have each process load for itself.
                    # docs/decisions/0029-load-steps-have-a-budget-each.md
                    budget = TimeBudget(COMMANDS)
                case Acquired():
                    await self._led(flight, parts, holder)
                    return
                case FailedElsewhere(kind, _):
                    raise LoadFailed(key, kind) from self._failures.of(key, kind)
                case Absent(remaining_ms):
                    flight.set_result(CacheResult(None, None, _other(waited), ttl=remaining_ms / 1000))
                    return
                case Hit(body, remaining_ms):
                    try:
                        value = self._keyspace.decode(key, body)
                    except BrokenValue as error:
                        self._count("broken")
                        log.warning("%s; it is replaced", error)
                        refused = fingerprint(body)
                        continue
                    fresh_for = placed(self._keyspace.lifetime, remaining_ms, 0.0).fresh_until
                    flight.set_result(CacheResult(value, body, _other(waited), stored=waited, ttl=fresh_for))
                    return

    async def refresh(self, key: str, parts: Mapping[str, object], stale: bytes) -> float:
        """Replace a stale value, unless another process does; returns seconds for which not to try again."""
        holder = self.leases.holder(key)
        try:
            return await self._refreshed(holder, parts, stale)
        finally:
            holder.release()

    async def _refreshed(self, holder: Holder, parts: Mapping[str, object], stale: bytes) -> float:
        miss = Miss(TimeBudget(COMMANDS), rejected_digest=fingerprint(stale))
        try:
            answer = await self.ask(holder, None, miss)
            if isinstance(answer, Acquired):
                self.hold(holder, None)
                await self.register(holder, parts)
        except EngineError as error:
            self._count("engine")
            log.debug("refreshing %s: %s", holder.key, error)
            return BACKOFF
        match answer:
            case Wait(remaining_ms) | FailedElsewhere(_, remaining_ms):
                return remaining_ms / 1000
            case Acquired():
                try:
                    read = await self._loaded(holder, parts)
                except Exception as error:
                    # Nobody else is told: the stale value is served until its end.
                    log.warning("refreshing %s failed: %s", holder.key, error, exc_info=error)
                    return BACKOFF
                # What is not stored leaves the stale value: each read of it would load again.
                return 0.0 if read.stored else BACKOFF
        return 0.0

    async def _led(self, flight: Flight[CacheResult[T]], parts: Mapping[str, object], holder: Holder) -> None:
        """Load under our lease, and store."""
        self.hold(holder, flight)
        try:
            await self.register(holder, parts)
        except Overloaded:
            self._count("overloaded")
            raise
        except EngineError as error:
            holder.release()  # nothing will be stored: nobody need wait for it
            await self.unregistered(flight, parts, error)
            return
        flight.set_result(await self._loaded(holder, parts))

    async def _loaded(self, holder: Holder, parts: Mapping[str, object]) -> CacheResult[T]:
        try:
            value, body = self.as_stored(holder.key, await self.timed(holder.key, lambda: self._load(**parts)))
        except BaseException as error:
            self.failed(holder, error)
            raise
        return CacheResult(value, body, Outcome.LOADED, stored=await self.store(holder, body))

    # docs/decisions/0030-unleased-loads-close-when-they-begin.md
    async def _bypass(self, flight: Flight[CacheResult[T]], parts: Mapping[str, object]) -> None:
        flight.asking, flight.bypasses = False, True
        async with self.outage.permit():
            loaded = await self.timed(flight.key, lambda: self._load(**parts))
        self.without_server(flight, *self.as_stored(flight.key, loaded))

    async def unregistered(
        self, flight: Flight[CacheResult[T]], parts: Mapping[str, object], error: EngineError
    ) -> None:
        """Load what could not be put into its group, so that no change would find it once it is stored."""
        if isinstance(error, OutOfMemory):
            self._count("out_of_memory")
            await self.unstored(flight, parts, Outcome.LOADED)
        else:
            self._count("engine")
            log.debug("registering %s: %s", flight.key, error)
            await self.unstored(flight, parts, Outcome.BYPASSED)

    async def unstored(self, flight: Flight[CacheResult[T]], parts: Mapping[str, object], outcome: Outcome) -> None:
        """Load without a lease although the key's server answers: bounded as without it, and not kept here.

        Nobody joins once the load has begun. Prevents: A loads without a lease · B changes the record and invalidates,
        and no push tells A, which holds nothing there · callers of A join the load, or are given what it has brought.
        """
        flight.asking = False
        async with self.outage.permit():
            self.flights.close(flight)
            loaded = await self.timed(flight.key, lambda: self._load(**parts))
        flight.set_result(CacheResult(*self.as_stored(flight.key, loaded), outcome))

    # Its steps, which a batch takes too ------------------------------------------------------------

    async def ask(self, holder: Holder, flight: Flight[CacheResult[T]] | None, miss: Miss) -> Answer:
        """Ask for the value or the lease. Raises as `Engine`."""
        asked = self._clock.monotonic()
        if flight is not None:
            flight.asking = True

        def answered(replies: list[Any], source: EntrySource) -> None:
            # In the reader: what follows on the wire may be the push that makes this the old value.
            reply = replies[-1]
            if type(reply) is not list or not reply:
                return
            if flight is not None:
                flight.asking = reply[0] == b"wait"
            if reply[0] == b"absent":
                self._feed_absence(holder.key, asked, reply[1], source)
            elif reply[0] == b"value":
                self._stored.admit(holder.key, reply[1], reply[2], asked, source)

        with miss.budget.spending() as deadline:
            return await self.leases.ask(holder, miss.rejected_digest, deadline=deadline, hook=answered)

    def hold(self, holder: Holder, flight: Flight[CacheResult[T]] | None) -> None:
        """Keep a lease that was won until its load has had its time."""

        def lost() -> None:
            if flight is not None:
                self.flights.close(flight)

        holder.renew(COMMANDS + self._deadline, lost)

    async def register(self, holder: Holder, parts: Mapping[str, object]) -> None:
        """Put the key into its groups, under the lease and before the load. Raises as `Engine`."""
        # With a time of its own: what the question took must not keep a page from ever being stored.
        deadline, register = monotonic() + COMMANDS, self._backing.groups.register
        groups = self._groups(parts)
        if groups:
            await asyncio.gather(*(register(group, holder.key, deadline=deadline) for group in groups))

    async def store(self, holder: Holder, body: bytes | None) -> bool:
        """Store what was loaded, or the absence of it; False where that is refused or fails."""
        key = holder.key
        if body is not None and len(body) > self._keyspace.limit:
            self._oversize(key, len(body))
            holder.release()
            return False
        lifetime = self._keyspace.lifetime.jittered_ms(self._clock.random())
        until, asked = monotonic() + COMMANDS, self._clock.monotonic()

        def stored_near(replies: list[Any], source: EntrySource) -> None:
            remaining = replies[-1]
            if body is not None and type(remaining) is int and remaining >= 0:
                self._stored.admit(key, body, remaining, asked, source)

        try:
            if body is None:
                stored = await self.leases.fill_absence(holder, ABSENCE, deadline=until)
            else:
                hook = stored_near if self._near_for else None
                stored = await self.leases.fill(holder, body, lifetime, deadline=until, hook=hook)
        except EngineError as error:
            self._count("store")
            log.warning("storing %s: %s", key, error)
            holder.release()  # or all who wait would wait for the lease's end
            return False
        holder.rest()
        if not stored:
            self._counters.cache_events[self._keyspace.name, "fill_refused"] += 1
        return stored

    def failed(self, holder: Holder, error: BaseException) -> None:
        """Leave a loader's failure in the lease's place; what is cancelled only gives the lease back."""
        kind = ""
        if isinstance(error, Exception):
            kind = kind_of(error)
            self._failures.keep(holder.key, error)
        holder.release(kind)

    def without_server(self, flight: Flight[CacheResult[T]], value: T | None, body: bytes | None) -> None:
        """Land a flight with what was loaded without the server."""
        read: CacheResult[T] = CacheResult(value, body, Outcome.BYPASSED)
        if flight.open:  # closed by an invalidation made here: the value may be the old one
            self.outage.keep(flight.key, read)
        flight.set_result(read)

    async def timed(self, key: str, load: Callable[[], Awaitable[Any]]) -> Any:
        """Run a loader within its deadline, and count it.

        Raises:
            LoadTimeout: when it took too long and was cancelled.
            Whatever it raises.
        """
        began = self._clock.monotonic()
        deadline = asyncio.timeout(self._deadline)
        try:
            async with deadline:
                return await load()
        except Exception as error:
            if isinstance(error, TimeoutError) and deadline.expired():
                self._count("load_timeout")
                log.warning("loading %s did not end within %s s", key, self._deadline)
                raise LoadTimeout(key, self._deadline) from None
            self._count("load")
            log.warning("loading %s failed: %s", key, type(error).__name__)
            raise
        finally:
            self._counters.loads[self._keyspace.name].add(self._clock.monotonic() - began)

    def as_stored(self, key: str, loaded: T | None) -> tuple[T | None, bytes | None]:
        """A loaded value as everybody will read it, and its JSON; raises as `Keyspace.round_trip`.

        The loader's own object is given to nobody. Prevents: a loader returns a dict where a struct is declared · its
        first caller gets the dict, everybody later the struct. Or: it keeps what it has returned, and changes it.
        """
        if loaded is None:
            return None, None
        body, value = self._keyspace.round_trip(key, loaded)
        return value, body

    # ------------------------------------------------------------------------------------------------

    def _feed_absence(self, key: str, asked: float, remaining_ms: int, source: EntrySource) -> None:
        """Both value and absence are tracked by the script that found it, so that either's push evicts this."""
        hard = asked + remaining_ms / 1000
        until = min(hard, asked + self._near_for)
        if until > asked and self._backing.may_keep(key, source):
            self._backing.near.put(Entry(key, None, None, hard, hard, until, source))

    def _oversize(self, key: str, size: int) -> None:
        self._count("oversize")
        if not self._oversize_told:
            self._oversize_told = True
            log.warning("%s: %d bytes are over the limit of %d and are not stored", key, size, self._keyspace.limit)

    def _count(self, kind: str) -> None:
        self._counters.errors[self._keyspace.name, kind] += 1


def _other(waited: bool) -> Outcome:
    """The outcome of what another has stored: while we waited for it, or before."""
    return Outcome.SHARED if waited else Outcome.HIT


async def _woken(event: asyncio.Event, seconds: float) -> None:
    """Sleep until the push or the end of the wait, whichever is first: pushes can be lost."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        pass
