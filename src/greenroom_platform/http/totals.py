"""What a service has counted of caches, sessions and servers: the numbers behind the charts of the control room."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import msgspec

from greenroom.counters import BUCKETS

K = TypeVar("K")


class Totals(msgspec.Struct, frozen=True):
    """What is counted of caches, sessions and servers, of all workers together.

    Arguments:
        reads, errors, events: by keyspace and outcome, kind or event.
        sessions: by event.
        loads: by keyspace, how long its loader took: a count for each bucket.
        commands: by server, likewise.
    """

    reads: dict[tuple[str, str], int]
    errors: dict[tuple[str, str], int]
    events: dict[tuple[str, str], int]
    sessions: dict[str, int]
    loads: dict[str, list[int]]
    commands: dict[str, list[int]]

    def minus(self, before: Totals) -> Totals:
        """What was counted since."""
        return Totals(
            _less(self.reads, before.reads),
            _less(self.errors, before.errors),
            _less(self.events, before.events),
            _less(self.sessions, before.sessions),
            _fewer(self.loads, before.loads),
            _fewer(self.commands, before.commands),
        )


def _less(after: Mapping[K, int], before: Mapping[K, int]) -> dict[K, int]:
    return {key: max(0, number - before.get(key, 0)) for key, number in after.items()}


def _fewer(after: Mapping[str, list[int]], before: Mapping[str, list[int]]) -> dict[str, list[int]]:
    none = [0] * (len(BUCKETS) + 1)
    return {
        key: [max(0, now - then) for now, then in zip(counts, before.get(key, none), strict=True)]
        for key, counts in after.items()
    }
