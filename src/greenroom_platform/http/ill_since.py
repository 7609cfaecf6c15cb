"""Since when the service is ill, as this process has noticed: for `/health/ready` and `greenroom status`."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime


class IllSince:
    """Remembers when each present problem was noticed first; with frequent questions, as by a proxy, it knows it well.

    Arguments:
        now: the time, in UTC.
    """

    def __init__(self, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._now = now
        self._known: tuple[frozenset[str], datetime] | None = None

    def note(self, ill: frozenset[str]) -> datetime | None:
        """Take note of which parts are ill, and return since when exactly these are; None where none is."""
        if not ill:
            self._known = None
            return None
        if self._known is None or self._known[0] != ill:
            self._known = ill, self._now().replace(microsecond=0)
        return self._known[1]
