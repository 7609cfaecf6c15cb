"""Random histories of three processes over a server that fails, and proof that what is wrong in them is found."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from torture.broken import BUILDS
from torture.report import explained
from torture.round import Result, run_round

SEED = "greenroom"
MIX: dict[str, Any] = {"changes": 0.06, "slow": 0.5}
"""More changes and slower loads than usual: they meet all the time."""


def told(result: Result) -> str:
    """What to look at, and how to see it again."""
    wrong = "\n".join(explained(result.history, one) for one in result.violations[:3])
    return f"{result.told}, seed {SEED}\n{wrong}"


async def test_no_promise_is_broken_whatever_fails(tmp_path: Path) -> None:
    result = await run_round(tmp_path, SEED, 8, **MIX)
    assert not result.violations, told(result)
    assert min(result.counts[how] for how in ("near", "joined", "server", "bypassed", "changes")) > 20, told(result)


@pytest.mark.parametrize("build", BUILDS)
async def test_a_build_that_is_broken_on_purpose_is_found_out(tmp_path: Path, build: str) -> None:
    # How much a round gets done depends on the machine; what is broken must show in one of a few.
    for number in range(12):
        directory = tmp_path / str(number)
        directory.mkdir()
        result = await run_round(directory, f"{SEED}-{number}", 2.5, faults=False, broken=build, **MIX)
        if result.violations:
            return
    pytest.fail(told(result))
