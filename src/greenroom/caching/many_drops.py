"""Many keys that one change made stale, dropped without holding the event loop.

A task and a deadline for each of 10,000 keys cost half a second of the loop, and a server that has died costs its
deadline again for every thousand of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from time import monotonic
from typing import Any

from greenroom.caching.kept import Kept
from greenroom.caching.pending_drops import BATCH
from greenroom.engine import Engine, Lane
from greenroom.engine.connection import Connection, NoReply
from greenroom.errors import EngineError, EngineUnavailable

_Drop = tuple[str, tuple[str, ...], object]
"""A key, what one command drops for it, and how it is kept."""

DEADLINE = 0.5
"""Seconds that all of them may wait for a server; past it they are kept for its next connection."""
_MARKED = 1000
"""Keys dropped in this process before the loop is given back: two milliseconds."""


class ManyDrops:
    """Drops many keys, each as `Backing.drop` does.

    Arguments:
        begin: drops a key in this process; returns what one command drops for it, and how it is kept.
        answered: a command's hook, given also the key and how it is kept.
        ended: called for each key when its drop has ended, however it did.
    """

    def __init__(
        self,
        engine: Engine,
        kept: Kept,
        *,
        begin: Callable[[str, float], tuple[tuple[str, ...], object]],
        answered: Callable[[str, object, list[Any], Connection], None],
        ended: Callable[[str], None],
    ) -> None:
        self._engine = engine
        self._kept = kept
        self._begin = begin
        self._answered = answered
        self._ended = ended

    async def drop(self, keys: Iterable[str], lifetime: float) -> None:
        """Drop keys, in this process before anything is sent.

        Arguments:
            lifetime: seconds that their values can live at most.

        Raises:
            EngineError: when a server did not acknowledge; what is left is sent before this process reads there again.
        """
        drops: list[_Drop] = []
        try:
            # All are kept before any is sent: whoever is cancelled between two batches leaves none behind.
            for key in keys:
                drops.append((key, *self._begin(key, lifetime)))
                if not len(drops) % _MARKED:
                    await asyncio.sleep(0)
            until, failure = monotonic() + DEADLINE, None
            for start in range(0, len(drops), BATCH):
                failure = await self._send(drops[start : start + BATCH], until) or failure
        finally:
            for key, _, _ in drops:
                self._ended(key)
        if failure is not None:
            raise failure

    async def _send(self, drops: Sequence[_Drop], until: float) -> EngineError | None:
        """Send a batch; returns why some of it was not carried out."""
        queued = [(drop, self._queued(drop)) for drop in drops]
        left: list[_Drop] = []
        for drop, reply in queued:
            try:
                if reply is None or isinstance((await reply)[0], Exception):
                    left.append(drop)
            except EngineError:
                left.append(drop)
        # Those go the long way: to a server that is just connected to, or to the node that has the slot by now.
        results = await asyncio.gather(*(self._send_again(drop, until) for drop in left))
        await asyncio.sleep(0)
        return next((error for error in results if error is not None), None)

    def _queued(self, drop: _Drop) -> asyncio.Future[list[Any]] | None:
        key, names, kept = drop
        try:
            return self._engine.send(Lane.TRACKED, key, (("DEL", *names),), partial(self._answered, key, kept))
        except EngineError:
            return None

    async def _send_again(self, drop: _Drop, until: float) -> EngineError | None:
        key, names, kept = drop
        error: EngineError = EngineUnavailable("its server did not answer in time")
        if monotonic() < until:
            try:
                hook = partial(self._answered, key, kept)
                await self._engine.execute_all(
                    Lane.TRACKED, key, (("DEL", *names),), hook=hook, until=until, urgent=True
                )
            except EngineError as failed:
                error = failed
            else:
                return None
        if self._kept.owed(kept) and not isinstance(error, NoReply):
            # It must not be read from before it was sent: the next connection carries it first.
            self._engine.renew(Lane.TRACKED, key, f"it owes an invalidation: {error}")
        return error
