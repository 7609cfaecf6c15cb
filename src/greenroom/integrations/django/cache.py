"""`CACHES` over a store: `{"BACKEND": "greenroom.integrations.django.Cache"}`.

Values that were read lately are in this process, in the caller's thread; the server says when they change. The
generation of a cache stands in its keys: `clear` makes a new one, in one command, and what was stored lapses.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import timedelta
from functools import cached_property, partial
from typing import Any, NamedTuple

from django.core.cache.backends.base import DEFAULT_TIMEOUT, BaseCache

from greenroom import Keyspace, Text
from greenroom.argument_types import type_name, whole_number
from greenroom.caching.store import Store as AsyncStore
from greenroom.errors import BrokenValue, InvalidInput
from greenroom.integrations.django import cache_settings, rooms
from greenroom.integrations.django.cache_settings import CacheSettings
from greenroom.integrations.django.cached_values import CachedValues
from greenroom.sync import Greenroom, Store

_NEVER = timedelta(days=365)
"""How long a value lives whose timeout is None: none outlives its generation for ever."""
_SHORTEST = 0.001
"""Seconds; what lives for less is over at once."""
_INTEGER = 2**63


class _Place(NamedTuple):
    """What the caches of one location share in a process."""

    room: Greenroom
    values: Store[Any]
    generations: Store[str]


class GreenroomCache(BaseCache):  # type: ignore[misc]
    """Django's cache over a Greenroom store.

    A server that cannot be asked raises `greenroom.errors.EngineError`: a write that was not made is no write.

    Arguments:
        location: `LOCATION`, a word that stands in the keys; caches with one location share their values.
        params: the other settings of the cache. `OPTIONS` may have `pickle` (whether values that JSON would change are
            pickled; by default they are refused), `near_for` (a timedelta for which a value is served from this
            process) and `limit` (the largest value, in bytes of JSON).

    Raises:
        InvalidInput: by its first operation, and by `settings`, naming the setting that is wrong.
    """

    def __init__(self, location: str, params: Mapping[str, Any]) -> None:
        self._given = location, params.get("OPTIONS")
        # What is wrong is told later. Prevents: `check` asks for each cache · this one raises · no check says anything.
        super().__init__(params if isinstance(self._given[1], Mapping) else {**params, "OPTIONS": {}})

    @cached_property
    def settings(self) -> CacheSettings:
        """What the project's settings say of this cache."""
        return cache_settings.read(*self._given)

    @cached_property
    def _place(self) -> _Place:
        # Django makes an object of this class in each thread.
        return rooms.once(self.settings, partial(_declared, self.settings))

    async def _aplace(self) -> _Place:
        return await rooms.aonce(self.settings, partial(_declared, self.settings))

    @cached_property
    def _packing(self) -> CachedValues:
        return CachedValues(self._place.values.keyspace, pickled=self.settings.pickle)

    # Lifetimes and keys -----------------------------------------------------------------------------

    def get_backend_timeout(self, timeout: Any = DEFAULT_TIMEOUT) -> timedelta | None:
        """The lifetime of a value; None where it is over at once.

        Raises:
            InvalidInput: for what is no number of seconds.
        """
        if timeout is DEFAULT_TIMEOUT:
            timeout = self.default_timeout
        if timeout is None:
            return _NEVER
        if not isinstance(timeout, int | float) or timeout != timeout:
            shown = timeout if isinstance(timeout, float) else type_name(timeout)
            raise InvalidInput("timeout", f"is {shown}, no number of seconds", "give seconds, or None for a year")
        if timeout >= _NEVER.total_seconds():
            return _NEVER
        return timedelta(seconds=timeout) if timeout >= _SHORTEST else None

    def _generation(self, place: _Place) -> str:
        """That in whose keys is written; made where there is none, as where the server has evicted it.

        It is random. Prevents: a counter is evicted, and begins anew · it comes to a number that it had · what was
        cleared is there again.
        """
        while (generation := place.generations.get()) is None:
            place.generations.add(secrets.token_hex(8))
        return generation

    async def _agenerated(self, generations: AsyncStore[str]) -> str:
        while (generation := await generations.get()) is None:
            await generations.add(secrets.token_hex(8))
        return generation

    # Reads ------------------------------------------------------------------------------------------

    def get(self, key: Any, default: Any = None, version: Any = None) -> Any:
        """The value, or the default where there is none."""
        key = self.make_and_validate_key(key, version=version)
        place = self._place
        generation = place.generations.get()
        stored = None if generation is None else place.values.get(generation=generation, key=key)
        return default if stored is None else self._packing.unpacked(stored)

    async def aget(self, key: Any, default: Any = None, version: Any = None) -> Any:
        """As `get`."""
        found = await self._afound([self.make_and_validate_key(key, version=version)])
        return found[0] if found else default

    def get_many(self, keys: Iterable[Any], version: Any = None) -> dict[Any, Any]:
        """The values that there are, by their keys."""
        made = self._made(keys, version)
        place = self._place
        generation = place.generations.get()
        if generation is None or not made:
            return {}
        return self._by_key(made, place.values.read_keys(_stored_under(place, generation, made)))

    async def aget_many(self, keys: Iterable[Any], version: Any = None) -> dict[Any, Any]:
        """As `get_many`."""
        made = self._made(keys, version)
        return self._by_key(made, await self._astored(list(made)))

    def has_key(self, key: Any, version: Any = None) -> bool:
        """Whether there is a value."""
        return self.get(key, self._missing_key, version=version) is not self._missing_key

    async def ahas_key(self, key: Any, version: Any = None) -> bool:
        """As `has_key`."""
        return await self.aget(key, self._missing_key, version=version) is not self._missing_key

    # Writes -----------------------------------------------------------------------------------------

    def set(self, key: Any, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: Any = None) -> None:
        """Store a value, whatever was there."""
        key, ttl = self.make_and_validate_key(key, version=version), self.get_backend_timeout(timeout)
        place, stored = self._place, self._packing.packed(key, value)
        parts = {"generation": self._generation(place), "key": key}
        if ttl is None:
            place.values.delete(**parts)
        else:
            place.values.set(stored, ttl=ttl, **parts)

    async def aset(self, key: Any, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: Any = None) -> None:
        """As `set`."""
        key, ttl = self.make_and_validate_key(key, version=version), self.get_backend_timeout(timeout)
        await self._aplace()
        stored = self._packing.packed(key, value)

        async def write(values: AsyncStore[Any], parts: dict[str, str]) -> None:
            if ttl is None:
                await values.delete(**parts)
            else:
                await values.set(stored, ttl=ttl, **parts)

        await self._awritten(key, write)

    def add(self, key: Any, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: Any = None) -> bool:
        """Store a value where there is none; returns whether it was stored."""
        key, ttl = self.make_and_validate_key(key, version=version), self.get_backend_timeout(timeout)
        place, stored = self._place, self._packing.packed(key, value)
        parts = {"generation": self._generation(place), "key": key}
        if ttl is None:
            return place.values.get_result(**parts).body is None
        return place.values.add(stored, ttl=ttl, **parts)

    async def aadd(self, key: Any, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: Any = None) -> bool:
        """As `add`."""
        key, ttl = self.make_and_validate_key(key, version=version), self.get_backend_timeout(timeout)
        await self._aplace()
        stored = self._packing.packed(key, value)

        async def write(values: AsyncStore[Any], parts: dict[str, str]) -> bool:
            if ttl is None:
                return (await values.get_result(**parts)).body is None
            return await values.add(stored, ttl=ttl, **parts)

        return bool(await self._awritten(key, write))

    def touch(self, key: Any, timeout: Any = DEFAULT_TIMEOUT, version: Any = None) -> bool:
        """Let a value live for so long from now on; returns whether there is one."""
        key, ttl = self.make_and_validate_key(key, version=version), self.get_backend_timeout(timeout)
        place = self._place
        parts = {"generation": self._generation(place), "key": key}
        return place.values.delete(**parts) if ttl is None else place.values.touch(ttl=ttl, **parts)

    async def atouch(self, key: Any, timeout: Any = DEFAULT_TIMEOUT, version: Any = None) -> bool:
        """As `touch`."""
        key, ttl = self.make_and_validate_key(key, version=version), self.get_backend_timeout(timeout)

        async def write(values: AsyncStore[Any], parts: dict[str, str]) -> bool:
            return await (values.delete(**parts) if ttl is None else values.touch(ttl=ttl, **parts))

        return bool(await self._awritten(key, write))

    def delete(self, key: Any, version: Any = None) -> bool:
        """Delete a value; returns whether there was one."""
        key = self.make_and_validate_key(key, version=version)
        place = self._place
        return place.values.delete(generation=self._generation(place), key=key)

    async def adelete(self, key: Any, version: Any = None) -> bool:
        """As `delete`."""
        key = self.make_and_validate_key(key, version=version)
        return bool(await self._awritten(key, lambda values, parts: values.delete(**parts)))

    def set_many(self, data: Mapping[Any, Any], timeout: Any = DEFAULT_TIMEOUT, version: Any = None) -> list[Any]:
        """Store several values; returns the keys that were not stored: none, since the first error is raised."""
        ttl, place, packing = self.get_backend_timeout(timeout), self._place, self._packing
        made = {key: packing.packed(key, data[own]) for key, own in self._made(data, version).items()}
        if ttl is None:
            self.delete_many(data, version=version)
        elif made:
            keys = _stored_under(place, self._generation(place), made)
            place.values.write_keys(list(zip(keys, made.values(), strict=True)), ttl=ttl)
        return []

    async def aset_many(
        self, data: Mapping[Any, Any], timeout: Any = DEFAULT_TIMEOUT, version: Any = None
    ) -> list[Any]:
        """As `set_many`."""
        ttl, place = self.get_backend_timeout(timeout), await self._aplace()
        made = {key: self._packing.packed(key, data[own]) for key, own in self._made(data, version).items()}
        if ttl is None:
            await self.adelete_many(data, version=version)
        elif made:

            async def write() -> None:
                keys = _stored_under(place, await self._agenerated(place.generations.asynchronous), made)
                await place.values.asynchronous.write_keys(zip(keys, made.values(), strict=True), ttl=ttl)

            await place.room.awaited(write)
        return []

    def delete_many(self, keys: Iterable[Any], version: Any = None) -> None:
        """Delete several values."""
        made, place = self._made(keys, version), self._place
        if made:
            place.values.delete_keys(_stored_under(place, self._generation(place), made))

    async def adelete_many(self, keys: Iterable[Any], version: Any = None) -> None:
        """As `delete_many`."""
        made, place = self._made(keys, version), await self._aplace()

        async def write() -> None:
            generation = await self._agenerated(place.generations.asynchronous)
            await place.values.asynchronous.delete_keys(_stored_under(place, generation, made))

        if made:
            await place.room.awaited(write)

    def incr(self, key: Any, delta: int = 1, version: Any = None) -> int:
        """Add to a whole number, whose lifetime stays; returns what it is then.

        Raises:
            ValueError: where there is none, and where something else is stored.
        """
        delta = _whole(delta)
        made, place = self.make_and_validate_key(key, version=version), self._place
        generation = self._generation(place)
        try:
            return _counted(key, place.values.increment(delta, create=False, generation=generation, key=made))
        except BrokenValue as error:
            raise _uncountable(key, error) from None

    async def aincr(self, key: Any, delta: int = 1, version: Any = None) -> int:
        """As `incr`."""
        delta = _whole(delta)
        made = self.make_and_validate_key(key, version=version)

        async def write(values: AsyncStore[Any], parts: dict[str, Any]) -> int | None:
            return await values.increment(delta, create=False, **parts)

        try:
            number = await self._awritten(made, write)
        except BrokenValue as error:
            raise _uncountable(key, error) from None
        return _counted(key, number)

    def decr(self, key: Any, delta: int = 1, version: Any = None) -> int:
        """Take away from a whole number; see `incr`."""
        return self.incr(key, -_whole(delta), version=version)

    async def adecr(self, key: Any, delta: int = 1, version: Any = None) -> int:
        """As `decr`."""
        return await self.aincr(key, -_whole(delta), version=version)

    def clear(self) -> None:
        """Forget all values: they have keys of a generation that nobody asks for any more."""
        self._place.generations.set(secrets.token_hex(8))

    async def aclear(self) -> None:
        """As `clear`."""
        place = await self._aplace()
        await place.room.awaited(lambda: place.generations.asynchronous.set(secrets.token_hex(8)))

    # ------------------------------------------------------------------------------------------------

    def _made(self, keys: Iterable[Any], version: Any) -> dict[str, Any]:
        """The caller's keys by those that are stored."""
        return {self.make_and_validate_key(key, version=version): key for key in keys}

    def _by_key(self, made: Mapping[str, Any], stored: Iterable[Any]) -> dict[Any, Any]:
        unpacked = self._packing.unpacked
        pairs = zip(made.values(), stored, strict=False)
        return {key: unpacked(one) for key, one in pairs if one is not None}

    async def _afound(self, keys: list[str]) -> list[Any]:
        return [self._packing.unpacked(one) for one in await self._astored(keys) if one is not None]

    async def _astored(self, keys: list[str]) -> list[Any]:
        place = await self._aplace()

        async def read() -> list[Any]:
            generation = await place.generations.asynchronous.get()
            if generation is None or not keys:
                return []
            values: AsyncStore[Any] = place.values.asynchronous
            return await values.read_keys(_stored_under(place, generation, keys))

        return await place.room.awaited(read)

    async def _awritten(self, key: str, write: Callable[[AsyncStore[Any], dict[str, str]], Awaitable[Any]]) -> Any:
        place = await self._aplace()

        async def written() -> Any:
            generation = await self._agenerated(place.generations.asynchronous)
            return await write(place.values.asynchronous, {"generation": generation, "key": key})

        return await place.room.awaited(written)


