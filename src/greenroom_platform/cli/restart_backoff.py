"""Restart back-off of one worker of `serve --workers`, and how often its restart is logged."""

from __future__ import annotations

STEADY = 10.0
"""Seconds that a worker must have lived for its successor to be started at once."""
_FIRST = 0.5
_MAX = 5.0
"""Seconds before the successor of one that ended earlier: doubled each time, up to the most."""
_SAID = 60.0
"""Seconds between two lines, once the pause is the longest."""


class RestartBackoff:
    """One of the places of `serve --workers`, and who has held it."""

    def __init__(self) -> None:
        self._worker: object = None
        self._since = 0.0
        self._pause = 0.0
        self._retry_at: float | None = None
        self._said = float("-inf")

    def held(self, worker: object, now: float) -> None:
        """Tell who holds it now; `now` is in seconds of a monotonic clock."""
        if worker is not self._worker:
            self._worker, self._since, self._retry_at = worker, now, None

    def due(self, now: float) -> bool:
        """Whether the successor of the one that has ended is to be started now; asked again until it is."""
        if self._retry_at is None:
            if now - self._since >= STEADY:
                self._pause = 0.0
                self._said = float("-inf")
            self._retry_at = now + self._pause
            self._pause = min(max(_FIRST, 2 * self._pause), _MAX)
        return now >= self._retry_at

    def worth_a_line(self, now: float) -> bool:
        """Whether to say that it is started: of a worker that ends again and again only now and then."""
        if self._pause == _MAX and now - self._said < _SAID:
            return False
        self._said = now
        return True
