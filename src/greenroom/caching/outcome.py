"""How a read was answered: what metrics and `Cache-Status` tell apart."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


class Outcome(enum.Enum):
    """Where the value came from."""

    HIT = "hit"
    """The server had it."""
    LOADED = "loaded"
    """The loader ran for this read."""
    SHARED = "shared"
    """The loader ran for another read of the same key."""
    BYPASSED = "bypassed"
    """The server could not be asked; the loader ran without it."""


@dataclass(frozen=True, slots=True)
class Read(Generic[T]):
    """One answered read.

    Arguments:
        value: the value; None where the record holds nothing.
        body: the value's JSON as it is stored; None where `value` is.
        outcome: where it came from.
        stored: whether a load's result was stored for the next reader.
        ttl: seconds of freshness left; None where that was not asked or does not apply.
    """

    value: T | None
    body: bytes | None
    outcome: Outcome
    stored: bool = False
    ttl: float | None = None
