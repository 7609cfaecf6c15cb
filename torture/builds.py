"""What finds each broken build: on what, in which rounds, by which seed; `python -m torture --builds` prints it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from torture import broken
from torture.plan import BUSY, CALM, DEAF, SPARSE

ROUND = 12.0
"""Seconds of one round that looks for a broken build."""


@dataclass(frozen=True)
class Build:
    """A broken build, and the rounds that are made for it.

    Arguments:
        rounds: what differs in them, for `run_round` or `run_cluster_round`.
        by: what the reason of a violation says that shows it; another proves nothing.
        on: `server`, `cluster` or `replicas`.
        seed: one that has found it.
        seconds: of one round.
    """

    name: str
    rounds: dict[str, Any] = field(default_factory=dict)
    by: str = "version"
    on: str = "server"
    seed: str = "greenroom"
    seconds: float = ROUND


_ALONE: dict[str, Any] = {"session_clients": 0, "podcasts": False}
_SESSIONS: dict[str, Any] = {"clients": 0, "podcasts": False, "session_clients": 8}

BUILDS = {
    build.name: build
    for build in (
        Build(broken.LEASE_UNCHECKED, {**BUSY, **_ALONE, "faults": False}, seconds=2),
        Build(broken.LEASE_NOT_HELD, {**CALM, **_ALONE, "faults": False}, "loads in", seconds=6),
        Build(broken.WAITERS_DEAF, {**BUSY, **_ALONE, "faults": False}, "besides loads", seconds=4),
        Build(broken.NEAR_AFTER_AWAIT, {**BUSY, **_ALONE, "faults": False}, seconds=2),
        Build(broken.ANSWERS_KEPT, {**BUSY, **_ALONE, "faults": False}, seconds=2),
        Build(broken.GROUP_AFTER_LOAD, {**BUSY, **_ALONE, "faults": False}, seconds=2),
        Build(broken.DROPS_FORGOTTEN, {**CALM, **_ALONE, "changes": 0.03, "only": ("restart",)}),
        Build(broken.SILENCE_TRUSTED, {**DEAF, "only": ("deafen",)}),
        Build(broken.SESSION_UNCOMPARED, {**_SESSIONS, "faults": False}, "changes that returned", seconds=3),
        Build(broken.ENDS_NOT_RESENT, {**_SESSIONS, "only": ("restart",)}, "has ended is there"),
        Build(broken.OUTBOX_UNREAD, {"clients": 1, "session_clients": 0, "only": ("kill_process",), "rest": 1.6}),
        Build(broken.STATUS_UNSENT, {"clients": 1, "session_clients": 0, "faults": False}, seconds=3),
        Build(broken.KEYSPACE_KEPT, {**BUSY, **_ALONE, "whole": 0.5, "faults": False}, seconds=4),
        Build(broken.MARKS_UNREAD, {**BUSY, **_ALONE, "whole": 0.5, "faults": False}, seconds=4),
        Build(broken.GROUP_UNCHECKED, {**SPARSE, **_ALONE, "only": ("kill_behind",)}, on="cluster"),
        Build(broken.REPLICA_UNCOMPARED, {"only": ("lag",)}, on="replicas"),
    )
}
"""By name."""
