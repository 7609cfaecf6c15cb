"""Drops: a key goes with its lease and its absence, in this process at once and on its server by one command.

A drop is kept until its server has acknowledged it: what fails goes first on the next connection, before any read.

Many keys go in batches: what one change made stale, what the outbox names, what a new server has not heard of. A task,
a command and a deadline for each of 10,000 keys cost half a second of the loop, and a server that has died costs its
deadline again for every thousand of them. A batch is one command to one server and one future; a key that was not
dropped so goes the long way by itself: to a server that is just connected to, or to the node that has its slot by now.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Coroutine, Iterable, Sequence
from contextlib import suppress
from functools import partial
from time import monotonic
from typing import Any

from greenroom.caching.local import LocalCopies
from greenroom.detached import Detached
from greenroom.engine import Channel, Command, Engine, NoReply, NotHere, Script
from greenroom.engine.deletions import Answered, Names, refused
from greenroom.engine.shapes import NUMBER
from greenroom.engine.unacknowledged import Kept, ReplayLog
from greenroom.errors import CommandFailed, EngineError
from greenroom.keyspace.derived_keys import with_derived_keys

log = logging.getLogger("greenroom.caching")

DROP = Script.named("drop", NUMBER, deleted=bool)
SCRIPTS = (DROP,)

LONGEST = 7 * 24 * 3600.0
"""Seconds for which an invalidation is kept whose value's lifetime is not known."""
BATCH = 250
"""Keys in one batch: the loop is given back after each, in a millisecond or two."""
DEADLINE = 0.5
"""Seconds that all batches of a call may wait for a server; past it they are kept for its next connection."""
MARKED = 5000
"""Keys dropped in this process before the loop is given back: two milliseconds."""
_ONCE = frozenset({1})


class DropCommands:
    """The commands that drop keys.

    Arguments:
        prefix: the room's key prefix.
    """

    __slots__ = ("_prefix",)

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix

    def one(self, key: str) -> Command:
        """The command that drops one key."""
        return ("DEL", *self(key))

    # docs/decisions/0015-tryagain-splits-a-drop.md
    def __call__(self, key: str) -> tuple[str, str, str]:
        """The names that one DEL deletes. On a cluster it may be three DELs, in this order: without the lease nothing
        is stored that was loaded before, whatever becomes of the other two meanwhile."""
        return with_derived_keys(self._prefix, key)

    # docs/decisions/0075-a-script-drops-a-batch.md
    def together(self, keys: Sequence[str]) -> Command:
        """The command that drops many keys of one server; the script makes the names of their companions."""
        return DROP.call(keys, (self._prefix,))


