"""From a miss to a value: the record is read once, however many callers in however many processes miss one key.

A stale value is served at once, and one process of all replaces it meanwhile.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from contextvars import Context
from typing import Any, Generic, TypeVar

from greenroom.caching.freshness import placed
from greenroom.caching.lease import Absent, Acquired, FailedElsewhere, Hit, Holder, Wait, fingerprint
from greenroom.caching.load_steps import LoadSteps
from greenroom.caching.loader import Loader, LoadOutcome
from greenroom.caching.questions import Miss
from greenroom.caching.releases import BACKOFF
from greenroom.caching.result import CacheResult, Outcome
from greenroom.caching.single_flight import Flight
from greenroom.clock import Clock
from greenroom.engine.deadline import TimeBudget
from greenroom.errors import (
    BrokenValue,
    CommandFailed,
    EngineError,
    LoadFailed,
    OtherVersionValue,
    OutOfMemory,
    Overloaded,
)

log = logging.getLogger("greenroom.caching")

T = TypeVar("T")

_LATE = 0.05
"""Seconds that a waiter sleeps past the lease it waits for: its end is pushed late, and pushes can be lost."""
_MAX_HELD_BACK = 10_000
"""Keys held back from a refresh; past it those whose time is over are forgotten."""


class LeasedLoader(Generic[T]):
    """Loads the values of one keyspace, each under the lease of its key.

    Arguments:
        steps: the steps of a load.
        load: reads one value from the record, given the key's parts by keyword; None means there is none.
    """

    def __init__(self, steps: LoadSteps[T], load: Loader[T]) -> None:
        self.steps = steps
        self._keyspace = steps.keyspace
        self._load = load

    def begin(self, key: str, parts: Mapping[str, object], miss: Miss) -> Flight[CacheResult[T]]:
        """Begin to load a key, in a task of its own; returns at once."""
        flight = self.steps.flights.begin(key)
        self.steps.flights.work_on((flight,), self.run(flight, parts, miss))
        return flight

    async def run(self, flight: Flight[CacheResult[T]], parts: Mapping[str, object], miss: Miss) -> None:
        """Work for one flight: find the value, wait for the process that loads it, or load it."""
        if not miss.reachable:
            await self._bypass(flight, parts)
            return
        holder = self.steps.leases.holder(flight.key)
        try:
            await self._ask_until_answered(flight, parts, miss, holder)
        finally:
            holder.release()

    async def _ask_until_answered(
        self, flight: Flight[CacheResult[T]], parts: Mapping[str, object], miss: Miss, holder: Holder
    ) -> None:
        key, rejected, budget = flight.key, miss.rejected_digest, miss.budget
        waited = False
        while True:
            # Before the question: its answer and the push that ends the wait may come in one chunk.
            flight.pushed.clear()
            try:
                answer = await self.steps.ask(holder, flight, Miss(budget, rejected_digest=rejected))
            except Overloaded:
                self.steps.count("overloaded", key)
                raise
            except OutOfMemory:
                self.steps.count("out_of_memory", key)
                await self._load_unstored(flight, parts, Outcome.LOADED)
                return
            except CommandFailed as error:
                holder.release()
                self.steps.count("engine", key)
                log.warning("asking for %s: %s", key, error)
                await self._load_unstored(flight, parts, Outcome.BYPASSED)
                return
            except EngineError as error:
                holder.release()  # before the load, which others would wait for
                self.steps.count("engine", key)
                log.debug("asking for %s: %s", key, error)
                await self._bypass(flight, parts)
                return
            match answer:
                case Wait(remaining_ms):
                    waited = True
                    self.steps.count_event("lease_wait")
                    await _woken(flight.pushed, remaining_ms / 1000 + _LATE)
                    # The server has answered, and who waits has spent nothing: with what the first question has left
                    # a slow network would have each process load for itself.
                    # docs/decisions/0029-load-steps-have-a-budget-each.md
                    budget = TimeBudget(self.steps.engine.call_budget)
                case Acquired():
                    await self._load_under_lease(flight, parts, holder)
                    return
                case FailedElsewhere(kind, _):
                    raise LoadFailed(key, kind) from _loaders_own(self.steps.errors.of(key, kind))
                case Absent(remaining_ms):
                    flight.set_result(CacheResult(None, None, _by_another(waited), ttl=remaining_ms / 1000))
                    return
                case Hit(body, remaining_ms):
                    try:
                        value = self._keyspace.decode(key, body)
                    except OtherVersionValue:
                        self.steps.count("version", key)
                        rejected = fingerprint(body)
                        continue
                    except BrokenValue as error:
                        self.steps.count("broken", key)
                        log.warning("%s; the value is replaced", error)
                        rejected = fingerprint(body)
                        continue
                    at = placed(self._keyspace.lifetime, remaining_ms, 0.0)
                    outcome = _by_another(waited)
                    flight.set_result(CacheResult(value, body, outcome, stored=waited, ttl=at.fresh_until))
                    return

    async def _load_under_lease(
        self, flight: Flight[CacheResult[T]], parts: Mapping[str, object], holder: Holder
    ) -> None:
        self.steps.hold(holder, flight)
        try:
            await self.steps.register(holder, parts)
        except Overloaded:
            self.steps.count("overloaded", flight.key)
            raise
        except EngineError as error:
            # No change would find what is stored and stands in no group: it is loaded, and not stored.
            holder.release()  # nobody need wait for it
            full = isinstance(error, OutOfMemory)
            self.steps.count("out_of_memory" if full else "engine", flight.key)
            log.debug("registering %s: %s", flight.key, error)
            await self._load_unstored(flight, parts, Outcome.LOADED if full else Outcome.BYPASSED)
            return
        flight.set_result(await self._load_and_store(holder, parts))

    async def _load_and_store(self, holder: Holder, parts: Mapping[str, object]) -> CacheResult[T]:
        try:
            loaded = await self._loaded(holder.key, parts)
        except BaseException as error:
            self.steps.failed(holder, error)
            raise
        stored = await self.steps.store(holder, loaded)
        return CacheResult(loaded.value, loaded.body, Outcome.LOADED, stored=stored)

    # docs/decisions/0030-unleased-loads-close-when-they-begin.md
    async def _bypass(self, flight: Flight[CacheResult[T]], parts: Mapping[str, object]) -> None:
        """Load without the server, which cannot be asked."""
        flight.asking, flight.bypasses = False, True
        async with self.steps.fallback.permit():
            loaded = await self._loaded(flight.key, parts)
        self.steps.without_server(flight, loaded)

    async def _load_unstored(
        self, flight: Flight[CacheResult[T]], parts: Mapping[str, object], outcome: Outcome
    ) -> None:
        """Load without a lease although the key's server answers: bounded as without it, and not kept here.

        Nobody joins once the load has begun. Prevents: A loads without a lease · B changes the record and invalidates,
        and no push tells A, which holds nothing there · callers of A join the load, or are given what it has brought.
        """
        flight.asking = False
        async with self.steps.fallback.permit():
            self.steps.flights.close(flight)
            loaded = await self._loaded(flight.key, parts)
        flight.set_result(CacheResult(loaded.value, loaded.body, outcome))

    async def _loaded(self, key: str, parts: Mapping[str, object]) -> LoadOutcome[T]:
        return self.steps.loader.as_stored(key, await self.steps.loader.call((key,), lambda: self._load(**parts)))

    # A stale value ---------------------------------------------------------------------------------

    async def refresh(self, key: str, parts: Mapping[str, object], stale: bytes) -> float:
        """Replace a stale value, unless another process does; returns seconds for which not to try again."""
        holder = self.steps.leases.holder(key)
        try:
            return await self._refresh(holder, parts, stale)
        finally:
            holder.release()

    async def _refresh(self, holder: Holder, parts: Mapping[str, object], stale: bytes) -> float:
        miss = Miss(TimeBudget(self.steps.engine.call_budget), rejected_digest=fingerprint(stale))
        try:
            answer = await self.steps.ask(holder, None, miss)
            if isinstance(answer, Acquired):
                self.steps.hold(holder, None)
                await self.steps.register(holder, parts)
        except EngineError as error:
            self.steps.count("engine", holder.key)
            log.debug("refreshing %s: %s", holder.key, error)
            return BACKOFF
        match answer:
            case Wait(remaining_ms) | FailedElsewhere(_, remaining_ms):
                return remaining_ms / 1000
            case Acquired():
                try:
                    read = await self._load_and_store(holder, parts)
                except Exception as error:
                    if isinstance(error, self.steps.loader.passes):
                        log.info("refreshing %s: its loader answers with %s", holder.key, type(error).__name__)
                        return BACKOFF
                    # Nobody else is told: the stale value is served until its end.
                    log.warning("refreshing %s failed: %s", holder.key, error, exc_info=error)
                    return BACKOFF
                # What is not stored leaves the stale value: each read of it would load again.
                return 0.0 if read.stored else BACKOFF
        return 0.0


class Refreshes:
    """The refreshes of one cache, at most one per key at a time.

    While another process holds the lease, or a load has just failed, the key is held back here: else every read of a
    stale value would ask the server again.

    Arguments:
        context: of the loads, as for `Flights`.
    """

    def __init__(self, loads: LeasedLoader[Any], clock: Clock, context: Context) -> None:
        self._loads = loads
        self._clock = clock
        self._context = context
        self._closed = False
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._held_back: dict[str, float] = {}

    def begin(self, key: str, parts: Mapping[str, object], stale: bytes) -> None:
        """Begin to replace the stale value of `key`, unless that is under way or held back; returns at once."""
        now = self._clock.monotonic()
        if self._closed or key in self._tasks or now < self._held_back.get(key, now):
            return
        self._loads.steps.count_event("refresh")
        work = self._replace(key, parts, stale)
        self._tasks[key] = asyncio.get_running_loop().create_task(work, context=self._context.copy())

    async def _replace(self, key: str, parts: Mapping[str, object], stale: bytes) -> None:
        try:
            seconds = await self._loads.refresh(key, parts, stale)
        finally:
            del self._tasks[key]
        self._held_back.pop(key, None)
        if seconds > 0:
            now = self._clock.monotonic()
            if len(self._held_back) >= _MAX_HELD_BACK:
                self._held_back = {one: until for one, until in self._held_back.items() if until > now}
            self._held_back[key] = now + seconds

    async def close(self) -> None:
        """Cancel the refreshes under way, and begin no other."""
        self._closed = True
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)


def _by_another(waited: bool) -> Outcome:
    """The outcome of what another has stored: while we waited for it, or before."""
    return Outcome.SHARED if waited else Outcome.HIT


def _loaders_own(error: Exception | None) -> Exception | None:
    """The loader's exception, where its first caller was given a `LoadFailed` with it as the cause."""
    cause = error.__cause__ if isinstance(error, LoadFailed) else None
    return cause if isinstance(cause, Exception) else error


async def _woken(event: asyncio.Event, seconds: float) -> None:
    """Sleep until the push or the end of the wait, whichever is first: pushes can be lost."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        pass
