"""Counts of near hits, one for each thread: two threads that add to one number lose counts."""

from __future__ import annotations

import threading
from threading import RLock
from weakref import WeakSet


class CountCell:
    """What one thread has counted; it is added to the total when the thread ends."""

    __slots__ = ("__weakref__", "_count", "number", "taken")

    def __init__(self, count: ThreadCount) -> None:
        self._count = count
        self.number = 0
        """Written by its own thread alone."""
        self.taken = 0
        """How much of it was taken so far."""

    def __del__(self) -> None:
        self._count.ended(self)


class _Cells(threading.local):
    def __init__(self, count: ThreadCount) -> None:
        # Called anew in each thread that looks at it.
        self.cell = count.new_cell()


class ThreadCount:
    """A number to which each thread adds for itself: `count.local.cell.number += 1`."""

    __slots__ = ("_cells", "_ended", "_lock", "local")

    def __init__(self) -> None:
        # It may be taken twice by one thread: the finalizer of a cell can run anywhere.
        self._lock = RLock()
        self._cells: WeakSet[CountCell] = WeakSet()
        self._ended = 0
        self.local = _Cells(self)
        """Each thread's own cell."""

    def new_cell(self) -> CountCell:
        """A cell for the thread that asks."""
        cell = CountCell(self)
        with self._lock:
            self._cells.add(cell)
        return cell

    def ended(self, cell: CountCell) -> None:
        """The thread of a cell has ended."""
        with self._lock:
            self._ended += cell.number - cell.taken

    def take(self) -> int:
        """What was counted since this was last asked."""
        with self._lock:
            number, self._ended = self._ended, 0
            for cell in self._cells:
                counted = cell.number
                number += counted - cell.taken
                cell.taken = counted
            return number
