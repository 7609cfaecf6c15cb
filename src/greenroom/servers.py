"""What stands on Valkey: the caches' backing and the sessions, on one server together or on two."""

from __future__ import annotations

import asyncio
import logging
from contextlib import AsyncExitStack
from pathlib import Path

from greenroom.caching.invalidation import Backing
from greenroom.clock import Clock
from greenroom.engine import Engine, settle
from greenroom.engine.factory import EMBEDDED, open_engine
from greenroom.engine.key_events import Pushes
from greenroom.errors import EngineError, EngineRefused, EngineUnavailable
from greenroom.keyspace.derived_keys import owner
from greenroom.keyspace.pattern import check_prefix
from greenroom.observe import Counters
from greenroom.sessions import Ends, Sessions, eviction_advice, session_use
from greenroom_platform import definitions
from greenroom_platform.domain import preferences
from greenroom_platform.models import Session

log = logging.getLogger("greenroom.client")

START_DEADLINE = 2.0
"""Seconds that opening waits for the servers; a room opens all the same without them."""


def is_embedded(address: str | None, session_address: str | None) -> bool:
    """Whether a server is started here, which needs a directory."""
    return EMBEDDED in (address or EMBEDDED, session_address)


def wire(
    address: str | None,
    session_address: str | None,
    directory: Path | None,
    stack: AsyncExitStack,
    *,
    prefix: str,
    keeps_sessions: bool,
    replica_reads: bool,
    clock: Clock,
    counters: Counters,
) -> tuple[Backing, Sessions[Session]]:
    """Engines that are not started yet, and what uses them; the stack closes the engines.

    Raises:
        InvalidInput, MissingExtra: see `open_engine`.
    """
    address = address or EMBEDDED
    session_address = session_address or address
    backing, pushes, ends = Backing(check_prefix(prefix), clock, counters), Pushes(owner), Ends(clock)
    uses = [backing.use, session_use(pushes, ends)]
    apart = keeps_sessions and session_address != address
    of_caches = uses if keeps_sessions and not apart else uses[:1]
    engine = sessions_engine = open_engine(
        address, directory, of_caches, stack, replica_reads=replica_reads, clock=clock, counters=counters
    )
    if apart:
        sessions_engine = open_engine(session_address, directory, uses[1:], stack, clock=clock, counters=counters)
    backing.attach(engine)
    sessions: Sessions[Session] = Sessions(
        sessions_engine,
        definitions.SESSIONS.prefixed(prefix),
        pushes=pushes,
        ends=ends,
        counters=counters,
        new={"preferences": preferences.DEFAULTS},
    )
    return backing, sessions


def trouble(caches: Engine, sessions: Engine) -> EngineError | None:
    """What is wrong with either, said of what it serves, since an operator must know which; None: nothing."""
    uses = {"caches": caches, "sessions": sessions} if caches is not sessions else {"caches and sessions": caches}
    found = {use: error for use, engine in uses.items() if (error := engine.trouble) is not None}
    if not found:
        return None
    kind = EngineRefused if any(isinstance(one, EngineRefused) for one in found.values()) else EngineUnavailable
    return kind(" · ".join(f"{use}: {error}" for use, error in found.items()))


async def start(backing: Backing, sessions: Sessions[Session], *, keeps_sessions: bool) -> None:
    """Wait for the servers, so long as a start may take, and warn of settings that would lose what is kept there."""
    await asyncio.gather(*(settle(one, START_DEADLINE) for one in {backing.engine, sessions.engine}))
    if (advice := await backing.groups.advice()) is not None:
        log.warning("the server of the caches: %s", advice)
    if keeps_sessions and (advice := await eviction_advice(sessions.engine)) is not None:
        log.warning("the server of the sessions: %s", advice)
