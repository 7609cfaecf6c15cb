"""Commands that must not get lost: kept until acknowledged, and for a while after.

What that prevents, of an invalidation:

    the connection is lost · a change is made, its DEL cannot be sent · the connection is back · the old value is served

and, since replication is asynchronous and a file is written late, of an invalidation and of a session's end alike:

    it is acknowledged · the server dies · its successor, or itself from its file, has the old value or session again

So a new connection first carries every command that was not acknowledged, and those of the last 30 seconds once more;
only then does anyone read on it. One entry per key, however often that was dropped; keys kept together share it.

A script whose slot is on its way to another node of a cluster cannot be carried out until the slot has arrived, since
its keys are on both; nor can they be read. It must not keep the old node from serving the other slots: it is sent as
soon as that is over, wherever the slot then is.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from greenroom.clock import Clock
from greenroom.engine.commands import Command
from greenroom.engine.listener import Handover
from greenroom.engine.protocol.errors import Moved
from greenroom.engine.protocol.redirects import on_its_way
from greenroom.engine.scripts import Call
from greenroom.errors import CommandFailed, EngineError

log = logging.getLogger("greenroom.engine")

# docs/decisions/0003-every-connection-replays-invalidations.md
# docs/decisions/0004-revocations-replay-on-both-connections.md
# docs/decisions/0116-files-are-named-by-the-question.md
RECENT = 30.0
"""Seconds for which an acknowledged command is sent again to a server that has come back."""
_COMMANDS_PER_WRITE = 500
"""Commands in one write."""
_RETRY_AFTER = 0.1
"""Seconds until a script in a slot on its way is sent again."""


@dataclass(slots=True, eq=False)
class Kept:
    """The commands of some keys, kept at one moment."""

    command: Callable[[str], Command]
    unsent: set[str]
    """The keys whose command no server has carried out."""
    until: float
    """When it is forgotten, in seconds of the clock: what it deletes has lapsed by then."""
    acknowledged: float | None = None
    """When the last was: what was sent late, at the end of an outage, is repeated as long from then."""
    is_logged: bool = False
    """Whether the log says that its data keep a command from being carried out."""


class ReplayLog:
    """The kept commands of one process.

    Arguments:
        what: what one of them is, as "an invalidation".
    """

    def __init__(self, clock: Clock, what: str) -> None:
        self._clock = clock
        self._what = what
        self._kept: dict[str, Kept] = {}
        self._pruned = 0.0
        self._carried: WeakKeyDictionary[Handover, dict[str, Kept]] = WeakKeyDictionary()
        self._waiting: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def unsent(self) -> int:
        """Commands that no server has acknowledged."""
        return sum(key in kept.unsent for key, kept in self._kept.items())

    def keep(self, keys: Collection[str], command: Callable[[str], Command], lifetime: float) -> Kept:
        """Keep the commands of some keys; returns what `acknowledged` takes.

        Arguments:
            command: the command of a key, which decides where it is sent.
            lifetime: seconds after which what is deleted has lapsed by itself.
        """
        now = self._clock.monotonic()
        self._prune(now)
        kept = Kept(command, set(keys), now + lifetime)
        self._kept.update(dict.fromkeys(keys, kept))
        return kept

    def acknowledged(self, kept: Kept, keys: Iterable[str]) -> None:
        """A server has carried some out. What was kept later for the same key is another command, and stays."""
        kept.unsent.difference_update(keys)
        if not kept.unsent and kept.acknowledged is None:
            kept.acknowledged = self._clock.monotonic()

    async def send(self, handover: Handover) -> None:
        """Send what a new connection must carry before it serves and has not carried yet.

        What comes meanwhile, and what its server takes over, is left to `queue`. What it has carried is remembered for
        each connection. Prevents: of two that are made at once one carries an end · the other carries it · the first
        finds it due again, and neither ever serves.

        Raises:
            EngineError: when that cannot be done; the connection must not serve.
        """
        self._prune(self._clock.monotonic())
        carried = self._carried.setdefault(handover, {})
        due = self._due(handover, carried)
        for start in range(0, len(due), _COMMANDS_PER_WRITE):
            await self._carry(handover, due[start : start + _COMMANDS_PER_WRITE], carried)
            await asyncio.sleep(0)

    def queue(self, handover: Handover) -> None:
        """Queue what has not been carried, on a connection that serves from now on or has taken keys over.

        Prevents: a connection carries what was kept · an invalidation finds no connection, and fails · the connection
        serves, and the old value with it. Queued now, it goes before anything that is read. Its server may have taken
        slots over meanwhile, and what is kept of them is due too.
        """
        self._prune(self._clock.monotonic())
        carried = self._carried.get(handover, {})
        due = self._due(handover, carried)
        carried.update(due)
        for start in range(0, len(due), _COMMANDS_PER_WRITE):
            self._queue(handover, due[start : start + _COMMANDS_PER_WRITE])

    # ------------------------------------------------------------------------------------------------

    def _due(self, handover: Handover, carried: dict[str, Kept]) -> list[tuple[str, Kept]]:
        owns = handover.owns
        return [(key, kept) for key, kept in self._kept.items() if owns(key) and carried.get(key) is not kept]

    async def _carry(self, handover: Handover, chunk: Sequence[tuple[str, Kept]], carried: dict[str, Kept]) -> None:
        commands = [kept.command(key) for key, kept in chunk]
        loads = _loads(commands)
        replies = await handover.run((*loads, *commands))
        for reply in replies[: len(loads)]:
            if isinstance(reply, Exception):
                raise reply
        for (key, kept), command, reply in zip(chunk, commands, replies[len(loads) :], strict=True):
            carried[key] = kept
            if isinstance(command, Call) and on_its_way(reply):
                self._wait(handover, key, kept)
            elif not isinstance(reply, Exception):
                self.acknowledged(kept, (key,))
            elif not self._is_put_off(kept, reply):
                raise reply

    def _queue(self, handover: Handover, chunk: Sequence[tuple[str, Kept]]) -> None:
        commands = [kept.command(key) for key, kept in chunk]
        loads = _loads(commands)

        def answered(replies: list[Any]) -> None:
            for (key, kept), command, reply in zip(chunk, commands, replies[len(loads) :], strict=True):
                if not isinstance(reply, Exception):
                    self.acknowledged(kept, (key,))
                elif isinstance(command, Call) and on_its_way(reply):
                    self._wait(handover, key, kept)
                elif not self._is_put_off(kept, reply):
                    handover.abandon(self._must_carry(reply))  # the next connection carries it first

        handover.queue((*loads, *commands), answered)

    def _is_put_off(self, kept: Kept, error: Exception) -> bool:
        """Whether a command fails for its own keys' data: it then waits for the next connection, and this one serves.

        Prevents: another program writes one key · an end cannot be carried out · nobody is served any more, neither
        sessions nor caches. What the server refuses for its own sake it refuses to every command: then nobody is
        served.
        """
        if not isinstance(error, CommandFailed) or not error.of_data:
            return False
        if not kept.is_logged:
            kept.is_logged = True
            log.error("%s fails, and is postponed: %s", self._what, error)
        return True

    def _wait(self, handover: Handover, key: str, kept: Kept) -> None:
        task = asyncio.get_running_loop().create_task(self._arrived(handover, key, kept), name="greenroom-replay")
        self._waiting.add(task)
        task.add_done_callback(self._waiting.discard)

    async def _arrived(self, handover: Handover, key: str, kept: Kept) -> None:
        """Send a script until its slot has arrived; a server that takes it over is sent it by `queue`, or by `send`."""
        while handover.owns(key) and not handover.ended:
            await asyncio.sleep(_RETRY_AFTER)
            with suppress(EngineError):  # the next connection carries it, or the next owner's
                (reply,) = await handover.run((kept.command(key),))
                if not isinstance(reply, Exception):
                    self.acknowledged(kept, (key,))
                    return
                if isinstance(reply, Moved) or self._is_put_off(kept, reply):
                    return
                if not on_its_way(reply):
                    handover.abandon(self._must_carry(reply))

    def _must_carry(self, error: Exception) -> str:
        return f"it must carry {self._what} first: {error}"

    def _prune(self, now: float) -> None:
        if now - self._pruned < 1.0:
            return
        self._pruned = now
        for key, kept in tuple(self._kept.items()):
            if now >= kept.until or (kept.acknowledged is not None and now - kept.acknowledged >= RECENT):
                del self._kept[key]


def _loads(commands: Iterable[Command]) -> tuple[Command, ...]:
    """The engine may have been made with other scripts."""
    sources = {command.script.source for command in commands if isinstance(command, Call)}
    return tuple(("SCRIPT", "LOAD", source) for source in sources)
