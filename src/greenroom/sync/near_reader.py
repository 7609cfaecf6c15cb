"""What caches and stores read near with, each in its caller's thread: no lock, no loop, and nothing removed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Set
from time import monotonic
from typing import Any

from greenroom.caching.invalidation import Backing
from greenroom.caching.near import Entry
from greenroom.caching.result import Outcome
from greenroom.keyspace import Keyspace
from greenroom.keyspace.recent_keys import RecentKeys
from greenroom.sync.called_drops import CalledDrop, CalledDrops
from greenroom.sync.direct_calls import DirectCalls
from greenroom.sync.thread_counts import ThreadCount


class NearReader:
    """The near reads of one cache or store.

    A hit is counted in the entry, so that what is wanted stays: two threads that raise that count by one are as good as
    two that raise it by two.

    Arguments:
        declare: declares the same in the asynchronous room.
    """

    def __init__(self, declare: Callable[[], Any]) -> None:
        self._declare = declare
        self.asynchronous = declare()
        """The same for coroutines of the room's own event loop."""
        self.keyspace: Keyspace[Any] = self.asynchronous.keyspace
        """What the keys and values are."""
        self._now: Callable[[], float] = monotonic
        self._peek: Callable[[str, float], Entry | None] = _nothing
        self._direct: DirectCalls | None = None
        recent = RecentKeys(self.keyspace)
        self._key = recent.key
        self._keys = recent.known
        self._begin_counting()

    def bind(self, backing: Backing, called: CalledDrops, direct: DirectCalls | None) -> None:
        """The room is open: near hits are given from now on.

        Arguments:
            direct: asks the room's server without the loop, where that can be done.
        """
        self._direct = direct if self.asynchronous.keeps_nothing_near else None
        self._now = backing.clock.monotonic
        self._called_keys: Mapping[str, object] = called.keys
        self._called_wide: Set[CalledDrop] = called.wide
        self._pending_groups: Set[str] = backing.groups.pending_drops
        self._outbox_drops = backing.outbox_drops
        self._peek = backing.near.peek

    def unbind(self) -> None:
        """The room is closed: nothing is given from near, and no server is asked."""
        self._peek = _nothing
        self._direct = None

    def forked(self) -> object:
        """In a forked child; returns what is the parent's."""
        self.unbind()
        inherited = self.asynchronous, self._hits, self._far_hits, self._misses
        self._begin_counting()
        return inherited

    def declare_again(self) -> None:
        """In a forked child, which has an asynchronous room of its own by now."""
        self.asynchronous = self._declare()

    def take_hits(self) -> Iterator[tuple[tuple[str, str], int]]:
        """What threads had by themselves since this was last asked, and what `Counters.reads` has it under."""
        yield (self.keyspace.name, Outcome.NEAR.value), self._hits.take()
        yield (self.keyspace.name, Outcome.HIT.value), self._far_hits.take()
        if missed := self._misses.take():
            yield (self.keyspace.name, "miss"), missed

    def _begin_counting(self) -> None:
        self._hits, self._far_hits, self._misses = ThreadCount(), ThreadCount(), ThreadCount()
        self._local, self._far_local, self._missed_local = self._hits.local, self._far_hits.local, self._misses.local


def _nothing(_key: str, _now: float) -> None:
    """What is near while the room is not open."""
