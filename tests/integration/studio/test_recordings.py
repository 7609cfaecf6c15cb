"""Recordings, in a directory and in a bucket: whole, listened to while they are written, and by many at once."""

from __future__ import annotations

import asyncio
import io
import os
import stat
import tracemalloc
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from greenroom_platform.studio import webm
from greenroom_platform.studio.recording_errors import RecordingFailed
from greenroom_platform.studio.recording_reader import Follower
from greenroom_platform.studio.recordings import NothingYet
from greenroom_platform.studio.webm import CLUSTER_MS, Cluster
from tests.support.made_recordings import Listener, Site, heard, times
from tests.support.recording_fixtures import STORES
from tests.support.studio_samples import a_cluster, parse

on_both = pytest.mark.parametrize("site", STORES, indirect=True)


# Whole -----------------------------------------------------------------------------------------------


@on_both
async def test_a_whole_recording_is_a_file_with_its_duration_and_cues(site: Site) -> None:
    recordings = site.open()
    assert await recordings.whole("p") is None
    attempt = await (await site.begin(recordings)).write(0, 1)
    last = a_cluster(2)
    await attempt.recording.append(Cluster(last.start_ms, 2400.5, last.data))
    assert await recordings.whole("p") is None
    await attempt.finish()
    data = await site.bytes_of(recordings)
    _, segment = parse(data)
    assert segment.one("Info").one("Duration") == 2400.5
    assert len(segment.all("Cluster")) == len(segment.one("Cues").value) == 3
    got = await heard(recordings)
    assert got == [webm.init_segment(2400.5), a_cluster(0).data, a_cluster(1).data, last.data]
    assert b"".join(got[1:]) in data


async def test_recordings_in_a_directory_are_for_this_user_alone(tmp_path: Path, site: Site) -> None:
    before = os.umask(0)
    try:
        recordings = site.open()
        await site.make(recordings)
        await (await site.begin(recordings, "q")).write(0)
        await Listener(recordings, "q").has(2)
    finally:
        os.umask(before)
    top = tmp_path / "recordings"
    paths = [top, *top.rglob("*")]
    assert sum(path.is_file() for path in paths) >= 4
    assert {str(path): oct(stat.S_IMODE(path.stat().st_mode)) for path in paths if path.stat().st_mode & 0o077} == {}


@on_both
async def test_a_listener_begins_with_the_cluster_that_holds_the_place(site: Site) -> None:
    recordings = site.open()
    await site.make(recordings)
    for from_ms, first in [(0, 0), (1, 0), (999, 0), (1000, 1000), (1001, 1000), (2999, 2000)]:
        assert times(await heard(recordings, from_ms=from_ms)) == list(range(first, 3000, 1000)), from_ms
    for from_ms in (3000, 10**9):
        assert times(await heard(recordings, from_ms=from_ms)) == []


async def test_real_audio_of_a_recording_is_decoded_by_another_program(site: Site) -> None:
    av = pytest.importorskip("av", reason="PyAV is not installed; make test installs it")
    from tests.integration.studio.test_webm import encoded, tone

    recordings = site.open()
    attempt = await site.begin(recordings)
    for cluster in encoded(tone(3.21)):
        await attempt.recording.append(cluster)
    await attempt.finish()
    with av.open(io.BytesIO(await site.bytes_of(recordings))) as container:
        assert container.duration == pytest.approx(3_210_000, abs=1)
        assert sum(frame.samples for frame in container.decode(audio=0)) == 48_000 * 3.21
        # Its cues lead there: what comes is decoded from the cluster that holds the place.
        container.seek(2_500_000)
        frame = next(container.decode(audio=0))
        assert 1.99 < float(frame.pts * frame.time_base) < 2.51
    with av.open(io.BytesIO(b"".join(await heard(recordings)))) as container:
        assert sum(frame.samples for frame in container.decode(audio=0)) == 48_000 * 3.21


# In progress -----------------------------------------------------------------------------------------


@on_both
async def test_a_listener_of_another_process_follows_what_is_written(site: Site) -> None:
    writing, reading = site.open(), site.open()
    attempt = await (await site.begin(writing)).write(0)
    listener = Listener(reading)
    await listener.has(2)
    assert listener.got == [webm.init_segment(), a_cluster(0).data]
    await attempt.write(1)
    await listener.has(3)
    late = Listener(reading, from_ms=1500)
    await late.has(2)
    await attempt.write(2, 3)
    await attempt.finish()
    await listener.task
    await late.task
    assert times(listener.got) == [0, 1000, 2000, 3000]
    assert times(late.got) == [1000, 2000, 3000]


async def test_who_asks_for_a_place_that_is_not_made_yet_waits_for_it(site: Site) -> None:
    recordings = site.open()
    attempt = await (await site.begin(recordings)).write(0)
    ahead = Listener(recordings, from_ms=2000)
    await ahead.has(1)
    await attempt.write(1, 2)
    await ahead.has(2)
    await attempt.finish()
    await ahead.task
    assert times(ahead.got) == [2000]


@on_both
async def test_where_there_is_nothing_it_is_told_or_waited_for(site: Site) -> None:
    recordings = site.open()
    with pytest.raises(NothingYet):
        await heard(recordings)
    waiting = Listener(recordings, wait=True)
    with pytest.raises(NothingYet):
        await heard(recordings)
    await site.make(recordings)
    await waiting.task
    assert times(waiting.got) == [0, 1000, 2000]


