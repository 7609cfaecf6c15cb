"""Counters and timings of a room, plain integers for a program to publish, and what its hooks are told of.

A near hit costs less than a microsecond, so nothing here may: a count is one dictionary update, and no hook is told of
it. The service's `/metrics` copies these numbers into Prometheus; a library user may read them as they are.
"""

from __future__ import annotations

import asyncio
import logging
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import NamedTuple, Protocol

log = logging.getLogger("greenroom.observe")

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


@dataclass(frozen=True, slots=True)
class Event:
    """Something that has happened in a room; what `on_event` is called with."""


@dataclass(frozen=True, slots=True)
class LoadEnded(Event):
    """A loader has ended.

    Arguments:
        keyspace: the name of the cache's keyspace.
        keys: what it has loaded: one key, or those of one call of `load_many`.
        seconds: how long it took.
        error: what it raised, or the `LoadTimeout` that ended it; None where it returned.
    """

    keyspace: str
    keys: tuple[str, ...]
    seconds: float
    error: BaseException | None


@dataclass(frozen=True, slots=True)
class CacheTrouble(Event):
    """Something went wrong in a cache; its caller may have been answered all the same.

    Arguments:
        keyspace: the name of the cache's keyspace.
        kind: one of `CACHE_ERRORS`, as the counters have it.
        key: which key, where it is one.
    """

    keyspace: str
    kind: str
    key: str | None


@dataclass(frozen=True, slots=True)
class ServerConnected(Event):
    """A connection to a server serves.

    Arguments:
        node: the server's address, without a password.
        channel: `tracked` carries cached values, `plain` everything else.
    """

    node: str
    channel: str


@dataclass(frozen=True, slots=True)
class ServerLost(Event):
    """A connection that served has ended; another is being made.

    Arguments: as `ServerConnected`.
        reason: why it ended.
    """

    node: str
    channel: str
    reason: str


class EngineBatch(NamedTuple):
    """Commands that left in one write, and were answered, or lost with their connection.

    Arguments:
        node: the address that the server goes by, without a password.
        host: of the server itself; the path of a unix socket.
        port: of the server itself; None for a unix socket.
        commands: their names, in order.
        began: when they were written, in nanoseconds since 1970.
        seconds: from the write to the last reply.
        error: why the connection ended before that; None where all were answered.
    """

    node: str
    host: str
    port: int | None
    commands: Sequence[str]
    began: int
    seconds: float
    error: str | None


class Instrument(Protocol):
    """What traces a room: more than a hook, since it stands around a loader's call. See `EventHooks.instrument`."""

    def load(self, keyspace: str, keys: Sequence[str]) -> AbstractContextManager[object]:
        """What a loader's call runs in; an exception passes through it, but for one that the cache `passes`."""

    def batch(self, batch: EngineBatch) -> None:
        """A batch was answered; in the socket's reader, which waits for this to return."""


EventHook = Callable[[Event], object]
"""A hook; what it returns is of no interest."""


class EventHooks:
    """Those who are told of what happens in a room. What they raise is logged, once for each of them, and goes no
    further: a hook that fails must end no connection, and no load."""

    __slots__ = ("_hooks", "_logged", "failures", "instruments")

    def __init__(self) -> None:
        self._hooks: tuple[EventHook, ...] = ()
        self._logged: set[int] = set()
        self.failures = 0
        """Exceptions of hooks and instruments."""
        self.instruments: tuple[Instrument, ...] = ()
        """Those that trace the room: looked at for each write, of many commands."""

    def add(self, hook: EventHook) -> None:
        """Tell a hook of everything from now on."""
        self._hooks = (*self._hooks, hook)

    def instrument(self, instrument: Instrument) -> None:
        """Have loads and batches traced from now on."""
        self.instruments = (*self.instruments, instrument)

    def remove(self, one: EventHook | Instrument) -> None:
        """Tell a hook, or an instrument, no more."""
        self._hooks = tuple(hook for hook in self._hooks if hook is not one)
        self.instruments = tuple(instrument for instrument in self.instruments if instrument is not one)

    @property
    def any(self) -> bool:
        """Whether a hook is told of events: where none is, none need be made."""
        return bool(self._hooks)

    def tell(self, event: Event) -> None:
        """Call every hook."""
        for hook in self._hooks:
            with self._kept_away(hook):
                hook(event)

    def answered(self, batch: EngineBatch) -> None:
        """Call every instrument."""
        for instrument in self.instruments:
            with self._kept_away(instrument):
                instrument.batch(batch)

    def around_load(self, keyspace: str, keys: Sequence[str]) -> AbstractContextManager[object]:
        """What a loader's call runs in."""
        return self._instrumented(keyspace, keys) if self.instruments else nullcontext()

    @contextmanager
    def _instrumented(self, keyspace: str, keys: Sequence[str]) -> Iterator[None]:
        entered: list[tuple[Instrument, AbstractContextManager[object]]] = []
        for instrument in self.instruments:
            with self._kept_away(instrument):
                around = instrument.load(keyspace, keys)
                around.__enter__()
                entered.append((instrument, around))
        error: BaseException | None = None
        try:
            yield
        except BaseException as raised:
            error = raised
            raise
        finally:
            for instrument, around in reversed(entered):
                with self._kept_away(instrument, error):
                    if error is None:
                        around.__exit__(None, None, None)
                    else:
                        around.__exit__(type(error), error, error.__traceback__)

    @contextmanager
    def _kept_away(self, one: object, expected: BaseException | None = None) -> Iterator[None]:
        """Whatever is raised in this block is the hook's fault, but for what the loader raised itself."""
        try:
            yield
        except (Exception, asyncio.CancelledError) as error:
            if error is expected:
                return
            self.failures += 1
            if id(one) not in self._logged:
                self._logged.add(id(one))
                log.exception("a hook failed, which is told once: %r", one)


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
