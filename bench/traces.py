"""Traces for the near cache's policy, made here: small ones of the shapes that public traces have.

A trace is a list of keys in the order in which they are asked for. `python -m bench.policies FILE` takes any other: a
file with a key in each line.
"""

from __future__ import annotations

import random
from bisect import bisect_left
from collections.abc import Callable, Iterator
from itertools import accumulate

REQUESTS = 200_000


def _zipf(draw: random.Random, universe: int, skew: float) -> Callable[[], int]:
    """Draws ranks from 0, the first the most often."""
    sums = list(accumulate(1 / rank**skew for rank in range(1, universe + 1)))
    return lambda: bisect_left(sums, draw.random() * sums[-1])


def steady(skew: float, seed: int = 1) -> list[str]:
    """What is wanted never changes: a Zipf distribution over 50,000 keys."""
    rank = _zipf(random.Random(seed), 50_000, skew)
    return [f"z{rank()}" for _ in range(REQUESTS)]


def scanned(seed: int = 2) -> list[str]:
    """The same with scans, as of a crawler: 10,000 keys that nobody asks for again, after each eighth."""
    keys, step = steady(1.0, seed), REQUESTS // 8
    mixed: list[str] = []
    for number in range(8):
        mixed += keys[number * step : (number + 1) * step]
        mixed += (f"s{number}.{position}" for position in range(10_000))
    return mixed


def wonders(seed: int = 3) -> list[str]:
    """As at the edge of a network: two in five keys asked for are asked for once."""
    draw = random.Random(seed)
    rank = _zipf(draw, 20_000, 0.9)
    return [f"w{number}" if draw.random() < 0.4 else f"c{rank()}" for number in range(REQUESTS)]


def drifting(seed: int = 4) -> list[str]:
    """As in a social network: very few are very popular, and each hour it is others."""
    draw = random.Random(seed)
    rank = _zipf(draw, 20_000, 1.2)
    # Every 20,000 requests the popularity moves on by 500 ranks.
    return [f"d{rank() + number // 20_000 * 500}" for number in range(REQUESTS)]


def bursts(seed: int = 5) -> list[str]:
    """As under a store of keys: half of all asked for were asked for a moment ago, and soon will be no more."""
    draw = random.Random(seed)
    rank = _zipf(draw, 100_000, 0.7)
    recent: list[str] = []
    trace: list[str] = []
    for _ in range(REQUESTS):
        if recent and draw.random() < 0.5:
            key = recent[-1 - min(int(draw.expovariate(1 / 300)), len(recent) - 1)]
        else:
            key = f"b{rank()}"
        recent.append(key)
        trace.append(key)
        if len(recent) > 5000:
            del recent[:4000]
    return trace


def blocks(seed: int = 6) -> list[str]:
    """As under a file system: runs of neighbours, loops over a few thousand, a working set that moves."""

    def runs() -> Iterator[str]:
        draw = random.Random(seed)
        rank = _zipf(draw, 4_000, 0.8)
        while True:
            kind = draw.random()
            if kind < 0.3:  # a run that is read once
                start = draw.randrange(2_000_000)
                yield from (f"r{start + offset}" for offset in range(draw.randrange(10, 200)))
            elif kind < 0.4:  # a table that is read again and again
                table = draw.randrange(3)
                yield from (f"t{table}.{row}" for row in range(1500))
            else:
                yield from (f"p{rank() * 8 + offset}" for offset in range(draw.randrange(1, 9)) for _ in (0,))

    each = runs()
    return [next(each) for _ in range(REQUESTS)]


TRACES: dict[str, Callable[[], list[str]]] = {
    "Zipf 0.8": lambda: steady(0.8),
    "Zipf 1.0": lambda: steady(1.0),
    "Zipf 1.0 + scans": scanned,
    "one-hit wonders (edge)": wonders,
    "drifting (social)": drifting,
    "bursts (key-value)": bursts,
    "runs and loops (blocks)": blocks,
}
