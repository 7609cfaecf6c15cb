"""`/metrics`: a room's counters in Prometheus' format, of all workers in one scrape.

Each worker writes what it has counted to a file of its own: once a second, when it ends, and before it answers a
scrape. Whichever worker is scraped adds its own live numbers to the files of the others, so a scrape is at most a
second behind, and the counts of a worker that has died stay in the sum: the main process folds what such have left
into one file. Writing before the answer keeps the sum from falling:

    worker A is scraped and answers with requests not yet in its file · worker B is scraped and adds up the old file ·
    the sum has fallen, and Prometheus takes that for a restart and counts everything a second time
"""

from __future__ import annotations

import asyncio
import logging
import os
import uuid
from collections import defaultdict
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import TypeVar

import msgspec
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from greenroom.counters import BUCKETS, Counters, Histogram
from greenroom.integrations import prometheus
from greenroom_platform.http.problems import KINDS

log = logging.getLogger("greenroom.http")

SHARE_INTERVAL = 1.0
"""Seconds between two writes of a worker's numbers."""
_CLOSE_CODES = frozenset({1000, 1001, 1005, 1006, 1009, 1011, 1012, 1013, 4401, 4404})
"""What our sockets close with, what the server closes with, and what remains where nobody closed."""
_OTHER_CODE = "other"
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_OTHER_METHOD = "OTHER"
UNMATCHED = "unmatched"
"""The route of what no route answers."""
FAILURES = sorted({status for status, *_ in KINDS.values() if status >= HTTPStatus.INTERNAL_SERVER_ERROR})
"""The statuses of answers that are our fault, or our servers'."""


class _Bars(msgspec.Struct):
    counts: list[int]
    total: float

    def add(self, other: _Bars) -> None:
        self.counts = [mine + theirs for mine, theirs in zip(self.counts, other.counts, strict=True)]
        self.total += other.total


class Numbers(msgspec.Struct):
    """Everything one worker has counted: per metric, labels to a number."""

    counts: dict[str, list[tuple[list[str], int]]]
    histograms: dict[str, list[tuple[list[str], _Bars]]]


class Totals(msgspec.Struct, frozen=True):
    """What is counted of caches, sessions and servers, of all workers together.

    Arguments:
        reads, errors, events: by keyspace and outcome, kind or event.
        sessions: by event.
        loads: by keyspace, how long its loader took: a count for each bucket.
        commands: by server, likewise.
    """

    reads: dict[tuple[str, str], int]
    errors: dict[tuple[str, str], int]
    events: dict[tuple[str, str], int]
    sessions: dict[str, int]
    loads: dict[str, list[int]]
    commands: dict[str, list[int]]

    def minus(self, before: Totals) -> Totals:
        """What was counted since."""
        return Totals(
            _less(self.reads, before.reads),
            _less(self.errors, before.errors),
            _less(self.events, before.events),
            _less(self.sessions, before.sessions),
            _fewer(self.loads, before.loads),
            _fewer(self.commands, before.commands),
        )


K = TypeVar("K")


def _less(after: Mapping[K, int], before: Mapping[K, int]) -> dict[K, int]:
    return {key: max(0, number - before.get(key, 0)) for key, number in after.items()}


def _fewer(after: Mapping[str, list[int]], before: Mapping[str, list[int]]) -> dict[str, list[int]]:
    none = [0] * (len(BUCKETS) + 1)
    return {
        key: [max(0, now - then) for now, then in zip(counts, before.get(key, none), strict=True)]
        for key, counts in after.items()
    }


class _Ended(msgspec.Struct):
    """What workers that have ended had counted, and the files whose numbers are in it and may still be there."""

    numbers: Numbers
    folded: list[str]


_ENDED = "ended"
"""The name of its file."""

_COUNTS = {
    **{name: (family.help, family.labels) for name, family in prometheus.COUNTS.items()},
    "greenroom_foreign_changes": ("Changes of the record made outside, and how their watcher fares.", ["event"]),
    "greenroom_record_broken_documents": ("Documents left out of lists, since they do not fit their type.", ["kind"]),
    "greenroom_http_requests": ("Requests answered.", ["method", "route", "status"]),
    "greenroom_websockets": ("WebSockets that have ended, by the code that closed them.", ["route", "code"]),
    "greenroom_websocket_sent_bytes": ("Bytes of the messages sent over WebSockets that have ended.", ["route"]),
}
_HISTOGRAMS = {
    **{name: (family.help, family.labels) for name, family in prometheus.HISTOGRAMS.items()},
    "greenroom_foreign_change_lag_seconds": ("From a change of the record made outside to its drop.", []),
    "greenroom_http_request_seconds": ("Time of a request.", ["route"]),
}


