"""Loaders, and the call of one: within its deadline, counted, and checked for what it returned."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextvars import ContextVar
from datetime import timedelta
from typing import Any, Generic, NamedTuple, TypeVar

from greenroom.caching.result import Loaded
from greenroom.clock import Clock
from greenroom.counters import Counters
from greenroom.errors import InvalidInput, LoadFailed, LoadTimeout
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


class LoadTime:
    """The time of one load; the loader of a room of threads finds it as `load_time`, and stops it.

    Prevents: one thread loads a thousand keys, one after another · the time of each counts from the beginning of all ·
    the last ones fail before they have begun.

    Arguments:
        keys: what is loaded.
        seconds: after which it is cancelled.
        stopped: the keys whose loads have not begun, each with its time.
    """

    __slots__ = ("_keys", "_over", "_seconds", "_stopped", "timeout")

    def __init__(self, keys: Sequence[str], seconds: float, stopped: dict[str, LoadTime]) -> None:
        self._keys = keys
        self._seconds = seconds
        self._stopped = stopped
        self._over = False
        self.timeout = asyncio.timeout(seconds)

    def is_of(self, keys: Sequence[str]) -> bool:
        """Whether it is that of a load of these keys."""
        return list(self._keys) == list(keys)

    def stop(self) -> None:
        """The load waits for a thread: until `begin` nothing bounds it here."""
        if not self._over and not self.timeout.expired():
            self.timeout.reschedule(None)
            self._stopped.update(dict.fromkeys(self._keys, self))

    def begin(self) -> None:
        """The load begins, and has its whole time."""
        self._go_on()
        if not self._over and not self.timeout.expired():
            self.timeout.reschedule(asyncio.get_running_loop().time() + self._seconds)

    def end(self) -> None:
        """The load has ended, or was given up."""
        self._over = True
        self._go_on()

    def _go_on(self) -> None:
        for key in self._keys:
            if self._stopped.get(key) is self:
                del self._stopped[key]


load_time: ContextVar[LoadTime | None] = ContextVar("greenroom_load_time", default=None)
"""That of the load whose loader is called."""


class LoaderCalls(Generic[T]):
    """The calls of one cache's loader, and what it may return.

    Arguments:
        deadline: seconds after which a load is cancelled.
        passes: exceptions of the loader that are answers, and no failures.
    """

    def __init__(
        self,
        keyspace: Keyspace[T],
        clock: Clock,
        counters: Counters,
        *,
        deadline: float,
        passes: tuple[type[Exception], ...],
    ) -> None:
        self._keyspace = keyspace
        self._clock = clock
        self._counters = counters
        self.deadline = deadline
        """Seconds after which a load is cancelled."""
        self.passes = passes
        """Exceptions of the loader that are answers, and no failures."""
        self._stopped: dict[str, LoadTime] = {}

    def waits(self, key: str) -> bool:
        """Whether the load of a key has not begun, since its thread is in another one."""
        return key in self._stopped

    async def call(self, keys: Sequence[str], load: Callable[[], Awaitable[Any]]) -> Any:
        """Run a loader of some keys within its deadline, count it, and tell of it.

        Raises:
            LoadTimeout: when it took too long and was cancelled.
            Whatever it raises.
        """
        events, began = self._counters.events, self._clock.monotonic()
        raised: BaseException | None = None
        try:
            with events.around_load(self._keyspace.name, keys):
                try:
                    return await self._within_deadline(keys, load)
                except self.passes as error:
                    passed = error  # an answer: whoever traces loads is shown no failure
            raise passed
        except BaseException as error:
            raised = error
            raise
        finally:
            seconds = self._clock.monotonic() - began
            self._counters.loads[self._keyspace.name].add(seconds)
            if events.any:
                events.tell(LoadEnded(self._keyspace.name, tuple(keys), seconds, raised))

    async def _within_deadline(self, keys: Sequence[str], load: Callable[[], Awaitable[Any]]) -> Any:
        key, time = keys[0], LoadTime(keys, self.deadline, self._stopped)
        before = load_time.set(time)
        try:
            async with time.timeout:
                return await load()
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            # The loader's own: a task that it waits for was cancelled. Nobody has cancelled those who wait here.
            self._count("load", key)
            log.warning("loading %s failed: CancelledError", key)
            raise LoadFailed(key, "CancelledError") from error
        except self.passes:
            raise
        except InvalidInput as error:
            # Prevents: a loader builds a request from what the record holds, and that is refused · its caller gets
            # `InvalidInput`, as for parts that make no key · a client is told by 422 that his request was wrong.
            self._count("load", key)
            log.warning("loading %s failed: %s", key, type(error).__name__)
            raise LoadFailed(key, type(error).__name__) from error
        except Exception as error:
            if isinstance(error, TimeoutError) and time.timeout.expired():
                self._count("load_timeout", key)
                log.warning("loading %s did not end within %s s", key, self.deadline)
                raise LoadTimeout(key, self.deadline) from None
            self._count("load", key)
            log.warning("loading %s failed: %s", key, type(error).__name__)
            raise
        finally:
            load_time.reset(before)
            time.end()

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
        body, value = self._keyspace.round_trip(key, loaded)
        return LoadOutcome(value, body, ttl_ms, store)

    def mistake(self, key: str, field: str, reason: str, remedy: str) -> LoadFailed:
        """What to raise where a loader returned what none may; its cause names field and remedy.

        Prevents: a loader is mistaken · its caller gets `InvalidInput`, as for parts that make no key · a client is
        told by 422 that his request was wrong.
        """
        cause = InvalidInput(field, reason, remedy)
        self._count("load", key)
        log.warning("loading %s failed: %s", key, cause)
        failed = LoadFailed(key, type(cause).__name__)
        failed.__cause__ = cause
        return failed

    def _lifetime_of(self, key: str, loaded: Loaded[T]) -> int | None:
        """The lifetime that a loader gives its value, in milliseconds; jitter shortens it as any other.

        How fresh a value is, every reader reckons from what is left of its lifetime: nothing else stands with it. So
        the time between its soft and its hard end is the keyspace's.
        """
        lifetime = self._keyspace.lifetime
        given = loaded.fresh or loaded.ttl
        if given is None:
            return None
        milliseconds = given // timedelta(milliseconds=1)
        if loaded.value is None:
            return min(milliseconds, lifetime.ttl_ms)
        if loaded.fresh is not None and lifetime.fresh is None:
            remedy = "declare the keyspace with fresh=…, or return Loaded(…, ttl=…)"
            raise self.mistake(key, "fresh", f"{self._keyspace} has no soft lifetime", remedy)
        if loaded.ttl is not None and lifetime.fresh is not None:
            remedy = "return Loaded(…, fresh=…): the value is then served stale for as long as any other"
            raise self.mistake(
                key, "ttl", f"{self._keyspace} has a soft lifetime, which is reckoned from its end", remedy
            )
        shortened = min(milliseconds, lifetime.fresh_ms) * (1 - lifetime.jitter * self._clock.random())
        return max(1, int(shortened)) + lifetime.ttl_ms - lifetime.fresh_ms

    def _count(self, kind: str, key: str) -> None:
        self._counters.trouble(self._keyspace.name, kind, key)
