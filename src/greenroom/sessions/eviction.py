"""Whether the server may evict sessions: whoever it evicts is signed out."""

from __future__ import annotations

from greenroom.engine import Engine
from greenroom.engine.protocol.info import fields


async def eviction_warning(engine: Engine) -> str | None:
    """What is wrong with the eviction policy of a server; None where nothing is, or it does not say."""
    # Not CONFIG GET: who may ask that is told the passwords of the server as well, and many hosts refuse it.
    # docs/decisions/0014-eviction-warnings-use-info.md
    for told in await engine.broadcast("INFO", "memory"):
        found = fields(told)
        bound, policy = found.get("maxmemory", "0"), found.get("maxmemory_policy", "noeviction")
        if bound != "0" and policy != "noeviction":
            remedy = "set noeviction, or give them a server of their own"
            return f"maxmemory-policy is {policy}, which may evict sessions; {remedy}"
    return None
