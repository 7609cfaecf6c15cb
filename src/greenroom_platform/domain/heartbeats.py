"""Which processes of a platform are alive, on whichever host: each says so every few seconds, and the dead vanish.

They are members of a set on the server of the caches, each with a stay of its own. Nobody takes a dead one out: its
stay ends.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import timedelta

import msgspec

from greenroom.engine import Engine
from greenroom.errors import EngineError
from greenroom.keyspace.derived_keys import derived_key
from greenroom.sessions.index import SCRIPTS as SET_SCRIPTS
from greenroom.sessions.index import ExpiringSet

log = logging.getLogger("greenroom.domain")

BEAT = 4.0
"""Seconds between two beats."""
_AGAIN = 0.5
"""Seconds after one that no server has heard."""
STAY = timedelta(seconds=13)
"""How long a process counts as alive after a beat: two may fail."""
SET = "active", "processes"
"""The set's use and tag."""
SCRIPTS = SET_SCRIPTS
"""What the set needs of its server."""
_NOT_A_PART = re.compile(r"[^A-Za-z0-9._-]")
_GONE = timedelta(milliseconds=1)


class Process(msgspec.Struct, frozen=True, order=True):
    """A process that is alive.

    Arguments:
        role: `serve` answers requests, `work` makes podcasts; a process may have both.
        name: its host and number.
    """

    role: str
    name: str


def own_name() -> str:
    """The name of this process, as workers sign their claims."""
    return f"{socket.gethostname()}-{os.getpid()}"


class Heartbeats:
    """The processes of one platform.

    Arguments:
        engine: of the server of the caches.
        prefix: the room's key prefix.
    """

    def __init__(self, engine: Engine, prefix: str) -> None:
        self._set = ExpiringSet(engine, derived_key(prefix, *SET), STAY)

    async def alive(self) -> list[Process]:
        """Those that are alive, by role and name.

        Raises:
            EngineError: when the server cannot be asked.
        """
        members = await self._set.members()
        return sorted(Process(*member.partition("~")[::2]) for member in members)

    @asynccontextmanager
    async def beating(self, roles: Sequence[str]) -> AsyncIterator[None]:
        """Be among them inside the block."""
        name = _NOT_A_PART.sub("-", own_name())
        members = [f"{role}~{name}" for role in roles]
        beating = asyncio.create_task(self._beat(members), name="greenroom-heartbeat")
        try:
            yield
        finally:
            beating.cancel()
            await asyncio.wait([beating])
            with suppress(EngineError, TimeoutError):
                async with asyncio.timeout(0.5):
                    for member in members:
                        await self._set.add(member, _GONE)

    async def _beat(self, members: Sequence[str]) -> None:
        while True:
            pause = BEAT
            try:
                for member in members:
                    await self._set.add(member)
            except EngineError as error:
                log.debug("no heartbeat: %s", error)
                pause = _AGAIN
            await asyncio.sleep(pause)
