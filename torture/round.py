"""One round: some processes on a ground for some seconds, and what the judge says of it."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Collection, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import NamedTuple

from greenroom.keyspace.derived_keys import absent_key, derived_key
from tests.support.real_cluster import Routed
from tests.support.real_servers import Raw
from torture import podcasts
from torture.caches import ITEM, KEYS, PAGE, version_in
from torture.checker import Violation
from torture.crew import Crew
from torture.faults import Faults
from torture.ground import Ground
from torture.history import DRIVER, Drop, Failed, Final, Held, Killed, Read, Write, now
from torture.journal import Happening, Journal, events
from torture.judge import judge
from torture.plan import LOADER_DEADLINE
from torture.podcast_history import Followed
from torture.record import ITEMS, PAGES, SHOWS, Record
from torture.session_history import BEGUN, Begun, Changed, Ended, Looked, Rotated

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
    directory: Path,
    seed: str,
    seconds: float,
    *,
    ground: str = "one",
    faults: bool = True,
    only: Collection[str] = (),
    rest: float = 0.6,
    least: int = 0,
    **plan: object,
) -> Result:
    """Run one round in an empty directory.

    Arguments:
        seed: of all choices.
        ground: one of `GROUNDS`.
        faults: whether anything fails.
        only: the kinds of faults; all by default.
        rest: seconds between two faults, on average.
        least: changes that there must be before it ends, however slow the machine.
        plan: what differs from the defaults of `Plan`.
    """
    record = Record.create(directory / "record")
    journal = Journal(directory / "driver.ndjson", DRIVER)
    write_down(record, journal)
    await podcasts.prepare(directory / "podcasts.sqlite3")
    async with AsyncExitStack() as stack:
        laid = await Ground.laid(ground, directory, PROCESSES, stack)
        crew = await Crew.spawned(laid.addresses, directory, seed, journal, stack, plan)
        chance = random.Random(f"{seed} faults")
        trouble = Faults(laid, crew, journal, chance, only=only, pause=rest)
        await crew.told_all("start")
        end = now() + seconds
        if faults:
            await trouble.run(seconds)
        while now() < end or _changes(record) < least:
            await asyncio.sleep(0.05)
        # One after the other: what one process still sends at its end must be seen by the others' reports.
        await crew.told_all("finish")
        report_record(record, directory, journal)
        await crew.told_all("report")
        await crew.told_one("sessions")
        report_server(laid.raw(), journal)
        await crew.end()
    record.close()
    journal.close()
    result = judged(directory, apart=laid.apart)
    result.counts["faults"] = trouble.done
    return result


def judged(directory: Path, *, cluster: bool = False, replicas: bool = False, apart: bool = False) -> Result:
    """What the journals tell, and what is wrong with it."""
    history = [event for path in sorted(directory.glob("*.ndjson")) for event in events(path)]
    violations = judge(history, LOADER_DEADLINE, cluster=cluster, replicas=replicas, apart=apart)
    return Result(history, violations, _counted(history))


def _counted(history: list[Happening]) -> Counter[str]:
    counts = Counter[str](one.how for one in history if isinstance(one, Read))
    counts["changes"] = sum(isinstance(one, Drop) and not one.group and not one.whole for one in history)
    # Each is written down for every item.
    counts["keyspaces dropped"] = sum(isinstance(one, Drop) and one.whole for one in history) // len(ITEMS)
    counts["raised"] = sum(isinstance(one, Drop) and not one.acknowledged for one in history)
    names = {Failed: "failed", Killed: "kills", Looked: "session reads", Followed: "follows"}
    counts.update(names[type(one)] for one in history if type(one) in names)
    calls = {Begun: "log-ins", Changed: "session changes", Ended: "ends", Rotated: "rotations"}
    counts.update(calls[type(one)] for one in history if type(one) in calls and getattr(one, "answer", "") != BEGUN)
    return counts


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


def report_record(record: Record, directory: Path, journal: Journal) -> None:
    """What there is in the end."""
    held = {ITEM.key(item): record.item(item).version for item in ITEMS}
    held |= {PAGE.key(show=show, number=number): record.show(show).version for show in SHOWS for number in PAGES}
    for key, version in {**held, **podcasts.versions(directory / "podcasts.sqlite3")}.items():
        journal.add(Held(DRIVER, now(), now(), key, version))


def report_server(raw: Raw | Routed, journal: Journal) -> None:
    """What the server holds: values, and absences that it remembers; none of before a drop of their keyspace."""
    for key in KEYS:
        keyspace = ITEM if ITEM.pattern.parse(key) else PAGE
        generation = raw("GET", derived_key("", "generation", keyspace.pattern.text))
        body = raw("GET", key)
        if body is not None and generation in (None, raw("GET", keyspace.mark_key(key))):
            journal.add(Final(DRIVER, now(), now(), key, "the server", version_in(body)))
        absence = raw("GET", absent_key("", key))
        if absence is not None and generation in (None, absence):
            journal.add(Final(DRIVER, now(), now(), key, "an absence on the server", None))
    raw.close()


def _changes(record: Record) -> int:
    """Changes since the record was created."""
    return sum(record.show(show).version for show in SHOWS) - len(ITEMS)
