"""Many listeners, slow ones, and ones that never read: what they cost, and who is turned away."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import uvicorn

from greenroom_platform.cli import serve
from greenroom_platform.http.routes import stream
from tests.support.patience import eventually, until
from tests.support.process_tree import ON_LINUX
from tests.support.running_service import TOKEN, Service
from tests.support.stream_listeners import (
    BINARY,
    CLOSE,
    PING,
    TEXT,
    Bare,
    Heard,
    Studio,
    activity,
    hear,
    heard_of,
    heavy,
    inner,
    listener,
    resident,
    tones,
)

MANY = 200
KB = 1024
MB = 1024 * KB
HEAVY = [heavy(number) for number in range(500)]  # 32 MB
ON_ITS_WAY = 2 * MB
"""What a connection may hold of a listener who takes nothing, here and in the system: as much as is on its way."""


def sent(service: Service, request_id: str) -> int | None:
    """How many bytes a socket was sent, from its access line; None as long as it is open."""
    found = re.search(rf"\[{request_id}\] WEBSOCKET .* (\d+) bytes", service.output())
    return int(found.group(1)) if found else None


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """A service whose memory no other test has used."""
    service = Service(tmp_path, env={"GREENROOM_EDITOR_TOKEN": TOKEN}, hurried=False).start()
    yield service
    service.kill()


@ON_LINUX
async def test_who_never_reads_costs_what_is_on_its_way_and_slows_nobody(service: Service, studio: Studio) -> None:
    podcast_id = await studio.ready(HEAVY)
    await heard_of(service, podcast_id)  # whatever a first listener costs for good
    before = resident(service.process.pid)
    silent = [await Bare.opened(service.url, podcast_id, X_Request_Id=f"silent{number}") for number in range(10)]
    for _ in range(2):
        heard = await heard_of(service, podcast_id)
        assert (len(heard.clusters), heard.code) == (len(HEAVY) + 1, 1000)
    assert activity(service) == {podcast_id: len(silent)}
    grown = resident(service.process.pid) - before
    assert grown < 16 * MB, f"{grown / MB:.1f} MB for ten that take nothing of 32 MB"
    for one in silent:
        one.abort()
    await eventually(lambda: not activity(service))
    for number in range(len(silent)):
        await eventually(lambda number=number: sent(service, f"silent{number}") is not None)
        assert 0 < (sent(service, f"silent{number}") or 0) < ON_ITS_WAY


@ON_LINUX
async def test_two_hundred_listen_to_one_process_at_once(service: Service, studio: Studio) -> None:
    clusters = tones(6)
    claim, recording = await studio.rendering(clusters[:2])
    await heard_of(service, await studio.ready(clusters))
    before = resident(service.process.pid)
    async with AsyncExitStack() as stack:
        opened = [await stack.enter_async_context(listener(service, claim.podcast_id)) for _ in range(MANY)]
        heard = await asyncio.gather(*(hear(one, clusters=3) for one in opened))
        assert activity(service) == {claim.podcast_id: MANY}
        each = (resident(service.process.pid) - before) / MANY
        await studio.finish(claim, recording, clusters[2:])
        await asyncio.gather(*(hear(one, so_far) for one, so_far in zip(opened, heard, strict=True)))
    assert {(one.order, one.code) for one in heard} == {("t" + "b" * (len(clusters) + 1) + "t", 1000)}
    assert all(one.clusters[1:] == [cluster.data for cluster in clusters] for one in heard)
    assert each < 300 * KB, f"{each / KB:.0f} KB for each"
    await eventually(lambda: not activity(service))


@ON_LINUX
async def test_two_hundred_who_never_read_stay_within_bounds(service: Service, studio: Studio) -> None:
    podcast_id = await studio.ready(HEAVY)
    await heard_of(service, podcast_id)
    before = resident(service.process.pid)
    silent = [await Bare.opened(service.url, podcast_id) for _ in range(MANY)]
    heard = await heard_of(service, podcast_id)
    assert (len(heard.clusters), heard.code) == (len(HEAVY) + 1, 1000)
    each = (resident(service.process.pid) - before) / MANY
    assert each < 600 * KB, f"{each / KB:.0f} KB for each"
    for one in silent:
        one.abort()
    await eventually(lambda: not activity(service))


# In this process -----------------------------------------------------------------------------------------


async def test_who_takes_slowly_is_not_taken_for_gone(tmp_path: Path) -> None:
    """A ping waits behind all that the listener has not taken yet: no answer to it says nothing."""

    def hurried(config: uvicorn.Config) -> None:
        config.ws_ping_interval = 0.05
        config.ws_ping_timeout = config.ws_ping_timeout and 0.05

    async with inner(tmp_path / "data", hurried) as site:
        podcast_id = await site.studio.ready(HEAVY)
        slow = await Bare.opened(site.url, podcast_id)
        # Another one, who is up to date, tells how many pings have gone by.
        other, recording = await site.studio.rendering()
        clock = await Bare.opened(site.url, other.podcast_id)
        pings = 0
        while pings < 20:
            pings += (await clock.frame())[0] == PING
        clock.abort()
        await recording.discard()
        taken = texts = 0
        while (frame := await slow.frame())[0] != CLOSE:
            taken += frame[0] == BINARY
            texts += frame[0] == TEXT
        assert texts == 2
        assert (taken, int.from_bytes(frame[1][:2], "big")) == (len(HEAVY) + 1, 1000)
        slow.abort()


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="it is Linux's")
async def test_who_takes_nothing_for_long_is_cut_off_and_not_counted_any_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serve, "STALLED", 5)  # a test that stands still for less has yet to see it listed
    async with inner(tmp_path / "data") as site:
        podcast_id = await site.studio.ready(HEAVY)
        silent = await Bare.opened(site.url, podcast_id)
        async with asyncio.timeout(60):
            while podcast_id not in await site.listeners():
                pass
            while podcast_id in await site.listeners():
                await asyncio.sleep(0.01)
        silent.abort()
        other, recording = await site.studio.rendering()
        async with listener(site.url, other.podcast_id) as idle:
            await site.studio.finish(other, recording, tones(2))
            assert (await hear(idle)).code == 1000


async def test_more_than_there_are_places_for_are_told_to_come_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "STREAMS", 2)
    async with inner(tmp_path / "data") as site:
        claim, recording = await site.studio.rendering(tones(2)[:1])
        async with listener(site.url, claim.podcast_id) as one, listener(site.url, claim.podcast_id) as two:
            heard = [await hear(one, clusters=2), await hear(two, clusters=2)]
            turned_away = await heard_of(site.url, claim.podcast_id)
            assert (turned_away.order, turned_away.code) == ("", 1013)
            assert turned_away.reason == "too many listen here; try again in a moment"
            assert await site.listeners() == {claim.podcast_id: 2}
            await two.close()
            await until(lambda: two.close_code is not None)
            third = Heard()
            while third.code != 1000:  # its place may be free a moment later
                async with listener(site.url, claim.podcast_id) as three:
                    third = await hear(three, clusters=2)
                    if third.code is None:
                        await site.studio.finish(claim, recording, tones(2)[1:])
                        await hear(three, third)
            await hear(one, heard[0])
        assert heard[0].code == 1000
        assert await site.listeners() == {}
