"""`bench.simulate`, run small: what it says of sizes that are known, and the same for the same seed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bench import simulate
from bench.simulate import Scene

SMALL = Scene(processes=20, keys=100, seed=7)


def test_the_same_seed_gives_the_same_report() -> None:
    assert simulate.report(SMALL) == simulate.report(SMALL)
    assert simulate.report(SMALL) != simulate.report(replace(SMALL, seed=8))


@pytest.mark.parametrize("processes", [1, 2, 20, 200])
def test_a_cold_key_is_loaded_once_and_everybody_asks_again_when_told(processes: int) -> None:
    scene = replace(SMALL, processes=processes)
    cold = simulate.cold_key(scene, load=0.1)
    # One question each, the leader's fill, and one more question of each who waited.
    assert (cold.loads, cold.commands) == (1, 2 * processes)
    # A load of 1 s is renewed three times, and each renewal wakes all who wait.
    assert simulate.cold_key(scene, load=1.0).commands == 2 * processes + 3 * processes


def test_a_drop_reaches_all_and_who_is_cut_off_goes_by_age() -> None:
    found = simulate.drop(SMALL)
    assert len(found.times) == SMALL.processes
    assert list(found.times) == sorted(found.times)
    assert found.times[0] >= SMALL.costs.wire
    alone = simulate.drop(SMALL, lost=1.0)
    limits = SMALL.limits
    assert limits.max_staleness - limits.ping_after <= alone.times[0] <= alone.times[-1] <= limits.max_staleness


def test_a_primary_bears_in_proportion_to_those_who_hold_the_key() -> None:
    few, many = simulate.steady(SMALL, 10), simulate.steady(replace(SMALL, processes=40), 10)
    assert many.pushes == pytest.approx(2 * few.pushes)
    assert simulate.steady(SMALL, simulate.most_changes(SMALL)).busy == pytest.approx(0.7)


def test_after_a_failover_everybody_is_back_and_the_pause_spares_questions() -> None:
    paused, hasty = simulate.failover(SMALL), simulate.failover(SMALL, pause=False)
    assert paused.questions < hasty.questions / 5
    assert paused.peak < hasty.peak
    assert 0 < paused.healed < SMALL.limits.probe_max + SMALL.limits.topology_pause + 0.1


def test_the_picture_is_drawn_and_the_same_each_time(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed; make test installs it")
    from bench.simulate_picture import draw

    for name in ("one.svg", "two.svg"):
        draw(replace(SMALL, processes=4, keys=20), tmp_path / name)
    data = (tmp_path / "one.svg").read_text()
    assert data == (tmp_path / "two.svg").read_text()
    assert "A failover" in data or "<svg" in data
