"""What is refused of a cache's loaders and options where it is declared, before anything is made of them."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from greenroom.argument_types import function, span, whole_number
from greenroom.caching.loader import Loader, PlainLoader
from greenroom.caching.releases import MAX_BACKOFF
from greenroom.caching.result import Loaded
from greenroom.errors import InvalidInput
from greenroom.keyspace import Keyspace

if TYPE_CHECKING:
    from greenroom.caching.threads import LoaderThreads

T = TypeVar("T")


def declared_loader(
    keyspace: Keyspace[Any], load: Loader[T] | PlainLoader[T], threads: Callable[[], LoaderThreads]
) -> Loader[T]:
    """A loader that is called with the key's parts by keyword, or by position where there is one part.

    Arguments:
        threads: where it runs if it is not async.

    Raises:
        InvalidInput: when it can never be called so, or gives no value.
    """
    names = keyspace.pattern.names
    if len(names) != 1:
        _check_call("load", load, (), dict.fromkeys(names))
        return _awaited(load, threads)
    (name,) = names
    _check_call("load", load, (None,), {})
    call = _awaited(load, threads)

    async def load_one(**parts: object) -> T | Loaded[T] | None:
        return await call(parts[name])  # type: ignore[no-any-return]

    return load_one


def declared_batch_loader(
    load_many: Callable[[Sequence[Any]], Any], threads: Callable[[], LoaderThreads]
) -> Callable[[Sequence[Any]], Awaitable[Any]]:
    """A batch loader.

    Raises:
        As `declared_loader`.
    """
    _check_call("load_many", load_many, (None,), {})
    return _awaited(load_many, threads)


def check_options(options: Mapping[str, Any]) -> None:
    """Refuse what no cache can work with.

    Raises:
        InvalidInput: naming the option.
    """
    for name, minimum, words in (
        ("near_for", timedelta(0), "zero or more"),
        ("failures_for", timedelta(0), "zero or more"),
        ("loader_deadline", timedelta(milliseconds=1), "a millisecond or more"),
    ):
        span(name, options.get(name, minimum), minimum, f"use a timedelta of {words}")
    if options.get("failures_for", timedelta(0)) > timedelta(seconds=MAX_BACKOFF):
        remedy = f"use at most {MAX_BACKOFF:g} s: what is back shall be seen"
        raise InvalidInput("failures_for", f"{options['failures_for']} is too long", remedy)
    whole_number("max_concurrent", options.get("max_concurrent", 1), 1, "use a whole number of 1 or more")


def exceptions(passes: object) -> tuple[type[Exception], ...]:
    """The exceptions that a cache passes, as they were declared.

    Raises:
        InvalidInput: naming `passes`, for what are none.
    """
    if isinstance(passes, Iterable):
        kinds = tuple(passes)
        if all(isinstance(one, type) and issubclass(one, Exception) for one in kinds):
            return kinds
    raise InvalidInput("passes", f"are {passes!r:.80}", "use a tuple of exception classes, like (PermissionError,)")


def group_patterns(groups: object) -> tuple[str, ...]:
    """The groups of a cache, as they were declared.

    Raises:
        InvalidInput: naming `groups`, for what is no list of strings.
    """
    if isinstance(groups, Iterable) and not isinstance(groups, str):
        patterns = tuple(groups)
        if all(isinstance(group, str) for group in patterns):
            return patterns
    raise InvalidInput("groups", f"are {groups!r:.80}", "use a list of patterns, like ['episodes:{show_id}']")


def _awaited(load: Callable[..., Any], threads: Callable[[], LoaderThreads]) -> Callable[..., Awaitable[Any]]:
    return load if is_async(load) else functools.partial(threads().run, load)


def is_async(load: Any) -> bool:
    """Whether a call gives a coroutine, as far as can be told: of a function, a part of one, an object with a call."""
    while isinstance(load, functools.partial):
        load = load.func
    return inspect.iscoroutinefunction(load) or inspect.iscoroutinefunction(type(load).__call__)


def _check_call(field: str, load: Any, args: tuple[object, ...], parts: Mapping[str, object]) -> None:
    function(field, load, "pass a function")
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
