"""Run the benchmarks, all or the groups that are named, and print the ratios."""

from __future__ import annotations

import argparse
import logging
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec

from bench import cluster, cold, followers, frameworks, growth, http, policies, threads, traces
from bench.common import KEYS, READERS, Cost, server
from bench.hits import CONTENDERS
from tests.support.real_servers import Server

TURNS = 3
"""Processes of each contender, in turns, so that what else the machine does falls on all; the median counts."""
PAGE = Path(__file__).parent.parent / "docs" / "performance.md"


SAYS = {
    "bare": "the engine alone: one multiplexed GET and a decode",
    "greenroom": "a cache with its near cache off",
    "together": "the same with `get_many`, 150 keys at once",
    "admitting": "a cache with an empty near cache, which each read fills",
    "redis-py": "that client and msgspec, written by hand",
    "valkey-glide": "that client and msgspec, written by hand",
    "fastapi-redis-sdk": "the official SDK's cache with a pydantic model",
    "near greenroom": "a cache whose every read is a near hit",
    "near cashews": "the memory tier of cashews",
    "near aiocache": "the memory tier of aiocache",
}
"""What the contenders are."""


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


def _marked(value: str, target: str) -> str:
    if not target:
        return ""
    return f"{target} met" if met(value, target) else f"{target} **missed**"


