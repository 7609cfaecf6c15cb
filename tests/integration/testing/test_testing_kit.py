"""What `greenroom.testing` gives to users: run by a pytest of their own, in each mode that it says it works in."""

from __future__ import annotations

import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from greenroom import Greenroom, Outcome
from greenroom.clock import Clock
from greenroom.testing.clock import ManualClock
from tests.support.episode_caches import EPISODE, Loads
from tests.support.repository import ROOT

DOCS = ROOT / "docs" / "testing.md"

OURS = "cacheprovider", "valkey", "faker", "hypothesispytest", "schemathesis", "timeout", "xdist", "xdist.looponfail"
CONFTEST = """
import pytest

pytest_plugins = ["greenroom.testing.fixtures"]


@pytest.fixture
def anyio_backend():
    return "asyncio"
"""

SHORT = """
from datetime import timedelta

import pytest
from greenroom import Keyspace
from greenroom.testing.clock import START

seen = []

@pytest.mark.{mark}
@pytest.mark.parametrize("turn", [1, 2])
async def test_each_test_has_an_empty_room_and_its_clock(greenroom_room, greenroom_clock, greenroom_server, turn):
    assert greenroom_server.ask("DBSIZE") == 0 or greenroom_server.ask("KEYS", "turn:*") == []
    async def load(id):
        return turn

    cache = greenroom_room.cache(Keyspace("turn:{{id}}", int, ttl=timedelta(minutes=1)), load=load)
    assert await cache.get("a") == turn
    assert greenroom_room.clock is greenroom_clock
    assert greenroom_clock.now() == START
    assert greenroom_room not in seen
    seen.append(greenroom_room)
    assert greenroom_server.ask("DBSIZE") > 0
"""


def run(directory: Path, test: str, *options: str, conftest: str = CONFTEST) -> subprocess.CompletedProcess[str]:
    """A user's project with one test file, tested as the user would."""
    (directory / "conftest.py").write_text(conftest)
    (directory / "pytest.ini").write_text("[pytest]\n")
    (directory / "test_mine.py").write_text(test)
    quiet = "-W", "error", "-W", 'ignore:The configuration option "asyncio_default_fixture_loop_scope"'
    # The plugins that we test with are not the user's, and each run would import them.
    without = [word for name in OURS for word in ("-p", f"no:{name}")]
    command = [sys.executable, "-m", "pytest", *without, *quiet, *options]
    return subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=100)


def passed(result: subprocess.CompletedProcess[str], number: int) -> None:
    assert result.returncode == 0, result.stdout + result.stderr
    assert f"{number} passed" in result.stdout, result.stdout


# As users run it -----------------------------------------------------------------------------------


def test_the_documentation_s_example_passes(tmp_path: Path) -> None:
    first, caches, sessions = re.findall(r"```python\n(.*?)```", DOCS.read_text("utf-8"), re.DOTALL)
    assert first in CONFTEST
    passed(run(tmp_path, caches, "--asyncio-mode=auto"), 4)
    passed(run(tmp_path, sessions, "--asyncio-mode=auto"), 3)


@pytest.mark.parametrize(
    ("mark", "options"),
    [
        ("asyncio", ["--asyncio-mode=auto"]),
        ("asyncio", ["--asyncio-mode=strict"]),
        ("asyncio", ["--asyncio-mode=strict", "-p", "no:anyio"]),
        ("anyio", ["--asyncio-mode=strict"]),
        ("anyio", ["-p", "no:asyncio"]),
    ],
)
def test_the_room_works_with_each_plugin_in_each_mode_that_is_promised(
    tmp_path: Path, mark: str, options: list[str]
) -> None:
    passed(run(tmp_path, SHORT.format(mark=mark), *options), 2)


WITHOUT_PYTEST_ASYNCIO = "import sys\n\nsys.modules['pytest_asyncio'] = None\n" + CONFTEST
"""As where it is not installed."""


def test_the_room_works_with_anyio_alone(tmp_path: Path) -> None:
    passed(run(tmp_path, SHORT.format(mark="anyio"), "-p", "no:asyncio", conftest=WITHOUT_PYTEST_ASYNCIO), 2)


def test_without_a_plugin_that_runs_coroutines_the_room_says_what_it_needs(tmp_path: Path) -> None:
    test = "def test_mine(greenroom_room):\n    pass\n"
    result = run(tmp_path, test, "-p", "no:asyncio", conftest=WITHOUT_PYTEST_ASYNCIO)
    assert result.returncode == 1
    assert "greenroom_room needs pytest-asyncio" in result.stdout


# The clock -----------------------------------------------------------------------------------------


async def test_the_clock_moves_what_is_near_and_nothing_on_the_server() -> None:
    clock, load = ManualClock(), Loads()
    async with Greenroom(clock=clock) as room:
        episodes = room.cache(EPISODE, load=load)
        await episodes.get("e1")
        await episodes.get("e1")
        assert (await episodes.get_result("e1")).outcome is Outcome.NEAR
        clock.advance(timedelta(minutes=16))
        read = await episodes.get_result("e1")
        assert read.outcome is Outcome.HIT
        assert read.ttl is not None
        assert 800 < read.ttl <= 900, "as fresh as it was"
    assert load.calls == ["e1"]


def test_the_clock_stands_still_until_it_is_moved() -> None:
    clock = ManualClock()
    then, moment = clock.monotonic(), clock.now()
    assert (clock.monotonic(), clock.now()) == (then, moment)
    clock.advance(90)
    clock.advance(timedelta(minutes=1))
    clock.advance(0)
    assert clock.monotonic() - then == pytest.approx(150)
    assert clock.now() - moment == timedelta(seconds=150)


@pytest.mark.parametrize("step", [-1, timedelta(seconds=-1), float("nan")])
def test_the_clock_never_runs_backwards(step: float | timedelta) -> None:
    clock = ManualClock()
    with pytest.raises(ValueError, match="backwards"):
        clock.advance(step)
    assert clock.monotonic() == ManualClock().monotonic()


def test_the_clock_begins_where_it_is_told_to_and_tells_utc() -> None:
    start = datetime(2030, 6, 1, 14, tzinfo=timezone(timedelta(hours=2)))
    now = ManualClock(start).now()
    assert now == start
    assert now.tzinfo is UTC


def test_the_clock_s_randomness_repeats_and_differs_by_seed() -> None:
    def drawn(clock: Clock) -> list[object]:
        return [(clock.random(), clock.token()) for _ in range(50)]

    assert drawn(ManualClock()) == drawn(ManualClock())
    assert drawn(ManualClock()) != drawn(ManualClock(seed=1))
    tokens = {ManualClock(seed=seed).token() for seed in range(100)}
    assert len(tokens) == 100
    assert {len(token) for token in tokens} == {16}
    assert all(0 <= ManualClock(seed=seed).random() < 1 for seed in range(100))
