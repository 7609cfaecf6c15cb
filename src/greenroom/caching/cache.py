"""A read-through cache over one keyspace: the server's value, or else the loader's, stored for the next reader."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Generic, TypeVar

from greenroom.caching.flight import Flights
from greenroom.caching.outcome import Outcome, Read
from greenroom.clock import Clock
from greenroom.engine import Engine, Lane
from greenroom.errors import BrokenValue, EngineError, EngineUnavailable, LoadTimeout
from greenroom.keyspace import Keyspace
from greenroom.observe import Counters

log = logging.getLogger("greenroom.caching")

T = TypeVar("T")
Loader = Callable[..., Awaitable[T | None]]

LOADER_DEADLINE = 5.0
"""Seconds after which a loader is cancelled."""


class Cache(Generic[T]):
    """Typed read-through access to one keyspace.

    Parts are given by keyword or, where there is one, by position. A part that no key can hold is refused with
    `InvalidInput` before anything is sent.

    Arguments:
        keyspace: what the keys and values are.
        load: reads one value from the record, given the key's parts by keyword; None means there is none.
        loader_deadline: seconds after which a load is cancelled.
    """

    def __init__(
        self,
        keyspace: Keyspace[T],
        load: Loader[T],
        *,
        engine: Engine,
        clock: Clock,
        counters: Counters,
        loader_deadline: float = LOADER_DEADLINE,
    ) -> None:
        self.keyspace = keyspace
        self._load = load
        self._engine = engine
        self._clock = clock
        self._counters = counters
        self._loader_deadline = loader_deadline
        self._flights: Flights[Read[T]] = Flights()
        self._oversize_told = False

    # What callers use ------------------------------------------------------------------------------

    async def get(self, *args: object, **parts: object) -> T | None:
        """The value; None where the record holds none.

        Raises:
            InvalidInput: for parts that no key can hold.
            LoadTimeout: when the loader did not end in time.
            Whatever the loader raises.
        """
        return (await self.read(*args, **parts)).value

    async def get_bytes(self, *args: object, **parts: object) -> bytes | None:
        """The value's JSON as it is stored, checked against the schema; raises as `get`."""
        return (await self.read(*args, **parts)).body

    async def get_many(self, parts: Sequence[Mapping[str, object]]) -> list[T | None]:
        """The values of several keys, in the order asked; raises as `get`."""
        for one in parts:
            self.keyspace.key(**one)
        return list(await asyncio.gather(*(self.get(**one) for one in parts)))

    async def read(self, *args: object, **parts: object) -> Read[T]:
        """The value and how it came about; raises as `get`."""
        values = self.keyspace.pattern.values(*args, **parts)
        key = self.keyspace.key(**values)
        read = await self._stored(key)
        if read is None:
            read = await self._loaded(key, values, reachable=True)
        elif read.outcome is Outcome.BYPASSED:
            read = await self._loaded(key, values, reachable=False)
        self._counters.reads[self.keyspace.name, read.outcome.value] += 1
        return read

    async def invalidate(self, *args: object, **parts: object) -> None:
        """Drop the value: the next read loads it anew. To be called after the change is committed.

        Raises:
            InvalidInput: for parts that no key can hold.
            EngineError: when the server could not be reached; the old value may live to its lifetime's end.
        """
        key = self.keyspace.key(*args, **parts)
        # A load begun before this moment may have read the old record: nobody may join it, nor may it store.
        self._flights.close_to_newcomers(key)
        companions = self.keyspace.lease_key(key), self.keyspace.absent_key(key)
        await self._engine.execute(Lane.TRACKED, key, "DEL", key, *companions)

    async def close(self) -> None:
        """Cancel the loads under way."""
        await self._flights.cancel()

    # One method per outcome ------------------------------------------------------------------------

    async def _stored(self, key: str) -> Read[T] | None:
        """What the server holds: a hit, None for a miss, or a read marked as bypassed."""
        try:
            # PTTL first: a write between the two can then only give a new value an old deadline.
            remaining, body = await self._engine.execute_all(Lane.TRACKED, key, (("PTTL", key), ("GET", key)))
            if body is None:
                return None
            value = self.keyspace.decode(key, body)
            if remaining == -1 or remaining > self.keyspace.lifetime.ttl_ms:
                # Written by someone who set no lifetime, or too long a one: without this it would stay for ever.
                remaining = self.keyspace.lifetime.ttl_ms
                await self._engine.execute(Lane.TRACKED, key, "PEXPIRE", key, remaining, "LT")
        except EngineUnavailable:
            self._count_error("engine")
            return Read(None, None, Outcome.BYPASSED)
        except EngineError as error:
            self._count_error("engine")
            log.warning("reading %s: %s", key, error)
            return Read(None, None, Outcome.BYPASSED)
        except BrokenValue as error:
            self._count_error("broken")
            log.warning("%s; it is replaced", error)
            return None
        return Read(value, body, Outcome.HIT, ttl=max(0, remaining) / 1000)

    async def _loaded(self, key: str, parts: Mapping[str, object], *, reachable: bool) -> Read[T]:
        async def work(still_open: Callable[[], bool]) -> Read[T]:
            value = await self._run_loader(key, parts)
            if value is None:
                return Read(None, None, Outcome.LOADED)
            body = self.keyspace.encode(key, value)
            stored = reachable and still_open() and await self._store(key, body)
            return Read(value, body, Outcome.LOADED, stored=stored)

        read, shared = await self._flights.join(key, work)
        if not reachable:
            return Read(read.value, read.body, Outcome.BYPASSED)
        if shared:
            return Read(read.value, read.body, Outcome.SHARED, stored=read.stored)
        return read

    async def _run_loader(self, key: str, parts: Mapping[str, object]) -> T | None:
        began = self._clock.monotonic()
        deadline = asyncio.timeout(self._loader_deadline)
        try:
            async with deadline:
                return await self._load(**parts)
        except TimeoutError:
            if not deadline.expired():
                raise
            self._count_error("load_timeout")
            raise LoadTimeout(key, self._loader_deadline) from None
        except Exception as error:
            self._count_error("load")
            log.warning("loading %s failed: %s", key, type(error).__name__)
            raise
        finally:
            self._counters.loads[self.keyspace.name].add(self._clock.monotonic() - began)

    async def _store(self, key: str, body: bytes) -> bool:
        if len(body) > self.keyspace.limit:
            self._count_error("oversize")
            if not self._oversize_told:
                self._oversize_told = True
                log.warning(
                    "%s: %d bytes are over the limit of %d and are not stored",
                    key, len(body), self.keyspace.limit,
                )  # fmt: skip
            return False
        lifetime = self.keyspace.lifetime.jittered_ms(self._clock.random())
        try:
            await self._engine.execute(Lane.TRACKED, key, "SET", key, body, "PX", lifetime)
        except EngineError as error:
            self._count_error("store")
            log.warning("storing %s: %s", key, error)
            return False
        return True

    def _count_error(self, kind: str) -> None:
        self._counters.errors[self.keyspace.name, kind] += 1


def declared_loader(keyspace: Keyspace[Any], load: Loader[T]) -> Loader[T]:
    """A loader that is called with the key's parts by keyword, or by position where there is one part."""
    if len(keyspace.pattern.names) != 1:
        return load
    (name,) = keyspace.pattern.names

    async def load_one(**parts: object) -> T | None:
        return await load(parts[name])

    return load_one
