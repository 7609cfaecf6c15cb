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

from torture.builds import BUILDS
from torture.report import explained
from torture.round import told
from torture.rounds import ON, Round, rounds
from torture.streams import BLOCK, CLUSTER, SERVER, run_streams, up_to
from torture.table import print_table


def main() -> int:
    """Run, print, and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m torture", description=__doc__)
    parser.add_argument("--minutes", type=float, default=5.0, help="how long to run on each (default: 5)")
    parser.add_argument("--seed", default="", help="of all choices; without one it is made and printed")
    parser.add_argument(
        "--on", choices=(*ON, "streams", "all"), default="all", help="on what (default: one after the other)"
    )
    parser.add_argument("--streams", type=int, default=20_000, help="how many, with --on streams (default: 20,000)")
    parser.add_argument("--stream", type=int, help="only this one, with --on streams: of both kinds of server")
    parser.add_argument("--broken", choices=BUILDS, default="", help="break the build on purpose, to see it found out")
    parser.add_argument(
        "--builds", nargs="*", choices=BUILDS, help="print when each broken build is found out, or these"
    )
    options = parser.parse_args()
    # Of the sessions on a cluster, which are this process's own: it would stand between the lines of the report.
    logging.getLogger("greenroom").addHandler(logging.NullHandler())
    if options.builds is not None:
        return print_table([BUILDS[name] for name in options.builds or BUILDS])
    if options.broken:
        build = BUILDS[options.broken]
        return _run(build.on, options.seed or build.seed, options.minutes, build.name)
    seed = options.seed or f"{random.SystemRandom().randrange(10**9):09}"
    if options.on == "streams":
        return _streams(seed, options.streams) if options.stream is None else _stream(seed, options.stream)
    return max(_run(on, seed, options.minutes, "") for on in (ON if options.on == "all" else (options.on,)))


def _run(on: str, seed: str, minutes: float, broken: str) -> int:
    print(f"on {on}, seed {seed}, {minutes:g} minutes", flush=True)
    end, number, total, wrong = time.monotonic() + minutes * 60, 0, Counter[str](), 0
    for number, one in enumerate(rounds(on, broken), 1):
        if time.monotonic() >= end:
            break
        counts, found = _one(one, f"{seed}/{number}", number, min(one.seconds, max(2.0, end - time.monotonic())))
        total += counts
        wrong += found
    print(f"on {on}, seed {seed}: {number - 1} rounds, {told(total)}: {wrong or 'no'} violations")
    return 1 if wrong else 0


def _streams(seed: str, number: int) -> int:
    """Mutated streams, half of them of a cluster; returns the exit status."""
    print(f"seed {seed}, {number} mutated streams", flush=True)
    return max(_streams_at(address, seed, range(number // 2)) for address in (SERVER, CLUSTER))


def _stream(seed: str, stream: int) -> int:
    """One mutated stream of each kind of server; returns the exit status."""
    return max(_streams_at(address, seed, up_to(stream)) for address in (SERVER, CLUSTER))


def _streams_at(address: str, seed: str, streams: range) -> int:
    logging.getLogger("greenroom").propagate = False  # each of them ends a connection or more, which is told
    run = asyncio.run(run_streams(seed, streams, address=address))
    answers = ", ".join(f"{count} {kind}" for kind, count in run.told.most_common())
    print(f"{len(streams)} at {address}: {answers}: {len(run.wrong) or 'nothing'} wrong", *run.wrong[:5], sep="\n")
    if len(streams) <= BLOCK:
        print(f"stream {streams[-1]}: {run.mutations.get(streams[-1], 'as it was')}")
    sys.stdout.flush()
    return 1 if run.wrong else 0


def _one(one: Round, seed: str, number: int, seconds: float) -> tuple[Counter[str], int]:
    directory = Path(tempfile.mkdtemp(prefix=f"torture-{seed.replace('/', '-')}-"))
    result = asyncio.run(one.run(directory, seed, seconds))
    found = len(result.violations) + len(result.wrong)
    verdict = f"{found} VIOLATIONS, kept in {directory}" if found else "right"
    print(f"round {number}, {one.name}: {result.told}: {verdict}", *result.recovered, sep="\n  ", flush=True)
    for text in (*(explained(result.history, one) for one in result.violations[:3]), *result.wrong[:3]):
        print(text, flush=True)
    if not found:
        shutil.rmtree(directory)
    return result.counts, found


if __name__ == "__main__":
    sys.exit(main())
