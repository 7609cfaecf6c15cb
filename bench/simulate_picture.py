"""The picture of `bench.simulate`, as SVG by matplotlib: the same for the same scene."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

from bench import simulate
from bench.simulate import Scene

_SIZES = (0.01, 0.03, 0.1, 0.3, 1.0)
"""Of the scene's processes."""


def draw(scene: Scene, path: Path) -> None:
    """Draw what grows with the number of processes, and with that of changes."""
    # Without these, ids and the date differ in each run.
    mpl.rcParams["svg.hashsalt"] = "greenroom"
    figure = Figure(figsize=(10, 7), layout="constrained")
    cold, fan, load, storm = (axes for row in figure.subplots(2, 2) for axes in row)
    sizes = sorted({max(1, int(scene.processes * part)) for part in _SIZES})
    scenes = [replace(scene, processes=size) for size in sizes]

    cold.set_title("One cold key: the last caller after the fill")
    cold.plot(sizes, [simulate.cold_key(one).last_after_fill * 1e3 for one in scenes], "o-")
    cold.set_ylabel("ms")

    fan.set_title("One drop: near caches that have dropped the key")
    for one in scenes:
        found = simulate.drop(one)
        share = [(number + 1) / len(found.times) for number in range(len(found.times))]
        fan.plot([time * 1e3 for time in found.times], share, label=f"{one.processes:,} processes")
    fan.set_xlabel("ms after the drop")
    fan.set_ylabel("share")
    fan.legend()

    load.set_title("What a primary must bear")
    changes = [10 ** (power / 4) for power in range(17)]
    for one in scenes[::2]:
        busy = [simulate.steady(one, rate).busy for rate in changes]
        load.plot(changes, busy, label=f"{one.processes:,} processes")
    load.axhline(1.0, color="black", linewidth=0.8)
    load.set_xscale("log")
    load.set_ylim(0, 1.5)
    load.set_xlabel("changes a second")
    load.set_ylabel("share of a core")
    load.legend()

    storm.set_title("A failover: longest wait behind CLUSTER SHARDS")
    for pause, name in ((True, "with the survey's pause"), (False, "without")):
        waits = [simulate.failover(one, pause=pause).longest_wait * 1e3 for one in scenes]
        storm.plot(sizes, waits, "o-", label=name)
    storm.set_ylabel("ms")
    storm.legend()
    for axes in (cold, storm):
        axes.set_xscale("log")
        axes.set_xlabel("processes")
    for axes in (cold, fan, load, storm):
        axes.grid(alpha=0.3)
    figure.savefig(path, format="svg", metadata={"Date": None, "Creator": "bench.simulate"})
