"""What the control room makes of counts: rates, charts, quantiles, and since when something is ill."""

from __future__ import annotations

import asyncio
import json
import os
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from greenroom.counters import BUCKETS
from greenroom.findings import error, warning
from greenroom_platform.domain.action_log import OutboxState, QueuePause
from greenroom_platform.http.control.history import STEP, Ring, quantile_ms
from greenroom_platform.http.control.lookup import differences
from greenroom_platform.http.control.processes import Load, Processes, ProcessView
from greenroom_platform.http.control.trouble import Since, findings
from greenroom_platform.http.totals import Totals

NOON = datetime(2026, 11, 29, 12, tzinfo=UTC)


def totals(near: int, loaded: int = 0) -> Totals:
    reads = {("topic", "near"): near, ("topic", "loaded"): loaded, ("snippet", "hit"): near}
    bars = [0] * (len(BUCKETS) + 1)
    bars[3] = loaded
    return Totals(reads, {}, {}, {"started": near}, {"topic": bars}, {})


# Rates and charts -----------------------------------------------------------------------------------


def test_rates_are_of_the_time_that_was_asked_for() -> None:
    ring = Ring()
    for number in range(100):
        ring.add(number * STEP, totals(near=number * 10, loaded=number))
    at = 99 * STEP + 2
    elapsed, counted = ring.since(60, at, totals(near=1000, loaded=100))
    assert 60 <= elapsed <= 60 + STEP
    flow = ring.flow("topic", elapsed, counted)
    assert flow.near == pytest.approx(2, rel=0.1)
    assert flow.record == pytest.approx(0.2, rel=0.1)
    assert flow.reads == pytest.approx(flow.near + flow.record, abs=0.01)
    assert flow.spared == pytest.approx(10 / 11)
    whole = ring.flow(None, elapsed, counted)
    assert whole.valkey == pytest.approx(2, rel=0.1)
    assert ring.flow("other", elapsed, counted).spared is None


def test_a_worker_s_counts_that_begin_anew_are_no_negative_rate() -> None:
    ring = Ring()
    ring.add(0, totals(near=100))
    _, counted = ring.since(60, 5, totals(near=3))
    assert counted.reads["topic", "near"] == 0


def test_points_of_a_chart_do_not_move_while_samples_are_added() -> None:
    ring = Ring()
    for number in range(60):
        ring.add(number * STEP, totals(near=number))
    before = ring.history(["topic"])
    assert before.times[1] - before.times[0] == 3 * STEP
    for number in range(60, 63):
        ring.add(number * STEP, totals(near=number))
        after = ring.history(["topic"])
        assert after.times[: len(before.times)] == before.times
    assert len(after.times) == len(before.times) + 1
    for number in range(63, 500):
        ring.add(number * STEP, totals(near=number))
    assert after.times[-1] < ring.history([]).times[0], "what is older than fifteen minutes is forgotten"
    (keyspace,) = ring.history(["topic"]).keyspaces
    assert set(keyspace.outcomes["near"]) == {1 / STEP}
    assert set(keyspace.p99_ms) == {None}


def test_a_clock_that_is_set_back_leaves_no_sample_of_the_future() -> None:
    ring = Ring()
    for at in (0, 5, 10, 3):
        ring.add(at, totals(near=at))
    assert ring.history([]).times == [3]


def test_quantiles_lie_within_their_bucket() -> None:
    bars = [0] * (len(BUCKETS) + 1)
    assert quantile_ms(bars, 0.5) is None
    bars[4] = 100
    assert quantile_ms(bars, 0.5) == pytest.approx(1.75)
    bars[-1] = 10_000
    assert quantile_ms(bars, 0.99) == BUCKETS[-1] * 1000


# What is ill ----------------------------------------------------------------------------------------


def test_a_trouble_is_known_since_it_was_noticed_first_until_it_is_over() -> None:
    since, ill, less = Since(), error("down", "a", "b", "c"), warning("full", "a", "b", "c")
    assert [one.since for one in since.note([less], NOON)] == [NOON]
    later = NOON + timedelta(minutes=1)
    both = since.note([less, ill], later)
    assert [(one.kind, one.since) for one in both] == [("down", later), ("full", NOON)]
    assert since.note([], later) == []
    assert since.note([less], later)[0].since == later


