"""What tests of `greenroom.sync` share: keyspaces, a loader that notes its threads, and calls of many threads."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any

import msgspec

from greenroom import Keyspace

MINUTES = timedelta(minutes=5)


class Episode(msgspec.Struct, frozen=True):
    show_id: str
    number: int
    version: int = 1


EPISODE = Keyspace("cache:episode:{show_id}:{number}", Episode, parts={"number": int}, ttl=MINUTES)
COUNT = Keyspace("count:{name}", int, ttl=MINUTES)


class Record:
    """A record, and a plain loader of it."""

    def __init__(self) -> None:
        self.version = 1
        self.loads: list[tuple[str, int]] = []
        self.threads: list[threading.Thread] = []
        self.before: Callable[[], object] = lambda: None
        """Called by the loader before it returns."""

    def load(self, show_id: str, number: int) -> Episode | None:
        """One episode of a show."""
        self.loads.append((show_id, number))
        self.threads.append(threading.current_thread())
        version = self.version
        self.before()
        return Episode(show_id, number, version) if number != 13 else None


def together(calls: Iterable[Callable[[], Any]], seconds: float = 60.0) -> list[Any]:
    """Make calls at once, each in a thread of its own; their results, or the first error."""
    results: dict[int, Any] = {}
    errors: list[BaseException] = []

    def run(number: int, call: Callable[[], Any]) -> None:
        try:
            results[number] = call()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=one, daemon=True) for one in enumerate(calls)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(seconds)
        assert not thread.is_alive(), f"a thread hangs; others have raised {errors}"
    if errors:
        raise errors[0]
    return [results[number] for number in range(len(threads))]
