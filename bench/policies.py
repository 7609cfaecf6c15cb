"""The near cache's policy: share of hits and cost of a request, beside S3-FIFO as published, LRU and two libraries.

`python -m bench.policies [FILE …]` prints the table of `bench.traces`, or of files with a key in each line.
"""

from __future__ import annotations

import sys
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from math import inf
from pathlib import Path
from typing import Any

import msgspec

from bench.traces import TRACES
from greenroom.caching.near import Entry, Near

SHARES = 0.003, 0.01, 0.03, 0.1, 0.3
"""Sizes of the cache, as shares of the keys that a trace has."""

Policy = tuple[Callable[[str], Any], Callable[[str], None]]


class Alive:
    """A connection that has just been heard."""

    as_of = inf


class Result(msgspec.Struct):
    """Share of hits, from 0 to 1, and nanoseconds per request, misses with their insertion included."""

    hits: float
    nanoseconds: float


def greenroom(capacity: int) -> Policy:
    """Ours."""
    near = Near(capacity, 1 << 40)
    alive = Alive()
    return (lambda key: near.get(key, 0.0)), lambda key: near.put(Entry(key, b"v", b"v", inf, inf, inf, alive))


class S3FIFO:
    """S3-FIFO as its authors publish it (libCacheSim): a tenth for newcomers, ghosts for nine tenths, from 2 hits on
    into the main queue."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._main_size = capacity - max(1, capacity // 10)
        self._ghosts_size = capacity * 9 // 10
        self._frequency: dict[str, int] = {}
        self._small: deque[str] = deque()
        self._main: deque[str] = deque()
        self._ghosts: OrderedDict[str, None] = OrderedDict()

    def get(self, key: str) -> bool | None:
        if key not in self._frequency:
            return None
        self._frequency[key] += 1
        return True

    def put(self, key: str) -> None:
        known = self._ghosts.pop(key, self) is None
        while len(self._frequency) >= self._capacity:
            if len(self._main) > self._main_size or not self._small:
                self._evict_main()
            else:
                self._evict_small()
        self._frequency[key] = 0
        (self._main if known else self._small).append(key)

    def _evict_small(self) -> None:
        while self._small:
            key = self._small.popleft()
            if self._frequency[key] < 2:
                del self._frequency[key]
                self._ghosts[key] = None
                if len(self._ghosts) > self._ghosts_size:
                    self._ghosts.popitem(last=False)
                return
            self._frequency[key] = 0
            self._main.append(key)

    def _evict_main(self) -> None:
        while self._main:
            key = self._main.popleft()
            if not self._frequency[key]:
                del self._frequency[key]
                return
            self._frequency[key] = min(self._frequency[key], 3) - 1
            self._main.append(key)


def published(capacity: int) -> Policy:
    """The published S3-FIFO."""
    cache = S3FIFO(capacity)
    return cache.get, cache.put


def lru(capacity: int) -> Policy:
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


def cachebox(capacity: int) -> Policy:
    """cachebox's LRU."""
    from cachebox import LRUCache

    cache: Any = LRUCache(capacity)
    return cache.get, lambda key: cache.insert(key, b"v")


def theine(capacity: int) -> Policy:
    """theine's W-TinyLFU."""
    from theine import Cache

    cache: Any = Cache(capacity)

    def get(key: str) -> Any:
        value, found = cache.get(key)
        return value if found else None

    return get, lambda key: cache.set(key, b"v")


REFERENCE = "S3-FIFO"
POLICIES: dict[str, Callable[[int], Policy]] = {
    "greenroom": greenroom,
    REFERENCE: published,
    "LRU": lru,
    "cachebox": cachebox,
    "theine": theine,
}


def measure(name: str, capacity: int, keys: list[str]) -> Result:
    """Run one policy over a trace."""
    get, put = POLICIES[name](capacity)
    hits = 0
    began = time.process_time()
    for key in keys:
        if get(key) is not None:
            hits += 1
        else:
            put(key)
    return Result(hits / len(keys), (time.process_time() - began) / len(keys) * 1e9)


def rows(name: str, keys: list[str]) -> list[list[str]]:
    """A row for each policy: its hits at each size, and its cost at the last."""
    sizes = [max(10, int(len(set(keys)) * share)) for share in SHARES]
    found = []
    for policy in POLICIES:
        results = [measure(policy, size, keys) for size in sizes]
        cells = [f"{result.hits:.1%}" for result in results]
        found.append([name, policy, *cells, f"{results[-1].nanoseconds:.0f}"])
    return found


HEAD = ["trace", "policy", *(f"{share:.1%} of the keys" for share in SHARES), "ns a request"]


def main() -> None:
    """Print the rows, as plain text."""
    traces = {path: Path(path).read_text().split() for path in sys.argv[1:]}
    for name, keys in traces.items() or ((name, make()) for name, make in TRACES.items()):
        for row in rows(name, keys):
            print(" | ".join(row), flush=True)


if __name__ == "__main__":
    main()
