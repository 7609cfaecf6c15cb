"""A question to the server about one key, and the answer that holds no value."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

from greenroom.caching.admission import Arrival
from greenroom.caching.lease import NOTHING_REFUSED
from greenroom.engine import Command
from greenroom.engine.deadline import TimeBudget
from greenroom.errors import BrokenValue, OtherVersionValue

log = logging.getLogger("greenroom.caching")


class Question(NamedTuple):
    """A question that was sent.

    Arguments:
        asked: when, in seconds of the room's clock; `began` is of `time.monotonic`.
        marked: whether the first command asks for the value's mark.
        future: the replies; None where no connection could be asked at once.
    """

    key: str
    commands: tuple[Command, ...]
    arrival: Arrival | None
    asked: float
    began: float
    marked: bool
    future: asyncio.Future[list[Any]] | None


@dataclass(frozen=True, slots=True)
class Miss:
    """The server gives no value.

    Arguments:
        budget: what is left of the read's time with the server.
        reachable: whether it could be asked.
        rejected_digest: the fingerprint of what it holds instead of a value.
        broken: what is wrong with that, for `tell`.
    """

    budget: TimeBudget
    reachable: bool = True
    rejected_digest: str = NOTHING_REFUSED
    broken: BrokenValue | None = None


def tell(misses: Iterable[Miss]) -> None:
    """Log what is wrong with the values of one call: one line, however many they are."""
    errors = [miss.broken for miss in misses if miss.broken is not None]
    broken = [error for error in errors if not isinstance(error, OtherVersionValue)]
    if broken:
        more = f", and {len(broken) - 1} more" if len(broken) > 1 else ""
        log.warning("%s; the value is replaced%s", broken[0], more)
    elif errors:
        log.debug("%s; it is replaced, of %d that are of another version", errors[0], len(errors))
