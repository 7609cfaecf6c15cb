"""A function whose results are cached, as threads call it: what `@room.cached` makes of a loader."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Generic, ParamSpec, TypeVar

from greenroom.cached import LoaderDefaults
from greenroom.caching.result import CacheResult, Loaded
from greenroom.sync.caches import Cache, DropTarget

P = ParamSpec("P")
T = TypeVar("T")


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

    def __call__(self, *args: P.args, **parts: P.kwargs) -> T | None:
        """The value; None where the record holds none."""
        if not self._defaults.any:  # what is called most, without a call that it does not need
            return self.cache.get(*args, **parts)
        return self.cache.get(*args, **self._defaults.filled(args, parts))

    def get(self, *args: P.args, **parts: P.kwargs) -> T | None:
        """As calling it."""
        return self.cache.get(*args, **self._defaults.filled(args, parts))

    def get_result(self, *args: P.args, **parts: P.kwargs) -> CacheResult[T]:
        """The value and how it came about; see `Cache.get_result`."""
        return self.cache.get_result(*args, **self._defaults.filled(args, parts))

    def get_many(self, parts: Iterable[object]) -> list[T | None]:
        """The values of several keys, in the order asked; see `Cache.get_many`."""
        return self.cache.get_many(self._defaults.all_filled(parts))

    def get_results(self, parts: Iterable[object]) -> list[CacheResult[T]]:
        """Several values and how each came about; see `Cache.get_results`."""
        return self.cache.get_results(self._defaults.all_filled(parts))

    def peek(self, *args: P.args, **parts: P.kwargs) -> T | None:
        """The value if this process has it; see `Cache.peek`."""
        return self.cache.peek(*args, **self._defaults.filled(args, parts))

    def invalidate(self, *args: P.args, **parts: P.kwargs) -> None:
        """Drop the value; see `Cache.invalidate`."""
        self.cache.invalidate(*args, **self._defaults.filled(args, parts))

    def invalidate_many(self, parts: Iterable[object]) -> None:
        """Drop several values; see `Cache.invalidate_many`."""
        self.cache.invalidate_many(self._defaults.all_filled(parts))

    def invalidate_group(self, *args: object, **parts: object) -> None:
        """Drop every key of a group; see `Cache.invalidate_group`."""
        self.cache.invalidate_group(*args, **self._defaults.group_filled(args, parts))

    def of(self, *args: P.args, **parts: P.kwargs) -> DropTarget:
        """The value as something that a change makes stale, for `Greenroom.changing`."""
        return self.cache.of(*args, **self._defaults.filled(args, parts))

    def group(self, *args: object, **parts: object) -> DropTarget:
        """A group as something that a change makes stale, for `Greenroom.changing`; see `Cache.group`."""
        return self.cache.group(*args, **self._defaults.group_filled(args, parts))

    def __repr__(self) -> str:
        return f"<cached {self.__qualname__} of {self.cache.keyspace}>"
