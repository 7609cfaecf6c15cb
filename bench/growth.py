"""What grows: memory by entries and sessions, costs by the number of keys, processes and followers; with a picture.

`python -m bench.growth KIND PORT NUMBER` is one measurement in a process of its own.
"""

from __future__ import annotations

import asyncio
import statistics
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

import uvloop

from bench import followers
from bench.common import BODY
from greenroom import Greenroom
from greenroom.caching.near import Entry, Near
from greenroom_platform.definitions import TOPIC as KEYSPACE
from greenroom_platform.models import Topic
from tests.support.real_servers import Server

PICTURE = Path(__file__).parent.parent / "docs" / "images" / "growth.svg"
KEYS = 1_000, 10_000, 100_000, 1_000_000
PROCESSES = 1, 2, 4, 8
FOLLOWERS = 1, 10, 100, 1_000, 5_000
RUNS = 3
_READS = 20_000


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def near_entry(number: int) -> float:
    """Bytes of this process for each near entry of a 1 KB topic, its body and its value."""
    near, decode = Near(number, 1 << 40), KEYSPACE.codec.decode
    before = _resident()
    for one in range(number):
        body = bytes(bytearray(BODY))  # one of its own, as a reply's
        near.put(Entry(f"cache:topic:t{one}", decode(body), body, 1e9, 1e9, 1e9, None))
    return (_resident() - before) / number


def session(server: Server) -> float:
    """Bytes of the server for each session."""
    raw = server.raw()

    def used() -> int:
        return int(raw("INFO", "memory").decode().partition("used_memory:")[2].partition("\r")[0])

    async def start(number: int) -> None:
        async with Greenroom(server.address) as room:
            for _ in range(number):
                await room.sessions.start()

    uvloop.run(start(10))
    before = used()
    uvloop.run(start(1_000))
    return (used() - before) / 1_000


async def by_keys(port: int, number: int) -> float:
    """Microseconds of CPU for a hit in Valkey, of so many keys."""

    async def unloaded(topic_id: str) -> Topic | None:
        raise AssertionError("every read is a hit")

    async with Greenroom(f"valkey://127.0.0.1:{port}") as room:
        cache = room.cache(KEYSPACE, load=unloaded, near_for=timedelta(0))
        step = max(1, number // _READS)
        ids = [f"g{(one * step) % number}" for one in range(_READS)]
        before = time.process_time()

        async def reader(share: list[str]) -> None:
            for one in share:
                await cache.get(one)

        await asyncio.gather(*(reader(ids[start::64]) for start in range(64)))
        return (time.process_time() - before) / _READS * 1e6


def _measured(kind: str, port: int, number: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "bench.growth", kind, str(port), str(number)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


class Spread(NamedTuple):
    """What some runs gave."""

    median: float
    lowest: float
    highest: float


def _spread(kind: str, port: int, number: int, processes: int = 1) -> Spread:
    """Some runs of so many processes at once: of each run the mean of what they print."""
    found = []
    for _ in range(RUNS):
        running = [_measured(kind, port, number) for _ in range(processes)]
        told = [one.communicate()[0] for one in running]
        found.append(sum(map(float, told)) / len(told))
    return Spread(statistics.median(found), min(found), max(found))


def section(one: Server) -> str:
    """Measure, draw, and return the section."""
    raw = one.raw()
    fill = "for n = ARGV[1], ARGV[2] do redis.call('SET', 'cache:topic:g'..n, ARGV[3], 'EX', 3600) end"
    keys, stored = [], 0
    for number in KEYS:
        for start in range(stored, number, 10_000):  # so that no script blocks the server for long
            raw("EVAL", fill, 0, start, min(start + 10_000, number) - 1, BODY)
        stored = number
        keys.append(_spread("keys", one.port, number))
    processes = [_spread("keys", one.port, 10_000, number) for number in PROCESSES]
    following = [_spread("followers", one.port, number) for number in FOLLOWERS]
    _draw(keys, processes, following)
    rows = [
        ["memory of a near entry, 1 KB topic: bytes of the process", f"{near_entry(20_000):.0f}", ""],
        ["memory of a session: bytes of the server, index and companions included", f"{session(one):.0f}", ""],
    ]
    for title, unit, numbers, found in (
        ("hit in Valkey, keys on the server", "µs CPU", KEYS, keys),
        ("hit in Valkey, processes at once", "µs CPU", PROCESSES, processes),
        ("followers of one podcast", "ms to the last", FOLLOWERS, following),
    ):
        rows += (
            [f"{title}: {number:,}", f"{of.median:.1f} {unit}", f"{of.lowest:.1f} to {of.highest:.1f}"]
            for number, of in zip(numbers, found, strict=True)
        )
    lines = [f"| what | result, the median of {RUNS} runs | range |", "| --- | --- | --- |"]
    lines += (f"| {' | '.join(row)} |" for row in rows)
    return "\n".join(lines) + "\n\n![What grows](images/growth.svg)"


def _draw(*figures: list[Spread]) -> None:
    import matplotlib as mpl
    from matplotlib.figure import Figure

    mpl.rcParams["svg.hashsalt"] = "greenroom"  # else the ids differ in each run
    figure = Figure(figsize=(11, 3.5), layout="constrained")
    for axes, title, label, unit, numbers, found in zip(
        figure.subplots(1, 3),
        ("A hit in Valkey", "A hit in Valkey", "A change, seen by the last follower"),
        ("keys on the server", "processes at once", "followers in one process"),
        ("µs of CPU", "µs of CPU", "ms"),
        (KEYS, PROCESSES, FOLLOWERS),
        figures,
        strict=True,
    ):
        axes.set_title(title)
        axes.plot(numbers, [of.median for of in found], "o-")
        axes.fill_between(numbers, [of.lowest for of in found], [of.highest for of in found], alpha=0.2)
        axes.set_xscale("log")
        axes.set_xlabel(label)
        axes.set_ylabel(unit)
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
    figure.savefig(PICTURE, format="svg", metadata={"Date": None, "Creator": "bench.growth"})


def main(kind: str, port: int, number: int) -> None:
    """One measurement."""
    if kind == "keys":
        print(uvloop.run(by_keys(port, number)))
    else:
        print(uvloop.run(followers.measure(port, number)).last)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
