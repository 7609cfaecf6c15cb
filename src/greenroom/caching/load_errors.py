"""The exceptions of a cache's loader, remembered for the time of a back-off."""

from __future__ import annotations

import asyncio

from greenroom.errors import LoadFailed

_MAX_ERRORS = 1_000
"""Exceptions remembered at a time: each holds what its frames hold."""


class LoadErrors:
    """The exceptions of one cache's loader, each for the time of a back-off.

    The lease tells every process the type of an exception, never its text. In the process where the load failed a
    caller who is held back is given the exception too, as the cause.

    Arguments:
        seconds: the time of a back-off.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._errors: dict[str, tuple[Exception, asyncio.TimerHandle]] = {}

    def keep(self, key: str, error: Exception) -> None:
        """Keep the exception of a load that has failed now."""
        self._forget(key)
        if len(self._errors) < _MAX_ERRORS:
            timer = asyncio.get_running_loop().call_later(self._seconds, self._forget, key)
            self._errors[key] = error, timer

    def of(self, key: str, kind: str) -> Exception | None:
        """The exception of this type that a load of `key` has ended with here; None where another process had it."""
        error, _ = self._errors.get(key, (None, None))
        return error if error is not None and kind_of(error) == kind else None

    def _forget(self, key: str) -> None:
        _, timer = self._errors.pop(key, (None, None))
        if timer is not None:
            timer.cancel()


def kind_of(error: Exception) -> str:
    """The name that others are told of an exception."""
    return error.kind if isinstance(error, LoadFailed) else type(error).__name__
