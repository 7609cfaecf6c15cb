"""The ids of events: hashes that are the same in every process, so that a client goes on at another."""

from __future__ import annotations

from collections.abc import Callable, Set
from typing import Any

import msgspec

from greenroom.caching.result import digest
from greenroom.keyspace.type_parts import classes


def event_ids(type_: Any) -> Callable[[bytes], str]:
    """What makes an id of the JSON of a value of this type.

    A set has another order in each process. Prevents: a client has the last status of one process · its stream ends,
    and it comes back to another · the id there is another, and it gets the status again in place of 204.
    """
    if any(issubclass(class_, Set) for class_ in classes(type_)):
        return _unordered_digest
    return digest


def _unordered_digest(json: bytes) -> str:
    """A hash that the order of no array changes: which of them are sets, the JSON does not tell."""
    return digest(msgspec.json.encode(_in_order(msgspec.json.decode(json))))


def _in_order(value: Any) -> Any:
    if isinstance(value, list):
        return sorted(map(_in_order, value), key=msgspec.json.encode)
    if isinstance(value, dict):
        return {name: _in_order(one) for name, one in value.items()}
    return value
