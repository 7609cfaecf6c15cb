"""Invalidations that must not get lost: kept until acknowledged, and for a while after.

What that prevents:

    the connection is lost · a change is made, its DEL cannot be sent · the connection is back · the old value is served

and, since replication is asynchronous and a file is written late:

    DEL is acknowledged · the server dies · its successor, or itself from its file, has the old value again

So a new connection first carries every DEL that was not acknowledged, and those of the last 30 seconds once more; only
then does anyone read on it. One entry per key, however often that was dropped.
"""

from __future__ import annotations

import asyncio
from collections.abc import Container, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from greenroom.clock import Clock
from greenroom.engine.connection import Connection
from greenroom.engine.share import Owns
from greenroom.errors import EngineError, EngineUnavailable

# docs/decisions/0003-every-connection-replays-invalidations.md
RECENT = 30.0
"""Seconds for which an acknowledged invalidation is sent again to a server that has come back."""
_CHUNK = 500
"""Invalidations in one write."""


@dataclass(slots=True, eq=False)
class _Drop:
    names: tuple[str, ...]
    until: float
    acknowledged: float | None = None
    """When that was first: what was sent late, at the end of an outage, is repeated as long from then."""


class Kept:
    """The invalidations of one process."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._drops: dict[str, _Drop] = {}  # the oldest first
        self._pruned = 0.0

    def __len__(self) -> int:
        return len(self._drops)

    @property
    def unsent(self) -> int:
        """Invalidations that no server has acknowledged."""
        return sum(drop.acknowledged is None for drop in self._drops.values())

    def keep(self, key: str, names: Sequence[str], lifetime: float) -> object:
        """Keep the invalidation of `key`; returns what `acknowledged` and `owed` take.

        Arguments:
            names: the key and its companions, dropped by one command.
            lifetime: seconds after which the old value has lapsed by itself.
        """
        now = self._clock.monotonic()
        self._prune(now)
        self._drops.pop(key, None)
        drop = self._drops[key] = _Drop(tuple(names), now + lifetime)
        return drop

    def acknowledged(self, drop: object) -> None:
        """The server has carried it out. A later invalidation of the same key is another one, and stays."""
        assert isinstance(drop, _Drop)
        if drop.acknowledged is None:
            drop.acknowledged = self._clock.monotonic()

    def owed(self, drop: object) -> bool:
        """Whether no server has carried it out."""
        assert isinstance(drop, _Drop)
        return drop.acknowledged is None

    async def send(self, connection: Connection) -> Container[object]:
        """Send what a new connection must carry before it serves; returns what `send_rest` takes.

        Raises:
            EngineError: when that cannot be done; the connection must not serve.
        """
        self._prune(self._clock.monotonic())
        owns = connection.share.owns
        drops = [drop for key, drop in self._drops.items() if owns(key)]
        for start in range(0, len(drops), _CHUNK):
            chunk = drops[start : start + _CHUNK]
            replies = await connection.issue(tuple(("DEL", *drop.names) for drop in chunk), urgent=True)
            for drop, reply in zip(chunk, replies, strict=True):
                if isinstance(reply, EngineUnavailable):
                    await connection.share.follow(connection, ("DEL", *drop.names), reply)
                elif isinstance(reply, Exception):
                    raise reply
                self.acknowledged(drop)
            await asyncio.sleep(0)
        return frozenset(drops)

    def send_rest(self, connection: Connection, sent: Container[object]) -> None:
        """Queue what has come since `send` began, on a connection that is about to serve.

        Prevents: a connection carries what was kept · an invalidation finds no connection, and fails · the connection
        serves, and the old value with it. Queued now, it goes before anything that is read. Its server may have taken
        slots over meanwhile, and what is kept of them is due too.

        Raises:
            EngineError: when the connection has ended.
        """
        owns = connection.share.owns
        for key, drop in self._drops.items():
            if owns(key) and (self.owed(drop) or drop not in sent):
                self._queue(connection, drop)

    def queue(self, connection: Connection, owns: Owns) -> None:
        """Queue what is kept of keys that the server of a serving connection has taken over."""
        for key, drop in self._drops.items():
            if owns(key):
                try:
                    self._queue(connection, drop)
                except EngineError:
                    return  # it has ended: the next one carries everything first

    def _queue(self, connection: Connection, drop: _Drop) -> None:
        queued = connection.issue((("DEL", *drop.names),), partial(self._answered, drop), urgent=True)
        queued.add_done_callback(asyncio.Future.exception)  # it stays owed when the connection ends before

    def _prune(self, now: float) -> None:
        if now - self._pruned < 1.0:
            return
        self._pruned = now
        for key, drop in tuple(self._drops.items()):
            if now >= drop.until or (drop.acknowledged is not None and now - drop.acknowledged >= RECENT):
                del self._drops[key]

    def _answered(self, drop: _Drop, replies: list[Any], connection: Connection) -> None:
        if isinstance(replies[0], Exception):
            connection.abort(f"it owes an invalidation: {replies[0]}")
        else:
            self.acknowledged(drop)
