"""The steps of one load: ask for the lease, hold it, register the key, call the loader, store the value.

A load of one key takes them (`loading`), and so does a load of many (`batch`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from time import monotonic
from typing import Any, Generic, TypeVar

from greenroom.caching.fallback import Fallback
from greenroom.caching.invalidation import Backing
from greenroom.caching.lease import ABSENCE, Absent, Answer, Hit, Holder, Leases, Newer
from greenroom.caching.load_errors import LoadErrors, kind_of
from greenroom.caching.loader import LoaderCalls, LoadOutcome
from greenroom.caching.near import EntrySource
from greenroom.caching.questions import Miss
from greenroom.caching.remote import RemoteTier
from greenroom.caching.result import CacheResult, Outcome
from greenroom.caching.single_flight import Flight, Flights
from greenroom.errors import EngineError
from greenroom.keyspace import Keyspace

log = logging.getLogger("greenroom.caching")

T = TypeVar("T")


class LoadSteps(Generic[T]):
    """The steps of the loads of one keyspace.

    Arguments:
        flights: those that are closed when their load has no lease, or has lost it.
        fallback: the bounds of loads without a lease, and what they have loaded.
        remote: keeps near what was stored or found.
        deadline: seconds after which a load is cancelled.
        failures_for: seconds for which a failure is remembered; 0 remembers none.
        passes: exceptions of the loader that are answers, and no failures.
        groups: the groups of a key, from its parts.
    """

    def __init__(
        self,
        backing: Backing,
        keyspace: Keyspace[T],
        flights: Flights[CacheResult[T]],
        fallback: Fallback[CacheResult[T]],
        remote: RemoteTier[T],
        *,
        deadline: float,
        failures_for: float,
        passes: tuple[type[Exception], ...],
        groups: Callable[[Mapping[str, object]], Sequence[str]],
    ) -> None:
        self.flights = flights
        self.fallback = fallback
        self.generation = backing.generations.of(keyspace)
        self.leases = Leases(
            backing.engine, keyspace, self.generation, backing.clock, backing.releases, backing.renewed
        )
        self.errors = LoadErrors(failures_for)
        self._failures_for = failures_for
        self.loader = LoaderCalls(keyspace, backing.clock, backing.counters, deadline=deadline, passes=passes)
        """Calls the loader."""
        self.keyspace = keyspace
        self.engine = backing.engine
        self._room_groups = backing.groups
        self._clock = backing.clock
        self._counters = backing.counters
        self._remote = remote
        self._groups = groups
        self._oversize_logged = False

    async def ask(self, holder: Holder, flight: Flight[CacheResult[T]] | None, miss: Miss) -> Answer:
        """Ask for the value or the lease.

        Raises:
            As `Engine`.
        """
        asked = self._clock.monotonic()
        if flight is not None:
            flight.asking = True

        def answered(replies: list[Any], source: EntrySource) -> None:
            # In the reader: what follows on the wire may be the push that makes this the old value.
            reply = replies[-1]
            if type(reply) is not list or not reply:
                return
            if flight is not None:
                flight.asking = reply[0] in (b"wait", b"newer")
            if not self._is_current(holder):
                return
            if reply[0] == b"absent":
                self._remote.admission.admit_absence(holder.key, reply[1], asked, source)
            elif reply[0] == b"value":
                self._remote.admission.admit(holder.key, reply[1], reply[2], asked, source)

        with miss.budget.spending() as deadline:
            while True:
                answer = await self.leases.ask(holder, miss.rejected_digest, deadline=deadline, hook=answered)
                if isinstance(answer, Newer):
                    self.generation.adopt(answer.generation)
                elif holder.generation == self.generation.current or not isinstance(answer, Hit | Absent):
                    return answer

    def hold(self, holder: Holder, flight: Flight[CacheResult[T]] | None) -> None:
        """Keep a lease that was won until its load has had its time, which counts from when it begins."""

        def lost() -> None:
            if flight is not None:
                self.flights.close(flight)

        holder.renew(self.engine.call_budget + self.loader.deadline, lost, lambda: self.loader.waits(holder.key))

    async def register(self, holder: Holder, parts: Mapping[str, object]) -> None:
        """Put the key into its groups, under the lease and before the load.

        Raises:
            As `Engine`.
        """
        # With a time of its own: what the question took must not keep a page from ever being stored.
        deadline, register = monotonic() + self.engine.call_budget, self._room_groups.register
        if groups := self._groups(parts):
            await asyncio.gather(*(register(group, holder.key, deadline=deadline) for group in groups))

    async def store(
        self, holder: Holder, loaded: LoadOutcome[T], failures: list[tuple[str, EngineError]] | None = None
    ) -> bool:
        """Store what was loaded, or the absence of it; False where that is refused or fails.

        Arguments:
            failures: takes what fails in place of the log.
        """
        key, body = holder.key, loaded.body
        if not loaded.store:
            holder.release()
            return False
        if body is not None and len(body) > self.keyspace.limit:
            self._oversize(key, len(body))
            holder.release()
            return False
        lifetime = loaded.ttl_ms or self.keyspace.lifetime.jittered_ms(self._clock.random())
        until, asked = monotonic() + self.engine.call_budget, self._clock.monotonic()

        def stored_near(replies: list[Any], source: EntrySource) -> None:
            remaining = replies[-1]
            if body is not None and type(remaining) is int and remaining >= 0 and self._is_current(holder):
                self._remote.admission.admit(key, body, remaining, asked, source)

        try:
            if body is None:
                absence = ABSENCE if loaded.ttl_ms is None else loaded.ttl_ms / 1000
                stored = await self.leases.fill_absence(holder, absence, deadline=until)
            else:
                hook = stored_near if self._remote.admission.near_for else None
                stored = await self.leases.fill(holder, body, lifetime, deadline=until, hook=hook)
        except EngineError as error:
            self.count("store", key)
            if failures is None:
                log.warning("storing %s: %s", key, error)
            else:
                failures.append((key, error))
            holder.release()  # or all who wait would wait for the lease's end
            return False
        holder.rest()
        if not stored:
            self.count_event("fill_refused")
        return stored

    def failed(self, holder: Holder, error: BaseException) -> None:
        """Leave a loader's failure in the lease's place; what is cancelled, or passes, only gives the lease back."""
        kind = ""
        if isinstance(error, Exception) and self._failures_for and not isinstance(error, self.loader.passes):
            kind = kind_of(error)
            self.errors.keep(holder.key, error)
        holder.release(kind, self._failures_for)

    def without_server(self, flight: Flight[CacheResult[T]], loaded: LoadOutcome[T]) -> None:
        """End a flight with what was loaded without the server."""
        read: CacheResult[T] = CacheResult(loaded.value, loaded.body, Outcome.BYPASSED)
        if flight.open and loaded.store:  # closed by an invalidation made here: the value may be the old one
            self.fallback.keep(flight.key, read)
        flight.set_result(read)

    def count(self, kind: str, key: str) -> None:
        """Count an error that the caller does not get, and tell of it."""
        self._counters.trouble(self.keyspace.name, kind, key)

    def count_event(self, event: str) -> None:
        """Count what the outcomes of reads do not tell."""
        self._counters.cache_events[self.keyspace.name, event] += 1

    def _is_current(self, holder: Holder) -> bool:
        """Whether the keyspace has not been dropped, as far as is known here, since a holder has asked.

        Prevents: a value is asked for · the keyspace is dropped, and that is heard of here · the reply from before the
        drop is put near.
        """
        return holder.generation == self.generation.current and not self.generation.pending

    def _oversize(self, key: str, size: int) -> None:
        self.count("oversize", key)
        if not self._oversize_logged:
            self._oversize_logged = True
            log.warning("%s: %d bytes are over the limit of %d and are not stored", key, size, self.keyspace.limit)
