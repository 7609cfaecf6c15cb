"""Ends of sessions that must not be undone: kept for a while, and sent again to a server that has come back.

Replication is asynchronous, and a file is written late. What that would do:

    a session is ended, acknowledged · the server dies · its successor, or itself from its file, has the session again

So a new connection first carries the ends of the last 30 seconds once more, and those that no server has acknowledged;
only then does anyone read on it. One entry per session.

In a slot that is on its way to another node of a cluster no session can be ended until it has arrived, since its keys
are on both; nor can one be read. Its ends must not keep the old node from serving the other slots: they are sent as
soon as that is over, wherever the slot then is.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from greenroom.clock import SYSTEM, Clock
from greenroom.engine import Script
from greenroom.engine.listener import KeyFilter
from greenroom.engine.protocol.wire import Ask, Command, Moved, NotNow
from greenroom.engine.transport.connection import Connection
from greenroom.errors import CommandFailed, EngineError, EngineUnavailable

log = logging.getLogger("greenroom.sessions")

# docs/decisions/0004-revocations-replay-on-both-connections.md
RECENT = 30.0
"""Seconds for which an acknowledged end is sent again to a server that has come back."""
_CHUNK = 500
"""Ends in one write."""
_AGAIN = 0.1
"""Seconds until an end in a slot on its way is sent again."""


@dataclass(slots=True, eq=False, repr=False)
class Revocation:
    """One session's end, as it is sent."""

    script: Script
    names: Sequence[str]
    args: Sequence[str | bytes | int]
    until: float
    """When it is forgotten, in seconds of the clock."""
    is_told: bool = False
    """Whether the log says that its data keep it from being carried out."""

    @property
    def command(self) -> Command:
        return self.script.call(self.names, self.args)


class Revocations:
    """The ends of one process. Made before the engine, which is given `send` as its `before_use`."""

    def __init__(self, clock: Clock = SYSTEM) -> None:
        self._clock = clock
        self._kept: dict[str, Revocation] = {}
        self._pruned = 0.0
        self._carried: WeakKeyDictionary[Connection, set[Revocation]] = WeakKeyDictionary()
        self._waiting: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._kept)

    def keep(
        self, session: str, script: Script, names: Sequence[str], args: Sequence[str | bytes | int], lifetime: float
    ) -> Revocation:
        """Keep what ends a session; returns what `acknowledged` takes.

        Arguments:
            lifetime: seconds after which the session has lapsed by itself.
        """
        now = self._clock.monotonic()
        self._prune(now)
        end = self._kept[session] = Revocation(script, names, args, now + lifetime)
        return end

    def acknowledged(self, end: Revocation) -> None:
        """The server has carried it out."""
        end.until = self._clock.monotonic() + RECENT

    async def send(self, connection: Connection) -> None:
        """Send what a new connection must carry before it serves and has not carried yet.

        Called again until nothing is left, and nothing may come between the last look and the first read. Prevents: a
        connection carries the ends of its slots · its node takes another slot over · that one's ends go nowhere.

        What it has carried is remembered for each connection. Prevents: of two that are made at once one carries an
        end · the other carries it · the first finds it due again, and neither ever serves.

        Raises:
            EngineError: when that cannot be done; the connection must not serve.
        """
        self._prune(self._clock.monotonic())
        if not self._kept:
            return
        carried = self._carried.setdefault(connection, set())
        while due := [end for end in self._kept.values() if end not in carried and connection.share.owns(end.names[0])]:
            for start in range(0, len(due), _CHUNK):
                await self._carry(connection, due[start : start + _CHUNK], carried)

    async def _carry(self, connection: Connection, chunk: Sequence[Revocation], carried: set[Revocation]) -> None:
        loads = _loads(chunk)
        replies = await connection.issue((*loads, *(end.command for end in chunk)), urgent=True)
        for reply in replies[: len(loads)]:
            if isinstance(reply, Exception):
                raise reply
        for end, reply in zip(chunk, replies[len(loads) :], strict=True):
            carried.add(end)
            if _on_its_way(reply):
                self._wait(connection, end)
            elif isinstance(reply, EngineUnavailable):
                await connection.share.follow(connection, end.command, reply)
            elif isinstance(reply, Exception):
                if not self._is_put_off(end, reply):
                    raise reply
            else:
                self._done(end)
        await asyncio.sleep(0)

    def queue(self, connection: Connection, owns: KeyFilter) -> None:
        """Queue the ends of some sessions for the new owner of their slots; what is refused there is not believed."""
        self._prune(self._clock.monotonic())
        ends = [end for end in self._kept.values() if owns(end.names[0])]
        if not ends:
            return
        loads = _loads(ends)

        def answered(replies: list[Any], source: Connection) -> None:
            for end, reply in zip(ends, replies[len(loads) :], strict=True):
                if isinstance(reply, Exception):
                    if self._is_put_off(end, reply):
                        continue
                    source.abort(f"it owes the end of a session: {reply}")  # the next one carries them first
                else:
                    self._done(end)

        try:
            queued = connection.issue((*loads, *(end.command for end in ends)), answered, urgent=True)
        except EngineError:
            return  # it has ended: the next one carries everything first
        queued.add_done_callback(asyncio.Future.exception)

    def _done(self, end: Revocation) -> None:
        """A server has carried it out, perhaps for the second time: that makes it no younger."""
        end.until = min(end.until, self._clock.monotonic() + RECENT)

    def _is_put_off(self, end: Revocation, error: Exception) -> bool:
        """Whether an end fails for its session's own data: it then waits for the next connection, and this one serves.

        Prevents: another program writes one key · an end cannot be carried out · nobody is served any more, neither
        sessions nor caches. What the server refuses for its own sake it refuses to every end: then nobody is served.
        """
        if not isinstance(error, CommandFailed) or not error.of_data:
            return False
        if not end.is_told:
            end.is_told = True
            log.error("the end of a session cannot be carried out, and is put off: %s", error)
        return True

    def _wait(self, connection: Connection, end: Revocation) -> None:
        task = asyncio.get_running_loop().create_task(self._settled(connection, end), name="greenroom-session-end")
        self._waiting.add(task)
        task.add_done_callback(self._waiting.discard)

    async def _settled(self, connection: Connection, end: Revocation) -> None:
        """Send an end until its slot has arrived; whoever takes it over is sent it by `queue`, or by `send`."""
        while connection.share.owns(end.names[0]) and not connection.lost.done():
            await asyncio.sleep(_AGAIN)
            with suppress(EngineError):  # the next connection carries it, or the next owner's
                (reply,) = await connection.issue((end.command,), urgent=True)
                if isinstance(reply, Moved):
                    await connection.share.follow(connection, end.command, reply)
                elif not isinstance(reply, Exception):
                    self._done(end)
                    return
                elif self._is_put_off(end, reply):
                    return
                elif not _on_its_way(reply):
                    connection.abort(f"it owes the end of a session: {reply}")

    def _prune(self, now: float) -> None:
        if now - self._pruned < 1.0:
            return
        self._pruned = now
        for session, end in tuple(self._kept.items()):
            if now >= end.until:
                del self._kept[session]


def _on_its_way(reply: Any) -> bool:
    return isinstance(reply, Ask) or (isinstance(reply, NotNow) and reply.code == "TRYAGAIN")


def _loads(ends: Iterable[Revocation]) -> tuple[Command, ...]:
    """Whoever made the engine may have given it other scripts."""
    return tuple(("SCRIPT", "LOAD", source) for source in {end.script.source for end in ends})