class Metrics:
    """The numbers of this process and its siblings.

    Arguments:
        counters: what the room counts.
        shared: the directory that all workers of one service write to; None for a single worker.
    """

    def __init__(self, counters: Counters, shared: Path | None = None) -> None:
        self._counters = counters
        # Not named after the process alone: a successor may get its number, and must not replace its counts.
        # docs/decisions/0048-worker-metrics-use-files.md
        self._file = shared / f"{os.getpid()}-{uuid.uuid4().hex}.json" if shared is not None else None
        self._requests: defaultdict[tuple[str, str, str], int] = defaultdict(int)
        self._request_seconds: defaultdict[str, Histogram] = defaultdict(Histogram)
        self._sockets: defaultdict[tuple[str, str], int] = defaultdict(int)
        self._socket_bytes: defaultdict[tuple[str], int] = defaultdict(int)
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)
        self.begin(UNMATCHED, (*_METHODS, _OTHER_METHOD))
        self._rename: Callable[[str], str] | None = None
        self.gauges: dict[str, tuple[str, float]] = {}
        """Name → (help, value) of what is a state and not a count; set by whoever knows it."""

    def begin(self, route: str, methods: Iterable[str]) -> None:
        """Let every failure of a route stand at 0: a rule that looks at an increase does not see a first one from
        nothing.

        Arguments:
            methods: those that it answers.
        """
        for method in methods:
            for status in FAILURES:
                self._requests[method, route, str(status)] += 0

    def begin_socket(self, route: str) -> None:
        """As `begin`, of a WebSocket: refused handshakes too."""
        self.begin(route, ["GET"])
        for code in (*map(str, _CLOSE_CODES), _OTHER_CODE):
            self._sockets[route, code] += 0
        self._socket_bytes[route,] += 0

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one answered request; a method nobody knows counts as OTHER, so that labels keep a bound."""
        self._requests[method if method in _METHODS else _OTHER_METHOD, route, str(status)] += 1
        self._request_seconds[route].add(seconds)

    def socket(self, route: str, code: int, sent: int) -> None:
        """Count a WebSocket that has ended; a code that only a client would send counts as `other`."""
        self._sockets[route, str(code) if code in _CLOSE_CODES else _OTHER_CODE] += 1
        self._socket_bytes[route,] += sent

    def exposition(self, rename: Callable[[str], str] | None = None) -> bytes:
        """The page that Prometheus reads.

        Arguments:
            rename: gives a server another name than its address; for who must not know that.
        """
        self.share()
        self._rename = rename
        return generate_latest(self._registry)

    def totals(self) -> Totals:
        """The sums over all workers, of what the control room shows."""
        everyone = [self._mine(), *self._others()]

        def pairs(name: str) -> dict[tuple[str, str], int]:
            return {(key[0], key[1]): number for key, number in _sum_counts(name, everyone).items()}

        def bars(name: str) -> dict[str, list[int]]:
            return {key[0]: one.counts for key, one in _sum_bars(name, everyone).items()}

        return Totals(
            pairs("greenroom_cache_reads"),
            pairs("greenroom_cache_errors"),
            pairs("greenroom_cache_events"),
            {key[0]: number for key, number in _sum_counts("greenroom_session_events", everyone).items()},
            bars("greenroom_cache_load_seconds"),
            bars("greenroom_engine_command_seconds"),
        )

    def collect(self) -> Iterator[Metric]:
        """What `prometheus_client` asks of a collector."""
        everyone = [self._mine(), *self._others()]
        for name, (text, labels) in _COUNTS.items():
            count = CounterMetricFamily(name, text, labels=labels)
            for key, value in _sum_counts(name, everyone).items():
                count.add_metric(self._named(labels, key), value)
            yield count
        for name, (text, labels) in _HISTOGRAMS.items():
            histogram = HistogramMetricFamily(name, text, labels=labels)
            for key, bars in _sum_bars(name, everyone).items():
                histogram.add_metric(self._named(labels, key), list(prometheus.cumulated(bars.counts)), bars.total)
            yield histogram
        for name, (text, number) in self.gauges.items():
            yield GaugeMetricFamily(name, text, value=number)

    def _named(self, labels: Sequence[str], key: Sequence[str]) -> list[str]:
        rename = self._rename
        if rename is None:
            return list(key)
        return [rename(value) if label == prometheus.NODE else value for label, value in zip(labels, key, strict=True)]

    def share(self) -> None:
        """Write this process's numbers for its siblings; a reader sees the old file or the new one, whole."""
        if self._file is None:
            return
        part = self._file.with_suffix(".part")
        try:
            part.write_bytes(msgspec.json.encode(self._mine()))
            part.replace(self._file)
        except OSError as error:
            log.warning("the numbers for /metrics could not be shared: %s", error)

    async def keep_sharing(self) -> None:
        """Share once a second, for ever."""
        while True:
            await asyncio.sleep(SHARE_INTERVAL)
            self.share()

    def _mine(self) -> Numbers:
        counters = self._counters
        counts = {
            **{name: family.numbers(counters) for name, family in prometheus.COUNTS.items()},
            "greenroom_foreign_changes": counters.foreign_changes,
            "greenroom_record_broken_documents": counters.broken_documents,
            "greenroom_http_requests": self._requests,
            "greenroom_websockets": self._sockets,
            "greenroom_websocket_sent_bytes": self._socket_bytes,
        }
        return Numbers(
            counts={name: [(list(key), value) for key, value in numbers.items()] for name, numbers in counts.items()},
            histograms={
                **{name: _bars(family.numbers(counters)) for name, family in prometheus.HISTOGRAMS.items()},
                "greenroom_foreign_change_lag_seconds": [([], _bar(counters.foreign_lag))],
                "greenroom_http_request_seconds": _bars(self._request_seconds),
            },
        )

    def _others(self) -> list[Numbers]:
        if self._file is None:
            return []
        directory = self._file.parent
        while True:
            ended = _ended(directory)
            folded = [self._file.name, *(ended.folded if ended is not None else ())]
            try:
                snapshots = [_read(path) for path in directory.glob("*.json") if path.name not in folded]
            except FileNotFoundError:
                continue  # it has just been folded
            # Prevents: we look for what has ended · it is folded and its file deleted · we miss it, and the sum falls.
            if _ended(directory) == ended:
                return snapshots if ended is None else [*snapshots, ended.numbers]


