"""`/metrics`: a room's counters in Prometheus' format, of all workers in one scrape.

Whichever worker is scraped adds its own live numbers to those that the others have written to files (`worker_counts`),
so a scrape is at most a second behind.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from http import HTTPStatus
from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from greenroom.counters import Counters, Histogram
from greenroom.integrations import prometheus
from greenroom_platform.http.problems import KINDS
from greenroom_platform.http.totals import Totals
from greenroom_platform.http.worker_counts import Bars, Numbers, WorkerFile, sum_bars, sum_counts

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


_COUNTS = {
    **{name: (family.help, family.labels) for name, family in prometheus.COUNTS.items()},
    "greenroom_foreign_changes": ("Changes of the record by other programs, and events of their watcher.", ["event"]),
    "greenroom_record_broken_documents": ("Documents left out of lists because they do not fit their type.", ["kind"]),
    "greenroom_http_requests": ("Requests answered.", ["method", "route", "status"]),
    "greenroom_websockets": ("Ended WebSockets, by close code.", ["route", "code"]),
    "greenroom_websocket_sent_bytes": ("Bytes of the messages sent over ended WebSockets.", ["route"]),
}
_HISTOGRAMS = {
    **{name: (family.help, family.labels) for name, family in prometheus.HISTOGRAMS.items()},
    "greenroom_foreign_change_lag_seconds": ("Time from a change by another program to its drop.", []),
    "greenroom_http_request_seconds": ("Duration of a request.", ["route"]),
}


class Metrics:
    """The numbers of this process and its siblings.

    Arguments:
        counters: what the room counts.
        shared: the directory that all workers of one service write to; None for a single worker.
    """

    def __init__(self, counters: Counters, shared: Path | None = None) -> None:
        self._counters = counters
        self._file = WorkerFile(shared)
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
        everyone = [self._mine(), *self._file.others()]

        def pairs(name: str) -> dict[tuple[str, str], int]:
            return {(key[0], key[1]): number for key, number in sum_counts(name, everyone).items()}

        def bars(name: str) -> dict[str, list[int]]:
            return {key[0]: one.counts for key, one in sum_bars(name, everyone).items()}

        return Totals(
            pairs("greenroom_cache_reads"),
            pairs("greenroom_cache_errors"),
            pairs("greenroom_cache_events"),
            {key[0]: number for key, number in sum_counts("greenroom_session_events", everyone).items()},
            bars("greenroom_cache_load_seconds"),
            bars("greenroom_engine_command_seconds"),
        )

    def collect(self) -> Iterator[Metric]:
        """What `prometheus_client` asks of a collector."""
        everyone = [self._mine(), *self._file.others()]
        for name, (text, labels) in _COUNTS.items():
            count = CounterMetricFamily(name, text, labels=labels)
            for key, value in sum_counts(name, everyone).items():
                count.add_metric(self._named(labels, key), value)
            yield count
        for name, (text, labels) in _HISTOGRAMS.items():
            histogram = HistogramMetricFamily(name, text, labels=labels)
            for key, bars in sum_bars(name, everyone).items():
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
        """Write this process's numbers for its siblings."""
        self._file.write(self._mine())

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


def _bars(histograms: Mapping[str, Histogram]) -> list[tuple[list[str], Bars]]:
    return [([label], _bar(one)) for label, one in histograms.items()]


def _bar(histogram: Histogram) -> Bars:
    return Bars(list(histogram.counts), histogram.total)
