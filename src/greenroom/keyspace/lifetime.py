"""How long a value lives, how long of that it is fresh, and jitter that only ever shortens."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta

from greenroom.errors import InvalidInput

JITTER = 0.05
"""Lifetimes are shortened by a random share of at most this, so that keys filled together do not lapse together."""


@dataclass(frozen=True, slots=True)
class Lifetime:
    """The hard lifetime `ttl`, the soft one `fresh` (None: always fresh), and the largest share cut off at random."""

    ttl: timedelta
    fresh: timedelta | None = None
    jitter: float = JITTER
    ttl_ms: int = field(init=False)
    """The hard lifetime in milliseconds."""
    fresh_ms: int = field(init=False)
    """The soft lifetime in milliseconds; without one, the hard."""

    def __post_init__(self) -> None:
        _check_span("ttl", self.ttl)
        if self.fresh is not None:
            _check_span("fresh", self.fresh)
        if self.ttl < timedelta(milliseconds=1):
            raise InvalidInput("ttl", f"{self.ttl} is too short", "use at least one millisecond")
        if self.fresh is not None and not timedelta(0) < self.fresh < self.ttl:
            raise InvalidInput(
                "fresh",
                f"{self.fresh} is not within the ttl of {self.ttl}",
                "use a shorter time than ttl, above zero",
            )
        object.__setattr__(self, "ttl_ms", self.ttl // timedelta(milliseconds=1))
        object.__setattr__(self, "fresh_ms", (self.fresh or self.ttl) // timedelta(milliseconds=1))
        if not isinstance(self.jitter, int | float) or not 0 <= self.jitter < 1:
            raise InvalidInput("jitter", f"{self.jitter} is no share", "use a number from 0 to below 1")

    def jittered_ms(self, random: float) -> int:
        """The hard lifetime in milliseconds for one fill; `random` is a number in [0, 1)."""
        return max(1, int(self.ttl_ms * (1 - self.jitter * random)))


def _check_span(field: str, value: object) -> None:
    if not isinstance(value, timedelta):
        seconds = f"seconds={value:g}" if isinstance(value, int | float) else "minutes=5"
        reason = f"{value!r:.80} is {type(value).__name__}, not a timedelta"
        raise InvalidInput(field, reason, f"write timedelta({seconds})")
