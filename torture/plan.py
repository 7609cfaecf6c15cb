"""What a process is told to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

LOADER_DEADLINE = 0.5
"""Seconds that a load may take; a stopped process can outlast its lease of 1 s."""

SURVEY = 0.4
"""Seconds between two questions to a cluster, about: who owns what."""

BUSY: dict[str, Any] = {"changes": 0.12, "slow": 0.5, "late": 0.5, "clients": 24, "session_clients": 4}
"""What differs in a busy round: many changes, slow loads and late callers, which meet all the time."""

CALM: dict[str, Any] = {"changes": 0.004, "slow": 0.0, "late": 0.0, "clients": 8, "pause": 0.02, "fresh": 59.0}
"""In a calm round: few changes, each seen by all at rest, and values that nobody refreshes."""

SPARSE: dict[str, Any] = {"changes": 0.2, "slow": 0.0, "late": 0.0, "clients": 8, "pause": 0.25, "fresh": 59.0}
"""In a sparse round: groups are dropped as often as their pages are read; at any time many pages are in no group.

    pages are read all the time · each is put back into its group at once · a replica that hears nothing any more still
    has them all in the group of before · what the failover loses is found by nobody, though nobody looks for it
"""

DEAF: dict[str, Any] = {**CALM, "contact": False, "writers": 1, "session_clients": 0, "podcasts": False}
"""In a round of processes that live by what is near: no command goes out but for what was dropped."""


class Plan(msgspec.Struct, frozen=True):
    """One process's part in a round.

    Arguments:
        seed: of this process's choices.
        process: its number.
        address: of its way to the server, or of the cluster; `embedded` for one in the directory.
        session_address: of the sessions' server; empty for that of the caches.
        directory: where the record is, and where its journal goes.
        heir_of: the processes in whose place it is, each of which was killed; what they left it sends.
        clients: tasks that read and write at the same time.
        session_clients: tasks that do so with sessions.
        podcasts: whether it makes podcasts, reads their statuses and follows them.
        pause: seconds between two operations of a client, on average.
        changes: the share of operations that are changes.
        whole: the share of changes after which the keyspace of the items is dropped, and not the item.
        writers: how many of the first processes change anything.
        fresh: seconds for which values are fresh.
        slow: the share of loads that take long between reading the record and returning.
        fail: the share of loads that fail, and the share that hang.
        late: the share of calls to the engine whose caller is woken late.
        leave: the share of changes whose caller is cancelled before they are dropped.
        contact: whether it asks the server something all the time; else its connections know silence.
        broken: the name of a deliberate fault in this build; empty for none.
        replicas: whether it reads at the replicas of a cluster.
    """

    seed: str
    process: int
    address: str
    directory: str
    session_address: str = ""
    heir_of: tuple[int, ...] = ()
    clients: int = 6
    session_clients: int = 3
    podcasts: bool = True
    pause: float = 0.012
    changes: float = 0.015
    whole: float = 0.0
    writers: int = 1_000_000
    fresh: float = 0.6
    slow: float = 0.1
    fail: float = 0.01
    late: float = 0.1
    leave: float = 0.0
    contact: bool = True
    broken: str = ""
    replicas: bool = False

    @property
    def record(self) -> Path:
        """The record's file."""
        return Path(self.directory) / "record"

    @property
    def podcasts_file(self) -> Path:
        """The file of the podcasts' record."""
        return Path(self.directory) / "podcasts.sqlite3"

    @property
    def data_directory(self) -> Path:
        """The directory of an embedded server."""
        return Path(self.directory) / "data"

    @property
    def journal(self) -> Path:
        """This process's journal."""
        return self.journal_of(self.process)

    def journal_of(self, process: int) -> Path:
        """Another process's journal."""
        return Path(self.directory) / f"process-{process}.ndjson"

    @property
    def log(self) -> Path:
        """Where this process's warnings go."""
        return Path(self.directory) / f"process-{self.process}.log"
