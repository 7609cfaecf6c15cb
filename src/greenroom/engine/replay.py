"""Invalidations that must not get lost: kept until acknowledged, and for a while after.

What that prevents:

    the connection is lost · a change is made, its DEL cannot be sent · the connection is back · the old value is served

and, since replication is asynchronous and a file is written late:

    DEL is acknowledged · the server dies · its successor, or itself from its file, has the old value again

So a new connection first carries every DEL that was not acknowledged, and those of the last 30 seconds once more; only
then does anyone read on it. One entry per key, however often that was dropped; keys dropped together share it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from greenroom.clock import Clock
from greenroom.engine.deletions import each
from greenroom.engine.listener import KeyFilter
from greenroom.engine.transport.connection import Connection
from greenroom.errors import EngineError, EngineUnavailable

# docs/decisions/0003-every-connection-replays-invalidations.md
RECENT = 30.0
"""Seconds for which an acknowledged invalidation is sent again to a server that has come back."""
_CHUNK = 500
"""Invalidations in one write."""


@dataclass(slots=True, eq=False)
class Drop:
    """The invalidation of some keys, made at one moment."""

    owed: set[str]
    """Those that no server has carried out."""
    until: float
    acknowledged: float | None = None
    """When the last was: what was sent late, at the end of an outage, is repeated as long from then."""


class Kept:
    """The invalidations of one process.

    Arguments:
        names: what one command drops for a key: itself and its companions.
    """

    def __init__(self, clock: Clock, names: Callable[[str], tuple[str, ...]]) -> None:
        self._clock = clock
        self._names = names
        self._drops: dict[str, Drop] = {}
        self._pruned = 0.0

    def __len__(self) -> int:
        return len(self._drops)

    @property
    def unsent(self) -> int:
        """Invalidations that no server has acknowledged."""
        return sum(key in drop.owed for key, drop in self._drops.items())

    def keep(self, keys: Collection[str], lifetime: float) -> Drop:
        """Keep the invalidation of some keys; returns what `acknowledged` takes.

        Arguments:
            lifetime: seconds after which the old values have lapsed by themselves.
        """
        now = self._clock.monotonic()
        self._prune(now)
        drop = Drop(set(keys), now + lifetime)
        self._drops.update(dict.fromkeys(keys, drop))
        return drop

    def acknowledged(self, drop: Drop, keys: Iterable[str]) -> None:
        """A server has carried some out. A later invalidation of the same key is another one, and stays."""
        drop.owed.difference_update(keys)
        if not drop.owed and drop.acknowledged is None:
            drop.acknowledged = self._clock.monotonic()

    async def send(self, connection: Connection) -> Mapping[str, Drop]:
        """Send what a new connection must carry before it serves; returns what `send_rest` takes.

        Raises:
            EngineError: when that cannot be done; the connection must not serve.
        """
        self._prune(self._clock.monotonic())
        owns = connection.share.owns
        drops = [(key, drop) for key, drop in self._drops.items() if owns(key)]
        for start in range(0, len(drops), _CHUNK):
            chunk = drops[start : start + _CHUNK]
            replies = await connection.issue(each([key for key, _ in chunk], self._names), urgent=True)
            for (key, drop), reply in zip(chunk, replies, strict=True):
                if isinstance(reply, EngineUnavailable):
                    await connection.share.follow(connection, ("DEL", *self._names(key)), reply)
                elif isinstance(reply, Exception):
                    raise reply
                self.acknowledged(drop, (key,))
            await asyncio.sleep(0)
        return dict(drops)

    def send_rest(self, connection: Connection, sent: Mapping[str, Drop]) -> None:
        """Queue what has come since `send` began, on a connection that is about to serve.

        Prevents: a connection carries what was kept · an invalidation finds no connection, and fails · the connection
        serves, and the old value with it. Queued now, it goes before anything that is read. Its server may have taken
        slots over meanwhile, and what is kept of them is due too.

        Raises:
            EngineError: when the connection has ended.
        """
        owns = connection.share.owns
        for key, drop in self._drops.items():
            if owns(key) and (key in drop.owed or sent.get(key) is not drop):
                self._queue(connection, key, drop)

    def queue(self, connection: Connection, owns: KeyFilter) -> None:
        """Queue what is kept of keys that the server of a serving connection has taken over."""
        for key, drop in self._drops.items():
            if owns(key):
                try:
                    self._queue(connection, key, drop)
                except EngineError:
                    return  # it has ended: the next one carries everything first

    def _queue(self, connection: Connection, key: str, drop: Drop) -> None:
        queued = connection.issue((("DEL", *self._names(key)),), partial(self._answered, key, drop), urgent=True)
        queued.add_done_callback(asyncio.Future.exception)  # it stays owed when the connection ends before

    def _prune(self, now: float) -> None:
        if now - self._pruned < 1.0:
            return
        self._pruned = now
        for key, drop in tuple(self._drops.items()):
            if now >= drop.until or (drop.acknowledged is not None and now - drop.acknowledged >= RECENT):
                del self._drops[key]

    def _answered(self, key: str, drop: Drop, replies: list[Any], connection: Connection) -> None:
        if isinstance(replies[0], Exception):
            connection.abort(f"it owes an invalidation: {replies[0]}")
        else:
            self.acknowledged(drop, (key,))
