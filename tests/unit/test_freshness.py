"""Where a value stands in its lifetime, in every case."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenroom.caching.freshness import Placed, placed
from greenroom.keyspace.lifetime import Lifetime

MINUTE = 60_000
SOFT = Lifetime(timedelta(minutes=30), timedelta(minutes=15))
HARD = Lifetime(timedelta(minutes=30))
NOW = 1000.0


@pytest.mark.parametrize(
    ("lifetime", "remaining_ms", "expected"),
    [
        # As it was filled without jitter: fresh for 15 of its 30 minutes.
        (SOFT, 30 * MINUTE, Placed(NOW + 900, NOW + 1800, adjust=False, near=True)),
        (HARD, 30 * MINUTE, Placed(NOW + 1800, NOW + 1800, adjust=False, near=True)),
        # Jitter has cut a minute off: off the fresh part too.
        (SOFT, 29 * MINUTE, Placed(NOW + 840, NOW + 1740, adjust=False, near=True)),
        # At the end of its fresh part, past it, and at its very end.
        (SOFT, 15 * MINUTE, Placed(NOW, NOW + 900, adjust=False, near=True)),
        (SOFT, 5 * MINUTE, Placed(NOW - 600, NOW + 300, adjust=False, near=True)),
        (HARD, 5 * MINUTE, Placed(NOW + 300, NOW + 300, adjust=False, near=True)),
        (SOFT, 0, Placed(NOW - 900, NOW, adjust=False, near=True)),
        # No lifetime, or too long a one: to be given its own, and not kept near meanwhile.
        (SOFT, -1, Placed(NOW + 900, NOW + 1800, adjust=True, near=False)),
        (HARD, -1, Placed(NOW + 1800, NOW + 1800, adjust=True, near=False)),
        (SOFT, 30 * MINUTE + 1, Placed(NOW + 900, NOW + 1800, adjust=True, near=False)),
        # Missing when PTTL was carried out, there when GET was.
        (SOFT, -2, Placed(NOW + 900, NOW + 1800, adjust=False, near=False)),
        (HARD, -2, Placed(NOW + 1800, NOW + 1800, adjust=False, near=False)),
    ],
)
def test_a_value_is_placed_by_what_is_left_of_its_lifetime(
    lifetime: Lifetime, remaining_ms: int, expected: Placed
) -> None:
    at = placed(lifetime, remaining_ms, NOW)
    assert (at.fresh_until, at.expires_at) == pytest.approx((expected.fresh_until, expected.expires_at))
    assert (at.adjust, at.near) == (expected.adjust, expected.near)


@given(
    ttl_ms=st.integers(2, 10**10),
    fresh_share=st.floats(0.01, 0.99) | st.none(),
    remaining_ms=st.integers(-2, 2 * 10**10),
)
def test_no_value_outlives_its_lifetime_and_none_is_fresh_past_its_end(
    ttl_ms: int, fresh_share: float | None, remaining_ms: int
) -> None:
    fresh = None if fresh_share is None else timedelta(milliseconds=min(ttl_ms - 1, max(1, int(ttl_ms * fresh_share))))
    lifetime = Lifetime(timedelta(milliseconds=ttl_ms), fresh)
    at = placed(lifetime, remaining_ms, 0.0)
    assert at.expires_at <= ttl_ms / 1000
    assert at.fresh_until <= at.expires_at
    assert at.fresh_until <= lifetime.fresh_ms / 1000 + 1e-6
    assert not (at.adjust and at.near)
