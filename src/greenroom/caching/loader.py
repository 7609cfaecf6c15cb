"""Loaders, and the steps of one load: ask for the lease, hold it, register the key, call the loader, store the value.

A load of one key takes them (`loading`), and so does a load of many (`batch`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from time import monotonic
from typing import Any, Generic, TypeVar

from greenroom.caching.fallback import Fallback
from greenroom.caching.invalidation import Backing
from greenroom.caching.lease import ABSENCE, Absent, Answer, Hit, Holder, Leases, Newer
from greenroom.caching.near import EntrySource
from greenroom.caching.releases import BACKOFF
from greenroom.caching.remote import Miss, RemoteTier
from greenroom.caching.result import CacheResult, Outcome
from greenroom.caching.single_flight import Flight, Flights
from greenroom.errors import EngineError, LoadFailed, LoadTimeout
from greenroom.keyspace import Keyspace

log = logging.getLogger("greenroom.caching")

T = TypeVar("T")
Loader = Callable[..., Awaitable[T | None]]
"""Reads one value, given its key's parts by keyword; None means there is none."""
PlainLoader = Callable[..., T | None]
"""As a `Loader`, in a function that is not async. It runs in a thread."""

LOADER_DEADLINE = 5.0
"""Seconds after which a loader is cancelled."""
_MAX_ERRORS = 1_000
"""Exceptions remembered at a time: each holds what its frames hold."""


