"""Run every benchmark and print the ratios; `--write` puts them into docs/performance.md too."""

from __future__ import annotations

import logging
import os
import platform
import statistics
import subprocess
import sys
from pathlib import Path

import msgspec

from bench import cluster, cold, followers, http, policies, threads
from bench.common import KEYS, READERS, Cost, server
from bench.hits import CONTENDERS
from tests.support.real_servers import Server

TURNS = 3
"""Processes of each contender, in turns, so that what else the machine does falls on all; the median counts."""
PAGE = Path(__file__).parent.parent / "docs" / "performance.md"


LEGEND = """\
*bare*: the engine alone, one multiplexed GET and a decode. *greenroom*: a cache with its near cache off. *admitting*: a
cache with an empty near cache, which each read fills. *redis-py*, *valkey-glide*: the client and msgspec, written by
hand. *fastapi-redis-sdk*: the official SDK's cache. *near …*: the memory tier of each library."""
"""What the names of the contenders mean."""


def met(value: str, target: str) -> bool:
    """Whether a value meets a target such as "≥ 4", "≤ 5" or "1"; true without a target."""
    comparison, _, limit = target.rpartition(" ")
    match comparison:
        case "≥":
            return float(value) >= float(limit)
        case "≤":
            return float(value) <= float(limit)
        case _:
            return not limit or float(value) == float(limit)