def kinds(
    *,
    outbox: OutboxState | None = None,
    pause: QueuePause | None = None,
    waiting: int = 0,
    oldest: float = 0,
    workers: int | None = 1,
    **health: str,
) -> list[str]:
    well = {"status": "ok", "engine": "ok", "database": "ok"} | health
    found = findings(well, [], outbox=outbox, pause=pause, waiting=waiting, oldest=oldest, workers=workers, now=NOON)
    return [one.kind for one in found]


def test_what_is_ill_is_told_and_what_is_usual_is_not() -> None:
    assert kinds() == []
    assert kinds(status="degraded", engine="it does not answer") == ["without_engine"]
    assert kinds(status="unavailable", database="no answer") == ["unavailable"]
    assert kinds(status="draining") == ["draining"]
    assert kinds(outbox=OutboxState(pending=1, oldest=NOON - timedelta(seconds=2))) == []
    assert kinds(outbox=OutboxState(pending=1, oldest=NOON - timedelta(seconds=20))) == ["outbox"]
    assert kinds(waiting=3, oldest=200, workers=0) == ["no_worker"]
    assert kinds(waiting=3, oldest=20, workers=0) == []
    assert kinds(waiting=3, oldest=200, workers=None) == []
    pause = QueuePause(since=NOON, who="ana", why="the disk is full")
    assert kinds(waiting=3, oldest=200, workers=0, pause=pause) == ["paused"]


def test_two_values_differ_member_by_member() -> None:
    cached = {"a": 1, "b": {"c": "x"}, "d": [1, 2], "only": None, "same": [{"k": 1}]}
    recorded = {"a": 1.0, "b": {"c": "y"}, "d": [1], "more": "z" * 1000, "same": [{"k": 1}]}
    found = {one.member: (one.cached, one.recorded) for one in differences(cached, recorded)}
    assert found.pop("more")[1] == '"' + "z" * 299 + "…"
    assert found == {
        "a": ("1", "1.0"),
        "b.c": ('"x"', '"y"'),
        "d[1]": ("2", None),
        "only": ("null", None),
    }
    assert [one.member for one in differences(1, "1")] == ["the value"]
    assert len(differences(list(range(500)), [])) == 50


# Processes ------------------------------------------------------------------------------------------


def view(process: str) -> ProcessView:
    load = Load(process=process, keyspace="topic", key="k", seconds=1.0, waiting=2)
    return ProcessView(process=process, near_entries=1, near_bytes=2, unsent_drops=0, unsent_changes=0, loads=(load,))


async def test_a_load_of_a_sibling_is_seen_and_cancelled_and_the_dead_vanish(tmp_path: Path) -> None:
    cancelled: list[tuple[str, str, str]] = []

    def process(name: str) -> Processes:
        def cancel(keyspace: str, key: str) -> int:
            cancelled.append((name, keyspace, key))
            return 2

        return Processes(tmp_path, lambda: view(name), cancel)

    one, other = process("one"), process("other")
    running = [asyncio.create_task(each.run()) for each in (one, other)]
    await asyncio.sleep(0)
    assert [each.process for each in one.views()] == ["one", "other"]
    assert [each.process for each in other.views()] == ["other", "one"]
    assert one.cancel("topic", "k") == 2
    other._obey(tmp_path)
    one._obey(tmp_path)
    other._obey(tmp_path)
    assert cancelled == [("one", "topic", "k"), ("other", "topic", "k")], "once each"
    running[1].cancel()
    with suppress(asyncio.CancelledError):
        await running[1]
    assert [each.process for each in one.views()] == ["one"], "who ends takes away what it has written"
    # One that was killed leaves it behind.
    killed = tmp_path / f"{os.getpid()}-killed.view"
    written = json.loads(next(tmp_path.glob("*.view")).read_text())
    killed.write_text(json.dumps(written | {"at": written["at"] - 30}))
    assert [each.process for each in one.views()] == ["one"]
    running[0].cancel()
    await asyncio.wait(running)
