"""Counts of near hits, one for each thread: two threads that add to one number lose counts."""

from __future__ import annotations

import threading
from collections import deque
from threading import RLock
from weakref import WeakSet

_MOST_LEFT = 1000
"""Counts of threads that have ended which are kept singly."""


class CountCell:
    """What one thread has counted; it is added to the total when the thread ends."""

    __slots__ = ("__weakref__", "_left", "number", "taken")

    def __init__(self, left: deque[int]) -> None:
        self._left = left
        self.number = 0
        """Written by its own thread alone."""
        self.taken = 0
        """How much of it was taken so far."""

    def __del__(self) -> None:
        # Without a lock. Prevents: a thread takes the lock, and another one forks · the interpreter ends the threads
        # that the child lacks, and so this cell · that waits for a lock which nobody gives back: fork never returns.
        # Taken first: who takes in another thread may still find this cell.
        taken, self.taken = self.taken, self.number
        self._left.append(self.number - taken)


class _Cells(threading.local):
    def __init__(self, count: ThreadCount) -> None:
        # Called anew in each thread that looks at it.
        self.cell = count.new_cell()


class ThreadCount:
    """A number to which each thread adds for itself: `count.local.cell.number += 1`."""

    __slots__ = ("_cells", "_left", "_lock", "local")

    def __init__(self) -> None:
        # Prevents: two threads take · both add what a cell has counted. One thread may hold it twice: a signal's
        # handler that reads for the first time can run anywhere.
        self._lock = RLock()
        self._cells: WeakSet[CountCell] = WeakSet()
        self._left: deque[int] = deque()
        """What threads that have ended had counted, and nobody has taken."""
        self.local = _Cells(self)
        """Each thread's own cell."""

    def new_cell(self) -> CountCell:
        """A cell for the thread that asks."""
        cell = CountCell(self._left)
        with self._lock:
            self._cells.add(cell)
            if len(self._left) > _MOST_LEFT:
                # Prevents: each request has a thread of its own, and nobody reads the counts · a number stays of each.
                self._left.append(self._taken_of_left())
        return cell

    def take(self) -> int:
        """What was counted since this was last asked."""
        with self._lock:
            number = 0
            for cell in self._cells:
                counted = cell.number
                number += counted - cell.taken
                cell.taken = counted
            return number + self._taken_of_left()

    def _taken_of_left(self) -> int:
        number = 0
        while self._left:
            number += self._left.popleft()
        return number
