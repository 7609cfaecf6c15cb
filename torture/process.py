"""A worker as its driver sees it."""

from __future__ import annotations

import asyncio
import os
import sys

import msgspec

from torture.plan import Plan

_PATIENCE = 30.0
"""Seconds that a process may take to obey: to start, to become quiet, to report."""


class Process:
    """A process that carries out a plan.

    Arguments:
        running: what `Process.spawn` has started.
    """

    def __init__(self, running: asyncio.subprocess.Process) -> None:
        self._running = running
        self.pid = running.pid

    @classmethod
    async def spawn(cls, plan: Plan) -> Process:
        """Start one; it does nothing before it is told to."""
        running = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "torture.worker", msgspec.json.encode(plan).decode()),
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},  # it imports what we import
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        return cls(running)

    async def told(self, line: str) -> None:
        """Tell it something, and return when it is done."""
        assert self._running.stdin is not None
        assert self._running.stdout is not None
        self._running.stdin.write(f"{line}\n".encode())
        async with asyncio.timeout(_PATIENCE):
            answer = await self._running.stdout.readline()
        assert answer.decode().strip() == line, f"a process has ended before it was done with {line}"

    async def end(self) -> None:
        """Let it write its journal to the end."""
        assert self._running.stdin is not None
        self._running.stdin.close()
        async with asyncio.timeout(_PATIENCE):
            assert await self._running.wait() == 0, "a process has ended with an error"

    async def kill(self) -> None:
        """End it, if it still runs."""
        if self._running.returncode is None:
            self._running.kill()
            await self._running.wait()
