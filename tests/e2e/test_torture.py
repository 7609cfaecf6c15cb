"""Random histories of three processes over a server that fails, and proof that what is wrong in them is found."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from torture.broken import BUILDS
from torture.cluster import run_cluster_round
from torture.plan import BUSY
from torture.report import explained
from torture.round import Result, run_round

SEED = "greenroom"
LEAST = 150
"""Changes in a round, however slow the machine: enough for what is broken to show itself many times."""


def told(result: Result) -> str:
    """What to look at, and how to see it again."""
    wrong = "\n".join(explained(result.history, one) for one in result.violations[:3])
    return f"{result.told}, seed {SEED}\n{wrong}"


async def test_no_promise_is_broken_on_a_cluster_whose_nodes_come_and_go(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    result = await run_cluster_round(tmp_path, SEED, 0)
    assert not result.violations, told(result)
    assert not result.wrong, "\n".join(result.wrong)
    assert len(result.recovered) == 4
    assert min(result.counts[how] for how in ("near", "joined", "server", "bypassed", "changes", "ends")) > 20
    for line in result.recovered:
        record_property("figure", line)


async def test_no_promise_is_broken_whatever_fails(tmp_path: Path) -> None:
    result = await run_round(tmp_path, SEED, 8, least=LEAST, **BUSY)
    assert not result.violations, told(result)
    assert min(result.counts[how] for how in ("near", "joined", "server", "bypassed", "changes")) > 20, told(result)


@pytest.mark.parametrize("build", BUILDS)
async def test_a_build_that_is_broken_on_purpose_is_found_out(tmp_path: Path, build: str) -> None:
    result = await run_round(tmp_path, SEED, 1, faults=False, least=LEAST, broken=build, **BUSY)
    assert result.violations, told(result)
