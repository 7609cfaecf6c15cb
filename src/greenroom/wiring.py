"""The servers of an open room, and what stands on them: the caches' backing, sessions and presence."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

from greenroom.caching.invalidation import Backing
from greenroom.clock import SYSTEM, Clock
from greenroom.counters import Counters
from greenroom.engine import EMBEDDED, Channel, Engine, open_engine, start_within
from greenroom.errors import EngineError, EngineRefused, EngineUnavailable
from greenroom.opened import Opened

if TYPE_CHECKING:
    from greenroom.sessions import Presence, Sessions, SessionSettings

log = logging.getLogger("greenroom.client")

_LOOK = 0.05
"""Seconds between two looks at whether the servers answer."""
START_DEADLINE = 2.0
"""Seconds that opening waits for the servers; a room opens all the same without them."""


@dataclass(frozen=True, slots=True)
class ServerHealth:
    """How a server answers.

    Arguments:
        uses: what is kept there, as "caches and sessions".
        error: why it cannot be used, with its address, never with its password; None while all is well.
    """

    uses: str
    error: EngineError | None


@dataclass(frozen=True, slots=True)
class RoomHealth:
    """How a room is.

    Arguments:
        servers: one, or two where sessions have their own.
        unsent_drops: invalidations that no server has acknowledged yet; they are sent before anything is read.
    """

    servers: tuple[ServerHealth, ...]
    unsent_drops: int

    @property
    def ok(self) -> bool:
        """Whether every server answers and has been told of every change."""
        return not self.unsent_drops and all(one.error is None for one in self.servers)


@dataclass(frozen=True, slots=True)
class RoomState:
    """What a room holds at the moment, and which of its servers can be used; nobody is asked.

    Arguments:
        near_entries: values in the near cache.
        near_bytes: bytes that they are taken to need.
        unsent_drops: invalidations that no server has acknowledged yet.
        servers: whether it can be used, by what is kept there, as "caches and sessions".
    """

    near_entries: int
    near_bytes: int
    unsent_drops: int
    servers: Mapping[str, bool]


class Wiring:
    """What one opening of a room is wired of."""

    def __init__(self, backing: Backing, sessions: Sessions[Any] | None, presence: Presence | None) -> None:
        self.backing = backing
        self.sessions = sessions
        self.presence = presence

    @classmethod
    async def open(
        cls,
        stack: AsyncExitStack,
        opened: Opened,
        *,
        address: str,
        session_address: str,
        settings: SessionSettings | None,
        replica_reads: bool,
        directory: Path | None,
        prefix: str,
        clock: Clock,
        counters: Counters,
    ) -> Wiring:
        """Connect; the stack closes the connections. The arguments are those of `Greenroom`."""
        if directory is None and EMBEDDED in (address, session_address):
            from greenroom.private_files import temporary_directory
            from greenroom.worker_processes import own_server

            directory = stack.enter_context(temporary_directory("greenroom-"))
            stack.enter_context(own_server())
        engine = open_engine(address, directory, stack, replica_reads=replica_reads, clock=clock, counters=counters)
        backing = Backing(engine, prefix, clock, counters)
        sessions, presence = None, None
        if settings is not None:
            # Not with the package: a process that has caches only does without.
            from greenroom.sessions import Presence, Revocations, Sessions

            if session_address != address:
                engine = open_engine(session_address, directory, stack, clock=clock, counters=counters)
            sessions = Sessions(
                engine,
                settings.keyspace.prefixed(prefix),
                settings.limits,
                ends=Revocations(clock),
                counters=counters,
                new=settings.new,
                streams=settings.streams,
                remember=settings.remember,
                opened=opened,
                clock=None if clock is SYSTEM else clock,
            )
            presence = Presence(sessions)
        wiring = cls(backing, sessions, presence)
        await wiring._start()
        return wiring

    def engines(self) -> dict[str, Engine]:
        """The engines by what is kept on them."""
        if self.sessions is None:
            return {"caches": self.backing.engine}
        if self.sessions.engine is self.backing.engine:
            return {"caches and sessions": self.backing.engine}
        return {"caches": self.backing.engine, "sessions": self.sessions.engine}

    @property
    def unavailable(self) -> EngineError | None:
        """See `Greenroom.unavailable`."""
        errors = {uses: error for uses, engine in self.engines().items() if (error := engine.unavailable) is not None}
        if not errors:
            return None
        kind = EngineRefused if any(isinstance(one, EngineRefused) for one in errors.values()) else EngineUnavailable
        return kind(_told(errors))

    def state(self) -> RoomState:
        """See `Greenroom.state`."""
        near, servers = self.backing.near, self.engines().items()
        up = {uses: engine.unavailable is None for uses, engine in servers}
        return RoomState(len(near), near.size, self.backing.unsent, up)

    async def health(self) -> RoomHealth:
        """See `Greenroom.health`."""
        servers = await asyncio.gather(*(_health(uses, engine) for uses, engine in self.engines().items()))
        return RoomHealth(tuple(servers), self.backing.unsent)

    async def ready(self, seconds: float, check: Callable[[], None]) -> None:
        """See `Greenroom.ready`.

        Arguments:
            check: raises when the room was closed meanwhile.
        """
        until = monotonic() + seconds
        while True:
            health = await self.health()
            check()
            errors = {one.uses: one.error for one in health.servers if one.error is not None}
            if not errors:
                return
            # A refusal is not waited out: it stays until somebody changes the configuration.
            refused = {uses: error for uses, error in errors.items() if isinstance(error, EngineRefused)}
            if refused:
                raise EngineRefused(f"the room cannot be served: {_told(refused)}")
            if monotonic() + _LOOK >= until:
                raise EngineUnavailable(f"the room is not ready after {seconds:g} s: {_told(errors)}")
            await asyncio.sleep(_LOOK)

    async def close(self) -> None:
        """Finish what goes on without its callers; the caches are closed before."""
        if self.sessions is not None:
            await self.sessions.close()
        await self.backing.settle()

    async def _start(self) -> None:
        """Wait for the servers, as long as a start may take, and warn of settings that lose what is kept there."""
        engines = set(self.engines().values())
        await asyncio.gather(*(start_within(engine, START_DEADLINE) for engine in engines))
        if (warning := await self.backing.groups.eviction_warning()) is not None:
            log.warning("the server of the caches: %s", warning)
        if self.sessions is None:
            return
        from greenroom.engine.eviction import eviction_warning  # not with the package: needed once, at the start

        remedy = "set noeviction, or give them a server of their own"
        warning = await eviction_warning(self.sessions.engine, "sessions", remedy, has_lifetime=True)
        if warning is not None:
            log.warning("the server of the sessions: %s", warning)


def _told(errors: Mapping[str, EngineError]) -> str:
    return " · ".join(f"{uses}: {error}" for uses, error in errors.items())


async def _health(uses: str, engine: Engine) -> ServerHealth:
    try:
        # By each connection: the caches' may be cut off while the other is not.
        await asyncio.gather(*(engine.execute(channel, "health", "PING") for channel in Channel))
    except EngineError as error:
        return ServerHealth(uses, engine.unavailable or error)
    return ServerHealth(uses, engine.unavailable)