def table(head: list[str], rows: list[list[str]]) -> str:
    """A Markdown table; where its last column is a target, one that is missed is marked."""
    if head[-1] == "target":
        rows = [[*row[:-1], row[-1] if met(row[-2], row[-1]) else f"{row[-1]} **missed**"] for row in rows]
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def hits(one: Server) -> str:
    """Reads of the server and of the process."""
    found: dict[str, list[Cost]] = {name: [] for name in CONTENDERS}
    for _ in range(TURNS):
        for name, costs_of in found.items():
            command = [sys.executable, "-m", "bench.hits", name, str(one.port)]
            run = subprocess.run(command, capture_output=True, check=True)
            costs_of.append(msgspec.json.decode(run.stdout, type=Cost))
    costs = {name: sorted(runs, key=lambda run: run.cpu)[TURNS // 2] for name, runs in found.items()}

    def ratio(of: str, to: str, target: str) -> list[str]:
        return [of, to, f"{costs[of].cpu / costs[to].cpu:.2f}", target]

    rows = [
        ratio("redis-py", "greenroom", "≥ 4"),
        ratio("fastapi-redis-sdk", "greenroom", "≥ 6"),
        ratio("valkey-glide", "greenroom", "≥ 2.5"),
        ratio("greenroom", "bare", "≤ 1.6"),
        ratio("admitting", "bare", "≤ 2.2"),
        ratio("near cashews", "near greenroom", "≥ 30"),
        ratio("near aiocache", "near greenroom", "≥ 9"),
    ]
    plain = [[name, f"{one.cpu:.2f}", f"{one.wall:.2f}"] for name, one in costs.items()]
    return (
        f"Reads of a 1 KB topic, decoded to its type, {READERS} concurrent readers over {KEYS:,} keys: client CPU.\n\n"
        f"{LEGEND}\n\n"
        + table(["contender", "against", "ratio", "target"], rows)
        + "\n\n"
        + table(["contender", "CPU µs a read", "elapsed µs a read"], plain)
    )


def in_threads(one: Server) -> str:
    """Reads by threads."""
    found: dict[tuple[str, int], list[threads.ThreadCost]] = {
        (name, number): [] for name in threads.CONTENDERS for number in (1, 64)
    }
    for _ in range(TURNS):
        for (name, number), costs_of in found.items():
            command = [sys.executable, "-m", "bench.threads", name, str(one.port), str(number)]
            run = subprocess.run(command, capture_output=True, check=True)
            costs_of.append(msgspec.json.decode(run.stdout, type=threads.ThreadCost))
    costs = {of: sorted(runs, key=lambda run: run.cpu)[TURNS // 2] for of, runs in found.items()}
    rows = [
        ["near, 1 thread: CPU µs", f"{costs['near', 1].cpu:.2f}", "≤ 1"],
        ["near, 64 threads: CPU µs", f"{costs['near', 64].cpu:.2f}", "≤ 1"],
        ["far, 1 thread: CPU µs", f"{costs['far', 1].cpu:.1f}", "≤ 30"],
        ["far, 64 threads: CPU µs", f"{costs['far', 64].cpu:.1f}", "≤ 15"],
        ["far, 64 threads: 99 of 100 reads, ms", f"{costs['far', 64].p99 / 1000:.1f}", "≤ 5"],
        ["redis-py, 1 thread: CPU µs", f"{costs['redis-py', 1].cpu:.1f}", ""],
        ["redis-py, 64 threads: CPU µs", f"{costs['redis-py', 64].cpu:.1f}", ""],
        ["redis-py, 64 threads: 99 of 100 reads, ms", f"{costs['redis-py', 64].p99 / 1000:.1f}", ""],
    ]
    return "The same value read by threads, with `greenroom.sync` and with redis-py's blocking client:\n\n" + table(
        ["measurement", "result", "target"], rows
    )


def cold_key(one: Server) -> str:
    """One load for all."""
    runs = [cold.once(one, f"r{number}") for number in range(7)]
    loads = max(run.loads for run in runs)
    late = statistics.median(run.slowest for run in runs)
    rows = [
        ["loads (the highest of 7 runs)", str(loads), "1"],
        ["delay of the slowest caller after the load, ms", f"{late:.1f}", "≤ 5"],
    ]
    return f"A cold key, {cold.PROCESSES} processes × {cold.CALLERS} callers:\n\n" + table(
        ["measurement", "result", "target"], rows
    )


def following(one: Server) -> str:
    """One look for all."""
    command = [sys.executable, "-m", "bench.followers", str(one.port)]
    run = msgspec.json.decode(subprocess.run(command, capture_output=True, check=True).stdout, type=followers.Run)
    rows = [
        ["reads of the record per change", f"{run.reads:.2f}", "1"],
        ["delay of the first follower, ms", f"{run.first:.1f}", "≤ 20"],
        ["delay of the last follower, ms", f"{run.last:.1f}", "≤ 20"],
        ["delay of the last follower in the slowest change, ms", f"{run.slowest:.1f}", ""],
    ]
    return (
        f"{followers.FOLLOWERS:,} followers of one podcast in one process, changed by another "
        f"{followers.CHANGES} times:\n\n" + table(["measurement", "result", "target"], rows)
    )


def on_a_cluster(one: Server) -> str:
    """A cluster of three against one server."""
    rows = []
    with cluster.cluster() as clustered:
        for name in cluster.CONTENDERS:
            standalone, spread = cluster.costs(name, one.address, clustered)
            rows.append([name, f"{standalone:.2f}", f"{spread:.2f}", f"{spread / standalone:.2f}", "≤ 1.3"])
    return "Reads of a cluster of 3 primaries against one server: client CPU per command, in µs.\n\n" + table(
        ["layer", "one server", "cluster", "ratio", "target"], rows
    )


def over_http(one: Server) -> str:
    """The service."""
    constant, ours, fastapi = (
        http.peer_cost("constant", one.port),
        http.greenroom_cost(),
        http.peer_cost("fastapi", one.port),
    )
    rows = [
        ["near hit: share of the constant handler's speed", f"{constant / ours:.2f}", "≥ 0.6"],
        ["FastAPI with the official SDK: its cost over ours", f"{fastapi / ours:.2f}", "≥ 5"],
    ]
    plain = [["constant", f"{constant:.0f}"], ["greenroom", f"{ours:.0f}"], ["FastAPI + SDK", f"{fastapi:.0f}"]]
    return (
        "`GET /api/v1/snippets`, a page of 20: server CPU.\n\n"
        + table(["measurement", "ratio", "target"], rows)
        + "\n\n"
        + table(["server", "CPU µs a request"], plain)
    )


def near_policies() -> str:
    """Which keys stay near."""
    rows: list[list[str]] = []
    for skew in (0.8, 1.0):
        for scan in (False, True):
            keys = policies.trace(skew, scan=scan)
            for name in policies.POLICIES:
                small, large = (policies.measure(name, capacity, keys) for capacity in (500, 5000))
                label = f"zipf {skew}" + (" + scans" if scan else "")
                rows.append([label, name, f"{small.hits:.1%}", f"{large.hits:.1%}", f"{large.nanoseconds:.0f}"])
    return "The near cache's eviction policy on each trace:\n\n" + table(
        ["trace", "policy", "hits, 500 entries", "hits, 5,000 entries", "ns a request at 5,000"], rows
    )


def main() -> None:
    """Print the page."""
    logging.disable(logging.WARNING)
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    parts = [
        "# Performance",
        f"Printed by `make bench` on {machine}. Trust the ratios more than the times: both sides of a ratio were "
        "measured in one run.",
    ]
    with server() as one:
        for part in (hits, in_threads, cold_key, following, on_a_cluster, over_http):
            parts.append(part(one))
            sys.stdout.write(parts[-1] + "\n\n")
            sys.stdout.flush()
    parts.append(near_policies())
    sys.stdout.write(parts[-1] + "\n")
    if "--write" in sys.argv:
        PAGE.write_text("\n\n".join(parts) + "\n", "utf-8")


if __name__ == "__main__":
    main()
