"""What cannot be read in a record: documents are told with their id, counted, and left out of lists; rows are told."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from threading import Lock
from typing import Any, Protocol, TypeVar, runtime_checkable

import msgspec

from greenroom.errors import BrokenDocument
from greenroom_platform.models import STATUSES, PodcastTask, Snippet, Topic

log = logging.getLogger("greenroom.storage")

R = TypeVar("R")
T = TypeVar("T", bound=msgspec.Struct)

_LOGGED = 1000
"""Broken documents that are told of by name; then they are only counted."""


class BrokenDocuments:
    """What was left out of lists and exports; each is told of once. Lists may be read in several threads."""

    def __init__(self) -> None:
        self.counts = {(kind,): 0 for kind in ("topic", "snippet", "podcasttask", "storedrecording")}
        """By their kind; here from the start, since nobody sees a first step from nothing."""
        self._logged: set[tuple[str, str]] = set()
        self._lock = Lock()

    @property
    def count(self) -> int:
        """All of them, each as often as it was left out."""
        return sum(self.counts.values())

    def fitting(self, decoded: Callable[[R, type[T]], T], row: R, type_: type[T]) -> T | None:
        """The object in a row of a list; None where there is none, which the log says."""
        try:
            return decoded(row, type_)
        except BrokenDocument as error:
            self.add(error)
            return None

    def add(self, error: BrokenDocument) -> None:
        """Count one that was left out."""
        name = error.kind, str(error)
        with self._lock:
            self.counts[error.kind,] += 1
            is_new = name not in self._logged and len(self._logged) < _LOGGED
            if is_new:
                self._logged.add(name)
        if is_new:
            log.error("left out: %s", error)


@runtime_checkable
class KnowsBroken(Protocol):
    """A record that tells what it leaves out."""

    @property
    def broken(self) -> BrokenDocuments:
        """What it has left out so far."""


def all_decoded(
    decoded: Callable[[R, type[T]], T], topics: Iterable[R], snippets: Iterable[R]
) -> tuple[list[Topic], list[Snippet]]:
    """What is stored; where some of it does not fit, all that does not is named at once.

    Raises:
        BrokenDocument: the first, with the others.
    """
    broken: list[BrokenDocument] = []

    def each(rows: Iterable[R], type_: Any) -> list[Any]:
        fitting = []
        for row in rows:
            try:
                fitting.append(decoded(row, type_))
            except BrokenDocument as error:
                broken.append(error)
        return fitting

    whole = each(topics, Topic), each(snippets, Snippet)
    if broken:
        first, *others = broken
        raise BrokenDocument(first.kind, first.id, first.reason, others=others)
    return whole


def check_status(found: msgspec.Struct, id_: str) -> None:
    """Return unless it is a task whose status there is not.

    Prevents: another program stores a status of its own · whoever follows the podcast is shown it, and no end of it.

    Raises:
        BrokenDocument: otherwise.
    """
    if isinstance(found, PodcastTask) and found.status not in STATUSES:
        known = ", ".join((*STATUSES.steps, STATUSES.failure))
        raise broken_document(PodcastTask, id_, f"its status {found.status!r:.80} is not one of {known}")


def broken_document(type_: type[msgspec.Struct], id_: str, reason: str) -> BrokenDocument:
    """The error of a document; `id_` as Python writes it."""
    return BrokenDocument(type_.__name__.lower(), id_[:200], reason[:300])


def log_unreadable(number: int, error: Exception, logged: set[int]) -> None:
    """Say that a row cannot be read; once, though it is asked for every second."""
    if number not in logged:
        logged.add(number)
        log.error("row %d of the outbox cannot be read, delete it by hand: %s", number, error)