def table(head: list[str], rows: list[list[str]]) -> str:
    """A Markdown table; where its last column is a target, it is marked as met or missed."""
    if head[-1] == "target":
        rows = [[*row[:-1], _marked(row[-2], row[-1])] for row in rows]
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _spread(values: list[float], digits: int = 1) -> tuple[str, str]:
    """The range of what some runs gave, and the median."""
    return f"{min(values):.{digits}f} to {max(values):.{digits}f}", f"{statistics.median(values):.{digits}f}"


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
        ratio("redis-py", "greenroom", "≥ 6"),
        ratio("fastapi-redis-sdk", "greenroom", "≥ 7"),
        ratio("valkey-glide", "greenroom", "≥ 5"),
        ratio("greenroom", "bare", "≤ 1.4"),
        ratio("admitting", "bare", "≤ 2.0"),
        ratio("together", "greenroom", "≤ 1.0"),
        ratio("near cashews", "near greenroom", "≥ 30"),
        ratio("near aiocache", "near greenroom", "≥ 11"),
    ]
    spread = {name: sorted(run.cpu for run in runs) for name, runs in found.items()}
    plain = [
        [name, f"{one.cpu:.2f}", f"{spread[name][0]:.2f} to {spread[name][-1]:.2f}", f"{one.wall:.2f}", SAYS[name]]
        for name, one in costs.items()
    ]
    return (
        f"Reads of a 1 KB topic, decoded to its type, {READERS} concurrent readers over {KEYS:,} keys: client CPU.\n\n"
        + table(["contender", "against", "ratio", "target"], rows)
        + "\n\n"
        + table(["contender", "CPU µs a read", "range", "elapsed µs a read", "what it is"], plain)
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
    rows = [
        [f"{name}, {number} thread{'s' * (number > 1)}: CPU µs", *_spread([run.cpu for run in runs], 2), target]
        for (name, number), runs in found.items()
        for target in [_THREAD_TARGETS.get((name, number), "")]
    ]
    rows += (
        [f"{name}, 64 threads: 99 of 100 reads, ms", *_spread([run.p99 / 1000 for run in found[name, 64]]), target]
        for name, target in (("far", "≤ 5"), ("redis-py", ""))
    )
    return (
        f"The same value read by threads, with `greenroom.sync` and with redis-py's blocking client, {TURNS} runs:\n\n"
        + table(["measurement", "range", "result", "target"], rows)
    )


_THREAD_TARGETS = {("near", 1): "≤ 1", ("near", 64): "≤ 1", ("far", 1): "≤ 30", ("far", 64): "≤ 15"}
"""Microseconds of CPU, by contender and number of threads."""


def in_frameworks(one: Server) -> str:
    """The caches of frameworks."""
    return (
        "CPU of the process per call, values of 1 KB. Ours gives what was read lately from memory; the others ask the "
        "server each time:\n\n" + table(list(frameworks.HEAD), list(frameworks.rows(one.port)))
    )


def cold_key(one: Server) -> str:
    """One load for all."""
    runs = [cold.once(one, f"r{number}") for number in range(7)]
    loads = [run.loads for run in runs]
    rows = [
        ["loads (the highest)", f"{min(loads)} to {max(loads)}", str(max(loads)), "1"],
        ["delay of the slowest caller after the load, ms", *_spread([run.slowest for run in runs]), "≤ 4"],
    ]
    return f"A cold key, {cold.PROCESSES} processes × {cold.CALLERS} callers, {len(runs)} runs:\n\n" + table(
        ["measurement", "range", "result", "target"], rows
    )


def following(one: Server) -> str:
    """One look for all."""
    command = [sys.executable, "-m", "bench.followers", str(one.port)]
    runs = [
        msgspec.json.decode(subprocess.run(command, capture_output=True, check=True).stdout, type=followers.Run)
        for _ in range(TURNS)
    ]
    rows = [
        ["reads of the record per change", *_spread([run.reads for run in runs], 2), "1"],
        ["delay of the first follower, ms", *_spread([run.first for run in runs]), "≤ 20"],
        ["delay of the last follower, ms", *_spread([run.last for run in runs]), "≤ 20"],
        ["delay of the last follower in the slowest change, ms", *_spread([run.slowest for run in runs]), ""],
    ]
    return (
        f"{followers.FOLLOWERS:,} followers of one podcast in one process, changed by another "
        f"{followers.CHANGES} times, {TURNS} runs:\n\n" + table(["measurement", "range", "result", "target"], rows)
    )


def on_a_cluster(one: Server) -> str:
    """A cluster of three against one server."""
    rows = []
    with cluster.cluster() as clustered:
        for name in cluster.CONTENDERS:
            alone, of_three = cluster.costs(name, one.address, clustered)
            rows.append(
                [name, " (".join(reversed(_spread(alone, 2))) + ")", " (".join(reversed(_spread(of_three, 2))) + ")"]
            )
            rows[-1] += [f"{statistics.median(of_three) / statistics.median(alone):.2f}", "≤ 1.3"]
    return (
        "Reads of a cluster of 3 primaries against one server: client CPU per command, in µs; the median and the range "
        f"of {cluster.TURNS} runs.\n\n" + table(["layer", "one server", "cluster", "ratio", "target"], rows)
    )


def over_http(one: Server) -> str:
    """The service."""
    found = {name: http.costs(name, one.port) for name in http.CONTENDERS}
    middle = {name: statistics.median(runs) for name, runs in found.items()}

    def ratio(of: str, to: str, target: str) -> list[str]:
        return [of, to, f"{middle[of] / middle[to]:.2f}", target]

    rows = [
        ratio("near 200", "bare", "≤ 1.8"),
        ratio("near 200, logged", "bare", "≤ 2.3"),
        ratio("constant", "near 200", "≥ 1.8"),
        ratio("FastAPI + SDK", "near 200", "≥ 10"),
        ratio("near 200, routed", "constant", "≤ 1.5"),
    ]
    plain = [
        [name, f"{middle[name]:.0f}", f"{min(runs):.0f} to {max(runs):.0f}", http.CONTENDERS[name].says]
        for name, runs in found.items()
    ]
    return (
        f"`GET /api/v1/snippets`, a page of 20: server CPU, {http.RUNS} runs of {http.REQUESTS:,} requests.\n\n"
        + table(["contender", "against", "ratio", "target"], rows)
        + "\n\n"
        + table(["contender", "CPU µs a request", "range", "what it is"], plain)
    )


def near_policies(_: Server) -> str:
    """Which keys stay near."""
    rows = [row for name, make in traces.TRACES.items() for row in policies.rows(name, make())]
    return (
        "The near cache's eviction policy on traces of the shapes that public ones have (`bench/traces.py`): share of "
        f"hits at five sizes of the cache. *{policies.REFERENCE}*: as its authors publish it. "
        "`python -m bench.policies FILE` does the same with any trace, a key in each line.\n\n"
        + table(policies.HEAD, rows)
    )


GROUPS: dict[str, tuple[str, Callable[[Server], str]]] = {
    "hits": ("Reads", hits),
    "threads": ("Threads", in_threads),
    "frameworks": ("Frameworks", in_frameworks),
    "cold": ("A cold key", cold_key),
    "followers": ("Followers", following),
    "cluster": ("A cluster", on_a_cluster),
    "http": ("HTTP", over_http),
    "policies": ("What stays near", near_policies),
    "growth": ("What grows", growth.section),
}
"""Each group's heading, and what measures it."""


def written(page: str, head: str, sections: dict[str, str]) -> str:
    """The page with new sections in place of those of their headings; others stay."""
    kept = dict(part.split("\n\n", 1) for part in page.split("\n## ")[1:])
    all_of_them = {title.strip(): text.strip() for title, text in kept.items()} | sections
    ordered = [title for title, _ in GROUPS.values() if title in all_of_them]
    return "\n\n".join([head, *(f"## {title}\n\n{all_of_them[title]}" for title in ordered)]) + "\n"


def main() -> None:
    """Print the groups that are named, or all."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("groups", nargs="*", choices=[[], *GROUPS], help=f"of {', '.join(GROUPS)} (default: all)")
    parser.add_argument("--write", action="store_true", help="put them into docs/performance.md too")
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    head = (
        f"# Performance\n\nPrinted by `make bench` on {machine}. Trust the ratios more than the times: both sides of a "
        "ratio were measured in one run. `python -m bench http policies --write` measures single groups."
    )
    sections: dict[str, str] = {}
    with server() as one:
        for name in options.groups or GROUPS:
            title, measure = GROUPS[name]
            sections[title] = measure(one)
            sys.stdout.write(f"## {title}\n\n{sections[title]}\n\n")
            sys.stdout.flush()
            if options.write:  # after each: the whole run takes a while
                PAGE.write_text(written(PAGE.read_text("utf-8"), head, sections), "utf-8")


if __name__ == "__main__":
    main()
