"""Which rounds there are, and the order that they come in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from typing import Any

from torture.builds import BUILDS
from torture.cluster import run_cluster_round
from torture.plan import BUSY, CALM, DEAF, SPARSE
from torture.round import Result, run_round

ON = ("server", "cluster", "replicas")
"""What torture runs on."""
_SECONDS = 20.0


@dataclass(frozen=True)
class Round:
    """A kind of round.

    Arguments:
        on: one of `ON`.
        options: for `run_round` or `run_cluster_round`.
        seconds: how long it takes.
    """

    name: str
    on: str
    options: Mapping[str, Any] = field(default_factory=dict)
    seconds: float = _SECONDS

    async def run(self, directory: Path, seed: str, seconds: float) -> Result:
        """Run it in an empty directory."""
        if self.on == "server":
            return await run_round(directory, seed, seconds, **self.options)
        return await run_cluster_round(directory, seed, seconds, replicas=self.on == "replicas", **self.options)


_SERVER = (
    Round("mixed", "server"),
    Round("busy", "server", BUSY),
    Round("two servers", "server", {"ground": "two"}),
    Round("calm, without faults", "server", {**CALM, "faults": False}),
    Round("TLS", "server", {"ground": "tls"}),
    Round("embedded", "server", {"ground": "embedded"}),
    Round("silence", "server", {**DEAF, "only": ("deafen",), "rest": 1.0}),
    Round("now and then a fault", "server", {"rest": 5.0}),
    Round("busy, two servers", "server", {**BUSY, "ground": "two"}),
    Round("keyspaces dropped", "server", {**BUSY, "whole": 0.3}),
    Round("cancelled", "server", {"leave": 0.3, "changes": 0.05}),
)
_NODES = (
    Round("mixed", "cluster"),
    Round("busy", "cluster", BUSY),
    Round("keyspaces dropped", "cluster", {**BUSY, "whole": 0.3}),
    Round("replicas behind", "cluster", {**SPARSE, "only": ("kill_behind", "kill_process")}),
)


def rounds(on: str, broken: str = "") -> Iterator[Round]:
    """The rounds on one of `ON`, for ever; those that find a broken build, where one is named."""
    if broken:
        build = BUILDS[broken]
        yield from cycle([Round(broken, build.on, {**build.rounds, "broken": broken}, build.seconds)])
    for one in cycle(_SERVER if on == "server" else _NODES):
        yield Round(one.name, on, one.options)
