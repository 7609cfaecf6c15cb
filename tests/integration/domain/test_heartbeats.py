"""Which processes are alive: each while it says so, and none for long after it has died."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from greenroom import Greenroom
from greenroom_platform.domain import heartbeats
from greenroom_platform.domain.heartbeats import Heartbeats, Process, own_name
from tests.support.real_servers import Server

pytestmark = pytest.mark.one_kind


async def test_a_process_is_alive_while_it_beats_and_the_dead_vanish(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Greenroom(server.address, sessions=False) as room:
        beats = Heartbeats(room.engine, "")
        async with beats.beating(["serve", "work"]):
            await _are(beats, 2)
            assert await beats.alive() == [Process("serve", own_name()), Process("work", own_name())]
        await _are(beats, 0)  # who ends says so
        monkeypatch.setattr(heartbeats, "_GONE", heartbeats.STAY)
        async with beats.beating(["work"]):
            await _are(beats, 1)
        # It has ended without a word, as one that is killed does.
        assert await beats.alive() == [Process("work", own_name())]
        monkeypatch.setattr(heartbeats, "STAY", timedelta(milliseconds=200))
        await _are(Heartbeats(room.engine, ""), 0)


async def _are(beats: Heartbeats, number: int) -> None:
    async with asyncio.timeout(30):
        while len(await beats.alive()) != number:
            await asyncio.sleep(0.01)
