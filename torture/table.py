"""How long it takes to find each broken build, by the seed that is stated for it."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from torture.builds import Build
from torture.rounds import rounds

BOUND = 120.0
"""Seconds in which each must be found."""


def found_after(build: Build) -> tuple[float, str]:
    """Seconds until a broken build was found out, and by what; infinity where the bound passed before."""
    began = time.monotonic()
    for number, one in enumerate(rounds(build.on, build.name), 1):
        with tempfile.TemporaryDirectory(prefix="torture-") as directory:
            result = asyncio.run(one.run(Path(directory), f"{build.seed}/{number}", one.seconds))
        took = time.monotonic() - began
        reason = next((one.reason for one in result.violations if build.by in one.reason), "")
        if reason:
            return took, reason
        if took > BOUND:
            break
    return float("inf"), "not found"


def print_table(builds: Sequence[Build]) -> int:
    """Print it as Markdown, a row at a time; 1 where one was not found in time."""
    print("| build | on | seed | seconds | found by |", "|---|---|---|---|---|", sep="\n", flush=True)
    late = 0
    for build in builds:
        took, reason = found_after(build)
        late += took > BOUND
        print(f"| `{build.name}` | {build.on} | `{build.seed}` | {took:.0f} | {reason} |", flush=True)
    return 1 if late else 0
