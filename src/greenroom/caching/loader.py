"""Loaders, and the steps of one load: ask for the lease, hold it, register the key, call the loader, store the value.

A load of one key takes them (`loading`), and so does a load of many (`batch`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from time import monotonic
from typing import Any, Generic, NamedTuple, TypeVar

from greenroom.caching.fallback import Fallback
from greenroom.caching.invalidation import Backing
from greenroom.caching.lease import ABSENCE, Absent, Answer, Hit, Holder, Leases, Newer
from greenroom.caching.near import EntrySource
from greenroom.caching.remote import Miss, RemoteTier
from greenroom.caching.result import CacheResult, Loaded, Outcome
from greenroom.caching.single_flight import Flight, Flights
from greenroom.errors import EngineError, InvalidInput, LoadFailed, LoadTimeout
from greenroom.keyspace import Keyspace
from greenroom.observe import LoadEnded

log = logging.getLogger("greenroom.caching")

T = TypeVar("T")
Loader = Callable[..., Awaitable[T | Loaded[T] | None]]
"""Reads one value, given its key's parts by keyword; None means there is none."""
PlainLoader = Callable[..., T | Loaded[T] | None]
"""As a `Loader`, in a function that is not async. It runs in a thread."""

LOADER_DEADLINE = 5.0
"""Seconds after which a loader is cancelled."""
_MAX_ERRORS = 1_000
"""Exceptions remembered at a time: each holds what its frames hold."""


