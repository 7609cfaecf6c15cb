"""Whether the server may evict sessions: whoever it evicts is signed out."""

from __future__ import annotations

from greenroom.engine import Engine, Lane
from greenroom.errors import EngineError
from greenroom.keyspace.companions import companion_key


async def eviction_advice(engine: Engine, prefix: str = "") -> str | None:
    """What is wrong with the server's eviction policy; None where nothing is, or it does not say.

    Arguments:
        prefix: the room's key prefix.
    """
    key = companion_key(prefix, "active", "sessions")
    asked = (("CONFIG", "GET", "maxmemory"), ("CONFIG", "GET", "maxmemory-policy"))
    try:
        found = await engine.execute_all(Lane.PLAIN, key, asked)
    except EngineError:
        return None  # not reachable, or not ours to ask
    bound, policy = (_value(reply) for reply in found)
    if bound in ("", "0") or policy in ("", "noeviction"):
        return None
    return f"maxmemory-policy is {policy}, which may evict sessions; set noeviction, or give them a server of their own"


def _value(reply: object) -> str:
    return next(iter(reply.values()), b"").decode() if isinstance(reply, dict) else ""
