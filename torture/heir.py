"""What a process that was killed has left undone: commits whose invalidation it has not told to be done.

A library user without an outbox has the lifetime as the bound; these have one, their journal, and their successor reads
it. The platform's own outbox is the podcasts'.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from greenroom.errors import EngineError
from torture.caches import ITEM, PAGE, Caches
from torture.history import Drop, Write, now
from torture.journal import Journal, events


def bequeathed(journals: Sequence[Path]) -> dict[str, int]:
    """The keys of items and pages that processes have changed and not dropped, with the newest version of each."""
    left: dict[str, int] = {}
    for event in sorted((event for one in journals for event in events(one)), key=lambda event: event.ended):
        if isinstance(event, Write) and (ITEM.pattern.parse(event.key) or PAGE.pattern.parse(event.key)):
            left[event.key] = event.version
        elif isinstance(event, Drop) and event.acknowledged and event.version >= left.get(event.key, 0):
            left.pop(event.key, None)
    return left


async def send(left: dict[str, int], caches: Caches, journal: Journal) -> None:
    """Drop these keys; what cannot be sent now is kept, as ever."""
    for key, version in left.items():
        began, acknowledged = now(), True
        cache = caches.items if ITEM.pattern.parse(key) else caches.pages
        try:
            await cache.invalidate(**(cache.keyspace.pattern.parse(key) or {}))
        except EngineError:
            acknowledged = False
        journal.add(Drop(journal.process, began, now(), key, version, acknowledged, False))
