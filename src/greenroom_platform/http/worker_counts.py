"""What the workers of one service have counted, shared in files: one for each, and one for those that have ended.

Each worker writes its numbers once a second, when it ends, and before it answers a scrape. The counts of a worker that
has died stay in the sum: the main process folds what such have left into one file. Writing before the answer keeps the
sum from falling:

    worker A is scraped and answers with requests not yet in its file · worker B is scraped and adds up the old file ·
    the sum has fallen, and Prometheus takes that for a restart and counts everything a second time
"""

from __future__ import annotations

import logging
import os
import uuid
from collections import defaultdict
from collections.abc import Container, Iterable
from pathlib import Path

import msgspec

from greenroom.counters import BUCKETS

log = logging.getLogger("greenroom.http")


class Bars(msgspec.Struct):
    """A histogram: a count for each bucket, and the sum in seconds."""

    counts: list[int]
    total: float

    def add(self, other: Bars) -> None:
        """Add the counts of another."""
        self.counts = [mine + theirs for mine, theirs in zip(self.counts, other.counts, strict=True)]
        self.total += other.total


class Numbers(msgspec.Struct):
    """Everything one worker has counted: per metric, labels to a number."""

    counts: dict[str, list[tuple[list[str], int]]]
    histograms: dict[str, list[tuple[list[str], Bars]]]


class _Ended(msgspec.Struct):
    """What workers that have ended had counted, and the files whose numbers are in it and may still be there."""

    numbers: Numbers
    folded: list[str]


_ENDED = "ended"
"""The name of its file."""


class WorkerFile:
    """The numbers of one worker, and those of the others.

    Arguments:
        shared: the directory that all workers of one service write to; None for a single worker.
    """

    def __init__(self, shared: Path | None) -> None:
        # Not named after the process alone: a successor may get its number, and must not replace its counts.
        # docs/decisions/0048-worker-metrics-use-files.md
        self.path = shared / f"{os.getpid()}-{uuid.uuid4().hex}.json" if shared is not None else None
        """Where this worker writes."""

    def write(self, numbers: Numbers) -> None:
        """Write this worker's numbers for the others; a reader sees the old file or the new one, whole."""
        if self.path is None:
            return
        part = self.path.with_suffix(".part")
        try:
            part.write_bytes(msgspec.json.encode(numbers))
            part.replace(self.path)
        except OSError as error:
            log.warning("the numbers for /metrics could not be shared: %s", error)

    def others(self) -> list[Numbers]:
        """What all other workers have written, those that have ended too."""
        if self.path is None:
            return []
        directory = self.path.parent
        while True:
            ended = _ended(directory)
            folded = [self.path.name, *(ended.folded if ended is not None else ())]
            try:
                snapshots = [_read(path) for path in directory.glob("*.json") if path.name not in folded]
            except FileNotFoundError:
                continue  # it has just been folded
            # Prevents: we look for what has ended · it is folded and its file deleted · we miss it, and the sum falls.
            if _ended(directory) == ended:
                return snapshots if ended is None else [*snapshots, ended.numbers]


def fold(directory: Path, alive: Container[int | None]) -> None:
    """Put what ended workers have left into one file: a service whose workers die often must not read ever more.

    Arguments:
        directory: where the workers share their numbers.
        alive: the process numbers of those that may still write.
    """
    try:
        gone = [path for path in directory.glob("*.json") if int(path.name.partition("-")[0]) not in alive]
        ended = _ended(directory)
        new = [path for path in gone if ended is None or path.name not in ended.folded]
        if new:
            everyone = [*map(_read, new), *([ended.numbers] if ended is not None else [])]
            part = directory / f"{_ENDED}.part"
            part.write_bytes(msgspec.json.encode(_Ended(_summed(everyone), [path.name for path in gone])))
            part.replace(directory / _ENDED)
        for path in gone:
            path.with_suffix(".part").unlink(missing_ok=True)
            path.unlink()
    except OSError as error:
        log.warning("the numbers of ended workers could not be put together: %s", error)


def _ended(directory: Path) -> _Ended | None:
    try:
        return msgspec.json.decode((directory / _ENDED).read_bytes(), type=_Ended)
    except FileNotFoundError:
        return None


def _read(path: Path) -> Numbers:
    return msgspec.json.decode(path.read_bytes(), type=Numbers)


def _summed(everyone: list[Numbers]) -> Numbers:
    one = everyone[0]  # all have the same names
    return Numbers(
        counts={name: [(list(key), n) for key, n in sum_counts(name, everyone).items()] for name in one.counts},
        histograms={
            name: [(list(key), bars) for key, bars in sum_bars(name, everyone).items()] for name in one.histograms
        },
    )


def sum_counts(name: str, everyone: Iterable[Numbers]) -> dict[tuple[str, ...], int]:
    """The counts of one metric, by their labels, of all workers."""
    total: defaultdict[tuple[str, ...], int] = defaultdict(int)
    for numbers in everyone:
        for key, value in numbers.counts[name]:
            total[tuple(key)] += value
    return total


def sum_bars(name: str, everyone: Iterable[Numbers]) -> dict[tuple[str, ...], Bars]:
    """As `sum_counts`, of a histogram."""
    total: dict[tuple[str, ...], Bars] = {}
    for numbers in everyone:
        for key, bars in numbers.histograms[name]:
            total.setdefault(tuple(key), Bars([0] * (len(BUCKETS) + 1), 0.0)).add(bars)
    return total
