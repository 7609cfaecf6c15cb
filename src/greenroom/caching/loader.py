"""Loaders: how a cache calls what reads the record, and what is refused of one before it is called."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

from greenroom.errors import InvalidInput
from greenroom.keyspace import Keyspace

T = TypeVar("T")
Loader = Callable[..., Awaitable[T | None]]
"""Reads one value, given its key's parts by keyword; None means there is none."""
PlainLoader = Callable[..., T | None]
"""As a `Loader`, in a function that is not async. It runs on the event loop, so that it must not wait for anything."""

LOADER_DEADLINE = 5.0
"""Seconds after which a loader is cancelled."""


def declared_loader(keyspace: Keyspace[Any], load: Loader[T] | PlainLoader[T]) -> Loader[T]:
    """A loader that is called with the key's parts by keyword, or by position where there is one part.

    Raises:
        InvalidInput: when it can never be called so, or gives no value.
    """
    names = keyspace.pattern.names
    if len(names) != 1:
        _check("load", load, (), dict.fromkeys(names))

        async def load_by_name(**parts: object) -> T | None:
            return await _awaited(load(**parts))

        return load_by_name
    (name,) = names
    _check("load", load, (None,), {})

    async def load_one(**parts: object) -> T | None:
        return await _awaited(load(parts[name]))

    return load_one


def declared_batch_loader(load_many: Callable[[Sequence[Any]], Any]) -> Callable[[Sequence[Any]], Awaitable[Any]]:
    """A batch loader; raises as `declared_loader`."""
    _check("load_many", load_many, (None,), {})

    async def load_all(parts: Sequence[Any]) -> Any:
        return await _awaited(load_many(parts))

    return load_all


def plain(parts: Mapping[str, object]) -> object:
    """What a batch loader is given of a key: its one part, or all by name."""
    return next(iter(parts.values())) if len(parts) == 1 else dict(parts)


async def _awaited(result: Awaitable[T] | T) -> T:
    return await result if inspect.isawaitable(result) else result


def _check(field: str, load: Any, args: tuple[object, ...], parts: Mapping[str, object]) -> None:
    if not callable(load):
        raise InvalidInput(field, f"is {type(load).__name__}, which cannot be called", "pass a function")
    if inspect.isgeneratorfunction(load) or inspect.isasyncgenfunction(load):
        raise InvalidInput(field, "is a generator", "return the value, do not yield it")
    try:
        signature = inspect.signature(load)
    except (TypeError, ValueError):
        return  # some of C have none
    try:
        signature.bind(*args, **parts)
    except TypeError as error:
        called = ", ".join(f"{name}=…" for name in parts) or ("one argument" if args else "no argument")
        raise InvalidInput(field, f"takes {signature}: {error}", f"it is called with {called}") from None
