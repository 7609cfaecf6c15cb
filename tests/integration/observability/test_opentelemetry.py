"""OpenTelemetry: a span for each load and each batch, none for a near hit; metrics by the conventions for Redis."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from greenroom import Greenroom, sync
from greenroom.errors import LoadTimeout
from greenroom.integrations.opentelemetry import instrument
from tests.support.episode_caches import EPISODE, Episode, Loads
from tests.support.patience import until
from tests.support.real_servers import Server
from tests.support.sync_rooms import together

pytestmark = pytest.mark.one_kind


class Exported:
    """What an instrumented room has exported."""

    def __init__(self) -> None:
        self._spans = InMemorySpanExporter()
        self._reader = InMemoryMetricReader()
        self.tracing, self.metering = TracerProvider(), MeterProvider(metric_readers=[self._reader])
        self.tracing.add_span_processor(SimpleSpanProcessor(self._spans))

    def spans(self, kind: SpanKind) -> list[ReadableSpan]:
        return [span for span in self._spans.get_finished_spans() if span.kind is kind]

    @property
    def failed(self) -> list[ReadableSpan]:
        return [span for span in self.spans(SpanKind.CLIENT) if span.status.status_code is StatusCode.ERROR]

    def points(self, name: str) -> list[Any]:
        data = self._reader.get_metrics_data()
        if data is None:
            return []
        scopes = [scope for resource in data.resource_metrics for scope in resource.scope_metrics]
        metrics = [metric for scope in scopes for metric in scope.metrics if metric.name == name]
        return [point for metric in metrics for point in metric.data.data_points]


@pytest.fixture
def exported() -> Exported:
    return Exported()


async def test_a_load_and_its_batches_are_spans_and_near_hits_are_none(server: Server, exported: Exported) -> None:
    room = Greenroom(server.address)
    instrument(room, tracer_provider=exported.tracing, meter_provider=exported.metering)
    tracer = trace.get_tracer("the loader's own", tracer_provider=exported.tracing)

    @room.cached(EPISODE)
    async def episode(episode_id: str) -> Episode:
        with tracer.start_as_current_span("SELECT"):
            return Episode(episode_id)

    with tracer.start_as_current_span("of the start"):
        await room.__aenter__()
    try:
        await episode("e1")
        loads = {span.name: span for span in exported.spans(SpanKind.INTERNAL)}
        load = loads["load cache_episode"]
        assert load.parent is None, "neither of its caller's, nor of what opened the room"
        assert load.attributes is not None
        assert dict(load.attributes) == {"greenroom.keyspace": "cache_episode", "greenroom.keys": 1}
        assert load.context is not None
        assert loads["SELECT"].parent is not None
        assert loads["SELECT"].parent.span_id == load.context.span_id
        before = len(exported.spans(SpanKind.CLIENT)), len(loads)
        for _ in range(100):
            await episode("e1")
        assert (len(exported.spans(SpanKind.CLIENT)), len(exported.spans(SpanKind.INTERNAL))) == before
    finally:
        await room.close()


async def test_a_batch_is_named_as_the_conventions_say(server: Server, exported: Exported) -> None:
    async with Greenroom(server.address, sessions=False) as room:
        instrument(room, tracer_provider=exported.tracing, meter_provider=exported.metering)
        await room.cache(EPISODE, load=Loads()).get("e1")
        await room.health()  # asks by a PING, as a connection does itself
        spans = exported.spans(SpanKind.CLIENT)
        attributes = [dict(span.attributes or {}) for span in spans]
        for span, one in zip(spans, attributes, strict=True):
            assert one["db.system.name"] == "redis"
            assert (one["server.address"], one["server.port"]) == ("127.0.0.1", server.port)
            assert span.name == f"{one['db.operation.name']} 127.0.0.1:{server.port}"
            assert span.start_time is not None
            assert span.end_time is not None
            assert span.start_time <= span.end_time
        sizes: dict[Any, Any] = {one["db.operation.name"]: one.get("db.operation.batch.size") for one in attributes}
        assert sizes["PIPELINE"] >= 2, "the value's lifetime and the value"
        assert sizes["EVALSHA"] is None, "one command is no batch"
        assert not {"PING", "HELLO"} & set(sizes), "what a connection sends by itself is left out"


@pytest.mark.own_limits
async def test_a_batch_that_is_lost_with_its_connection_is_an_error(server: Server, exported: Exported) -> None:
    async with Greenroom(server.address, sessions=False) as room:
        instrument(room, tracer_provider=exported.tracing, meter_provider=exported.metering)
        with server.frozen():
            asked = room.cache(EPISODE, load=Loads()).get("e1")
            await asked  # the loader answers
        await until(lambda: exported.failed)
    failed = exported.failed
    assert all((span.attributes or {})["error.type"] == "connection_lost" for span in failed)


async def test_no_span_of_a_failed_load_holds_its_key(server: Server, exported: Exported) -> None:
    async def load(episode_id: str) -> Episode:
        if episode_id == "secret-slow":
            await asyncio.sleep(60)
        raise {"secret-barred": PermissionError}.get(episode_id, LookupError)(episode_id)

    async with Greenroom(server.address, sessions=False) as room:
        instrument(room, tracer_provider=exported.tracing, meter_provider=exported.metering)
        options: dict[str, Any] = {"passes": (PermissionError,), "loader_deadline": timedelta(milliseconds=50)}
        cache = room.cache(EPISODE, load=load, **options)
        for episode_id, error in (
            ("secret-slow", LoadTimeout),
            ("secret-lost", LookupError),
            ("secret-barred", PermissionError),
        ):
            with pytest.raises(error):
                await cache.get(episode_id)
    spans = exported.spans(SpanKind.INTERNAL)
    ends = [(span.status.status_code, (span.attributes or {}).get("error.type")) for span in spans]
    failed, passed = StatusCode.ERROR, (StatusCode.UNSET, None)
    assert ends == [(failed, "LoadTimeout"), (failed, "LookupError"), passed]
    assert "secret" not in "".join(span.to_json() for span in (*spans, *exported.spans(SpanKind.CLIENT)))


async def test_metrics_stand_beside_those_of_the_conventions(server: Server, exported: Exported) -> None:
    load = Loads()
    async with Greenroom(server.address) as room:
        end = instrument(room, tracer_provider=exported.tracing, meter_provider=exported.metering, batches=False)
        episodes = room.cache(EPISODE, load=load)
        await episodes.get("e1")
        await episodes.get("e1")
        load.error = LookupError("none")
        with pytest.raises(LookupError):
            await episodes.get("e2")
        points = exported.points("greenroom.cache.reads")
        reads = {point.attributes["greenroom.outcome"]: point.value for point in points}
        assert reads == {"near": 1, "loaded": 1, "hit": 0, "stale": 0, "shared": 0, "bypassed": 0}
        loads = exported.points("greenroom.cache.load.duration")
        assert [(point.attributes.get("error.type"), point.count) for point in loads] == [(None, 1), ("LookupError", 1)]
        operations = exported.points("db.client.operation.duration")
        assert {point.attributes["db.operation.name"] for point in operations} >= {"PIPELINE", "EVALSHA"}
        assert exported.spans(SpanKind.CLIENT) == []
        end()
        count = len(exported.spans(SpanKind.INTERNAL))
        load.error = None
        await episodes.get("e3")
        assert len(exported.spans(SpanKind.INTERNAL)) == count
        assert room.counters.events.failures == 0


def test_near_hits_of_threads_are_measured_too(server: Server, exported: Exported) -> None:
    with sync.Greenroom(server.address) as room:
        instrument(room, tracer_provider=exported.tracing, meter_provider=exported.metering)
        episodes = room.cache(EPISODE, load=Episode)

        def reads() -> dict[str, int]:
            points = exported.points("greenroom.cache.reads")
            return {point.attributes["greenroom.outcome"]: point.value for point in points}

        episodes.get("e1")
        together([partial(episodes.get, "e1")] * 3)
        assert (reads()["loaded"], reads()["near"]) == (1, 3)
        episodes.get("e1")
        assert reads()["near"] == 4
