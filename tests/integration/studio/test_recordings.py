"""Recordings: whole, listened to while they are written, and by many at once."""

from __future__ import annotations

import asyncio
import io
import os
import stat
import tracemalloc
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from greenroom_platform.studio import webm
from greenroom_platform.studio.recordings import NothingYet, Recordings
from greenroom_platform.studio.webm import CLUSTER_MS, Cluster
from tests.support.made_recordings import Listener, Open, heard, made, opening, parts, times, write
from tests.support.studio_samples import a_cluster, parse


@pytest.fixture
async def opened(tmp_path: Path) -> AsyncIterator[Open]:
    async with opening(tmp_path / "recordings") as opened:
        yield opened


# Whole -----------------------------------------------------------------------------------------------


async def test_a_whole_recording_is_a_file_with_its_duration_and_cues(opened: Open) -> None:
    recordings = opened()
    assert recordings.whole("p") is None
    recording = await recordings.begin("p", "a")
    await write(recording, 0, 1)
    last = a_cluster(2)
    await recording.append(Cluster(last.start_ms, 2400.5, last.data))
    assert recordings.whole("p") is None
    await recording.finish()
    path = recordings.whole("p")
    assert path is not None
    assert parts(recordings) == []
    data = path.read_bytes()
    _, segment = parse(data)
    assert segment.one("Info").one("Duration") == 2400.5
    assert len(segment.all("Cluster")) == len(segment.one("Cues").value) == 3
    got = await heard(recordings)
    assert got == [webm.init_segment(2400.5), a_cluster(0).data, a_cluster(1).data, last.data]
    assert b"".join(got[1:]) in data


