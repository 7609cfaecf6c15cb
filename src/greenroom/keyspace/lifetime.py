"""How long a value lives, how long of that it is fresh, and jitter that only ever shortens."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta

from greenroom.argument_types import span
from greenroom.errors import InvalidInput

JITTER = 0.05
"""Lifetimes are shortened by a random share of at most this, so that keys filled together do not lapse together."""
_FINEST = timedelta(milliseconds=1)
"""Redis counts lifetimes in milliseconds."""


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
        span("ttl", self.ttl, _FINEST, "use a timedelta of a millisecond or more")
        if self.fresh is not None:
            span("fresh", self.fresh, _FINEST, "use a timedelta of a millisecond or more")
        if self.fresh is not None and self.fresh >= self.ttl:
            raise InvalidInput(
                "fresh",
                f"{self.fresh} is not within the ttl of {self.ttl}",
                "use a shorter time than ttl",
            )
        object.__setattr__(self, "ttl_ms", self.ttl // timedelta(milliseconds=1))
        object.__setattr__(self, "fresh_ms", (self.fresh or self.ttl) // timedelta(milliseconds=1))
        if not isinstance(self.jitter, int | float) or not 0 <= self.jitter < 1:
            raise InvalidInput("jitter", f"{self.jitter} is not a share", "use a number from 0 to below 1")

    def jittered_ms(self, random: float) -> int:
        """The hard lifetime in milliseconds for one fill; `random` is a number in [0, 1)."""
        return max(1, int(self.ttl_ms * (1 - self.jitter * random)))
