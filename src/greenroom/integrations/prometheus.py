"""A room's counters in Prometheus' format: `REGISTRY.register(collector(room))`. Extra `prometheus`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from greenroom.client import Greenroom
from greenroom.counters import BUCKETS, Counters
from greenroom.errors import RoomClosed, RoomElsewhere
from greenroom.extras import needs_extra

with needs_extra("prometheus", "a collector for Prometheus"):
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
    from prometheus_client.registry import Collector


class CounterFamily(NamedTuple):
    """One metric of a room: its help, its labels, and its numbers by the values of these labels."""

    help: str
    labels: list[str]
    numbers: Callable[[Counters], Mapping[Any, Any]]


NODE = "node"
"""The label with a server's address."""
COUNTS = {
    "greenroom_cache_reads": CounterFamily(
        "Reads, by outcome.", ["keyspace", "outcome"], lambda counters: counters.reads
    ),
    "greenroom_cache_errors": CounterFamily(
        "Errors in caches, by kind.", ["keyspace", "kind"], lambda counters: counters.errors
    ),
    "greenroom_cache_events": CounterFamily(
        "Background refreshes, waits for a lease, refused fills.",
        ["keyspace", "event"],
        lambda counters: counters.cache_events,
    ),
    "greenroom_engine_events": CounterFamily(
        "Connections made and lost, pushes, flushes.", [NODE, "event"], lambda counters: counters.engine_events
    ),
    "greenroom_session_events": CounterFamily(
        "Sessions started, rotated, ended; tokens refused; foreign pages.",
        ["event"],
        lambda counters: counters.sessions,
    ),
    "greenroom_hook_failures": CounterFamily(
        "Exceptions of `on_event` hooks and of instruments.", [], lambda counters: {(): counters.events.failures}
    ),
}
"""What is counted, by the metric's name."""
HISTOGRAMS = {
    "greenroom_cache_load_seconds": CounterFamily("Duration of a load.", ["keyspace"], lambda counters: counters.loads),
    "greenroom_engine_command_seconds": CounterFamily(
        "Time from a write to the server to its last reply.", [NODE], lambda counters: counters.commands
    ),
}
"""What is timed, by the metric's name."""


def collector(room: Greenroom) -> Collector:
    """What a registry of `prometheus_client` takes: everything that a room counts, with the names and labels of
    docs/operating-a-room.md.

    A registry takes one: rooms that shall be told apart have a registry each. It may be asked from any thread, and
    before the room is open.

    Arguments:
        room: its counters are read when the registry is asked, never copied.

    Raises:
        MissingExtra: when this module is imported, where `prometheus_client` is not installed.
    """
    return RoomCollector(room)


class RoomCollector(Collector):
    """Made by `collector`."""

    def __init__(self, room: Greenroom) -> None:
        self._room = room

    def collect(self) -> Iterator[Metric]:
        """What `prometheus_client` asks for."""
        counters = self._room.counters
        for name, family in COUNTS.items():
            # `list` of a dictionary's items is one step: the event loop's thread may count meanwhile.
            count = CounterMetricFamily(name, family.help, labels=family.labels)
            for labels, number in list(family.numbers(counters).items()):
                count.add_metric(labels, number)
            yield count
        for name, family in HISTOGRAMS.items():
            histogram = HistogramMetricFamily(name, family.help, labels=family.labels)
            for label, one in list(family.numbers(counters).items()):
                histogram.add_metric([label], list(cumulated(one.counts)), one.total)
            yield histogram
        yield from self._gauges()

    def describe(self) -> Iterator[Metric]:
        """The names alone, so that a second collector is refused."""
        for name, family in COUNTS.items():
            yield CounterMetricFamily(name, family.help, labels=family.labels)
        for name, family in HISTOGRAMS.items():
            yield HistogramMetricFamily(name, family.help, labels=family.labels)

    def _gauges(self) -> Iterator[Metric]:
        """What is a state and not a count, while the room is open here."""
        try:
            state = self._room.state()
        except (RoomClosed, RoomElsewhere):
            return  # also in a child that was forked while it is open: what was counted is shown, as ever
        yield GaugeMetricFamily("greenroom_near_entries", "Values in the near cache.", value=state.near_entries)
        yield GaugeMetricFamily("greenroom_near_bytes", "Bytes that they are taken to need.", value=state.near_bytes)
        yield GaugeMetricFamily(
            "greenroom_unsent_drops", "Invalidations that no server has acknowledged yet.", value=state.unsent_drops
        )
        up = GaugeMetricFamily("greenroom_server_up", "1 while a server can be used.", labels=["uses"])
        for uses, is_up in state.servers.items():
            up.add_metric([uses], float(is_up))
        yield up


def cumulated(counts: Iterable[int]) -> Iterator[tuple[str, float]]:
    """The buckets of a histogram as Prometheus has them: each with all below it."""
    below = 0
    for bound, count in zip((*BUCKETS, float("inf")), counts, strict=True):
        below += count
        yield ("+Inf" if bound == float("inf") else str(bound), below)
