"""Ends of sessions that must not be undone: kept for a while, and sent again to a server that has come back.

Replication is asynchronous, and a file is written late. What that would do:

    a session is ended, acknowledged · the server dies · its successor, or itself from its file, has the session again

So a new connection first carries the ends of the last 30 seconds once more, and those that no server has acknowledged;
only then does anyone read on it. One entry per session.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from greenroom.clock import SYSTEM, Clock
from greenroom.engine import Script
from greenroom.engine.connection import Connection
from greenroom.engine.share import Owns
from greenroom.engine.wire import Command

RECENT = 30.0
"""Seconds for which an acknowledged end is sent again to a server that has come back."""
_CHUNK = 200
"""Ends in one write."""


@dataclass(slots=True, eq=False, repr=False)
class End:
    """One session's end, as it is sent."""

    script: Script
    names: Sequence[str]
    args: Sequence[str | bytes | int]
    until: float
    """When it is forgotten, in seconds of the clock."""

    @property
    def command(self) -> Command:
        return ("EVALSHA", self.script.sha, len(self.names), *self.names, *self.args)


class Ends:
    """The ends of one process. Made before the engine, which is given `send` as its `before_use`."""

    def __init__(self, clock: Clock = SYSTEM) -> None:
        self._clock = clock
        self._kept: dict[str, End] = {}
        self._pruned = 0.0

    def __len__(self) -> int:
        return len(self._kept)

    def keep(
        self, session: str, script: Script, names: Sequence[str], args: Sequence[str | bytes | int], lifetime: float
    ) -> End:
        """Keep what ends a session; returns what `acknowledged` takes.

        Arguments:
            lifetime: seconds after which the session has lapsed by itself.
        """
        now = self._clock.monotonic()
        self._prune(now)
        end = self._kept[session] = End(script, names, args, now + lifetime)
        return end

    def acknowledged(self, end: End) -> None:
        """The server has carried it out."""
        end.until = self._clock.monotonic() + RECENT

    async def send(self, connection: Connection) -> None:
        """Send what a new connection must carry before it serves.

        Raises:
            EngineError: when that cannot be done; the connection must not serve.
        """
        self._prune(self._clock.monotonic())
        owns = connection.share.owns
        ends = [end for end in self._kept.values() if owns(end.names[0])]
        for start in range(0, len(ends), _CHUNK):
            chunk = ends[start : start + _CHUNK]
            replies = await connection.issue((*_loads(chunk), *(end.command for end in chunk)), urgent=True)
            for reply in replies:
                if isinstance(reply, Exception):
                    raise reply
            for end in chunk:
                end.until = min(end.until, self._clock.monotonic() + RECENT)
            await asyncio.sleep(0)

    def queue(self, connection: Connection, owns: Owns) -> None:
        """Queue the ends of some sessions for the new owner of their slots; what is refused there is not believed.

        Raises:
            EngineError: when the connection has ended.
        """

        def answered(replies: list[Any], source: Connection) -> None:
            for reply in replies:
                if isinstance(reply, Exception):
                    source.abort(f"it owes the end of a session: {reply}")  # the next one carries them first

        self._prune(self._clock.monotonic())
        ends = [end for end in self._kept.values() if owns(end.names[0])]
        if ends:
            queued = connection.issue((*_loads(ends), *(end.command for end in ends)), answered, urgent=True)
            queued.add_done_callback(asyncio.Future.exception)

    def _prune(self, now: float) -> None:
        if now - self._pruned < 1.0:
            return
        self._pruned = now
        for session, end in tuple(self._kept.items()):
            if now >= end.until:
                del self._kept[session]


def _loads(ends: Iterable[End]) -> tuple[Command, ...]:
    """Whoever made the engine may have given it other scripts."""
    return tuple(("SCRIPT", "LOAD", source) for source in {end.script.source for end in ends})
