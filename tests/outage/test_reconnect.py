"""What two connections that are made at once carry before they serve: each its own, once."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from greenroom import Greenroom
from greenroom.counters import Counters
from greenroom.engine import Channel
from greenroom.engine.unacknowledged import ReplayLog
from greenroom.sessions.revocations import Revocations
from tests.support.gateways import eventually
from tests.support.patience import be_patient, until
from tests.support.real_servers import Raw, Server

MANY = 700
"""More than are sent in one write."""
AT_ONCE = 10
"""Calls that a busy machine can carry out within one call's deadline."""


def calls(raw: Raw, command: str) -> int:
    """How often a command was carried out, those in scripts included."""
    for line in raw("INFO", "commandstats").splitlines():
        if line.startswith(b"cmdstat_" + command.encode() + b":"):
            return int(line.split(b"calls=")[1].split(b",")[0])
    return 0


async def connected_again(room: Greenroom, counters: Counters) -> None:
    """Return when both connections were lost and are there again."""
    lost = Counter[str]()

    def both() -> bool:
        lost.clear()
        for (_, event), number in counters.engine_events.items():
            lost[event] += number
        return lost["tracked_lost"] == lost["plain_lost"] == 1 and room.unavailable is None

    await eventually(both)


async def test_after_many_log_outs_each_connection_carries_every_end_once(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    be_patient(monkeypatch)
    counters = Counters()
    async with Greenroom(server.address, counters=counters) as room:
        ends: Revocations = room.sessions.store._ends
        begun = []
        for _ in range(MANY // AT_ONCE):
            begun += await asyncio.gather(*(room.sessions.start() for _ in range(AT_ONCE)))
        for start in range(0, MANY, AT_ONCE):
            await asyncio.gather(*(room.sessions.end(live.session_id) for live, _ in begun[start : start + AT_ONCE]))
        assert len(ends) == MANY
        raw = server.raw()
        before = calls(raw, "evalsha")
        raw("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        await connected_again(room, counters)
        assert calls(raw, "evalsha") - before == 2 * MANY


async def test_ends_made_while_others_are_carried_are_carried_too(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    be_patient(monkeypatch)
    counters = Counters()
    async with Greenroom(server.address, counters=counters) as room:
        begun = [await room.sessions.start() for _ in range(3)]
        for live, _ in begun[:2]:
            await room.sessions.end(live.session_id)
        raw = server.raw()
        before = calls(raw, "evalsha")
        ends, send = room.sessions.store._ends, ReplayLog._carry

        carrying = 0

        async def carry(self: ReplayLog, *arguments: object) -> None:
            nonlocal carrying
            if self is ends._log:
                carrying += 1
                # Otherwise the one connection may serve before the other begins: it then sends the end itself.
                await until(lambda: carrying >= 2)
            if self is ends._log and not late.done():
                late.set_result(None)
                last = begun[2][0].session_id
                store = room.sessions.store
                names = store._names(last, "life", "touched", "grace", "ended", "streams")
                store._keep(names, store._end_args("x", "one"), room.sessions.limits.lifetime)
            await send(self, *arguments)  # type: ignore[arg-type]

        late = asyncio.get_running_loop().create_future()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(ReplayLog, "_carry", carry)
            raw("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            await connected_again(room, counters)
        # The last end is queued as a connection begins to serve, and precedes what is asked on it.
        for channel in (Channel.TRACKED, Channel.PLAIN):
            await room.sessions.engine.execute(channel, "k", "PING")
        assert calls(raw, "evalsha") - before == 2 * 3
        assert await room.sessions.read(begun[2][1]) is None
