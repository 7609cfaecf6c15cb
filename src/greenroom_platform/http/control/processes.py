"""What only one process knows, told to its siblings: loads under way, and what is near.

The workers of a service write it beside their numbers, once a second, and read that of the others. What has not been
written for a few seconds is a dead process's, and is passed over. An order to end a load goes the same way: only the
process in which it is under way can end it.
"""

from __future__ import annotations

import asyncio
import logging
import os
import uuid
from collections.abc import Callable
from pathlib import Path
from time import time
from typing import TypeVar

import msgspec

log = logging.getLogger("greenroom.http")

T = TypeVar("T")

INTERVAL = 1.0
"""Seconds between two writes."""
_DEAD = 5.0
"""Seconds after which what a process has written is not believed any more."""
_FORGOTTEN = 60.0
LOADS_SHOWN = 50
"""Loads of one process that are shown, the oldest."""


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """A load under way: it is loaded in this process, or it waits for another one that loads.

    Arguments:
        seconds: since it began.
        waiting: callers who wait for it.
    """

    process: str
    keyspace: str
    key: str
    seconds: float
    waiting: int


class ProcessView(msgspec.Struct, frozen=True, kw_only=True):
    """What one process has.

    Arguments:
        unsent_drops: drops that no server has acknowledged yet.
        unsent_changes: changes found in the outbox that it has not sent yet.
    """

    process: str
    near_entries: int
    near_bytes: int
    unsent_drops: int
    unsent_changes: int
    loads: tuple[Load, ...]


class _Written(msgspec.Struct, frozen=True):
    at: float
    view: ProcessView


class _Order(msgspec.Struct, frozen=True):
    at: float
    keyspace: str
    key: str


class Processes:
    """The processes of one service on one host.

    Arguments:
        shared: the directory that all workers write to; None for a single worker.
        view: what this process has.
        cancel: ends a load of this process, given its keyspace and key; returns how many waited.
    """

    def __init__(self, shared: Path | None, view: Callable[[], ProcessView], cancel: Callable[[str, str], int]) -> None:
        self._directory = shared
        self._name = f"{os.getpid()}-{uuid.uuid4().hex}"
        self._view = view
        self._cancel = cancel
        self._done: set[str] = set()

    def views(self) -> list[ProcessView]:
        """Every process that lives, this one first."""
        found = [self._view()]
        if self._directory is not None:
            others = (path for path in self._directory.glob("*.view") if path.stem != self._name)
            found += [one.view for path in others if (one := _read(path, _Written)) is not None and _is_new(one.at)]
        return found

    def cancel(self, keyspace: str, key: str) -> int:
        """End the loads of a key in every process; returns how many waited in this one."""
        if self._directory is not None:
            name = uuid.uuid4().hex
            self._done.add(name)
            _write(self._directory / f"{name}.order", _Order(time(), keyspace, key))
        return self._cancel(keyspace, key)

    async def run(self) -> None:
        """Write, and do what siblings order, for ever."""
        if self._directory is None:
            return
        own = self._directory / f"{self._name}.view"
        try:
            while True:
                _write(own, _Written(time(), self._view()))
                self._obey(self._directory)
                await asyncio.sleep(INTERVAL)
        finally:
            own.unlink(missing_ok=True)

    def _obey(self, directory: Path) -> None:
        for path in directory.glob("*.view"):
            if (one := _read(path, _Written)) is not None and time() - one.at > _FORGOTTEN:
                path.unlink(missing_ok=True)
        for path in directory.glob("*.order"):
            order = _read(path, _Order)
            if order is None or time() - order.at > _FORGOTTEN:
                path.unlink(missing_ok=True)
                self._done.discard(path.stem)
            elif path.stem not in self._done:
                self._done.add(path.stem)
                if _is_new(order.at):
                    self._cancel(order.keyspace, order.key)


def _is_new(at: float) -> bool:
    return abs(time() - at) < _DEAD


def _write(path: Path, what: object) -> None:
    part = path.with_suffix(".part")
    try:
        part.write_bytes(msgspec.json.encode(what))
        part.replace(path)
    except OSError as error:
        log.warning("the state of this process could not be shared: %s", error)


def _read(path: Path, type_: type[T]) -> T | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=type_)
    except (OSError, msgspec.DecodeError):
        return None
