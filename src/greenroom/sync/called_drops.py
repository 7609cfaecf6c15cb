"""Drops that threads have called and that have not ended: no near hit is given of what they drop.

A drop is marked in its caller's thread, before it is queued for the loop. Prevents: a thread calls `invalidate` · it is
interrupted, as by Ctrl-C, while the call is on its way · it goes on, reads the key, and has the old value from near.

The mark is looked at *after* the near entry was had. Prevents: thread A looks, and finds no mark · thread B marks the
key, and its drop removes the entry · A has the entry all the same. That is a read from before B's call where A already
had the entry, and a stale one where it had not.
"""

from __future__ import annotations

from collections.abc import Collection
from threading import RLock

_SINGLY = 256
"""Keys of one drop that are marked one by one; those of more are marked together, with all others."""


class CalledDrop:
    """One call that drops something.

    Arguments:
        keys: what it drops, where that is known.
        wide: whether it drops more: a group, a keyspace.
    """

    __slots__ = ("keys", "wide")

    def __init__(self, keys: Collection[str] = (), *, wide: bool = False) -> None:
        self.wide = wide or len(keys) > _SINGLY
        self.keys = () if self.wide else keys


class CalledDrops:
    """The drops that the threads of one room have called and that have not ended."""

    def __init__(self) -> None:
        # It may be taken twice by one thread: a finalizer that drops something can run anywhere.
        self._lock = RLock()
        self.keys: dict[str, set[CalledDrop]] = {}
        """The drops of each key."""
        self.wide: set[CalledDrop] = set()
        """Those of groups and keyspaces: nothing is given from near while there are any."""

    def begin(self, drop: CalledDrop) -> None:
        """Mark what is dropped; in the caller's thread."""
        with self._lock:
            if drop.wide:
                self.wide.add(drop)
            for key in drop.keys:
                self.keys.setdefault(key, set()).add(drop)

    def end(self, drop: CalledDrop) -> None:
        """The drop has ended, or has failed and is kept. It may have been marked in part, by a thread interrupted."""
        with self._lock:
            self.wide.discard(drop)
            for key in drop.keys:
                drops = self.keys.get(key)
                if drops is not None:
                    drops.discard(drop)
                    if not drops:
                        del self.keys[key]
