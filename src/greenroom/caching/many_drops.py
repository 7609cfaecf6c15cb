"""Many keys dropped in batches: what one change made stale, what the outbox names, what a new server has not heard of.

A task, a command and a deadline for each of 10,000 keys cost half a second of the loop, and a server that has died
costs its deadline again for every thousand of them. Here a batch is one command to one server and one future; a key
that was not dropped so goes the long way by itself: to a server that is just connected to, or to the node that has its
slot by now.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Coroutine, Iterable, Sequence
from contextlib import suppress
from functools import partial
from time import monotonic
from typing import Any

from greenroom.caching.drops import DROP, Dropped
from greenroom.engine import Channel, Engine, NoReply
from greenroom.engine.deletions import Answered, Names, refused
from greenroom.engine.replay import Kept, ReplayLog
from greenroom.errors import CommandFailed, EngineError

BATCH = 250
"""Keys in one batch: the loop is given back after each, in a millisecond or two."""
DEADLINE = 0.5
"""Seconds that all of them may wait for a server; past it they are kept for its next connection."""
MARKED = 5000
"""Keys dropped in this process before the loop is given back: two milliseconds."""


async def drop_together(
    engine: Engine, keys: Sequence[str], names: Names, answered: Answered
) -> tuple[dict[str, EngineError], dict[str, EngineError]]:
    """Drop a batch of keys; returns those that a server has refused, and those of which none has said anything.

    Arguments:
        names: what is dropped for a key.
        answered: called in the socket's reader with keys that went together and the replies to them.
    """
    turned_away: dict[str, EngineError] = {}
    unanswered: dict[str, EngineError] = {}
    for together, queued in engine.drop(keys, names, answered):
        try:
            if isinstance(queued, EngineError):
                raise queued
            turned_away |= refused(together, await queued)
        except EngineError as error:
            unanswered |= dict.fromkeys(together, error)
    first = next(iter(turned_away.values()), None)
    if isinstance(first, CommandFailed) and first.code == "NOSCRIPT":
        # Somebody has sent SCRIPT FLUSH: these go singly now, and later batches together again.
        with suppress(EngineError):
            await engine.execute(Channel.TRACKED, keys[0], "SCRIPT", "LOAD", DROP.source)
    return turned_away, unanswered


async def drop_singly(
    keys: Collection[str], drop: Callable[[str], Coroutine[Any, Any, object]]
) -> dict[str, EngineError]:
    """Drop keys each by itself, all at the same time; returns those that were not dropped, and why."""
    results = await asyncio.gather(*map(drop, keys), return_exceptions=True)
    failed: dict[str, EngineError] = {}
    for key, result in zip(keys, results, strict=True):
        if isinstance(result, EngineError):
            failed[key] = result
        elif isinstance(result, BaseException):
            raise result
    return failed


class ManyDrops:
    """Drops many keys, each as `Backing.drop` does.

    Arguments:
        names: what one command drops for a key.
        answered: told of keys that went together, how they are kept, and the replies; in the socket's reader.
    """

    def __init__(
        self,
        engine: Engine,
        kept: ReplayLog,
        *,
        names: Dropped,
        answered: Callable[[Kept, Sequence[str], list[Any], Any], None],
    ) -> None:
        self._engine = engine
        self._kept = kept
        self._names = names
        self._answered = answered

    def keep(self, keys: Sequence[str], lifetime: float) -> list[tuple[Sequence[str], Kept]]:
        """Keep the invalidations of keys, in the batches that `send` takes."""
        batches = (keys[start : start + BATCH] for start in range(0, len(keys), BATCH))
        return [(batch, self._kept.keep(batch, self._names.alone, lifetime)) for batch in batches]

    async def send(self, batches: Iterable[tuple[Sequence[str], Kept]]) -> EngineError | None:
        """Send what is kept; returns why some of it was not carried out: it goes before all that is read later."""
        until, failure = monotonic() + DEADLINE, None
        for keys, drop in batches:
            failure = await self._send(keys, drop, until) or failure
            await asyncio.sleep(0)
        return failure

    async def _send(self, keys: Sequence[str], drop: Kept, deadline: float) -> EngineError | None:
        answered = partial(self._answered, drop)
        turned_away, unanswered = await drop_together(self._engine, keys, self._names, answered)
        failed = turned_away | unanswered
        if failed and monotonic() < deadline:

            async def again(key: str) -> None:
                def alone(replies: list[Any], source: Any) -> None:
                    self._answered(drop, (key,), replies, source)

                command = self._names.alone(key)
                await self._engine.execute_all(
                    Channel.TRACKED, key, (command,), hook=alone, deadline=deadline, urgent=True
                )

            failed = await drop_singly(failed, again)
        for key, error in failed.items():
            if key in drop.owed and not isinstance(error, NoReply):
                # It must not be read from before it was sent: the next connection carries it first.
                self._engine.reset(Channel.TRACKED, key, f"it owes an invalidation: {error}")
        return next(iter(failed.values()), None)
