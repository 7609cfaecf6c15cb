"""Builds that are broken on purpose: a checker that never finds anything proves nothing.

Each breaks one process's Greenroom from outside; the product knows nothing of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from greenroom.caching import lease
from greenroom.caching.backing import Backing
from greenroom.caching.groups import Groups
from greenroom.engine import Script
from greenroom.engine.wire import Command, Hook
from torture.lane import LateLane

Registered = Callable[[str, str], Awaitable[None]]

LEASE_UNCHECKED = "lease-unchecked"
"""`fill` stores whatever the lease says: a load that began before an invalidation is stored after it."""
NEAR_AFTER_AWAIT = "near-after-await"
"""What enters the near cache is put there by the woken task, no longer in the socket's reader."""
GROUP_AFTER_LOAD = "group-after-load"
"""A page is put into its group when it has been loaded, and not before its lease is asked for."""
BUILDS = (LEASE_UNCHECKED, NEAR_AFTER_AWAIT, GROUP_AFTER_LOAD)


def uncheck_leases() -> None:
    """From now on `fill` begins where it stores."""
    source = lease.FILL.source
    lease.FILL = Script(source[source.index("redis.call('SET', KEYS[1]") :])


class HookAfterAwait(LateLane):
    """An engine that calls the hook of a read when the caller wakes."""

    def read(
        self, key: str, commands: tuple[Command, ...], hook: Hook | None = None
    ) -> asyncio.Future[list[Any]] | None:
        sources: list[Any] = []
        sent = super().read(key, commands, lambda _, source: sources.append(source))
        return None if sent is None else asyncio.ensure_future(_hooked(sent, hook, sources))


async def _hooked(sent: asyncio.Future[list[Any]], hook: Hook | None, sources: Sequence[Any]) -> list[Any]:
    replies = await sent
    if hook is not None:
        hook(replies, sources[0])
    return replies


def register_late(backing: Backing) -> Registered:
    """Leave out the registration; returns what does it, given group and key."""
    registered: Registered = backing.groups.register

    async def nothing(self: Groups, group: str, key: str, *, until: float | None = None) -> None:
        """Too late."""

    Groups.register = nothing  # type: ignore[method-assign]
    return registered
