"""`make torture`: rounds of random histories for some minutes, each judged; the exit status is 1 where one is wrong."""

from __future__ import annotations

import argparse
import asyncio
import logging
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from torture.broken import BUILDS
from torture.cluster import run_cluster_round
from torture.plan import BUSY
from torture.report import explained
from torture.round import run_round, told
from torture.streams import CLUSTER, SERVER, run_streams

_ROUND = 20.0
"""Seconds of one round."""


def main() -> int:
    """Run, print, and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m torture", description=__doc__)
    parser.add_argument("--minutes", type=float, default=5.0, help="how long to run (default: 5)")
    parser.add_argument("--seed", default="", help="of all choices; without one it is made and printed")
    parser.add_argument(
        "--on", choices=("server", "cluster", "streams"), default="server", help="on what (default: one server)"
    )
    parser.add_argument("--streams", type=int, default=20_000, help="how many, with --on streams (default: 20,000)")
    parser.add_argument("--replicas", action="store_true", help="read at the replicas of the cluster")
    parser.add_argument("--broken", choices=BUILDS, default="", help="break the build on purpose, to see it found out")
    options = parser.parse_args()
    seed = options.seed or f"{random.SystemRandom().randrange(10**9):09}"
    if options.on == "streams":
        return _streams(seed, options.streams)
    print(f"seed {seed}, {options.minutes:g} minutes", flush=True)
    end, number, total, wrong = time.monotonic() + options.minutes * 60, 0, Counter[str](), 0
    while time.monotonic() < end:
        number += 1
        directory = Path(tempfile.mkdtemp(prefix=f"torture-{seed}-{number}-"))
        seconds = min(_ROUND, max(2.0, end - time.monotonic()))
        mix = {} if number % 2 else BUSY
        if options.on == "cluster":
            mix = {**mix, "replicas": options.replicas}
        run = run_cluster_round if options.on == "cluster" else run_round
        result = asyncio.run(run(directory, f"{seed}/{number}", seconds, broken=options.broken, **mix))
        total += result.counts
        found = len(result.violations) + len(result.wrong)
        wrong += found
        verdict = f"{found} VIOLATIONS, kept in {directory}" if found else "right"
        print(f"round {number}: {result.told}: {verdict}", *result.recovered, sep="\n  ", flush=True)
        for text in (*(explained(result.history, one) for one in result.violations[:3]), *result.wrong[:3]):
            print(text, flush=True)
        if not found:
            shutil.rmtree(directory)
    print(f"seed {seed}: {number} rounds, {told(total)}: {wrong or 'no'} violations")
    return 1 if wrong else 0


def _streams(seed: str, number: int) -> int:
    """Mutated streams, half of them of a cluster; returns the exit status."""
    logging.getLogger("greenroom").propagate = False  # each of them ends a connection or more, which is told
    print(f"seed {seed}, {number} mutated streams", flush=True)
    status = 0
    for address in (SERVER, CLUSTER):
        wrong, told = asyncio.run(run_streams(seed, number // 2, address=address))
        answers = ", ".join(f"{count} {kind}" for kind, count in told.most_common())
        print(
            f"{number // 2} at {address}: {answers}: {len(wrong) or 'nothing'} wrong", *wrong[:5], sep="\n", flush=True
        )
        status |= bool(wrong)
    return status


if __name__ == "__main__":
    sys.exit(main())
