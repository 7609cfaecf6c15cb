"""Whether the server may evict sessions: whoever it evicts is signed out."""

from __future__ import annotations

from greenroom.engine import Engine, Lane
from greenroom.engine.info import fields
from greenroom.errors import EngineError
from greenroom.keyspace.companions import companion_key


async def eviction_advice(engine: Engine, prefix: str = "") -> str | None:
    """What is wrong with the server's eviction policy; None where nothing is, or it does not say.

    Arguments:
        prefix: the room's key prefix.
    """
    key = companion_key(prefix, "active", "sessions")
    try:
        # Not CONFIG GET: who may ask that is told the passwords of the server as well, and many hosts refuse it.
        found = fields(await engine.execute(Lane.PLAIN, key, "INFO", "memory"))
    except EngineError:
        return None  # not reachable, or not ours to ask
    bound, policy = found.get("maxmemory", "0"), found.get("maxmemory_policy", "noeviction")
    if bound == "0" or policy == "noeviction":
        return None
    return f"maxmemory-policy is {policy}, which may evict sessions; set noeviction, or give them a server of their own"
