"""Who lives: the processes below one, and the embedded servers of a directory, as `/proc` tells them."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.patience import harm

ON_LINUX = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="there is no /proc to look into")

WORKER = "forked worker"
"""The name of a worker that was forked: its command line is that of its parent."""


class Process(NamedTuple):
    """A process; a later one with the same number is not the same."""

    pid: int
    started: int

    @property
    def lives(self) -> bool:
        """Whether it still runs; one that only waits for its parent to take note does not."""
        found = _stat(self.pid)
        return found is not None and found.process == self and found.state not in "ZX"

    def signal(self, number: int) -> None:
        """Send it a signal."""
        os.kill(self.pid, number)

    @property
    def command(self) -> str:
        """Its command line; empty once it has ended."""
        try:
            return Path(f"/proc/{self.pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            return ""

    @property
    def name(self) -> str:
        """What it is called, at most 15 characters; empty once it has ended."""
        try:
            return Path(f"/proc/{self.pid}/comm").read_text().strip()
        except OSError:
            return ""


class _Stat(NamedTuple):
    process: Process
    state: str
    parent: int


def process(pid: int) -> Process:
    """The process that has this number now."""
    found = _stat(pid)
    assert found is not None, f"no process {pid}"
    return found.process


def is_stopped(pid: int) -> bool:
    """Whether it has been stopped by a signal."""
    found = _stat(pid)
    return found is not None and found.state in "Tt"


def below(pid: int) -> set[Process]:
    """Every living descendant of a process."""
    every = _everyone()
    found, parents = set[Process](), {pid}
    while parents:
        children = {one.process for one in every if one.parent in parents}
        found |= children
        parents = {child.pid for child in children}
    return {one for one in found if one.lives}


def workers(pid: int) -> set[Process]:
    """The worker processes of a service with several."""
    return {one for one in below(pid) if "spawn_main" in one.command or one.name == WORKER}


def parent(child: Process) -> int:
    """The number of a living process's parent."""
    found = _stat(child.pid)
    assert found is not None, f"{child} has ended"
    return found.parent


def servers(directory: Path) -> set[Process]:
    """The Valkey servers that run in a directory."""
    found = set()
    for one in _everyone():
        try:
            home = os.readlink(f"/proc/{one.process.pid}/cwd")
            program = os.readlink(f"/proc/{one.process.pid}/exe")
        except OSError:  # it has ended, or is another user's
            continue
        if home == str(directory.resolve()) and "valkey-server" in program:
            found.add(one.process)
    return {one for one in found if one.lives}


def the_server(directory: Path) -> Process:
    """The one Valkey server of a directory."""
    (one,) = servers(directory)
    return one


def _everyone() -> list[_Stat]:
    found = (_stat(int(entry.name)) for entry in Path("/proc").iterdir() if entry.name.isdecimal())
    return [one for one in found if one is not None]


def _stat(pid: int) -> _Stat | None:
    try:
        # The second field is a name in brackets, and may hold anything.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return _Stat(Process(pid, int(fields[19])), fields[0], int(fields[1]))


def stop(child: int) -> None:
    """Stop a process that this one has started, and return when all its threads stand still.

    Prevents: the signal is sent · one of its threads, on the other core, answers one more request.
    """
    harm()
    os.kill(child, signal.SIGSTOP)
    os.waitid(os.P_PID, child, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
