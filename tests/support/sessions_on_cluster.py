"""What tests of sessions on a cluster share: processes of the platform, and sessions where a test wants them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from time import monotonic

from greenroom.engine.cluster.cluster import Clustered
from greenroom.errors import EngineUnavailable, OutcomeUnknown
from greenroom.sessions.snapshot import SessionSnapshot
from greenroom_platform.models import Session
from tests.support.real_cluster import Cluster, Member
from tests.support.session_stores import MINIMAL, Store, key

SIGNED_IN = {**MINIMAL, "user_id": "u1"}
BACK = 60.0
"""Seconds in which a shard is served again, on a busy machine."""

Process = Callable[..., Awaitable[Store]]


def engine_of(sessions: Store) -> Clustered:
    assert isinstance(sessions.engine, Clustered)
    return sessions.engine


async def some_on(
    sessions: Store, cluster: Cluster, member: Member, number: int
) -> list[tuple[SessionSnapshot[Session], str]]:
    """So many sessions of u1 that a node has."""
    found: list[tuple[SessionSnapshot[Session], str]] = []
    while len(found) < number:
        live, token = await sessions.start(SIGNED_IN)
        if cluster.owner(key(live)) is member:
            found.append((live, token))
        else:
            await sessions.end(live.session_id)
    return found


async def asked(call: Callable[[], Awaitable[object]]) -> object:
    """What a call gives once the shard can be asked."""
    end = monotonic() + BACK
    while True:
        try:
            return await call()
        except (EngineUnavailable, OutcomeUnknown):
            assert monotonic() < end
            await asyncio.sleep(0.01)
