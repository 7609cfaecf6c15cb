"""Why loads have just failed in this process: the lease tells every process the kind of an exception, never its text.

For as long as a failure holds others back, whoever is told of it here is told the exception too, as the cause.
"""

from __future__ import annotations

import asyncio

from greenroom.caching.lease import BACKOFF
from greenroom.errors import LoadFailed

_MOST = 1_000
"""Exceptions kept at a time: each holds what its frames hold."""


class Failures:
    """The exceptions of one cache's loader, each for the time of a back-off."""

    def __init__(self) -> None:
        self._errors: dict[str, tuple[Exception, asyncio.TimerHandle]] = {}

    def keep(self, key: str, error: Exception) -> None:
        """Keep the exception of a load that has failed now."""
        self._forget(key)
        if len(self._errors) < _MOST:
            timer = asyncio.get_running_loop().call_later(BACKOFF, self._forget, key)
            self._errors[key] = error, timer

    def of(self, key: str, kind: str) -> Exception | None:
        """The exception of this kind that a load of `key` has ended with here; None where another process had it."""
        error, _ = self._errors.get(key, (None, None))
        return error if error is not None and kind_of(error) == kind else None

    def clear(self) -> None:
        """Let go of all."""
        for key in tuple(self._errors):
            self._forget(key)

    def _forget(self, key: str) -> None:
        _, timer = self._errors.pop(key, (None, None))
        if timer is not None:
            timer.cancel()


def kind_of(error: Exception) -> str:
    """The name that others are told of an exception."""
    return error.kind if isinstance(error, LoadFailed) else type(error).__name__
