"""The near cache: what this process has read lately, evicted by the server's pushes.

S3-FIFO (Yang et al., SOSP 2023): newcomers enter a small queue, and only what is asked for again moves to the main
one; a ghost list remembers what left the small queue too early. A scan of one-off keys so never displaces what is
popular, and a hit costs one dictionary look-up and a counter.

An entry is served only while the connection that it was read on is known to be alive: pushes come on that connection,
so one that has answered nothing for too long may hide an invalidation.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from time import monotonic
from typing import Any, Protocol

import msgspec

from greenroom.engine import KeyFilter, Limits, all_keys

ENTRIES = 10_000
"""Entries above which the least wanted are evicted."""
SIZE = 64 * 1024 * 1024
"""Bytes above which the least wanted are evicted."""
_SMALL_SHARE = 10
"""One in so many of the entries and bytes is for newcomers."""
_ENTRY_COST = 600
"""Bytes that an entry is taken to need besides its JSON: key, slots, queue and dictionary."""
_VALUE_COST = 3
"""Times its JSON's length that a body and its decoded value are taken to need."""


class EntrySource(Protocol):
    """The connection that an entry was read on."""

    as_of: float
    """The pushes for all that had happened at this moment have been read, in seconds of `time.monotonic`.

    Minus infinity when the connection has ended.
    """
    owns: KeyFilter
    """True for the keys that its server has."""


class Entry(msgspec.Struct, gc=False):
    """A value as it was read; `value` and `body` are None for a remembered absence.

    Times are seconds of the room's clock: `fresh_until` is when the value should be refreshed, `expires_at` when it
    ends on the server, `near_until` when this process forgets it.
    """

    key: str
    value: Any
    body: bytes | None
    fresh_until: float
    expires_at: float
    near_until: float
    source: Any
    """The connection that it was read on: an `EntrySource`."""
    digest: str | None = None
    """A hash of the body, computed when it is first asked for."""
    attached: Any = None
    """What a server has made of the body, as a finished answer; see `Cache.attached`. It must not refer to the entry:
    such a cycle is never collected."""
    size: int = 0
    frequency: int = 0
    main: bool = False
    alive: bool = False

    def without_value(self) -> Entry:
        """The same with its JSON only: a value that callers could change is decoded for each of them."""
        return Entry(self.key, None, self.body, self.fresh_until, self.expires_at, self.near_until, self.source)


