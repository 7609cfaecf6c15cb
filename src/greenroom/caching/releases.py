"""Leases on their way back. On every way out that does not fill, a load gives its lease back, and without its caller:

    the question is written · its caller is cancelled · the lease is granted · everybody waits for it to lapse

A release that no server has acknowledged is kept for the next connection, until the lease has lapsed by itself.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import Any

from greenroom.clock import Clock
from greenroom.detached import Detached
from greenroom.engine import Channel, Engine, Handover, Script
from greenroom.engine.shapes import NUMBER
from greenroom.errors import EngineError

log = logging.getLogger("greenroom.caching")

RELEASE = Script.named("release", NUMBER, deleted=bool, functions=("text",))
# docs/decisions/0027-leases-are-short-and-renewed.md
LIFE = 1.0
"""Seconds that a lease lives without being renewed: so long does anyone wait for a holder that is gone."""
BACKOFF = 1.0
"""Seconds for which a loader's failure holds others back, where its cache says no other time."""
MAX_BACKOFF = 60.0
"""The longest such time; a failure with more left counts as lapsed."""
_RELEASE_KEPT = max(LIFE, BACKOFF)
"""Seconds after which a lease has lapsed by itself, and a failure has held others back for long enough."""
_MAX_RELEASES = 10_000
"""Releases kept; past it the oldest goes, and its lease lapses by itself."""


# docs/decisions/0028-releases-have-no-caller.md
class Releases:
    """The releases of one process that no server has acknowledged."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock
        self._kept: dict[str, tuple[float, str, tuple[str | int, ...]]] = {}  # by token, the oldest first
        self._sending = Detached()

    def __len__(self) -> int:
        return len(self._kept)

    def release(self, lease: str, token: str, kind: str, seconds: float) -> None:
        """Give a lease back; with `kind`, leave the failure in its place for `seconds`. Returns at once."""
        now = self._clock.monotonic()
        self._prune(now)
        self._kept[token] = now + _RELEASE_KEPT, lease, (token, kind, int(seconds * 1000))
        self._sending.begin(self._send(token), "greenroom-release")

    def queue(self, handover: Handover) -> None:
        """Queue what is kept for the server of a connection that is about to serve."""
        self._prune(self._clock.monotonic())
        due = {
            token: RELEASE.call((lease,), args)
            for token, (_, lease, args) in self._kept.items()
            if handover.owns(lease)
        }

        def answered(replies: list[Any]) -> None:
            for token, reply in zip(due, replies, strict=True):
                self._answered(token, [reply], None)

        handover.queue(tuple(due.values()), answered)

    async def settle(self, seconds: float) -> None:
        """Wait for the releases under way, but not for long."""
        await self._sending.close(seconds)

    async def _send(self, token: str) -> None:
        if token not in self._kept:
            return  # a new connection has carried it
        _, lease, args = self._kept[token]
        try:
            # Urgent: what is overloaded must not make all who wait wait for the lease's end as well.
            hook = partial(self._answered, token)
            await self._engine.run(Channel.TRACKED, RELEASE, (lease,), args, hook=hook, urgent=True)
        except EngineError as error:
            log.debug("releasing %s: %s", lease, error)  # the next connection carries it, or it lapses

    def _answered(self, token: str, replies: list[Any], _: Any) -> None:
        if not isinstance(replies[-1], Exception):  # or else it lapses by itself
            self._kept.pop(token, None)

    def _prune(self, now: float) -> None:
        while self._kept and (len(self._kept) >= _MAX_RELEASES or next(iter(self._kept.values()))[0] <= now):
            del self._kept[next(iter(self._kept))]