class Drops:
    """The drops of one process.

    Arguments:
        local: the copies in this process, which a drop deletes at once.
        log: keeps each drop until its server has acknowledged it.
    """

    def __init__(self, engine: Engine, local: LocalCopies, log: ReplayLog, commands: DropCommands) -> None:
        self._engine = engine
        self._local = local
        self._log = log
        self._commands = commands
        self.pending: dict[str, int] = {}
        """Keys whose drop was called here and has not ended yet, and how many such calls: none of them is put near."""
        self.refused: set[str] = set()
        """Pending keys that the server has refused to drop so far: they are not read from it."""
        self.detached = Detached()
        """Drops that go on without their callers."""

    # docs/decisions/0031-invalidations-are-sent-by-their-caller.md
    async def drop(self, key: str, lifetime: float = LONGEST) -> None:
        """Drop a value, its lease and its absence, in this process at once.

        A caller who is cancelled changes nothing: the drop is sent all the same.

        Arguments:
            lifetime: seconds from now on that an old value can live at most, besides the time in which it is stored.

        Raises:
            EngineError: when the server did not acknowledge; it is then sent before this process reads again.
        """
        # Before anything is sent: a load begun before this moment may have read the old record.
        self._begin((key,))
        kept = self._keep((key,), lifetime)
        try:
            # By the caller himself, and at once: what he reads after the call is then sent after the DEL.
            await self._send_one(key, kept)
        except asyncio.CancelledError:
            self.detached.begin(self._send_unless_done(key, kept), "greenroom-drop")
            raise
        except BaseException:
            self._end((key,))
            raise
        self._end((key,))

    async def drop_many(self, keys: Iterable[str], lifetime: float = LONGEST) -> None:
        """Drop many keys, each as `drop`; raises as it does, after all were tried or kept."""
        each = list(dict.fromkeys(keys))
        # At once, as `drop` does; of more than can be dropped in a few milliseconds the others soon after.
        first = self._begin_many(each[:MARKED], lifetime)
        await self.detached.finish(self._drop_all(first, each[MARKED:], lifetime), "greenroom-drop")

    # Pending drops ---------------------------------------------------------------------------------

    def _keep(self, keys: Collection[str], lifetime: float) -> Kept:
        # A load elsewhere that has read the old record has a call's time to store it.
        return self._log.keep(keys, self._commands.one, lifetime + self._engine.call_budget)

    def _begin(self, keys: Collection[str]) -> None:
        """Drop keys in this process."""
        self._local.forget(keys)
        pending = self.pending
        if pending.keys().isdisjoint(keys):
            pending.update(dict.fromkeys(keys, 1))
        else:
            for key in keys:
                pending[key] = pending.get(key, 0) + 1

    def _end(self, keys: Sequence[str]) -> None:
        pending = self.pending
        counts = list(map(pending.pop, keys))  # without a step of Python for each: there may be 10,000
        if not _ONCE.issuperset(counts):
            pending.update((key, count - 1) for key, count in zip(keys, counts, strict=True) if count > 1)
        if self.refused:
            # Carried out by now, or the connection that refused it has been ended.
            self.refused.difference_update(key for key in keys if key not in pending)

    def _answered(self, kept: Kept, keys: Sequence[str], replies: list[Any], _source: object) -> None:
        # A GET sent before the DEL has been answered since, and the value that it read was stored.
        self._local.near.pop_all(keys)
        failed = refused(keys, replies)
        done = [key for key in keys if key not in failed] if failed else keys
        self._log.acknowledged(kept, done)  # here: the caller may have been cancelled
        if self.refused:
            self.refused.difference_update(done)
        for key, error in failed.items():
            if key in self.pending and not isinstance(error, NotHere):
                self.refused.add(key)

    # One key ---------------------------------------------------------------------------------------

    async def _send_one(self, key: str, kept: Kept) -> None:
        try:
            hook = partial(self._answered, kept, (key,))
            await self._engine.execute_all(Channel.TRACKED, key, (self._commands.one(key),), hook=hook, urgent=True)
        except EngineError as error:
            self._reset_if_pending(key, kept, error)
            raise

    async def _send_unless_done(self, key: str, kept: Kept) -> None:
        """Send a drop whose caller is gone, unless the server has carried it out since."""
        try:
            if kept.unsent:
                await self._send_one(key, kept)
        finally:
            self._end((key,))

    def _reset_if_pending(self, key: str, kept: Kept, error: EngineError) -> None:
        # The server may answer and refuse (read-only, short of replicas): it must then not be read from before the drop
        # was sent, which the next connection carries first. A drop whose reply is late goes before all
        # that is read there later.
        if key in kept.unsent and not isinstance(error, NoReply):
            self._engine.reset(Channel.TRACKED, key, f"it must carry an invalidation first: {error}")

    # Many keys -------------------------------------------------------------------------------------

    def _begin_many(self, keys: Sequence[str], lifetime: float) -> list[tuple[Sequence[str], Kept]]:
        """Drop keys in this process; returns them in batches, each kept in the log."""
        self._begin(keys)
        batches = (keys[start : start + BATCH] for start in range(0, len(keys), BATCH))
        return [(batch, self._keep(batch, lifetime)) for batch in batches]

    async def _drop_all(self, batches: list[tuple[Sequence[str], Kept]], rest: Sequence[str], lifetime: float) -> None:
        try:
            # All are kept before any is sent: whatever ends this between two batches leaves none behind.
            for start in range(0, len(rest), MARKED):
                await asyncio.sleep(0)
                batches += self._begin_many(rest[start : start + MARKED], lifetime)
            deadline, failure = monotonic() + DEADLINE, None
            for keys, kept in batches:
                failure = await self._send_batch(keys, kept, deadline) or failure
                await asyncio.sleep(0)
        finally:
            for keys, _ in batches:
                self._end(keys)
        if failure is not None:
            raise failure

    async def _send_batch(self, keys: Sequence[str], kept: Kept, deadline: float) -> EngineError | None:
        turned_away, unanswered = await drop_together(self._engine, keys, self._commands, partial(self._answered, kept))
        failed = turned_away | unanswered
        if failed and monotonic() < deadline:

            async def again(key: str) -> None:
                hook, command = partial(self._answered, kept, (key,)), self._commands.one(key)
                await self._engine.execute_all(
                    Channel.TRACKED, key, (command,), hook=hook, deadline=deadline, urgent=True
                )

            failed = await drop_singly(failed, again)
        for key, error in failed.items():
            self._reset_if_pending(key, kept, error)
        return next(iter(failed.values()), None)


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
