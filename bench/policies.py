"""The near cache's policy: share of hits and cost of an operation, against LRU and two libraries, on one trace."""

from __future__ import annotations

import random
import time
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Callable
from itertools import accumulate
from math import inf
from typing import Any

import msgspec

from greenroom.caching.near import Entry, Near

UNIVERSE = 50_000
REQUESTS = 200_000
SCAN = 10_000
"""Keys asked for once, after each eighth of the requests, in the trace with scans."""


class Alive:
    """A connection that has just been heard."""

    heard = inf


class Result(msgspec.Struct):
    """Share of hits, from 0 to 1, and nanoseconds per request, misses with their insertion included."""

    hits: float
    nanoseconds: float


def trace(skew: float, *, scan: bool, seed: int = 1) -> list[str]:
    """Keys drawn from a Zipf distribution, with or without scans between them."""
    draw = random.Random(seed)
    sums = list(accumulate(1 / rank**skew for rank in range(1, UNIVERSE + 1)))
    keys = [f"cache:snippet:{bisect_left(sums, draw.random() * sums[-1]):06d}" for _ in range(REQUESTS)]
    if not scan:
        return keys
    step = REQUESTS // 8
    mixed: list[str] = []
    for number in range(8):
        mixed.extend(keys[number * step : (number + 1) * step])
        mixed.extend(f"cache:scan:{number}:{position}" for position in range(SCAN))
    return mixed


def s3_fifo(capacity: int) -> tuple[Callable[[str], Any], Callable[[str], None]]:
    """Ours."""
    near = Near(capacity, 1 << 40)
    alive = Alive()
    return (lambda key: near.get(key, 0.0)), lambda key: near.put(Entry(key, b"v", b"v", inf, inf, inf, alive))


def lru(capacity: int) -> tuple[Callable[[str], Any], Callable[[str], None]]:
    """An ordered dictionary."""
    kept: OrderedDict[str, bytes] = OrderedDict()

    def get(key: str) -> Any:
        value = kept.get(key)
        if value is not None:
            kept.move_to_end(key)
        return value

    def put(key: str) -> None:
        kept[key] = b"v"
        if len(kept) > capacity:
            kept.popitem(last=False)

    return get, put


def cachebox_lru(capacity: int) -> tuple[Callable[[str], Any], Callable[[str], None]]:
    """cachebox's LRU."""
    from cachebox import LRUCache

    cache: Any = LRUCache(capacity)
    return cache.get, lambda key: cache.insert(key, b"v")


def theine(capacity: int) -> tuple[Callable[[str], Any], Callable[[str], None]]:
    """theine's W-TinyLFU."""
    from theine import Cache

    cache: Any = Cache(capacity)

    def get(key: str) -> Any:
        value, found = cache.get(key)
        return value if found else None

    return get, lambda key: cache.set(key, b"v")


POLICIES = {"greenroom (S3-FIFO)": s3_fifo, "LRU": lru, "cachebox LRU": cachebox_lru, "theine": theine}


def measure(name: str, capacity: int, keys: list[str]) -> Result:
    """Run one policy over a trace."""
    get, put = POLICIES[name](capacity)
    wanted = hits = 0
    began = time.process_time()
    for key in keys:
        if get(key) is not None:
            hits += key[6] == "s" and key[7] == "n"
        else:
            put(key)
        wanted += key[6] == "s" and key[7] == "n"
    return Result(hits / wanted, (time.process_time() - began) / len(keys) * 1e9)
