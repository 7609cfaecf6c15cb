"""Which keys this process has put into groups of late: what a group's new server may not have heard of.

On a cluster a group and its keys are on different nodes, and replication is asynchronous:

    a page is registered, acknowledged, loaded and stored on another node · the group's node dies · its successor has
    the group without the page · a change drops what the group names · the page is stale until its lifetime ends

So a new connection to a group's server asks for what was registered in the last 30 s, and what is missing is dropped. A
key that its group's own node has is never missing: a replica has what came before its value.
"""

from __future__ import annotations

from greenroom.clock import Clock
from greenroom.engine.listener import Owns
from greenroom.engine.transport.connection import Connection
from greenroom.errors import EngineError

RECENT = 30.0
"""Seconds after which a registration has reached the replicas, or nothing has."""
_CHUNK = 500
"""Keys asked for by one command."""


class Registered:
    """The registrations of one process; a group is named by its key on the server."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._when: dict[tuple[str, str], float] = {}  # (group, key) → when, the oldest first

    def note(self, group: str, key: str) -> None:
        """A key was put into a group."""
        now = self._clock.monotonic()
        self._when.pop((group, key), None)
        self._when[group, key] = now
        while self._when[oldest := next(iter(self._when))] < now - RECENT:
            del self._when[oldest]

    async def missing(self, connection: Connection) -> list[str]:
        """The keys that the server of a new connection lacks in its groups.

        Raises:
            EngineError: when it cannot be asked.
        """
        owns, since = connection.share.owns, self._clock.monotonic() - RECENT
        found: list[str] = []
        for group, keys in self._of(owns, since).items():
            for start in range(0, len(keys), _CHUNK):
                chunk = keys[start : start + _CHUNK]
                (scores,) = await connection.issue((("ZMSCORE", group, *chunk),), urgent=True)
                if isinstance(scores, EngineError):
                    scores = [None] * len(chunk)  # it is on its way, or gone: nobody can tell
                found += [key for key, score in zip(chunk, scores, strict=True) if score is None]
        return found

    def _of(self, owns: Owns, since: float) -> dict[str, list[str]]:
        groups: dict[str, list[str]] = {}
        for (group, key), when in self._when.items():
            if when >= since and owns(group) and not owns(key):
                groups.setdefault(group, []).append(key)
        return groups
