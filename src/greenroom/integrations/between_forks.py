"""Work of our own threads in the database of a program, between which a process forks.

Prevents: a thread of ours is in a transaction · the program forks · the child has SQLite's locks of a transaction that
nobody ends in it, and each write of the child finds its database locked; of another database it has a connection that
its parent goes on using.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Condition, Lock

LONGEST = 2.0
"""Seconds that a fork waits for work under way; a database that answers no sooner is not waited for."""


class WorkBetweenForks:
    """Keeps work and forks apart."""

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self._changed = Condition(Lock())
        self._under_way = 0
        self._forking = False

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """Around work; a fork that has begun goes first."""
        with self._changed:
            self._changed.wait_for(lambda: not self._forking, LONGEST)
            self._under_way += 1
        try:
            yield
        finally:
            with self._changed:
                self._under_way -= 1
                self._changed.notify_all()

    def before_fork(self) -> None:
        """Wait for what is under way; nothing else begins until the fork is over."""
        self._changed.acquire()
        self._forking = True
        self._changed.wait_for(lambda: not self._under_way, LONGEST)

    def in_parent(self) -> None:
        """Go on after a fork."""
        self._forking = False
        self._changed.notify_all()
        self._changed.release()

    def in_child(self) -> None:
        """Begin anew: the threads of the parent are not there."""
        self._begin()


between_forks = WorkBetweenForks()
"""That of this process."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=between_forks.before_fork,
        after_in_parent=between_forks.in_parent,
        after_in_child=between_forks.in_child,
    )
