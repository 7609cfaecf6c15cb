"""One round: some processes over one server for some seconds, and what the checker says of it."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import NamedTuple

from greenroom.keyspace.companions import absent_key
from tests.support.real_cluster import Routed
from tests.support.real_servers import Raw
from torture.caches import ITEM, KEYS, PAGE, version_in
from torture.checker import Violation, check
from torture.faults import Faults
from torture.history import DRIVER, Drop, Final, Happening, Journal, Read, Write, events, now
from torture.plan import LOADER_DEADLINE, Plan
from torture.process import Process
from torture.proxy import Proxy
from torture.record import ITEMS, PAGES, SHOWS, Record
from torture.server import LastingServer

PROCESSES = 3


class Result(NamedTuple):
    """What a round has brought to light: its history, what is wrong with it, and how much there was of what."""

    history: list[Happening]
    violations: list[Violation]
    counts: Counter[str]
    wrong: Sequence[str] = ()
    """What is wrong besides, on a cluster."""
    recovered: Sequence[str] = ()
    """How long what was done to a cluster was felt."""

    @property
    def told(self) -> str:
        """How much there was of what."""
        return told(self.counts)


def told(counts: Counter[str]) -> str:
    """Counts as text."""
    return ", ".join(f"{number} {name}" for name, number in sorted(counts.items()))


async def run_round(
    directory: Path, seed: str, seconds: float, *, faults: bool = True, least: int = 0, **plan: object
) -> Result:
    """Run one round in an empty directory.

    Arguments:
        seed: of all choices.
        faults: whether anything fails.
        least: changes that there must be before it ends, however slow the machine.
        plan: what differs from the defaults of `Plan`.
    """
    record = Record.create(directory / "record")
    journal = Journal(directory / "driver.ndjson", DRIVER)
    write_down(record, journal)
    async with AsyncExitStack() as stack:
        server = LastingServer(directory)
        stack.callback(server.kill)
        await asyncio.to_thread(server.start)
        ways: list[Proxy] = []
        for _ in range(PROCESSES):
            ways.append(way := Proxy(server.port))
            await way.start()
            stack.push_async_callback(way.close)
        processes = await processes_of([way.address for way in ways], directory, seed, stack, plan)
        trouble = Faults(server, ways, [one.pid for one in processes], journal, random.Random(f"{seed} faults"))
        await told_all(processes, "start")
        end = now() + seconds
        if faults:
            await trouble.run(seconds)
        while now() < end or _changes(record) < least:
            await asyncio.sleep(0.05)
        # One after the other: what one process still sends at its end must be seen by the others' reports.
        await told_all(processes, "finish")
        await told_all(processes, "report")
        report_server(server.raw(), journal)
        for process in processes:
            await process.end()
    record.close()
    journal.close()
    result = judged(directory)
    result.counts["faults"] = trouble.done
    return result


async def processes_of(
    addresses: Sequence[str], directory: Path, seed: str, stack: AsyncExitStack, plan: Mapping[str, object]
) -> list[Process]:
    """Start processes, each with its way to the server; the stack ends those that still run."""
    processes: list[Process] = []
    for number, address in enumerate(addresses):
        mine = {"seed": f"{seed} {number}", "process": number, "address": address, "directory": str(directory)}
        processes.append(process := await Process.spawn(Plan(**mine, **plan)))  # type: ignore[arg-type]
        stack.push_async_callback(process.kill)
    return processes


def judged(directory: Path, *, cluster: bool = False, replicas: bool = False) -> Result:
    """What the journals tell, and what is wrong with it."""
    history = _history(directory)
    counts = Counter[str](one.how for one in history if isinstance(one, Read))
    counts["changes"] = sum(isinstance(one, Drop) and not one.group for one in history)
    counts["raised"] = sum(isinstance(one, Drop) and not one.acknowledged for one in history)
    return Result(history, check(history, LOADER_DEADLINE, cluster=cluster, replicas=replicas), counts)


async def told_all(processes: list[Process], line: str) -> None:
    """Tell all processes something, and return when it is done."""
    await asyncio.gather(*(process.told(line) for process in processes))


def write_down(record: Record, journal: Journal) -> None:
    """What there is before anything happens."""
    began = now()
    for item in ITEMS:
        journal.add(Write(DRIVER, began, began, ITEM.key(item), *record.item(item)))
    for show in SHOWS:
        state = record.show(show)
        for number in PAGES:
            key = PAGE.key(show=show, number=number)
            journal.add(Write(DRIVER, began, began, key, state.version, bool(state.page(number))))


def _changes(record: Record) -> int:
    """Changes since the record was created."""
    return sum(record.show(show).version for show in SHOWS) - len(ITEMS)


def report_server(raw: Raw | Routed, journal: Journal) -> None:
    """What the server holds: values, and absences that it remembers."""
    for key in KEYS:
        body = raw("GET", key)
        if body is not None:
            journal.add(Final(DRIVER, now(), now(), key, "the server", version_in(body)))
        if raw("EXISTS", absent_key("", key)):
            journal.add(Final(DRIVER, now(), now(), key, "an absence on the server", None))
    raw.close()


def _history(directory: Path) -> list[Happening]:
    return [event for path in sorted(directory.glob("*.ndjson")) for event in events(path)]
