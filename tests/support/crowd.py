"""Several processes whose callers all want one key; `python -m tests.support.crowd` is one of them.

A member is told by lines of its standard input what to do: `go` starts its callers, `open` lets loads end, `cancel N`
cancels its first callers. It prints `ready`, and what its callers got once all have been answered.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections import Counter
from collections.abc import Iterable
from typing import Any, Literal

from greenroom.caching import Cache
from greenroom.errors import LoadFailed
from tests.support.episode_caches import Episode, cache_of, open_backing
from tests.support.forked_programs import Forked, start_module
from tests.support.patience import wait_for
from tests.support.real_servers import Raw, Server

MEMBERS = 4
CALLERS = 250
SECRET = "the text of an error stays in its process"
Mode = Literal["value", "fail", "hang"]


class Crowd:
    """Four processes with 250 callers each.

    Arguments:
        server: the server of their caches.
        other: the server on which loads are counted.
        mode: what their loaders do once they may: answer, fail, or never end.
        deadline: seconds that a loader has.
    """

    def __init__(self, server: Server, other: Server, mode: Mode, deadline: float) -> None:
        self._raw = server.raw()
        self._other = other.raw()
        given = server.address, other.port, mode, deadline
        self.members = [start_module("tests.support.crowd", *given) for _ in range(MEMBERS)]

    def __enter__(self) -> Crowd:
        for member in self.members:
            assert self._line(member) == "ready"
        self._raw("CONFIG", "RESETSTAT")
        return self

    def __exit__(self, *_: object) -> None:
        for member in self.members:
            member.end()
        self._raw.close()
        self._other.close()

    def say(self, line: str, members: Iterable[Forked] | None = None) -> None:
        """Tell these members, or all."""
        for member in self.members if members is None else members:
            assert member.stdin is not None
            member.stdin.write(line + "\n")
            member.stdin.flush()

    def all_ask(self) -> None:
        """Start all callers, and return when each process has asked for the lease: one has it, the others wait."""
        asked, loads = self.calls("evalsha"), self.loads
        self.say("go")
        wait_for(lambda: self.calls("evalsha") >= asked + MEMBERS and self.loads > loads)

    def answers(self, member: Forked) -> dict[str, int]:
        """What the callers of a member got, and how many got the same."""
        answers: dict[str, int] = json.loads(self._line(member))
        return answers

    @property
    def loads(self) -> int:
        """Loads begun by all processes together."""
        return int(self._other("GET", "loads") or 0)

    @property
    def cancelled(self) -> int:
        """Loads that were cancelled."""
        return int(self._other("GET", "cancelled") or 0)

    @property
    def winner(self) -> Forked:
        """The process that has begun the latest load."""
        pid = int(self._other("GET", "winner"))
        (winner,) = (member for member in self.members if member.pid == pid)
        return winner

    @property
    def losers(self) -> list[Forked]:
        """All but the winner."""
        winner = self.winner
        return [member for member in self.members if member is not winner]

    def calls(self, command: str) -> int:
        """How often a command was called since all were ready."""
        calls = 0
        for line in self._raw("INFO", "commandstats").decode().splitlines():
            name, _, numbers = line.partition(":")
            if name == f"cmdstat_{command}":
                calls += int(numbers.split(",")[0].removeprefix("calls="))
        return calls

    def _line(self, member: Forked) -> str:
        assert member.stdout is not None
        return member.stdout.readline().strip()


async def _member(address: str, other: int, mode: Mode, deadline: float) -> None:
    counts = Raw(other)
    may_end = asyncio.Event()

    async def load(episode_id: str) -> Episode:
        counts("SET", "winner", os.getpid())  # first: who sees a load asks next whose it is
        counts("INCR", "loads")
        try:
            await (asyncio.Event() if mode == "hang" else may_end).wait()
        except asyncio.CancelledError:
            counts("INCR", "cancelled")
            raise
        if mode == "fail":
            raise ValueError(SECRET)
        return Episode(episode_id)

    backing = await open_backing(address)
    cache = cache_of(backing, load, loader_deadline=deadline)
    callers: list[asyncio.Task[str]] = []
    lines = await _standard_input()
    print("ready", flush=True)  # noqa: T201
    reports = set[asyncio.Task[None]]()
    while line := (await lines.readline()).decode().split():
        if line[0] == "go":
            may_end.clear()
            callers[:] = [asyncio.create_task(_caller(cache)) for _ in range(CALLERS)]
            reports.add(asyncio.create_task(_report(callers)))
        elif line[0] == "open":
            may_end.set()
        elif line[0] == "cancel":
            for caller in callers[: int(line[1])]:
                caller.cancel()
    await backing.close()


async def _caller(cache: Cache[Any]) -> str:
    try:
        return repr(await cache.get("e1"))
    except asyncio.CancelledError:
        return "cancelled"
    except LoadFailed as error:
        return f"{type(error).__name__}: {error}"
    except Exception as error:
        return repr(error)


async def _report(callers: list[asyncio.Task[str]]) -> None:
    print(json.dumps(Counter(await asyncio.gather(*callers))), flush=True)  # noqa: T201


async def _standard_input() -> asyncio.StreamReader:
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    return reader


if __name__ == "__main__":
    asyncio.run(_member(sys.argv[1], int(sys.argv[2]), sys.argv[3], float(sys.argv[4])))  # type: ignore[arg-type]
