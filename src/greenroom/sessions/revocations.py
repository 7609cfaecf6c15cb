"""Ends of sessions that must not be undone: sent again to a server that has come back, before anyone reads there.

Without that, replication being asynchronous and a file written late:

    a session is ended, acknowledged · the server dies · its successor, or itself from its file, has the session again
"""

from __future__ import annotations

from collections.abc import Sequence

from greenroom.clock import SYSTEM, Clock
from greenroom.engine import Handover, Listener, Script
from greenroom.engine.unacknowledged import Kept, ReplayLog


class Revocations(Listener):
    """The ends of one process, a listener of the sessions' engine.

    Both connections carry them: sessions are read on either.
    """

    def __init__(self, clock: Clock = SYSTEM) -> None:
        self._log = ReplayLog(clock, "the end of a session")

    def __len__(self) -> int:
        return len(self._log)

    def keep(self, script: Script, names: Sequence[str], args: Sequence[str | bytes | int], lifetime: float) -> Kept:
        """Keep what ends a session; returns what `acknowledged` takes.

        Arguments:
            names: its keys, that of the session first.
            lifetime: seconds after which the session has lapsed by itself.
        """
        return self._log.keep(names[:1], lambda _: script.call(names, args), lifetime)

    def acknowledged(self, kept: Kept, session: str) -> None:
        """The server has ended the session with this key."""
        self._log.acknowledged(kept, (session,))

    def keys_gained(self, handover: Handover) -> None:
        self._log.queue(handover)

    async def before_use(self, handover: Handover) -> None:
        await self._log.send(handover)
