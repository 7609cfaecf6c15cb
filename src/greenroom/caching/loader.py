"""Loaders: how a cache calls what reads the record."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

from greenroom.keyspace import Keyspace

T = TypeVar("T")
Loader = Callable[..., Awaitable[T | None]]
"""Reads one value, given its key's parts by keyword; None means there is none."""

LOADER_DEADLINE = 5.0
"""Seconds after which a loader is cancelled."""


def declared_loader(keyspace: Keyspace[Any], load: Loader[T]) -> Loader[T]:
    """A loader that is called with the key's parts by keyword, or by position where there is one part."""
    if len(keyspace.pattern.names) != 1:
        return load
    (name,) = keyspace.pattern.names

    async def load_one(**parts: object) -> T | None:
        return await load(parts[name])

    return load_one


def plain(parts: Mapping[str, object]) -> object:
    """What a batch loader is given of a key: its one part, or all by name."""
    return next(iter(parts.values())) if len(parts) == 1 else dict(parts)