@on_both
async def test_who_waits_for_one_that_is_in_another_store_is_told(site: Site) -> None:
    recordings = site.open()
    attempt = await site.begin(recordings)
    waiting = Listener(recordings, wait=True)
    with pytest.raises(NothingYet):
        await heard(recordings)
    await attempt.tell(5000)  # its worker has put it elsewhere
    with pytest.raises(NothingYet):
        await asyncio.wait_for(waiting.task, 10)


async def test_who_waits_for_one_that_failed_is_told_after_the_patience(site: Site) -> None:
    recordings = site.open(patience=timedelta(0))
    attempt = await site.begin(recordings)
    waiting = Listener(recordings, wait=True)
    with pytest.raises(NothingYet):
        await heard(recordings)
    await site.tasks.fail(attempt.claim, "no voice", site.now())
    with pytest.raises(NothingYet):
        await asyncio.wait_for(waiting.task, 10)


async def test_a_look_out_that_ends_by_an_unexpected_error_tells_all_listeners(
    site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    recordings = site.open()
    await (await site.begin(recordings)).write(0)
    listeners = [Listener(recordings), Listener(recordings)]
    for one in listeners:
        await one.has(2)

    async def broken(podcast_id: str) -> None:
        raise RuntimeError("nobody thought of it")

    monkeypatch.setattr(site.tasks, "task", broken)
    for one in listeners:
        with pytest.raises(RecordingFailed, match="cannot be followed"):
            await asyncio.wait_for(one.task, 10)
    assert "nobody thought of it" in caplog.text
    monkeypatch.undo()
    again = Listener(recordings)
    await again.has(2)


async def test_one_that_is_finished_between_two_questions_is_found(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The record is asked for the claim, which then ends, and only then for what it has stored."""
    recordings = site.open()
    attempt = await (await site.begin(recordings)).write(0)
    task = site.tasks.task

    async def asked(podcast_id: str) -> Any:
        found = await task(podcast_id)
        monkeypatch.undo()
        await attempt.finish()
        return found

    monkeypatch.setattr(site.tasks, "task", asked)
    assert times(await heard(recordings)) == [0]


@on_both
async def test_segments_that_are_swept_are_read_from_the_whole_at_their_place(site: Site) -> None:
    recordings = site.open()
    attempt = await site.begin(recordings)
    for number in range(3):
        await attempt.write(number)
        await Listener(recordings, from_ms=1000 * number).has(2)
    clusters = recordings.clusters("p", wait=True)
    assert [await anext(clusters), await anext(clusters)] == [webm.init_segment(), a_cluster(0).data]
    await attempt.finish()
    recordings._followers["p"].source._blocks.clear()  # type: ignore[union-attr]
    for name in await site.segments():
        await recordings.store.delete(name)
    assert [data async for data in clusters] == [a_cluster(1).data, a_cluster(2).data]


# Many listeners --------------------------------------------------------------------------------------


async def test_200_listeners_share_one_look_out_and_memory_is_bounded(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    recordings = site.open()
    attempt = await (await site.begin(recordings)).write(*range(5))
    never = [recordings.clusters("p", wait=True) for _ in range(50)]
    for clusters in never:
        await anext(clusters)
        await anext(clusters)
    assert recordings._followers["p"].listeners == 50
    looks = 0
    looked = Follower._looked

    async def counted(self: Follower) -> bool:
        nonlocal looks
        looks += 1
        return await looked(self)

    monkeypatch.setattr(Follower, "_looked", counted)
    reads, get = 0, recordings.store.get

    async def counting(*arguments: Any) -> bytes | None:
        nonlocal reads
        reads += 1
        return await get(*arguments)

    monkeypatch.setattr(recordings.store, "get", counting)
    counts = [0] * 200

    async def listen(place: int) -> None:
        async for data in recordings.clusters("p", from_ms=1000 * (place % 5)):
            assert len(data) < 1 << 16
            counts[place] += 1

    listeners = [asyncio.create_task(listen(place)) for place in range(200)]
    tracemalloc.start()
    try:
        await attempt.write(*range(5, 80))
        await attempt.finish()
        await asyncio.gather(*listeners)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert [one + place % 5 for place, one in enumerate(counts)] == [81] * 200
    assert list(recordings._followers) == ["p"]
    # All 80 clusters for 250 listeners would be 86 MB; the whole, which its writer holds, is one.
    assert peak < 24_000_000
    # Were there a look-out for each listener, there would be 200 times as many looks; and reads, were they not shared.
    assert looks < 2_000
    assert reads < 2_000 + looks
    for clusters in never:
        await clusters.aclose()
    assert recordings._followers == {}


async def test_a_listener_that_never_reads_keeps_nobody_waiting_and_can_go_on(site: Site) -> None:
    recordings = site.open()
    attempt = await (await site.begin(recordings)).write(0)
    idle = recordings.clusters("p", wait=True)
    await anext(idle)
    other = Listener(recordings)
    await attempt.write(*range(1, 50))
    await attempt.finish()
    await other.task
    assert times(other.got) == [CLUSTER_MS * number for number in range(50)]
    assert [data async for data in idle] == other.got[1:]


async def test_nothing_goes_on_when_nobody_listens(site: Site) -> None:
    recordings = site.open()
    before = asyncio.all_tasks()
    for number in range(3):
        attempt = await site.begin(recordings, f"p{number}")
        listener = Listener(recordings, f"p{number}")
        await attempt.write(0, 1)
        await listener.has(3)
        if number % 2:
            listener.task.cancel()
            await asyncio.wait([listener.task])
            await attempt.finish()
        else:
            await attempt.finish()
            await listener.task
    await recordings.close()
    assert asyncio.all_tasks() == before
    assert recordings._followers == {}
