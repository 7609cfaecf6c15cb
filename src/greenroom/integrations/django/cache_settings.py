"""`LOCATION` and `OPTIONS` of a cache in a project's `CACHES`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, NamedTuple

from greenroom.argument_types import span, type_name, whole_number
from greenroom.errors import InvalidInput
from greenroom.keyspace.parts import check_part

_NEAR_FOR = timedelta(seconds=30)
_LIMIT = 1_000_000
_OPTIONS = frozenset({"pickle", "near_for", "limit"})


class CacheSettings(NamedTuple):
    """What the settings of a cache say.

    Arguments:
        location: a word that stands in its keys.
        pickle: whether values that JSON would change are pickled.
        near_for: how long a value is served from this process.
        limit: the largest value, in bytes of JSON.
    """

    location: str
    pickle: bool
    near_for: timedelta
    limit: int

    def differences(self, other: CacheSettings) -> list[str]:
        """The options in which two caches differ that have the same keys; one room has a keyspace once."""
        if self[:2] != other[:2]:
            return []
        return [name for name in ("near_for", "limit") if getattr(self, name) != getattr(other, name)]


def read(location: object, options: object) -> CacheSettings:
    """The settings of a cache.

    Raises:
        InvalidInput: naming the one that is unknown, or cannot be.
    """
    if options is None:
        options = {}
    if not isinstance(options, Mapping):
        raise InvalidInput("OPTIONS", f"is {type_name(options)}, not a dict", "write OPTIONS = {'pickle': True}")
    for name in options:
        if name not in _OPTIONS:
            raise InvalidInput(f"OPTIONS[{name!r:.40}]", "is not an option", f"use {', '.join(sorted(_OPTIONS))}")
    pickle: Any = options.get("pickle", False)
    if not isinstance(pickle, bool):
        raise InvalidInput("OPTIONS['pickle']", f"is {type_name(pickle)}", "give True or False")
    near_for, limit = options.get("near_for", _NEAR_FOR), options.get("limit", _LIMIT)
    return CacheSettings(
        check_part("LOCATION", location or "default"),
        pickle,
        span("OPTIONS['near_for']", near_for, timedelta(0), "give a timedelta of zero or more"),
        whole_number("OPTIONS['limit']", limit, 1, "give a number of bytes above zero"),
    )
