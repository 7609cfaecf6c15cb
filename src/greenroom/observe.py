"""Counters and timings of a room: plain integers, for a program to publish.

A near hit costs less than a microsecond, so nothing here may: a count is one dictionary update. The service's
`/metrics` copies these numbers into Prometheus; a library user may read them as they are.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Mapping

# Upper bounds of the histogram's buckets, in seconds: 100 µs to 10 s, about three to a decade.
BUCKETS = (
    0.0001,
    0.00025,
    0.0005,
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
)


class Histogram:
    """Counts of durations per bucket, their number and their sum in seconds."""

    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.counts = [0] * (len(BUCKETS) + 1)
        self.total = 0.0

    def add(self, seconds: float) -> None:
        self.counts[bisect_left(BUCKETS, seconds)] += 1
        self.total += seconds


class Counters:
    """Everything that a room counts. Keys are tuples of label values, each from a bounded set."""

    __slots__ = (
        "broken_documents",
        "cache_events",
        "commands",
        "engine_events",
        "errors",
        "foreign_changes",
        "foreign_lag",
        "loads",
        "reads",
        "sessions",
    )

    def __init__(self) -> None:
        self.reads: defaultdict[tuple[str, str], int] = defaultdict(int)
        """(keyspace, outcome) → reads answered so."""
        self.errors: defaultdict[tuple[str, str], int] = defaultdict(int)
        """(keyspace, kind) → what went wrong without an error for the caller."""
        self.cache_events: defaultdict[tuple[str, str], int] = defaultdict(int)
        """(keyspace, event) → lease_wait, fill_refused, refresh: what the reads above do not tell."""
        self.loads: defaultdict[str, Histogram] = defaultdict(Histogram)
        """keyspace → how long its loader took."""
        self.commands: defaultdict[str, Histogram] = defaultdict(Histogram)
        """node → time from a write on the wire to its last reply, one entry a write (of one or many commands)."""
        self.sessions: defaultdict[tuple[str], int] = defaultdict(int)
        """(event,) → sessions started, rotated, ended; tokens that named none; requests of foreign pages."""
        self.engine_events: defaultdict[tuple[str, str], int] = defaultdict(int)
        """(node, event) → connections made and lost, pushes read, flushes, refused calls."""
        self.broken_documents: Mapping[tuple[str], int] = {}
        """(kind,) → documents of the record left out of lists, since they do not fit; the record's own count."""
        self.foreign_changes = {(event,): 0 for event in ("change", "resume", "lost", "failed")}
        """(event,) → changes of the record made outside, beginnings of reading them, keyspaces dropped whole, and drops
        that failed and are repeated. Here from the start: nobody sees a first step from nothing."""
        self.foreign_lag = Histogram()
        """Time from a change of the record made outside to its drop on every server."""
