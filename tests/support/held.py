"""What a process holds: locks, places, registrations, tasks, and what it owes; each must be empty when nothing runs."""

from __future__ import annotations

from typing import Any

from greenroom.caching import Cache
from greenroom.caching.invalidation import Backing
from greenroom.engine import Channel
from greenroom.engine.transport.connection import Connection
from tests.support.patience import until


def connections(engine: Any) -> list[Connection]:
    """The connections of an engine that serve at the moment."""
    nodes = [engine._node] if hasattr(engine, "_node") else list(engine._owners.nodes)
    found = (node.connection(channel) for node in nodes for channel in Channel)
    return [connection for connection in found if connection is not None]


def cut(engine: Any) -> None:
    """Lose every connection; new ones are made at once."""
    for connection in connections(engine):
        connection.abort("cut by the test")


async def quiet(engine: Any) -> None:
    """Return when every connection serves, and every command is answered."""
    await until(lambda: engine.unavailable is None and not any(one.outstanding for one in connections(engine)))


def held_by(backing: Backing, *caches: Cache[Any]) -> dict[str, Any]:
    """What a process's caches hold that should be nobody's by now, by name."""
    groups = backing.groups
    found: dict[str, Any] = {
        "releases": dict(backing.releases._kept),
        "release tasks": len(backing.releases._sending),
        "drops unsent": backing.unsent,
        "drops pending": dict(backing.drops.pending),
        "drops refused": set(backing.drops.refused),
        "drop tasks": len(backing.drops.detached),
        "renewals expected": dict(backing._renewals),
        "groups unread": set(groups.pending_reads),
        "groups undropped": set(groups.pending_drops),
        "watches": dict(backing.local._watches),
    }
    for cache in caches:
        found |= {
            "flights open": dict(cache._flights._open),
            "flights under way": dict(cache._flights._in_flight),
            "flight tasks": set(cache._flights._tasks),
            "places": cache._fallback._max_concurrent - cache._fallback._permits._value,
            "refreshes": dict(cache._ladder.refreshes._tasks),
        }
    return {name: one for name, one in found.items() if one}
