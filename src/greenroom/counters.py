"""What a room counts.

A near hit costs less than a microsecond, so nothing here may: a count is one dictionary update. The service's
`/metrics` copies these numbers into Prometheus; a program may read them as they are.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Mapping

from greenroom.observe import CacheTrouble, EventHooks

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


CACHE_ERRORS = (
    *("broken", "engine", "load", "load_timeout", "out_of_memory", "overloaded", "oversize", "store", "version"),
)
"""Kinds of what goes wrong in a cache without an error for its caller."""
STORE_ERRORS = ("broken",)
"""The same of a store, whose callers are told of the rest."""
CACHE_EVENTS = "fill_refused", "lease_wait", "refresh"
"""What the outcomes of a cache's reads do not tell."""
SESSION_EVENTS = "ended", "origin_foreign", "rotated", "started", "token_malformed", "token_unknown"
"""What happens to sessions, and to requests that want one."""


class Counters:
    """Everything that a room counts. Keys are tuples of label values, each from a bounded set.

    What can be counted of a declared keyspace, a server or the sessions stands at 0 from the start: a rule that looks
    at an increase does not see the step from nothing to 1.
    """

    __slots__ = (
        "broken_documents",
        "cache_events",
        "commands",
        "engine_events",
        "errors",
        "events",
        "foreign_changes",
        "foreign_lag",
        "loads",
        "reads",
        "sessions",
    )

    def __init__(self) -> None:
        self.events = EventHooks()
        """Those who are told of what is counted here, and of what is not."""
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

    def begin_anew(self) -> None:
        """In a forked child: what its parent has counted is counted there."""
        for counts in (self.reads, self.errors, self.cache_events, self.sessions, self.engine_events):
            counts.update(dict.fromkeys(counts, 0))  # type: ignore[arg-type]
        for timed in (self.loads, self.commands):
            timed.update((of, Histogram()) for of in tuple(timed))

    def trouble(self, keyspace: str, kind: str, key: str | None = None) -> None:
        """Count what went wrong in a cache, and tell of it."""
        self.errors[keyspace, kind] += 1
        if self.events.any:
            self.events.tell(CacheTrouble(keyspace, kind, key))

    def begin_cache(self, keyspace: str, outcomes: Iterable[str]) -> None:
        """Let everything that is counted of a cache stand at 0, unless it counts already."""
        _begin(self.reads, keyspace, outcomes)
        _begin(self.errors, keyspace, CACHE_ERRORS)
        _begin(self.cache_events, keyspace, CACHE_EVENTS)
        self.loads[keyspace]

    def begin_store(self, keyspace: str, outcomes: Iterable[str]) -> None:
        """As `begin_cache`, of a store."""
        _begin(self.reads, keyspace, outcomes)
        _begin(self.errors, keyspace, STORE_ERRORS)

    def begin_server(self, node: str, events: Iterable[str]) -> None:
        """As `begin_cache`, of a server."""
        _begin(self.engine_events, node, events)
        self.commands[node]

    def begin_sessions(self) -> None:
        """As `begin_cache`, of the sessions."""
        for event in SESSION_EVENTS:
            self.sessions[event,] += 0


def _begin(counts: defaultdict[tuple[str, str], int], of: str, kinds: Iterable[str]) -> None:
    for kind in kinds:
        counts[of, kind] += 0
