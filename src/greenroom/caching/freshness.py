"""From a remaining lifetime to what may be done with a value: pure, so that every case can be tried."""

from __future__ import annotations

import msgspec

from greenroom.keyspace.lifetime import Lifetime


class Placed(msgspec.Struct, frozen=True):
    """When a value read now stops being fresh, and when it ends on the server, in seconds of the clock.

    `adjust` says that its key has no lifetime, or too long a one, and must be given one; `near` that the times are
    exact enough for it to be kept in this process.
    """

    fresh_until: float
    expires_at: float
    adjust: bool
    near: bool


def placed(lifetime: Lifetime, remaining_ms: int, now: float) -> Placed:
    """Where a value with `remaining_ms` (a PTTL asked just before the value) stands in its lifetime.

    Freshness is reckoned from the end: jitter, which only shortens, then shortens the fresh part too.
    """
    ttl = lifetime.ttl_ms
    if remaining_ms == -2:
        # Missing when PTTL was carried out and there when GET was: new, with a lifetime that nobody asked for.
        return Placed(now + lifetime.fresh_ms / 1000, now + ttl / 1000, adjust=False, near=False)
    adjust = remaining_ms < 0 or remaining_ms > ttl
    expires_at = now + (ttl if adjust else remaining_ms) / 1000
    return Placed(expires_at - (ttl - lifetime.fresh_ms) / 1000, expires_at, adjust, near=not adjust)
