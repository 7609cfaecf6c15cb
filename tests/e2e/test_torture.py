"""Random histories of three processes over a server that fails, and proof that what is wrong in them is found."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from torture import broken
from torture.builds import BUILDS
from torture.checker import Violation
from torture.cluster import run_cluster_round
from torture.history import Event, Read
from torture.plan import BUSY
from torture.report import explained
from torture.round import Result, run_round
from torture.session_history import Changed, Looked

SEED = "greenroom"
LEAST = 100
"""Changes in a round, however slow the machine: enough for what is broken to show itself many times."""
NODES = ("kill", "migrate", "hand_over", "freeze", "lose")
"""What is done to the nodes of a cluster here; `make torture` does more."""

QUIET: dict[str, Any] = {"clients": 3, "pause": 0.03}
"""Fewer calls than `make torture` makes: what is done to the nodes takes its time, with many calls or few."""

STALE = broken.LEASE_UNCHECKED, broken.NEAR_AFTER_AWAIT, broken.GROUP_AFTER_LOAD, broken.KEYSPACE_KEPT
"""Builds that serve old values; one round for each."""
BESIDES: dict[str, tuple[str, tuple[type[Event], ...]]] = {
    broken.LEASE_UNCHECKED: (broken.SESSION_UNCOMPARED, (Looked, Changed)),
}
"""What is broken besides in a round, and the events that show it; a round for each would only take time."""
WHO: dict[str, dict[str, object]] = {
    broken.LEASE_UNCHECKED: {"podcasts": False, "session_clients": 8},
    broken.NEAR_AFTER_AWAIT: {"session_clients": 0},
    broken.GROUP_AFTER_LOAD: {"podcasts": False, "session_clients": 0},
    broken.KEYSPACE_KEPT: {"podcasts": False, "session_clients": 0, "whole": 0.5},
}
"""Who takes part, besides the clients of caches."""


def broken_promises(result: Result) -> list[Violation]:
    """What was wrong on any machine. How long calls take, and which fail, `make torture` judges on a quiet one."""
    return [one for one in result.violations if not one.of_speed]


def told(result: Result) -> str:
    """What to look at, and how to see it again."""
    wrong = "\n".join(explained(result.history, one) for one in broken_promises(result)[:3])
    return f"{result.told}, seed {SEED}\n{wrong}"


async def test_no_promise_is_broken_on_a_cluster_whose_nodes_come_and_go(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    result = await run_cluster_round(tmp_path, SEED, 0, only=NODES, **QUIET)
    assert not broken_promises(result), told(result)
    assert not result.wrong, "\n".join(result.wrong)
    assert len(result.recovered) == 4
    assert some(result, ("near", "joined", "server", "bypassed", "changes", "ends"))
    assert some(result, ("follows",), 5)
    for line in result.recovered:
        record_property("figure", line)


async def test_no_promise_is_broken_whatever_fails(tmp_path: Path) -> None:
    result = await run_round(tmp_path, SEED, 4, least=LEAST, **BUSY)
    assert not broken_promises(result), told(result)
    assert some(result, ("near", "joined", "server", "bypassed", "changes")), told(result)
    assert some(result, ("session reads", "session changes", "log-ins")), told(result)
    assert some(result, ("rotations", "ends", "follows"), 5), told(result)  # rarer: one for twenty changes


async def test_no_promise_is_broken_where_keyspaces_are_dropped(tmp_path: Path) -> None:
    plan = {**BUSY, **QUIET, "podcasts": False, "session_clients": 0, "whole": 0.3}
    result = await run_round(tmp_path, SEED, 3, least=LEAST, **plan)
    assert not broken_promises(result), told(result)
    assert some(result, ("near", "joined", "server")), told(result)
    assert some(result, ("keyspaces dropped",), 5), told(result)


@pytest.mark.parametrize("build", STALE)
async def test_a_build_that_is_broken_on_purpose_is_found_out(tmp_path: Path, build: str) -> None:
    besides, shown_by = BESIDES.get(build, ("", ()))
    plan = {**BUSY, **WHO[build], "broken": f"{build}+{besides}"}
    result = await run_round(tmp_path, SEED, 1, faults=False, least=LEAST, **plan)
    assert any(isinstance(one.event, Read) for one in result.violations), told(result)
    assert not shown_by or any(isinstance(one.event, shown_by) for one in result.violations), told(result)


def test_every_build_of_the_table_still_finds_what_it_breaks() -> None:
    assert set(BUILDS) == set(broken.BUILDS)
    # In a process of its own, which is broken afterwards; each refuses to break what is not there any more.
    program = "from torture import broken\nfor build in sorted(broken.BUILDS): broken.apply(build)"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", program], env=environment, check=True, timeout=60)


def some(result: Result, names: Iterable[str], number: int = 20) -> bool:
    """Whether there was enough of each to judge."""
    return min(result.counts[name] for name in names) > number
