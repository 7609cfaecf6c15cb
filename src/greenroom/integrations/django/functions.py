"""`@cached` for plain functions: that of the process's room."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar, Unpack

from greenroom.caching.options import CacheOptions
from greenroom.caching.result import Loaded
from greenroom.integrations.django.rooms import room
from greenroom.keyspace import Keyspace
from greenroom.sync import CachedFunction

P = ParamSpec("P")
T = TypeVar("T")


def cached(
    keyspace: Keyspace[T], **options: Unpack[CacheOptions[T]]
) -> Callable[[Callable[P, T | Loaded[T] | None]], CachedFunction[P, T]]:
    """Cache what a function reads of the database; options and errors are those of `greenroom.sync.Greenroom.cached`.

    It runs in the thread that misses, with that thread's connection. Inside `atomic()` what it returns is given to its
    caller alone, and not stored.
    """
    return room().cached(keyspace, **options)
