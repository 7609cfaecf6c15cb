"""How often the near cache has what is asked for, on traces with a fixed seed: what S3-FIFO was chosen for."""

from __future__ import annotations

import random
from collections import OrderedDict
from functools import cache
from itertools import accumulate
from math import inf

import pytest

from greenroom.caching.near import Entry, Near

KEYS = 50_000
REQUESTS = 200_000
SCAN_EVERY = 25_000
SCAN = 10_000

Trace = list[tuple[str, bool]]
"""Keys asked for, each with whether it counts: those of a scan do not."""


class Line:
    as_of = inf


@cache
def trace(skew: float, *, scans: bool) -> Trace:
    weights = list(accumulate(1 / (rank + 1) ** skew for rank in range(KEYS)))
    asked = random.Random(7).choices(range(KEYS), cum_weights=weights, k=REQUESTS)
    found: Trace = []
    for number, key in enumerate(asked, 1):
        found.append((f"k{key}", True))
        if scans and number % SCAN_EVERY == 0:
            found.extend((f"scan{number + one}", False) for one in range(SCAN))
    return found


def near_ratio(requests: Trace, entries: int) -> float:
    near, line, hits = Near(entries, 10**12), Line(), 0
    for key, counted in requests:
        if near.get(key, 0.0) is not None:
            hits += counted
        else:
            near.put(Entry(key, None, None, fresh_until=1.0, expires_at=1.0, near_until=1.0, source=line))
    return 100 * hits / REQUESTS


def lru_ratio(requests: Trace, entries: int) -> float:
    kept: OrderedDict[str, None] = OrderedDict()
    hits = 0
    for key, counted in requests:
        if key in kept:
            kept.move_to_end(key)
            hits += counted
        else:
            kept[key] = None
            if len(kept) > entries:
                kept.popitem(last=False)
    return 100 * hits / REQUESTS


@pytest.mark.parametrize(
    ("skew", "scans", "entries", "expected"),
    [
        (0.8, False, 500, 30.2),
        (0.8, False, 5000, 52.3),
        (0.8, True, 500, 30.2),
        (0.8, True, 5000, 52.7),
        (1.0, False, 500, 57.2),
        (1.0, False, 5000, 75.1),
        (1.0, True, 500, 57.2),
        (1.0, True, 5000, 75.1),
    ],
)
def test_the_near_cache_hits_as_often_as_measured(skew: float, scans: bool, entries: int, expected: float) -> None:
    assert near_ratio(trace(skew, scans=scans), entries) == pytest.approx(expected, abs=0.4)


def test_it_hits_far_more_often_than_lru_while_scans_go_through() -> None:
    requests = trace(1.0, scans=True)
    assert near_ratio(requests, 500) > lru_ratio(requests, 500) + 9.0
