"""How a cache of a room is declared: what `cache` and its decorator `cached` take, for coroutines and for threads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Generic, TypedDict, TypeVar

from greenroom.caching.batch import BatchLoader, PlainBatchLoader
from greenroom.caching.cache import NEAR_FOR as NEAR_SECONDS
from greenroom.caching.declaration_checks import check_options, exceptions, group_patterns
from greenroom.caching.fallback import MAX_CONCURRENT
from greenroom.caching.loader import LOADER_DEADLINE as LOADER_SECONDS
from greenroom.caching.releases import BACKOFF

T = TypeVar("T")

NEAR_FOR = timedelta(seconds=NEAR_SECONDS)
"""How long a value is served from a process."""


class CacheOptions(TypedDict, Generic[T], total=False):
    """Options of a cache, each with a default; `greenroom.Greenroom.cache` says what they mean."""

    load_many: BatchLoader[T] | PlainBatchLoader[T] | None
    loader_deadline: timedelta
    near_for: timedelta
    groups: Sequence[str]
    max_concurrent: int
    failures_for: timedelta
    passes: Sequence[type[Exception]]


DEFAULTS: CacheOptions[Any] = {
    "load_many": None,
    "loader_deadline": timedelta(seconds=LOADER_SECONDS),
    "near_for": NEAR_FOR,
    "groups": (),
    "max_concurrent": MAX_CONCURRENT,
    "failures_for": timedelta(seconds=BACKOFF),
    "passes": (),
}


def check_names(options: Mapping[str, object]) -> None:
    """Refuse an argument that no cache has, as a call with parameters of its own would.

    Raises:
        TypeError: naming it, and the one that is perhaps meant.
    """
    for name in options:
        if name not in DEFAULTS:
            from difflib import get_close_matches  # for this one sentence

            near = get_close_matches(name, DEFAULTS, 1)
            meant = f"; did you mean {near[0]!r}?" if near else ""
            raise TypeError(f"a cache has no argument {name!r}{meant}")


def all_options(options: CacheOptions[T]) -> CacheOptions[T]:
    """The options with the defaults of those that are not given.

    Raises:
        TypeError: as `check_names`.
        InvalidInput: naming the option, for what no cache can work with.
    """
    check_names(options)
    merged: CacheOptions[T] = {**DEFAULTS, **options}
    merged["groups"] = group_patterns(merged["groups"])
    merged["passes"] = exceptions(merged["passes"])
    check_options(merged)
    return merged