class LoadSteps(Generic[T]):
    """The steps of the loads of one keyspace.

    Arguments:
        flights: those that are closed when their load has no lease, or has lost it.
        fallback: the bounds of loads without a lease, and what they have loaded.
        remote: keeps near what was stored or found.
        deadline: seconds after which a load is cancelled.
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
        groups: Callable[[Mapping[str, object]], Sequence[str]],
    ) -> None:
        self.flights = flights
        self.fallback = fallback
        self.generation = backing.generations.of(keyspace)
        self.leases = Leases(
            backing.engine, keyspace, self.generation, backing.clock, backing.releases, backing.renewed
        )
        self.errors = LoadErrors()
        self.keyspace = keyspace
        self.engine = backing.engine
        self._room_groups = backing.groups
        self._clock = backing.clock
        self._counters = backing.counters
        self._remote = remote
        self._deadline = deadline
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
                self._remote.admit_absence(holder.key, reply[1], asked, source)
            elif reply[0] == b"value":
                self._remote.admit(holder.key, reply[1], reply[2], asked, source)

        with miss.budget.spending() as deadline:
            while True:
                answer = await self.leases.ask(holder, miss.rejected_digest, deadline=deadline, hook=answered)
                if isinstance(answer, Newer):
                    self.generation.adopt(answer.generation)
                elif holder.generation == self.generation.current or not isinstance(answer, Hit | Absent):
                    return answer

    def hold(self, holder: Holder, flight: Flight[CacheResult[T]] | None) -> None:
        """Keep a lease that was won until its load has had its time."""

        def lost() -> None:
            if flight is not None:
                self.flights.close(flight)

        holder.renew(self.engine.call_budget + self._deadline, lost)

    async def register(self, holder: Holder, parts: Mapping[str, object]) -> None:
        """Put the key into its groups, under the lease and before the load.

        Raises:
            As `Engine`.
        """
        # With a time of its own: what the question took must not keep a page from ever being stored.
        deadline, register = monotonic() + self.engine.call_budget, self._room_groups.register
        if groups := self._groups(parts):
            await asyncio.gather(*(register(group, holder.key, deadline=deadline) for group in groups))

    async def call(self, key: str, load: Callable[[], Awaitable[Any]]) -> Any:
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
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            # The loader's own: a task that it waits for was cancelled. Nobody has cancelled those who wait here.
            self.count("load")
            log.warning("loading %s failed: CancelledError", key)
            raise LoadFailed(key, "CancelledError") from error
        except Exception as error:
            if isinstance(error, TimeoutError) and deadline.expired():
                self.count("load_timeout")
                log.warning("loading %s did not end within %s s", key, self._deadline)
                raise LoadTimeout(key, self._deadline) from None
            self.count("load")
            log.warning("loading %s failed: %s", key, type(error).__name__)
            raise
        finally:
            self._counters.loads[self.keyspace.name].add(self._clock.monotonic() - began)

    def as_stored(self, key: str, loaded: T | None) -> tuple[T | None, bytes | None]:
        """A loaded value as everybody will read it, and its JSON; raises as `Keyspace.round_trip`.

        The loader's own object is given to nobody. Prevents: a loader returns a dict where a struct is declared · its
        first caller gets the dict, everybody later the struct. Or: it keeps what it has returned, and changes it.
        """
        if loaded is None:
            return None, None
        body, value = self.keyspace.round_trip(key, loaded)
        return value, body

    async def store(self, holder: Holder, body: bytes | None) -> bool:
        """Store what was loaded, or the absence of it; False where that is refused or fails."""
        key = holder.key
        if body is not None and len(body) > self.keyspace.limit:
            self._oversize(key, len(body))
            holder.release()
            return False
        lifetime = self.keyspace.lifetime.jittered_ms(self._clock.random())
        until, asked = monotonic() + self.engine.call_budget, self._clock.monotonic()

        def stored_near(replies: list[Any], source: EntrySource) -> None:
            remaining = replies[-1]
            if body is not None and type(remaining) is int and remaining >= 0 and self._is_current(holder):
                self._remote.admit(key, body, remaining, asked, source)

        try:
            if body is None:
                stored = await self.leases.fill_absence(holder, ABSENCE, deadline=until)
            else:
                hook = stored_near if self._remote.near_for else None
                stored = await self.leases.fill(holder, body, lifetime, deadline=until, hook=hook)
        except EngineError as error:
            self.count("store")
            log.warning("storing %s: %s", key, error)
            holder.release()  # or all who wait would wait for the lease's end
            return False
        holder.rest()
        if not stored:
            self.count_event("fill_refused")
        return stored

    def failed(self, holder: Holder, error: BaseException) -> None:
        """Leave a loader's failure in the lease's place; what is cancelled only gives the lease back."""
        kind = ""
        if isinstance(error, Exception):
            kind = kind_of(error)
            self.errors.keep(holder.key, error)
        holder.release(kind)

    def without_server(self, flight: Flight[CacheResult[T]], value: T | None, body: bytes | None) -> None:
        """End a flight with what was loaded without the server."""
        read: CacheResult[T] = CacheResult(value, body, Outcome.BYPASSED)
        if flight.open:  # closed by an invalidation made here: the value may be the old one
            self.fallback.keep(flight.key, read)
        flight.set_result(read)

    def count(self, kind: str) -> None:
        """Count an error that the caller does not get."""
        self._counters.errors[self.keyspace.name, kind] += 1

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
        self.count("oversize")
        if not self._oversize_logged:
            self._oversize_logged = True
            log.warning("%s: %d bytes are over the limit of %d and are not stored", key, size, self.keyspace.limit)


class LoadErrors:
    """The exceptions of one cache's loader, each for the time of a back-off.

    The lease tells every process the type of an exception, never its text. In the process where the load failed a
    caller who is held back is given the exception too, as the cause.
    """

    def __init__(self) -> None:
        self._errors: dict[str, tuple[Exception, asyncio.TimerHandle]] = {}

    def keep(self, key: str, error: Exception) -> None:
        """Keep the exception of a load that has failed now."""
        self._forget(key)
        if len(self._errors) < _MAX_ERRORS:
            timer = asyncio.get_running_loop().call_later(BACKOFF, self._forget, key)
            self._errors[key] = error, timer

    def of(self, key: str, kind: str) -> Exception | None:
        """The exception of this type that a load of `key` has ended with here; None where another process had it."""
        error, _ = self._errors.get(key, (None, None))
        return error if error is not None and kind_of(error) == kind else None

    def _forget(self, key: str) -> None:
        _, timer = self._errors.pop(key, (None, None))
        if timer is not None:
            timer.cancel()


def kind_of(error: Exception) -> str:
    """The name that others are told of an exception."""
    return error.kind if isinstance(error, LoadFailed) else type(error).__name__
