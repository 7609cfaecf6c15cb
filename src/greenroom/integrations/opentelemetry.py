"""Traces and metrics of a room by OpenTelemetry: `end = instrument(room)`. Extra `opentelemetry`, the API alone.

A span for each call of a loader and for each batch that the engine sends, none for a value that is near: a span costs
more than such a read. Both are roots, since many callers share a load, and a batch; the spans that a loader makes are
children of its load's. Names and attributes of batches are those of the semantic conventions for Redis clients.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import greenroom
from greenroom.counters import Counters
from greenroom.extras import needs_extra
from greenroom.observe import EngineBatch, Event, LoadEnded

with needs_extra("opentelemetry", "tracing by OpenTelemetry"):
    from opentelemetry import metrics, trace
    from opentelemetry.context import Context
    from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation
    from opentelemetry.trace import SpanKind, Status, StatusCode, TracerProvider

_KEPT_UP = frozenset({"PING", "HELLO"})
"""What a connection sends by itself, several times a second: no span, no measurement."""
_SYSTEM = "redis"
"""What the conventions call the protocol, whoever made the server."""
_BUCKETS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10)
"""Seconds, as the conventions advise for `db.client.operation.duration`."""
_NUMBERS: tuple[tuple[str, str, Sequence[str], Callable[[Counters], Mapping[Any, int]]], ...] = (
    (
        "greenroom.cache.reads",
        "Reads, by outcome.",
        ("greenroom.keyspace", "greenroom.outcome"),
        lambda counters: counters.reads,
    ),
    (
        "greenroom.cache.errors",
        "Errors in caches, by kind.",
        ("greenroom.keyspace", "error.type"),
        lambda counters: counters.errors,
    ),
    (
        "greenroom.cache.events",
        "Background refreshes, waits for a lease, refused fills.",
        ("greenroom.keyspace", "greenroom.event"),
        lambda counters: counters.cache_events,
    ),
    (
        "greenroom.engine.events",
        "Connections made and lost, pushes, flushes.",
        ("greenroom.node", "greenroom.event"),
        lambda counters: counters.engine_events,
    ),
    (
        "greenroom.session.events",
        "Sessions started, rotated, ended; tokens refused; foreign pages.",
        ("greenroom.event",),
        lambda counters: counters.sessions,
    ),
)


class Counted(Protocol):
    """A room of `greenroom` or of `greenroom.sync`."""

    @property
    def counters(self) -> Counters:
        """Where everything is counted."""


def instrument(
    room: Counted,
    *,
    tracer_provider: TracerProvider | None = None,
    meter_provider: MeterProvider | None = None,
    batches: bool = True,
) -> Callable[[], None]:
    """Have a room traced and measured, before or while it is open; returns what ends that.

    Arguments:
        room: of `greenroom` or of `greenroom.sync`.
        tracer_provider: where spans go; by default the process's.
        meter_provider: where metrics go; by default the process's.
        batches: whether there are spans of batches. Their durations are measured all the same.

    Raises:
        MissingExtra: when this module is imported, where `opentelemetry` is not installed.
    """
    tracer = trace.get_tracer("greenroom", greenroom.__version__, tracer_provider)
    meter = metrics.get_meter("greenroom", greenroom.__version__, meter_provider)
    instrument = _RoomTracer(tracer, meter, room, batches=batches)
    events = room.counters.events
    events.instrument(instrument)
    events.add(instrument.told)

    def end() -> None:
        events.remove(instrument)
        events.remove(instrument.told)
        instrument.ended = True

    return end


class _RoomTracer:
    """The instrument of one room.

    Arguments:
        batches: whether there are spans of batches.
    """

    def __init__(self, tracer: trace.Tracer, meter: metrics.Meter, room: Counted, *, batches: bool) -> None:
        self._tracer = tracer
        self._spans = batches
        self.told = self._told
        """The hook, one object whenever it is asked for."""
        self.ended = False
        """Whether nothing is observed any more: an instrument of OpenTelemetry cannot be taken back."""
        self._operations = meter.create_histogram(
            "db.client.operation.duration",
            unit="s",
            description="Duration of database client operations.",
            explicit_bucket_boundaries_advisory=_BUCKETS,
        )
        self._loads = meter.create_histogram(
            "greenroom.cache.load.duration",
            unit="s",
            description="Duration of a load.",
            explicit_bucket_boundaries_advisory=_BUCKETS,
        )
        for name, description, labels, numbers in _NUMBERS:
            meter.create_observable_counter(
                name, [self._observing(labels, numbers, room)], unit="1", description=description
            )

    @contextmanager
    def load(self, keyspace: str, keys: Sequence[str]) -> Iterator[None]:
        """The span of a load, without the key and the text of an exception: both may name a person."""
        attributes: dict[str, Any] = {"greenroom.keyspace": keyspace, "greenroom.keys": len(keys)}
        with self._tracer.start_as_current_span(
            f"load {keyspace}",
            Context(),
            attributes=attributes,
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            try:
                yield
            except BaseException as error:
                span.set_attribute("error.type", type(error).__qualname__)
                span.set_status(Status(StatusCode.ERROR))
                raise

    def batch(self, batch: EngineBatch) -> None:
        """The span of a batch, made when it has ended."""
        if _KEPT_UP.issuperset(batch.commands):
            return
        attributes = _attributes(batch)
        self._operations.record(batch.seconds, attributes)
        if not self._spans:
            return
        if len(batch.commands) > 1:
            attributes["db.operation.batch.size"] = len(batch.commands)
        name = f"{attributes['db.operation.name']} {attributes['server.address']}"
        if "server.port" in attributes:
            name += f":{attributes['server.port']}"
        span = self._tracer.start_span(
            name, Context(), kind=SpanKind.CLIENT, attributes=attributes, start_time=batch.began
        )
        if batch.error is not None:
            span.set_status(Status(StatusCode.ERROR, batch.error))
        span.end(batch.began + int(batch.seconds * 1e9))

    def _told(self, event: Event) -> None:
        if isinstance(event, LoadEnded):
            attributes: dict[str, Any] = {"greenroom.keyspace": event.keyspace}
            if event.error is not None:
                attributes["error.type"] = type(event.error).__qualname__
            self._loads.record(event.seconds, attributes)

    def _observing(
        self,
        labels: Sequence[str],
        numbers: Callable[[Counters], Mapping[Any, int]],
        room: Counted,
    ) -> Callable[[CallbackOptions], Iterable[Observation]]:
        def observe(_: CallbackOptions) -> list[Observation]:
            if self.ended:
                return []
            # The room is asked each time: one of threads adds the near hits of each thread then. In the exporter's
            # thread: `list` of a dictionary's items is one step.
            counts = list(numbers(room.counters).items())
            return [Observation(number, dict(zip(labels, key, strict=True))) for key, number in counts]

        return observe


def _attributes(batch: EngineBatch) -> dict[str, Any]:
    """What the conventions ask for: several commands are a pipeline, named after its command where all are one."""
    names = set(batch.commands)
    if len(batch.commands) == 1:
        operation = batch.commands[0]
    else:
        operation = f"PIPELINE {batch.commands[0]}" if len(names) == 1 else "PIPELINE"
    attributes: dict[str, Any] = {
        "db.system.name": _SYSTEM,
        "db.operation.name": operation,
        "server.address": batch.host,
    }
    if batch.port is not None:
        attributes["server.port"] = batch.port
    if batch.error is not None:
        attributes["error.type"] = "connection_lost"
    return attributes
