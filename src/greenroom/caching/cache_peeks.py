"""What a cache answers from this process alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence, Set
from threading import get_ident
from typing import Any, TypeVar

from greenroom.caching.cache_drops import CacheDrops
from greenroom.caching.near import Entry, Near
from greenroom.caching.outbox_drops import OutboxDrops
from greenroom.caching.result import Outcome
from greenroom.keyspace import Keyspace
from greenroom.keyspace.recent_keys import RecentKeys

T = TypeVar("T")


class CachePeeks(CacheDrops[T]):
    """The part of a cache that asks no server and loads nothing: see `Cache`."""

    _near: Near
    _now: Callable[[], float]
    _counts: defaultdict[tuple[str, str], int]
    _outbox_drops: OutboxDrops
    _pending_groups: Set[str]

    def __init__(self, keyspace: Keyspace[T], groups: Sequence[str]) -> None:
        super().__init__(keyspace, groups)
        recent = RecentKeys(keyspace)
        self._key = recent.key
        self._keys = recent.known
        self._counted_near = keyspace.name, Outcome.NEAR.value

    def peek(self, *args: object, **parts: object) -> T | None:
        """The value if this process has it and may serve it; asks no server, loads nothing, and does not wait."""
        self._check_open()
        key = self._key(args, parts)
        entry = self._servable(key)
        if entry is None or entry.body is None:
            return None
        value: T | None = entry.value
        return self.keyspace.decode(key, entry.body) if value is None else value

    def attached(self, key: str) -> Any:
        """What was left at the near entry of a key, while that entry may be served as it is; None where it may not be.

        A server keeps a finished answer in `CacheResult.entry.attached` of a near hit. It dies with the entry: a push,
        a drop asked for here, a lost or silent connection, a slot that moves, the end of its freshness. What is given
        counts as a near hit.
        """
        if get_ident() != self._opened.thread or not self._loop_runs():
            return None
        entry = self._servable(key)
        if entry is None or entry.attached is None:
            return None
        self._near.use(entry)
        self._counts[self._counted_near] += 1
        return entry.attached

    def detach(self, key: str) -> None:
        """Forget what was left at the near entry of a key."""
        entry = self._near.peek(key, self._now())
        if entry is not None:
            entry.attached = None

    def is_near(self, *args: object, **parts: object) -> bool:
        """Whether this process has the value, or its absence, and may serve it; leaves no trace.

        Raises:
            As `get`.
        """
        self._check_open()
        return self._servable(self._key(args, parts)) is not None

    def watch(self, callback: Callable[[], None], *args: object, **parts: object) -> Callable[[], None]:
        """Have `callback` called when the value may have changed; returns what ends that: see `LocalCopies.watch`."""
        self._check_open()
        return self._backing.local.watch(self._key(args, parts), callback)

    # ------------------------------------------------------------------------------------------------

    def _servable(self, key: str) -> Entry | None:
        """The near entry that may be served as it is: fresh, and no drop is pending that may be of its key."""
        if self._pending_groups or self._outbox_drops.any or key in self._backing.drops.pending:
            return None
        now = self._now()
        entry = self._near.peek(key, now)
        return entry if entry is not None and now < entry.fresh_until else None
