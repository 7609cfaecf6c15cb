"""When a worker that has ended is replaced: at once after a life, later and later after none, and in few lines."""

from __future__ import annotations

import logging
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import pytest
import uvicorn
from uvicorn.supervisors import multiprocess

from greenroom_platform.cli.restart_backoff import STEADY, RestartBackoff


def replaced(place: RestartBackoff, now: float, lives: float) -> tuple[float, bool]:
    """How long the place of a new worker that lives so long stays empty, and whether it is said."""
    place.held(object(), now)
    ended = now + lives
    empty = 0.0
    while not place.due(ended + empty):
        empty += 0.25
    return empty, place.worth_a_line(ended + empty)


def test_a_worker_that_dies_at_its_start_is_replaced_after_growing_pauses() -> None:
    place, now, found = RestartBackoff(), 1000.0, []
    for lives in (STEADY, 0, 0, 0, 0, 0, 0, STEADY, 0, 0):
        empty, _ = replaced(place, now, lives)
        now += lives + empty
        found.append(empty)
    assert found == [0, 0.5, 1, 2, 4, 5, 5, 0, 0.5, 1]


def test_a_loop_of_deaths_is_a_line_a_minute() -> None:
    place, now, lines = RestartBackoff(), 1000.0, 0
    while now < 1000.0 + 3600:
        empty, said = replaced(place, now, 0)
        now += empty
        lines += said
    assert 60 <= lines <= 65


def test_the_first_death_after_a_life_is_said() -> None:
    place, now = RestartBackoff(), 1000.0
    for _ in range(10):
        now += replaced(place, now, 0)[0]
    assert replaced(place, now, STEADY)[1]


def test_workers_that_all_die_at_their_start_are_few_a_minute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    now, started = [0.0], [0]

    class Dead:
        pid, exitcode = 1, -11
        process = SimpleNamespace(is_alive=lambda: False)

        def __init__(self, *_: object) -> None:
            pass

        def start(self) -> None:
            started[0] += 1

    module = import_module("greenroom_platform.cli.serve")  # the package has a command of this name
    monkeypatch.setattr(multiprocess, "SIGNALS", {})
    monkeypatch.setattr(module, "Process", Dead)
    monkeypatch.setattr(module, "monotonic", lambda: now[0])
    caplog.set_level(logging.WARNING)
    workers = module._Workers(uvicorn.Config("none", workers=1, log_config=None), [], tmp_path)
    workers.processes = [Dead()]
    while now[0] < 60:
        workers.keep_subprocess_alive()
        now[0] += 0.5
    assert 10 <= started[0] <= 16
    assert 4 <= caplog.text.count("is replaced") <= 7