def fold(directory: Path, alive: Container[int | None]) -> None:
    """Put what ended workers have left into one file: a service whose workers die often must not read ever more.

    Arguments:
        directory: where the workers share their numbers.
        alive: the process numbers of those that may still write.
    """
    try:
        gone = [path for path in directory.glob("*.json") if int(path.name.partition("-")[0]) not in alive]
        ended = _ended(directory)
        new = [path for path in gone if ended is None or path.name not in ended.folded]
        if new:
            everyone = [*map(_read, new), *([ended.numbers] if ended is not None else [])]
            part = directory / f"{_ENDED}.part"
            part.write_bytes(msgspec.json.encode(_Ended(_summed(everyone), [path.name for path in gone])))
            part.replace(directory / _ENDED)
        for path in gone:
            path.with_suffix(".part").unlink(missing_ok=True)
            path.unlink()
    except OSError as error:
        log.warning("the numbers of ended workers could not be put together: %s", error)


def _ended(directory: Path) -> _Ended | None:
    try:
        return msgspec.json.decode((directory / _ENDED).read_bytes(), type=_Ended)
    except FileNotFoundError:
        return None


def _read(path: Path) -> Numbers:
    return msgspec.json.decode(path.read_bytes(), type=Numbers)


def _summed(everyone: list[Numbers]) -> Numbers:
    return Numbers(
        counts={name: [(list(key), n) for key, n in _sum_counts(name, everyone).items()] for name in _COUNTS},
        histograms={
            name: [(list(key), bars) for key, bars in _sum_bars(name, everyone).items()] for name in _HISTOGRAMS
        },
    )


def _bars(histograms: Mapping[str, Histogram]) -> list[tuple[list[str], _Bars]]:
    return [([label], _bar(one)) for label, one in histograms.items()]


def _bar(histogram: Histogram) -> _Bars:
    return _Bars(list(histogram.counts), histogram.total)


def _sum_counts(name: str, everyone: Iterable[Numbers]) -> dict[tuple[str, ...], int]:
    total: defaultdict[tuple[str, ...], int] = defaultdict(int)
    for numbers in everyone:
        for key, value in numbers.counts[name]:
            total[tuple(key)] += value
    return total


def _sum_bars(name: str, everyone: Iterable[Numbers]) -> dict[tuple[str, ...], _Bars]:
    total: dict[tuple[str, ...], _Bars] = {}
    for numbers in everyone:
        for key, bars in numbers.histograms[name]:
            total.setdefault(tuple(key), _Bars([0] * (len(BUCKETS) + 1), 0.0)).add(bars)
    return total