class LoadOutcome(NamedTuple, Generic[T]):
    """What a load has brought, as everybody will read it.

    Arguments:
        value: the value; None where the record holds none.
        body: its JSON.
        ttl_ms: its lifetime in milliseconds, where the loader has said one.
        store: whether it may be stored.
    """

    value: T | None
    body: bytes | None
    ttl_ms: int | None = None
    store: bool = True


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
        self.passes = passes
        """Exceptions of the loader that are answers, and no failures."""
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

    async def call(self, keys: Sequence[str], load: Callable[[], Awaitable[Any]]) -> Any:
        """Run a loader of some keys within its deadline, count it, and tell of it.

        Raises:
            LoadTimeout: when it took too long and was cancelled.
            Whatever it raises.
        """
        events, began = self._counters.events, self._clock.monotonic()
        raised: BaseException | None = None
        try:
            with events.around_load(self.keyspace.name, keys):
                try:
                    return await self._within_deadline(keys[0], load)
                except self.passes as error:
                    passed = error  # an answer: whoever traces loads is shown no failure
            raise passed
        except BaseException as error:
            raised = error
            raise
        finally:
            seconds = self._clock.monotonic() - began
            self._counters.loads[self.keyspace.name].add(seconds)
            if events.any:
                events.tell(LoadEnded(self.keyspace.name, tuple(keys), seconds, raised))

    async def _within_deadline(self, key: str, load: Callable[[], Awaitable[Any]]) -> Any:
        deadline = asyncio.timeout(self._deadline)
        try:
            async with deadline:
                return await load()
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            # The loader's own: a task that it waits for was cancelled. Nobody has cancelled those who wait here.
            self.count("load", key)
            log.warning("loading %s failed: CancelledError", key)
            raise LoadFailed(key, "CancelledError") from error
        except self.passes:
            raise
        except InvalidInput as error:
            # Prevents: a loader builds a request from what the record holds, and that is refused · its caller gets
            # `InvalidInput`, as for parts that make no key · a client is told by 422 that his request was wrong.
            self.count("load", key)
            log.warning("loading %s failed: %s", key, type(error).__name__)
            raise LoadFailed(key, type(error).__name__) from error
        except Exception as error:
            if isinstance(error, TimeoutError) and deadline.expired():
                self.count("load_timeout", key)
                log.warning("loading %s did not end within %s s", key, self._deadline)
                raise LoadTimeout(key, self._deadline) from None
            self.count("load", key)
            log.warning("loading %s failed: %s", key, type(error).__name__)
            raise

    def as_stored(self, key: str, loaded: T | Loaded[T] | None) -> LoadOutcome[T]:
        """What was loaded as everybody will read it; raises as `mistake`, and as `Keyspace.round_trip`.

        The loader's own object is given to nobody. Prevents: a loader returns a dict where a struct is declared · its
        first caller gets the dict, everybody later the struct. Or: it keeps what it has returned, and changes it.
        """
        ttl_ms, store = None, True
        if isinstance(loaded, Loaded):
            ttl_ms, store, loaded = self._lifetime_of(key, loaded), loaded.store, loaded.value
        if loaded is None:
            return LoadOutcome(None, None, ttl_ms, store)
        body, value = self.keyspace.round_trip(key, loaded)
        return LoadOutcome(value, body, ttl_ms, store)

    def mistake(self, key: str, field: str, reason: str, remedy: str) -> LoadFailed:
        """What to raise where a loader returned what none may; its cause names field and remedy.

        Prevents: a loader is mistaken · its caller gets `InvalidInput`, as for parts that make no key · a client is
        told by 422 that his request was wrong.
        """
        cause = InvalidInput(field, reason, remedy)
        self.count("load", key)
        log.warning("loading %s failed: %s", key, cause)
        failed = LoadFailed(key, type(cause).__name__)
        failed.__cause__ = cause
        return failed

    def _lifetime_of(self, key: str, loaded: Loaded[T]) -> int | None:
        """The lifetime that a loader gives its value, in milliseconds; jitter shortens it as any other.

        How fresh a value is, every reader reckons from what is left of its lifetime: nothing else stands with it. So
        the time between its soft and its hard end is the keyspace's.
        """
        lifetime = self.keyspace.lifetime
        given = loaded.fresh or loaded.ttl
        if given is None:
            return None
        milliseconds = given // timedelta(milliseconds=1)
        if loaded.value is None:
            return min(milliseconds, lifetime.ttl_ms)
        if loaded.fresh is not None and lifetime.fresh is None:
            remedy = "declare the keyspace with fresh=…, or return Loaded(…, ttl=…)"
            raise self.mistake(key, "fresh", f"{self.keyspace} has no soft lifetime", remedy)
        if loaded.ttl is not None and lifetime.fresh is not None:
            remedy = "return Loaded(…, fresh=…): the value is then served stale for as long as any other"
            raise self.mistake(
                key, "ttl", f"{self.keyspace} has a soft lifetime, which is reckoned from its end", remedy
            )
        shortened = min(milliseconds, lifetime.fresh_ms) * (1 - lifetime.jitter * self._clock.random())
        return max(1, int(shortened)) + lifetime.ttl_ms - lifetime.fresh_ms

    async def store(self, holder: Holder, loaded: LoadOutcome[T]) -> bool:
        """Store what was loaded, or the absence of it; False where that is refused or fails."""
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
                self._remote.admit(key, body, remaining, asked, source)

        try:
            if body is None:
                absence = ABSENCE if loaded.ttl_ms is None else loaded.ttl_ms / 1000
                stored = await self.leases.fill_absence(holder, absence, deadline=until)
            else:
                hook = stored_near if self._remote.near_for else None
                stored = await self.leases.fill(holder, body, lifetime, deadline=until, hook=hook)
        except EngineError as error:
            self.count("store", key)
            log.warning("storing %s: %s", key, error)
            holder.release()  # or all who wait would wait for the lease's end
            return False
        holder.rest()
        if not stored:
            self.count_event("fill_refused")
        return stored

    def failed(self, holder: Holder, error: BaseException) -> None:
        """Leave a loader's failure in the lease's place; what is cancelled, or passes, only gives the lease back."""
        kind = ""
        if isinstance(error, Exception) and self._failures_for and not isinstance(error, self.passes):
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


class LoadErrors:
    """The exceptions of one cache's loader, each for the time of a back-off.

    The lease tells every process the type of an exception, never its text. In the process where the load failed a
    caller who is held back is given the exception too, as the cause.

    Arguments:
        seconds: the time of a back-off.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._errors: dict[str, tuple[Exception, asyncio.TimerHandle]] = {}

    def keep(self, key: str, error: Exception) -> None:
        """Keep the exception of a load that has failed now."""
        self._forget(key)
        if len(self._errors) < _MAX_ERRORS:
            timer = asyncio.get_running_loop().call_later(self._seconds, self._forget, key)
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
