"""Whether a server may evict what must stay: without a group pages stay stale, without a session its user is out."""

from __future__ import annotations

from greenroom.engine.engine import Engine
from greenroom.engine.protocol.info import fields


async def eviction_warning(engine: Engine, kept: str, remedy: str, *, has_lifetime: bool) -> str | None:
    """What is wrong with the eviction policy of a server; None where nothing is, or it does not say.

    Arguments:
        kept: what must stay, as "sessions".
        has_lifetime: whether that has a lifetime: a `volatile-…` policy then evicts it too.
    """
    # Not CONFIG GET: who may ask that is info the passwords of the server as well, and many hosts refuse it.
    # docs/decisions/0014-eviction-warnings-use-info.md
    for info in await engine.broadcast("INFO", "memory"):
        memory = fields(info)
        bound, policy = memory.get("maxmemory", "0"), memory.get("maxmemory_policy", "noeviction")
        evicts = bound != "0" and policy != "noeviction" if has_lifetime else policy.startswith("allkeys")
        if evicts:
            return f"maxmemory-policy is {policy}, which may evict {kept}; {remedy}"
    return None
