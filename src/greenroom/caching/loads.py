"""From a miss to a value: the record is read once, however many callers in however many processes miss one key."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Generic, TypeVar

from greenroom.caching.backing import Backing
from greenroom.caching.flight import Flight
from greenroom.caching.freshness import placed
from greenroom.caching.lease import (
    ABSENCE,
    BACKOFF,
    MARGIN,
    Absent,
    Answer,
    Failed,
    Found,
    Lead,
    Leases,
    Wait,
    fingerprint,
)
from greenroom.caching.loader import Loader
from greenroom.caching.near import Entry, Source
from greenroom.caching.outage import Outage
from greenroom.caching.outcome import Outcome, Read
from greenroom.caching.stored import COMMANDS, Miss
from greenroom.engine.budget import Budget
from greenroom.errors import (
    BrokenValue,
    CommandFailed,
    EngineError,
    EngineRefused,
    LoadFailed,
    LoadTimeout,
    OutOfMemory,
    Overloaded,
)
from greenroom.keyspace import Keyspace

log = logging.getLogger("greenroom.caching")

T = TypeVar("T")

_LATE_PUSH = 0.2
"""Seconds that a waiter sleeps past the lease it waits for: pushes of what lapses come late, and can be lost."""


class Loads(Generic[T]):
    """Loads under leases, for one keyspace.

    Arguments:
        load: reads one value from the record, given the key's parts by keyword; None means there is none.
        outage: the bounds of loads without a lease.
        deadline: seconds after which a load is cancelled.
        near_for: seconds for which an absence is remembered in this process at most.
        group: the group of a key, from its parts; None where there is none.
    """

    def __init__(
        self,
        backing: Backing,
        keyspace: Keyspace[T],
        load: Loader[T],
        outage: Outage[Read[T]],
        *,
        deadline: float,
        near_for: float,
        group: Callable[[Mapping[str, object]], str] | None,
    ) -> None:
        self.outage = outage
        self.leases = Leases(backing.engine, keyspace, backing.clock, deadline + MARGIN)
        self.lease_life = deadline + MARGIN
        self._backing = backing
        self._clock = backing.clock
        self._counters = backing.counters
        self._keyspace = keyspace
        self._load = load
        self._deadline = deadline
        self._near_for = near_for
        self._group = group
        self._oversize_told = False

    # What a flight does ----------------------------------------------------------------------------

    async def fly(self, flight: Flight[Read[T]], parts: Mapping[str, object], miss: Miss) -> None:
        """Work for one flight: find the value, wait for whoever loads it, or load it."""
        if not miss.reachable:
            await self._bypass(flight, parts)
            return
        key, refused = flight.key, miss.refused
        token = self.leases.token()
        waited = False
        while True:
            # Before the question: its answer and the push that ends the wait may come in one chunk.
            flight.pushed.clear()
            try:
                answer = await self.ask(key, parts, token, Miss(miss.budget, refused=refused))
            except Overloaded:
                self._count("overloaded")
                raise
            except OutOfMemory:
                self._count("out_of_memory")
                flight.land(await self._unstored(key, parts))
                return
            except EngineError as error:
                self._count("engine")
                log.debug("asking for %s: %s", key, error)
                await self._bypass(flight, parts)
                return
            match answer:
                case Wait(remaining_ms):
                    waited = True
                    self._counters.cache_events[self._keyspace.name, "lease_wait"] += 1
                    await _woken(flight.pushed, remaining_ms / 1000 + _LATE_PUSH)
                case Lead():
                    flight.land(await self._led(key, parts, token, miss.budget))
                    return
                case Failed(kind, _):
                    raise LoadFailed(key, kind)
                case Absent(remaining_ms):
                    flight.land(Read(None, None, _other(waited), ttl=remaining_ms / 1000))
                    return
                case Found(body, remaining_ms):
                    try:
                        value = self._keyspace.decode(key, body)
                    except BrokenValue as error:
                        self._count("broken")
                        log.warning("%s; it is replaced", error)
                        refused = fingerprint(body)
                        continue
                    fresh_for = placed(self._keyspace.lifetime, remaining_ms, 0.0).soft
                    flight.land(Read(value, body, _other(waited), stored=waited, ttl=fresh_for))
                    return

    async def refresh(self, key: str, parts: Mapping[str, object], stale: bytes) -> float:
        """Replace a stale value, unless another process does; returns seconds for which not to try again."""
        token = self.leases.token()
        miss = Miss(Budget(COMMANDS), refused=fingerprint(stale))
        try:
            answer = await self.ask(key, parts, token, miss)
        except EngineError as error:
            self._count("engine")
            log.debug("refreshing %s: %s", key, error)
            return BACKOFF
        match answer:
            case Wait(remaining_ms) | Failed(_, remaining_ms):
                return remaining_ms / 1000
            case Lead():
                try:
                    read = await self._led(key, parts, token, miss.budget)
                except Exception:
                    return BACKOFF  # counted and logged; the stale value is served until its end
                # What is not stored leaves the stale value: each read of it would load again.
                return 0.0 if read.stored else BACKOFF
        return 0.0

    async def _led(self, key: str, parts: Mapping[str, object], token: str, budget: Budget) -> Read[T]:
        """Load under our lease, and store."""
        try:
            value = await self.timed(key, lambda: self._load(**parts))
            body = self.encoded(key, value)
        except BaseException as error:
            await self.failed(key, token, error)
            raise
        return Read(value, body, Outcome.LOADED, stored=await self.store(key, token, body, budget))

    async def _bypass(self, flight: Flight[Read[T]], parts: Mapping[str, object]) -> None:
        async with self.outage.place():
            value = await self.timed(flight.key, lambda: self._load(**parts))
        self.without_server(flight, value, self.encoded(flight.key, value))

    async def _unstored(self, key: str, parts: Mapping[str, object]) -> Read[T]:
        """The server answers and takes nothing: bounded as without it, but nothing is kept here, out of its sight."""
        async with self.outage.place():
            value = await self.timed(key, lambda: self._load(**parts))
        return Read(value, self.encoded(key, value), Outcome.LOADED)

    # Its steps, which a batch takes too ------------------------------------------------------------

    async def ask(self, key: str, parts: Mapping[str, object], token: str, miss: Miss) -> Answer:
        """Ask for the value or the lease; with the lease, the key is in its group. Raises as `Engine`."""
        group, asked = self._group, self._clock.monotonic()

        def feed(replies: list[Any], source: Source) -> None:
            reply = replies[-1]
            if type(reply) is list and reply[0] == b"absent":
                self._feed_absence(key, asked, reply[1], source)

        async def call(until: float) -> Answer:
            answer = await self.leases.ask(key, token, miss.refused, until=until, hook=feed)
            if group is not None and isinstance(answer, Lead):
                try:
                    await self._backing.groups.register(group(parts), key, until=until)
                except (CommandFailed, EngineRefused, Overloaded):
                    await self._release(key, token)  # nothing will be stored: nobody need wait for it
                    raise
            return answer

        return await miss.budget.spend(call)

    async def store(self, key: str, token: str, body: bytes | None, budget: Budget) -> bool:
        """Store what was loaded, or the absence of it; False where that is refused or fails."""
        if body is not None and len(body) > self._keyspace.limit:
            self._oversize(key, len(body))
            await self._release(key, token)
            return False
        lifetime = self._keyspace.lifetime.jittered_ms(self._clock.random())

        async def call(until: float) -> bool:
            if body is None:
                return await self.leases.fill_absence(key, token, ABSENCE, until=until)
            return await self.leases.fill(key, token, body, lifetime, until=until)

        try:
            stored = await budget.spend(call)
        except EngineError as error:
            self._count("store")
            log.warning("storing %s: %s", key, error)
            if isinstance(error, OutOfMemory | Overloaded):
                await self._release(key, token)  # or all who wait would wait for the lease's end
            return False
        if not stored:
            self._counters.cache_events[self._keyspace.name, "fill_refused"] += 1
        return stored

    async def failed(self, key: str, token: str, error: BaseException) -> None:
        """Leave a loader's failure in the lease's place; what is cancelled only gives the lease back."""
        if isinstance(error, Exception):
            await self._release(key, token, error.kind if isinstance(error, LoadFailed) else type(error).__name__)
        else:
            await self._release(key, token)

    def without_server(self, flight: Flight[Read[T]], value: T | None, body: bytes | None) -> None:
        """Land a flight with what was loaded without the server."""
        read: Read[T] = Read(value, body, Outcome.BYPASSED)
        if flight.open:  # closed by an invalidation made here: the value may be the old one
            self.outage.keep(flight.key, read)
        flight.land(read)

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

    def encoded(self, key: str, value: T | None) -> bytes | None:
        """A loaded value's JSON; raises as `Keyspace.encode`."""
        return None if value is None else self._keyspace.encode(key, value)

    # ------------------------------------------------------------------------------------------------

    async def _release(self, key: str, token: str, kind: str = "") -> None:
        try:
            await self.leases.release(key, token, kind, BACKOFF)
        except EngineError as error:
            log.debug("releasing the lease of %s: %s", key, error)  # it lapses by itself

    def _feed_absence(self, key: str, asked: float, remaining_ms: int, source: Source) -> None:
        """Both value and absence are tracked by the script that found it, so that either's push evicts this."""
        hard = asked + remaining_ms / 1000
        until = min(hard, asked + self._near_for)
        if until > asked and source.share.owns(key):
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