async def test_recordings_are_for_this_user_alone(opened: Open, tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        recordings = opened()
        await made(recordings)
        await (await recordings.begin("q", "a")).append(a_cluster(0))
    finally:
        os.umask(before)
    top = tmp_path / "recordings"
    paths = [top, *top.rglob("*")]
    assert sum(path.is_file() for path in paths) == 2
    assert {str(path): oct(stat.S_IMODE(path.stat().st_mode)) for path in paths if path.stat().st_mode & 0o077} == {}


@pytest.mark.parametrize(
    ("from_ms", "first"),
    [(0, 0), (1, 0), (999, 0), (1000, 1000), (1001, 1000), (2999, 2000), (3000, None), (10**9, None)],
)
async def test_a_listener_begins_with_the_cluster_that_holds_the_place(
    opened: Open, from_ms: int, first: int | None
) -> None:
    recordings = opened()
    await made(recordings)
    assert times(await heard(recordings, from_ms=from_ms)) == ([] if first is None else list(range(first, 3000, 1000)))


async def test_real_audio_of_a_recording_is_decoded_by_another_program(opened: Open) -> None:
    av = pytest.importorskip("av", reason="PyAV is not installed; make test installs it")
    from tests.integration.studio.test_webm import encoded, tone

    recordings = opened()
    recording = await recordings.begin("p", "a")
    for cluster in encoded(tone(3.21)):
        await recording.append(cluster)
    await recording.finish()
    path = recordings.whole("p")
    with av.open(str(path)) as container:
        assert container.duration == pytest.approx(3_210_000, abs=1)
        assert sum(frame.samples for frame in container.decode(audio=0)) == 48_000 * 3.21
        # Its cues lead there: what comes is decoded from the cluster that holds the place.
        container.seek(2_500_000)
        frame = next(container.decode(audio=0))
        assert 1.99 < float(frame.pts * frame.time_base) < 2.51
    with av.open(io.BytesIO(b"".join(await heard(recordings)))) as container:
        assert sum(frame.samples for frame in container.decode(audio=0)) == 48_000 * 3.21


# In progress -----------------------------------------------------------------------------------------


async def test_a_listener_of_another_process_follows_what_is_written(opened: Open) -> None:
    writing, reading = opened(), opened()
    recording = await writing.begin("p", "a")
    await write(recording, 0)
    listener = Listener(reading)
    await listener.has(2)
    assert listener.got == [webm.init_segment(), a_cluster(0).data]
    await write(recording, 1)
    await listener.has(3)
    late = Listener(reading, from_ms=1500)
    await late.has(2)
    await write(recording, 2, 3)
    await recording.finish()
    await listener.task
    await late.task
    assert times(listener.got) == [0, 1000, 2000, 3000]
    assert times(late.got) == [1000, 2000, 3000]


async def test_who_asks_for_a_place_that_is_not_made_yet_waits_for_it(opened: Open) -> None:
    recordings = opened()
    recording = await recordings.begin("p", "a")
    await write(recording, 0)
    ahead = Listener(recordings, from_ms=2000)
    await ahead.has(1)
    await write(recording, 1, 2)
    await ahead.has(2)
    await recording.finish()
    await ahead.task
    assert times(ahead.got) == [2000]


async def test_a_cluster_that_is_half_written_is_not_seen(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    recordings = opened()
    recording = await recordings.begin("p", "a")
    await write(recording, 0)
    listener = Listener(recordings)
    await listener.has(2)
    half = asyncio.Event()
    go_on = asyncio.Event()
    loop = asyncio.get_running_loop()
    real = os.write
    real_cluster = a_cluster(1)

    def slow(handle: int, data: Any) -> int:
        if len(data) == len(real_cluster.data):
            return real(handle, data[: len(data) // 2])
        loop.call_soon_threadsafe(half.set)
        asyncio.run_coroutine_threadsafe(go_on.wait(), loop).result()
        return real(handle, data)

    monkeypatch.setattr(os, "write", slow)
    writing = asyncio.create_task(recording.append(real_cluster))
    await half.wait()
    looks = recordings._followers["p"]
    assert looks.source is not None
    assert not await asyncio.to_thread(looks.source.look)
    assert len(looks.source) == 1
    go_on.set()
    await writing
    await listener.has(3)
    assert listener.got[2] == real_cluster.data
    await recording.finish()
    await listener.task


async def test_where_there_is_nothing_it_is_told_or_waited_for(opened: Open) -> None:
    recordings = opened()
    with pytest.raises(NothingYet):
        await heard(recordings)
    waiting = Listener(recordings, wait=True)
    with pytest.raises(NothingYet):
        await heard(recordings)
    await made(recordings)
    await waiting.task
    assert times(waiting.got) == [0, 1000, 2000]


async def test_a_recording_that_gets_its_name_while_it_is_looked_for_is_found(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    recordings = opened()
    recording = await recordings.begin("p", "a")
    await write(recording, 0)
    shelf = recordings._shelf
    real = shelf.newest_part

    def finished_then_looked(podcast_id: str) -> Path | None:
        monkeypatch.setattr(type(shelf), "newest_part", lambda self, podcast_id: real(podcast_id))
        recording._file.finish()
        return real(podcast_id)

    monkeypatch.setattr(type(shelf), "newest_part", lambda self, podcast_id: finished_then_looked(podcast_id))
    assert times(await heard(recordings)) == [0]


async def test_a_part_that_is_renamed_before_it_is_opened_is_found(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    recordings = opened()
    recording = await recordings.begin("p", "a")
    await write(recording, 0)
    shelf = recordings._shelf
    real = shelf.newest_part

    def looked_then_discarded(podcast_id: str) -> Path | None:
        monkeypatch.setattr(type(shelf), "newest_part", lambda self, podcast_id: real(podcast_id))
        found = real(podcast_id)
        recording._file.discard()
        other = shelf_file(recordings)
        other.append(a_cluster(0))
        other.finish()
        return found

    monkeypatch.setattr(type(shelf), "newest_part", lambda self, podcast_id: looked_then_discarded(podcast_id))
    assert times(await heard(recordings)) == [0]


def shelf_file(recordings: Recordings) -> Any:
    from greenroom_platform.studio.recording_writer import RecordingFile

    return RecordingFile(recordings._shelf, "p", "other")


# Many listeners --------------------------------------------------------------------------------------


async def test_200_listeners_share_one_look_out_and_memory_is_bounded(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    recordings = opened()
    recording = await recordings.begin("p", "a")
    await write(recording, *range(5))
    never = [recordings.clusters("p") for _ in range(50)]
    for clusters in never:
        await anext(clusters)
        await anext(clusters)
    follower = recordings._followers["p"]
    assert follower.listeners == 50
    looks = 0
    real = type(follower)._look

    def counted(self: Any, source: Any) -> Any:
        nonlocal looks
        looks += 1
        return real(self, source)

    monkeypatch.setattr(type(follower), "_look", counted)
    counts = [0] * 200

    async def listen(place: int) -> None:
        async for data in recordings.clusters("p", from_ms=1000 * (place % 5)):
            assert len(data) < 1 << 16
            counts[place] += 1

    listeners = [asyncio.create_task(listen(place)) for place in range(200)]
    tracemalloc.start()
    try:
        for number in range(5, 80):
            await recording.append(a_cluster(number))
        await recording.finish()
        await asyncio.gather(*listeners)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert [one + place % 5 for place, one in enumerate(counts)] == [81] * 200
    assert list(recordings._followers) == ["p"]
    # All 80 clusters for 250 listeners would be 86 MB; a batch for each is 8 MB.
    assert peak < 24_000_000
    # Were there a look-out for each listener, there would be 200 times as many.
    assert looks < 2_000
    for clusters in never:
        await clusters.aclose()
    assert recordings._followers == {}


async def test_a_listener_that_never_reads_keeps_nobody_waiting_and_can_go_on(opened: Open) -> None:
    recordings = opened()
    recording = await recordings.begin("p", "a")
    await write(recording, 0)
    idle = recordings.clusters("p")
    await anext(idle)
    other = Listener(recordings)
    await write(recording, *range(1, 50))
    await recording.finish()
    await other.task
    assert times(other.got) == [CLUSTER_MS * number for number in range(50)]
    assert [data async for data in idle] == other.got[1:]


async def test_no_file_stays_open_when_nobody_listens(opened: Open) -> None:
    recordings = opened()
    before = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else 0
    for attempt in range(5):
        recording = await recordings.begin("p", "a")
        listener = Listener(recordings)
        await write(recording, 0, 1)
        await listener.has(3)
        if attempt % 2:
            listener.task.cancel()
            await asyncio.wait([listener.task])
            await recording.discard()
        else:
            await recording.finish()
            await listener.task
    await recordings.close()
    assert before == (len(os.listdir("/proc/self/fd")) if before else 0)