def _declared(settings: CacheSettings) -> _Place:
    room, kind, name = rooms.room(), "pickles" if settings.pickle else "cache", settings.location
    values: Keyspace[Any] = Keyspace(
        f"django:{kind}:{name}:{{generation}}:{{key}}",
        Any,
        parts={"key": Text()},
        ttl=_NEVER,
        jitter=0,
        limit=settings.limit,
        name=f"django_{kind}_{name}",
    )
    generations = Keyspace(f"django:{kind}-generation:{name}", str, ttl=2 * _NEVER, jitter=0)
    try:
        return _Place(room, room.store(values, near_for=settings.near_for), room.store(generations))
    except InvalidInput as error:
        reason = f"{name!r} is that of another cache with other OPTIONS: {error.reason}"
        raise InvalidInput("LOCATION", reason, "give both caches the same OPTIONS, or another LOCATION") from None


def _stored_under(place: _Place, generation: str, made: Iterable[str]) -> list[str]:
    """The store's keys, of a cache's in one generation."""
    key = place.values.keyspace.key
    return [key(generation, one) for one in made]


def _whole(delta: object) -> int:
    return whole_number("delta", delta, 1 - _INTEGER, "give a whole number of 64 bits", maximum=_INTEGER - 1)


def _counted(key: Any, number: int | None) -> int:
    if number is None:
        raise ValueError(f"Key {key!r:.80} not found")  # as Django's own backends
    return number


def _uncountable(key: Any, error: BrokenValue) -> InvalidInput:
    return InvalidInput("key", f"{key!r:.80}: {error.reason}", "set a whole number of 64 bits first")
