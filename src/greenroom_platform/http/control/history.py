"""What was counted in the last fifteen minutes: a ring in each process, of the sums over all workers of the service.

Each worker takes its samples of the sums that `/metrics` shows: whichever of them is asked tells the same, and the
counts of one that has died stay in. A worker that has just begun knows less of the past.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from itertools import pairwise

import msgspec

from greenroom.counters import BUCKETS
from greenroom_platform.http.totals import Totals

STEP = 5.0
"""Seconds between two samples."""
KEPT = 15 * 60.0
"""Seconds of which samples are kept."""
_POINT = 3
"""Samples to one point of a chart."""
_FEW = 36
"""So many samples are shown one by one."""

NEAR, VALKEY, SHARED, RECORD = ("near",), ("hit", "stale"), ("shared",), ("loaded", "bypassed")
"""Outcomes of reads by the place that has answered; one that waited for another's load is spared a look-up."""


class Flow(msgspec.Struct, frozen=True, kw_only=True):
    """Reads a second, by who has answered them.

    Arguments:
        seconds: of which this is the average.
        spared: the share that the record was spared; None where nothing was read.
    """

    seconds: float
    reads: float
    near: float
    valkey: float
    shared: float
    record: float
    spared: float | None


class KeyspaceHistory(msgspec.Struct, frozen=True, kw_only=True):
    """One keyspace over fifteen minutes, at the times of `OutcomeHistory`; a place without a number had no load.

    Arguments:
        outcomes: reads a second, by outcome.
        p50_ms: half of the loads took no longer.
        p99_ms: 99 of 100 loads took no longer.
    """

    name: str
    outcomes: dict[str, list[float]]
    p50_ms: list[float | None]
    p99_ms: list[float | None]


class OutcomeHistory(msgspec.Struct, frozen=True, kw_only=True):
    """The charts. Times are in seconds since 1970."""

    times: list[float]
    keyspaces: list[KeyspaceHistory]


class Ring:
    """Samples of the sums, the newest last."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, Totals]] = deque(maxlen=int(KEPT / STEP) + 1)
        self._added = 0

    def add(self, at: float, totals: Totals) -> None:
        """Take a sample, at a time in seconds since 1970."""
        # A clock that was set back: what was sampled before has no place any more.
        while self._samples and self._samples[-1][0] >= at:
            self._samples.pop()
        self._samples.append((at, totals))
        self._added += 1

    def since(self, seconds: float, now: float, totals: Totals) -> tuple[float, Totals]:
        """What was counted in the last so many seconds, and of how many that could be told."""
        at, before = now, totals
        for sampled, sample in reversed(self._samples):
            if now - sampled > seconds + STEP:
                break
            at, before = sampled, sample
        return max(now - at, 1e-9), totals.minus(before)

    def flow(self, keyspace: str | None, elapsed: float, counted: Totals) -> Flow:
        """The rates of a keyspace, or of all, of what `since` has given."""
        reads: dict[str, int] = {}
        for (name, outcome), number in counted.reads.items():
            if keyspace in (None, name):
                reads[outcome] = reads.get(outcome, 0) + number

        def rate(outcomes: Iterable[str]) -> float:
            return round(sum(reads.get(one, 0) for one in outcomes) / elapsed, 3)

        whole = sum(reads.values())
        record = sum(reads.get(one, 0) for one in RECORD)
        return Flow(
            seconds=round(elapsed, 1),
            reads=round(whole / elapsed, 3),
            near=rate(NEAR),
            valkey=rate(VALKEY),
            shared=rate(SHARED),
            record=rate(RECORD),
            spared=None if not whole else 1 - record / whole,
        )

    def history(self, keyspaces: Iterable[str]) -> OutcomeHistory:
        """The charts of some keyspaces."""
        # By the numbers of the samples: points do not move while others are added. At first each sample is a point.
        first, step = self._added - len(self._samples), _POINT if len(self._samples) > _FEW else 1
        kept = [sample for number, sample in enumerate(self._samples, first) if number % step == 0]
        steps = [(after[0] - before[0], after[1].minus(before[1])) for before, after in pairwise(kept)]
        return OutcomeHistory(times=[at for at, _ in kept[1:]], keyspaces=[_history(name, steps) for name in keyspaces])


def _history(name: str, steps: list[tuple[float, Totals]]) -> KeyspaceHistory:
    outcomes = (*NEAR, *VALKEY, *SHARED, *RECORD)
    loads = [step.loads.get(name, []) for _, step in steps]
    return KeyspaceHistory(
        name=name,
        outcomes={
            one: [round(step.reads.get((name, one), 0) / elapsed, 3) for elapsed, step in steps] for one in outcomes
        },
        p50_ms=[quantile_ms(one, 0.5) for one in loads],
        p99_ms=[quantile_ms(one, 0.99) for one in loads],
    )


def quantile_ms(counts: list[int], share: float) -> float | None:
    """A quantile of a histogram in milliseconds, as Prometheus guesses it within a bucket; None of nothing."""
    total = sum(counts)
    if not total:
        return None
    wanted, below, lower = share * total, 0, 0.0
    for bound, count in zip(BUCKETS, counts, strict=False):
        if count and below + count >= wanted:
            return round((lower + (bound - lower) * (wanted - below) / count) * 1000, 3)
        below, lower = below + count, bound
    return BUCKETS[-1] * 1000


def summed_by(counts: Mapping[tuple[str, str], int], keyspace: str) -> dict[str, int]:
    """The counts of a keyspace by their second label, without those that are 0."""
    return {label: number for (name, label), number in counts.items() if name == keyspace and number}
