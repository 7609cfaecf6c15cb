"""Whether a server tells its clients of changes, and when: near caches rest on it. Found out by doing it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from greenroom.acl import Holds
from greenroom.engine.operator import Shard, looking
from greenroom.findings import Finding, NotChecked, error
from greenroom.inspection.keys import KeyIndex
from greenroom.keyspace.derived_keys import derived_key

_WITHIN = 1.0
"""Seconds in which the push must come."""
_LIFE = 1000
"""Milliseconds after which the probe's key is gone by itself."""
_PART = "greenroom-doctor"


async def tracking(shard: Shard, key: str, *, within: float = _WITHIN) -> Sequence[Finding]:
    """Set a key, read it, overwrite it, and see the push.

    Arguments:
        key: one that the program's user may write, and that nobody reads.
    """
    told = asyncio.Event()

    def on_push(push: list[Any]) -> None:
        if push and push[0] == b"invalidate" and (push[1] is None or key.encode() in push[1]):
            told.set()

    async with looking(shard, commands=(("CLIENT", "TRACKING", "ON"),), on_push=on_push) as look:
        await look.ask("SET", key, "1", "PX", _LIFE)
        await look.ask("GET", key)
        await look.ask("SET", key, "2", "PX", _LIFE)
        try:
            async with asyncio.timeout(within):
                await told.wait()
        except TimeoutError:
            what = f"{look.address} did not tell within {within:g} s that a key which was read has changed"
            why = "near caches would serve old values, for as long as they keep them"
            mend = "give the address of the server itself; what stands before it does not pass CLIENT TRACKING"
            return (error("no_tracking", what, why, mend),)
    return ()


def probe(index: KeyIndex, holds: Holds) -> str:
    """A key that the program's user may write, and that means nothing to anybody.

    Of the caches a mark: beside a value that is not there it is never looked at, and at most it costs one load.

    Raises:
        NotChecked: when the program keeps nothing there that has such a key.
    """
    caches = sorted(index.keyspaces.caches, key=lambda one: not one.pattern.names)
    if caches and holds is not Holds.SESSIONS:
        return caches[0].mark_key(_filled(caches[0].pattern.glob))
    sessions = index.keyspaces.sessions
    if sessions is not None and holds is not Holds.CACHES:
        return derived_key(index.prefix, "grace", _filled(sessions.pattern.glob))
    raise NotChecked("the program declares no caches and no sessions, which alone rely on it")


def _filled(glob: str) -> str:
    return glob.replace("*", _PART).replace("\\", "")
