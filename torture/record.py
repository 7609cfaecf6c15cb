"""The record that all processes share: a version per item, in one small file.

A change and a read hold a lock on the file, so that what a load sees was true at one moment within it.
"""

from __future__ import annotations

import fcntl
import mmap
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

SHOWS = ("s1", "s2")
ITEMS = tuple(f"{show}-i{number}" for show in SHOWS for number in (1, 2, 3))
PER_PAGE = 2
PAGES = (1, 2)
_CELL = struct.Struct("<Q")
_PLACE = {name: position * _CELL.size for position, name in enumerate((*ITEMS, *SHOWS))}


class State(NamedTuple):
    """What the record holds of an item: `present` tells whether there is a value."""

    version: int
    present: bool


class ShowState(NamedTuple):
    """A show's version, which grows with each change to one of its items, and the items that are present."""

    version: int
    items: list[tuple[str, int]]

    def page(self, number: int) -> list[tuple[str, int]]:
        """The items of one page; none past the last."""
        return self.items[(number - 1) * PER_PAGE : number * PER_PAGE]


def show_of(item: str) -> str:
    """The show that an item belongs to."""
    return item.partition("-")[0]


class Record:
    """One process's view of the file."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("r+b")
        self._cells = mmap.mmap(self._file.fileno(), 0)

    @classmethod
    def create(cls, path: Path) -> Record:
        """A record in which every item has version 1."""
        path.write_bytes(bytes(len(_PLACE) * _CELL.size))
        record = cls(path)
        for item in ITEMS:
            record.write(item, present=True)
        return record

    def item(self, item: str) -> State:
        """What there is of an item."""
        with self._locked(fcntl.LOCK_SH):
            return self._state(item)

    def show(self, show: str) -> ShowState:
        """What there is of a show, all as of one moment."""
        with self._locked(fcntl.LOCK_SH):
            return self._show_state(show)

    def write(
        self, item: str, *, present: bool, told: Callable[[State, ShowState], None] = lambda *_: None
    ) -> tuple[State, ShowState]:
        """Change an item; returns what it and its show are then.

        Arguments:
            told: called with that before it is seen, so that nobody who is killed has changed what he has not told.
        """
        show = show_of(item)
        with self._locked(fcntl.LOCK_EX):
            state = State(self._state(item).version + 1, present)
            others = {name: one for name in ITEMS if show_of(name) == show and (one := self._state(name)).present}
            after = others | {item: state} if present else {k: v for k, v in others.items() if k != item}
            items = [(name, after[name].version) for name in ITEMS if name in after]
            show_state = ShowState(self._get(show) + 1, items)
            told(state, show_state)
            self._put(show, show_state.version)
            self._put(item, state.version << 1 | present)
            return state, show_state

    def close(self) -> None:
        """Let go of the file."""
        self._cells.close()
        self._file.close()

    # ------------------------------------------------------------------------------------------------

    def _state(self, item: str) -> State:
        cell = self._get(item)
        return State(cell >> 1, bool(cell & 1))

    def _show_state(self, show: str) -> ShowState:
        states = ((item, self._state(item)) for item in ITEMS if show_of(item) == show)
        return ShowState(self._get(show), [(item, state.version) for item, state in states if state.present])

    def _get(self, name: str) -> int:
        return int(_CELL.unpack_from(self._cells, _PLACE[name])[0])

    def _put(self, name: str, value: int) -> None:
        _CELL.pack_into(self._cells, _PLACE[name], value)

    @contextmanager
    def _locked(self, how: int) -> Iterator[None]:
        fcntl.flock(self._file, how)
        try:
            yield
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)