class Near:
    """Entries by key, bounded in number and bytes. Belongs to the event loop's thread.

    Arguments:
        entries: the most entries.
        size: the most bytes of all entries together, estimated.
        max_staleness: seconds since the sending of the newest command that a connection has answered after which no
            entry of it is served.
    """

    __slots__ = (
        "_bound",
        "_dead",
        "_entries",
        "_ghosts",
        "_largest",
        "_last_number",
        "_main",
        "_max_staleness",
        "_order",
        "_size",
        "_sizes",
        "_small",
        "_small_size",
    )

    def __init__(
        self, entries: int = ENTRIES, size: int = SIZE, *, max_staleness: float = Limits().max_staleness
    ) -> None:
        self._bound = entries
        # docs/decisions/0021-near-entries-trust-their-connection.md
        # Not since its last byte. Prevents: the loop stands still for three seconds · of the pushes that wait in the
        # socket the first chunk is read · what a later chunk drops is served meanwhile.
        self._max_staleness = max_staleness
        self._sizes = size
        self._largest = size // _SMALL_SHARE
        self._entries: dict[str, Entry] = {}
        self._small: deque[Entry] = deque()
        self._main: deque[Entry] = deque()
        self._ghosts: dict[str, int] = {}  # key → number of its last place in _order
        self._order: deque[tuple[str, int]] = deque()
        self._last_number = 0
        self._size = 0
        self._small_size = 0
        self._dead = 0

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def size(self) -> int:
        """Bytes that the entries are taken to need."""
        return self._size

    def get(self, key: str, now: float) -> Entry | None:
        """The entry of `key`, if it may be served at `now`."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        if now >= entry.near_until or monotonic() - entry.source.as_of >= self._max_staleness:
            if now >= entry.near_until or entry.source.as_of < 0:
                self._remove(entry)
            return None
        if entry.frequency < 3:
            entry.frequency += 1
        return entry

    def peek(self, key: str, now: float) -> Entry | None:
        """As `get`, without a trace: a look is no use of the entry, and removes nothing."""
        entry = self._entries.get(key)
        if entry is None or now >= entry.near_until or monotonic() - entry.source.as_of >= self._max_staleness:
            return None
        return entry

    def use(self, entry: Entry) -> None:
        """Count a use of an entry that `peek` has given, as `get` does."""
        if entry.frequency < 3:
            entry.frequency += 1

    def put(self, entry: Entry) -> None:
        """Take an entry in, in place of an older one with its key. To be called in the socket's reader only."""
        entry.size = _ENTRY_COST + (len(entry.body) * _VALUE_COST if entry.body is not None else 0)
        if entry.size > self._largest:
            self.pop(entry.key)
            return
        old = self._entries.get(entry.key)
        if old is not None:
            entry.main, entry.frequency = old.main, old.frequency
            self._remove(old)
        elif self._ghosts.pop(entry.key, None) is not None:
            entry.main = True
        entry.alive = True
        self._entries[entry.key] = entry
        self._size += entry.size
        if entry.main:
            self._main.append(entry)
        else:
            self._small_size += entry.size
            self._small.append(entry)
        while len(self._entries) > self._bound or self._size > self._sizes:
            self._evict()

    def pop(self, key: str) -> None:
        """Forget `key`."""
        entry = self._entries.get(key)
        if entry is not None:
            self._remove(entry)

    def pop_all(self, keys: Iterable[str]) -> None:
        """Forget some keys; costs next to nothing for those that are not here."""
        for key in self._entries.keys() & keys if self._entries else ():
            self.pop(key)

    def clear(self, owns: KeyFilter = all_keys) -> None:
        """Forget everything, or the keys that are meant."""
        if owns is not all_keys:
            for key in self:
                if owns(key):
                    self.pop(key)
            return
        for entry in self._entries.values():
            entry.alive = False
        for queue in (self._small, self._main, self._order):
            queue.clear()
        self._entries.clear()
        self._ghosts.clear()
        self._size = self._small_size = self._dead = 0

    def __iter__(self) -> Iterator[str]:
        return iter(tuple(self._entries))

    # ------------------------------------------------------------------------------------------------

    def _remove(self, entry: Entry) -> None:
        """Take an entry out at once; its queue forgets it later, since a deque has no quick way to."""
        del self._entries[entry.key]
        entry.alive = False
        self._size -= entry.size
        if not entry.main:
            self._small_size -= entry.size
        self._dead += 1
        if self._dead > len(self._entries) + 16:
            self._small = deque(one for one in self._small if one.alive)
            self._main = deque(one for one in self._main if one.alive)
            self._dead = 0

    def _evict(self) -> None:
        small = self._small and (
            self._small_size * _SMALL_SHARE >= self._sizes
            or len(self._small) * _SMALL_SHARE >= self._bound
            or not self._main
        )
        if small:
            self._evict_small()
        else:
            self._evict_main()

    def _evict_small(self) -> None:
        entry = self._small.popleft()
        if not entry.alive:
            self._dead -= 1
        elif entry.frequency > 1:
            entry.main, entry.frequency = True, 0
            self._small_size -= entry.size
            self._main.append(entry)
        else:
            self._drop(entry)
            self._small_size -= entry.size
            self._remember(entry.key)

    def _evict_main(self) -> None:
        entry = self._main.popleft()
        if not entry.alive:
            self._dead -= 1
        elif entry.frequency > 0:
            entry.frequency -= 1
            self._main.append(entry)
        else:
            self._drop(entry)

    def _drop(self, entry: Entry) -> None:
        del self._entries[entry.key]
        entry.alive = False
        self._size -= entry.size

    def _remember(self, key: str) -> None:
        """A ghost: a key that, should it come back soon, deserves the main queue. As many as there are entries."""
        # No number twice: else the first place of a key that came back and left again would end its second.
        self._last_number += 1
        self._ghosts[key] = self._last_number
        self._order.append((key, self._last_number))
        while len(self._order) > self._bound:
            oldest, number = self._order.popleft()
            if self._ghosts.get(oldest) == number:
                del self._ghosts[oldest]
