"""A function whose results are cached: what `@room.cached` makes of a loader."""

from __future__ import annotations

import asyncio
import functools
import inspect
import sys
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Generic, ParamSpec, Protocol, TypeVar

from greenroom.argument_types import function, instance
from greenroom.caching import Cache, CacheResult, DropTarget
from greenroom.caching.result import Loaded
from greenroom.errors import InvalidInput
from greenroom.keyspace import Keyspace

P = ParamSpec("P")
T = TypeVar("T")


class HasGroups(Protocol):
    """A cache, asynchronous or not."""

    keyspace: Keyspace[Any]

    def group_parts(self, *args: object) -> Sequence[str]:
        """The parts that a group still needs."""


class LoaderDefaults:
    """The defaults of a loader's parameters, which stand for parts that are not given: a key has every part."""

    __slots__ = ("_cache", "_values", "any")

    def __init__(self, cache: HasGroups, load: Callable[..., Any]) -> None:
        self._cache = cache
        parameters = inspect.signature(load).parameters.values()
        self._values = {one.name: one.default for one in parameters if one.default is not one.empty}
        self.any = bool(self._values)
        """Whether there are any."""

    def filled(self, args: tuple[Any, ...], parts: Mapping[str, Any]) -> Mapping[str, Any]:
        """The parts by keyword, given those by position."""
        if not self.any:
            return parts
        given = self._cache.keyspace.pattern.names[: len(args)]
        return {**{name: one for name, one in self._values.items() if name not in given}, **parts}

    def group_filled(self, args: tuple[object, ...], parts: Mapping[str, object]) -> Mapping[str, object]:
        """The parts of a group, as they are filled into the keys of the group."""
        if not self.any:
            return parts
        missing = self._cache.group_parts(*args)
        return {**{name: self._values[name] for name in missing if name in self._values}, **parts}

    def all_filled(self, parts: Iterable[object]) -> Iterable[object]:
        """The parts of several keys; the cache refuses what is no list of keys."""
        if not self.any or isinstance(parts, str | bytes | Mapping) or not isinstance(parts, Iterable):
            return parts
        return [self._one_filled(one) for one in parts]

    def _one_filled(self, one: object) -> object:
        if isinstance(one, Mapping):
            return self.filled((), one)
        if isinstance(one, tuple):
            rest = self._cache.keyspace.pattern.names[len(one) :]
            if all(name in self._values for name in rest):
                return (*one, *(self._values[name] for name in rest))
        return one


class CachedFunction(Generic[P, T]):
    """A loader with a cache before it; it is called as the loader is, and has its name, docstring and types.

    Arguments:
        cache: reads and stores what the loader returns.
        load: the function that was decorated.
    """

    __name__: str
    __qualname__: str

    def __init__(
        self, cache: Cache[T], load: Callable[P, Awaitable[T | Loaded[T] | None] | T | Loaded[T] | None]
    ) -> None:
        self.__name__ = self.__qualname__ = type(load).__name__  # of a callable that has no name of its own
        functools.update_wrapper(self, load)
        self.cache = cache
        """The cache itself, whose parts are those of the key."""
        self.load: Callable[P, Any] = load
        """The function that was decorated: it reads the record, and no cache."""
        self._defaults = LoaderDefaults(cache, load)
        # A framework that takes it for a plain function calls it in a thread, and answers with a coroutine.
        if sys.version_info >= (3, 12):
            inspect.markcoroutinefunction(self)
        else:  # for asyncio's own test; that of `inspect` knows no objects there, and finds `__call__`
            self._is_coroutine = asyncio.coroutines._is_coroutine  # type: ignore[attr-defined]

    async def __call__(self, *args: P.args, **parts: P.kwargs) -> T | None:
        """The value; None where the record holds none.

        Raises:
            As `Cache.get`.
        """
        if not self._defaults.any:  # what is called most, without a call that it does not need
            return await self.cache.get(*args, **parts)
        return await self.cache.get(*args, **self._defaults.filled(args, parts))

    async def get(self, *args: P.args, **parts: P.kwargs) -> T | None:
        """As calling it."""
        return await self.cache.get(*args, **self._defaults.filled(args, parts))

    async def get_result(self, *args: P.args, **parts: P.kwargs) -> CacheResult[T]:
        """The value and how it came about; see `Cache.get_result`."""
        return await self.cache.get_result(*args, **self._defaults.filled(args, parts))

    async def get_many(self, parts: Iterable[object]) -> list[T | None]:
        """The values of several keys, in the order asked; see `Cache.get_many`."""
        return await self.cache.get_many(self._defaults.all_filled(parts))

    async def get_results(self, parts: Iterable[object]) -> list[CacheResult[T]]:
        """Several values and how each came about; see `Cache.get_results`."""
        return await self.cache.get_results(self._defaults.all_filled(parts))

    def peek(self, *args: P.args, **parts: P.kwargs) -> T | None:
        """The value if this process has it; see `Cache.peek`."""
        return self.cache.peek(*args, **self._defaults.filled(args, parts))

    async def invalidate(self, *args: P.args, **parts: P.kwargs) -> None:
        """Drop the value; see `Cache.invalidate`."""
        await self.cache.invalidate(*args, **self._defaults.filled(args, parts))

    async def invalidate_many(self, parts: Iterable[object]) -> None:
        """Drop several values; see `Cache.invalidate_many`."""
        await self.cache.invalidate_many(self._defaults.all_filled(parts))

    async def invalidate_group(self, *args: object, **parts: object) -> None:
        """Drop every key of a group; see `Cache.invalidate_group`."""
        await self.cache.invalidate_group(*args, **self._defaults.group_filled(args, parts))

    def of(self, *args: P.args, **parts: P.kwargs) -> DropTarget:
        """The value as something that a change makes stale, for `Greenroom.changing`."""
        return self.cache.of(*args, **self._defaults.filled(args, parts))

    def group(self, *args: object, **parts: object) -> DropTarget:
        """A group as something that a change makes stale, for `Greenroom.changing`; see `Cache.group`."""
        return self.cache.group(*args, **self._defaults.group_filled(args, parts))

    def __repr__(self) -> str:
        return f"<cached {self.__qualname__} of {self.cache.keyspace}>"


def check_parameters(keyspace: Keyspace[Any], load: Any) -> None:
    """Refuse to decorate a function whose parameters are not the key's parts in their order.

    Prevents: a pattern has the parts {show_id} and {number}, the function number and show_id · it is called by position
    · both are texts, and the value of another key comes back.

    Raises:
        InvalidInput: naming both.
    """
    instance("keyspace", keyspace, Keyspace, "give a Keyspace('episode:{id}', Episode, ttl=…)")
    function("load", load, "decorate a function")
    parameters = inspect.signature(load).parameters.values()
    variable = [one.name for one in parameters if one.kind in (one.VAR_POSITIONAL, one.VAR_KEYWORD)]
    names = tuple(one.name for one in parameters)
    if variable or names != keyspace.pattern.names:
        expected = ", ".join(keyspace.pattern.names) or "no parameter"
        remedy = f"declare it with the parts of the key, in their order: ({expected}); a method is no such function"
        raise InvalidInput("load", f"takes ({', '.join(names)}), but {keyspace} has other parts", remedy)
