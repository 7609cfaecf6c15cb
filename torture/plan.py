"""What a process is told to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

LOADER_DEADLINE = 0.5
"""Seconds that a load may take; a lease then lives 1.5 s, so that a stopped process can outlast its own."""

SURVEY = 0.4
"""Seconds between two questions to a cluster, about: who owns what."""

BUSY: dict[str, Any] = {"changes": 0.12, "slow": 0.5, "late": 0.5, "clients": 24}
"""What differs in a busy round: many changes, slow loads and late callers, which meet all the time."""


class Plan(msgspec.Struct, frozen=True):
    """One process's part in a round.

    Arguments:
        seed: of this process's choices.
        process: its number.
        address: of its way to the server, or of the cluster.
        directory: where the record is, and where its journal goes.
        clients: tasks that read and write at the same time.
        pause: seconds between two operations of a client, on average.
        changes: the share of operations that are changes.
        slow: the share of loads that take long between reading the record and returning.
        late: the share of calls to the engine whose caller is woken late.
        broken: the name of a deliberate fault in this build; empty for none.
        replicas: whether it reads at the replicas of a cluster.
    """

    seed: str
    process: int
    address: str
    directory: str
    clients: int = 6
    pause: float = 0.012
    changes: float = 0.015
    slow: float = 0.1
    late: float = 0.1
    broken: str = ""
    replicas: bool = False

    @property
    def record(self) -> Path:
        """The record's file."""
        return Path(self.directory) / "record"

    @property
    def journal(self) -> Path:
        """This process's journal."""
        return Path(self.directory) / f"process-{self.process}.ndjson"

    @property
    def log(self) -> Path:
        """Where this process's warnings go."""
        return Path(self.directory) / f"process-{self.process}.log"
