"""One process of all that share a server does a piece of work; when it dies another takes it over.

The leader holds a key that lives for a second, and renews it. Two may lead: one that stood still for longer than its
key lived goes on until it looks, and of a server that has no room for the key nobody can say who leads. What they do
must bear that.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from time import monotonic
from typing import Any

from greenroom.clock import Clock
from greenroom.detached import stop
from greenroom.engine import Channel, Engine, Script
from greenroom.engine.shapes import NUMBER
from greenroom.errors import CommandFailed, EngineError
from greenroom.keyspace.derived_keys import derived_key

log = logging.getLogger("greenroom.domain")

LEAD = Script.named("lead", NUMBER, bool, functions=("text",))
LIFE = 1.0
"""Seconds that a leader's place lasts without being renewed."""
RENEWAL = 0.3
"""Seconds between two renewals: two may fail before the place lapses."""
LOOK = 0.4
"""Seconds between two looks of those who do not lead. A dead leader is replaced after this and the life of a place."""
_SUBSTITUTES = 4
"""Keys on a cluster, spread over its nodes, that stand for a key whose node cannot be asked."""


# docs/decisions/0081-one-process-watches-by-a-key-of-the-caches.md
class Leadership:
    """A place that one process has.

    Arguments:
        engine: of the server that those who compete share.
        prefix: the room's key prefix.
        name: of the work.
    """

    def __init__(self, engine: Engine, prefix: str, name: str, clock: Clock) -> None:
        self._engine = engine
        substitutes = engine.tags[:: max(1, len(engine.tags) // _SUBSTITUTES)]
        self._keys = (
            derived_key(prefix, "leader", name),
            *(derived_key(prefix, f"leader:{name}", tag) for tag in substitutes),
        )
        self._token = clock.token().hex()
        self.leads = False
        """Whether this process has the place, as far as it knows."""

    async def run(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Do the work whenever this process leads, for ever; the work is cancelled when another may lead.

        Raises:
            Whatever the work raises.
        """
        working: asyncio.Task[None] | None = None
        until = 0.0
        try:
            while True:
                began = monotonic()
                taken = await self._take(LIFE)
                if taken:
                    until = began + LIFE
                # Nobody can say: the place is ours until it would have lapsed.
                self.leads = taken or (taken is None and monotonic() < until)
                if self.leads and working is None:
                    working = asyncio.create_task(work(), name="greenroom-leader")
                elif not self.leads and working is not None:
                    await stop(working)
                    working = None
                if working is not None and working.done():
                    working.result()
                    working = None
                await asyncio.sleep(RENEWAL if self.leads else LOOK)
        finally:
            self.leads = False
            if working is not None:
                await stop(working)
                await self._take(0.0)  # or the next would wait for its end

    async def _take(self, life: float) -> bool | None:
        """Take the place, or keep it; None while no server can be asked. Without a life it is given up.

        Where the server answers and cannot give the place, as one without memory, this process leads all the same: so
        may another, which does no harm. Prevents: the server is full · nobody leads · what is stale is never dropped,
        though a full server deletes as ever.

        Where only the node of a cluster with the place is away, the next of its substitutes counts: those who reach
        other nodes go on with those.
        """
        args = self._token, int(life * 1000)
        answered = False
        for key in self._keys:
            try:
                taken = bool(await self._engine.run(Channel.PLAIN, LEAD, (key,), args))
            except CommandFailed as error:
                log.debug("asking for the place of %s: %s", key, error)
                answered = True
            except EngineError as error:
                log.debug("asking for the place of %s: %s", key, error)
            else:
                if life:
                    return taken
        return True if answered and life else None
