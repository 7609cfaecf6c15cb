"""Recordings: listened to while they are written, from attempt to attempt, and removed when there are too many."""

from __future__ import annotations

import asyncio
import errno
import io
import os
import signal
import subprocess
import sys
import tracemalloc
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from greenroom.errors import InvalidInput
from greenroom.studio import webm
from greenroom.studio.recording import RecordingFailed
from greenroom.studio.recordings import GivenUp, NothingYet, Recording, Recordings
from greenroom.studio.webm import CLUSTER_MS, Cluster
from greenroom.testing.clock import ManualClock
from tests.studio import a_cluster, parse

Open = Callable[..., Recordings]


@pytest.fixture
async def opened(tmp_path: Path) -> AsyncIterator[Open]:
    """Opens the directory as one process does, and closes it after the test."""
    every: list[Recordings] = []

    def open_(**options: Any) -> Recordings:
        every.append(Recordings(tmp_path / "recordings", **options))
        return every[-1]

    yield open_
    for one in every:
        await one.close()


async def write(recording: Recording, *numbers: int, mark: bytes = b"") -> None:
    for number in numbers:
        await recording.append(a_cluster(number, mark))


async def made(recordings: Recordings, podcast_id: str = "p", clusters: int = 3, mark: bytes = b"") -> Path:
    """A whole recording."""
    recording = await recordings.begin(podcast_id, "a")
    await write(recording, *range(clusters), mark=mark)
    await recording.finish()
    path = recordings.whole(podcast_id)
    assert path is not None
    return path


async def heard(recordings: Recordings, podcast_id: str = "p", **options: Any) -> list[bytes]:
    return [data async for data in recordings.clusters(podcast_id, **options)]


class Listener:
    """Somebody who takes everything that comes."""

    def __init__(self, recordings: Recordings, podcast_id: str = "p", **options: Any) -> None:
        self.got: list[bytes] = []
        self.at_first = asyncio.Event()
        self._more = asyncio.Condition()
        self.task = asyncio.create_task(self._listen(recordings.clusters(podcast_id, **options)))

    async def _listen(self, clusters: AsyncIterator[bytes]) -> None:
        async for data in clusters:
            self.got.append(data)
            async with self._more:
                self._more.notify_all()

    async def has(self, count: int) -> None:
        """Wait until it has so many pieces, the initial segment among them."""
        async with self._more:
            await self._more.wait_for(lambda: len(self.got) >= count)


def parts(recordings: Recordings) -> list[Path]:
    return sorted((recordings._shelf.parts_directory).iterdir())


def times(got: list[bytes]) -> list[int]:
    """When the clusters begin, after an initial segment."""
    assert got[0].startswith(b"\x1a\x45\xdf\xa3")
    _, segment = parse(b"".join(got))
    return [cluster.one("Timestamp") for cluster in segment.all("Cluster")]


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
    from tests.test_studio_webm import encoded, tone

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
    from greenroom.studio.recording import RecordingFile

    return RecordingFile(recordings._shelf, "p", "other")


# Attempts --------------------------------------------------------------------------------------------

# A process that writes two clusters, and is then killed or waits to be.
WRITER = """
import asyncio, sys
from pathlib import Path
from greenroom.studio.recordings import Recordings
from tests.studio import a_cluster

async def main():
    recordings = Recordings(Path(sys.argv[1]))
    recording = await recordings.begin("p", "first")
    for number in (0, 1):
        await recording.append(a_cluster(number, b"first"))
    print("written", flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


def killed_writer(directory: Path) -> None:
    """Leaves the part of an attempt whose process was killed."""
    writer = subprocess.Popen([sys.executable, "-c", WRITER, directory], stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    assert writer.stdout.readline() == "written\n"
    writer.send_signal(signal.SIGKILL)
    writer.communicate()


async def test_listeners_go_on_with_the_next_attempt_at_their_place(opened: Open, tmp_path: Path) -> None:
    recordings = opened()
    await asyncio.to_thread(killed_writer, tmp_path / "recordings")
    listener = Listener(recordings)
    await listener.has(3)
    second = await recordings.begin("p", "second")
    await write(second, 0, mark=b"second")
    newcomer = Listener(opened())
    await newcomer.has(2)
    await write(second, 1, 2, mark=b"second")
    await listener.has(4)
    await write(second, 3, mark=b"second")
    await second.finish()
    await listener.task
    await newcomer.task
    assert times(listener.got) == times(newcomer.got) == [0, 1000, 2000, 3000]
    assert [b"second" in data for data in listener.got[1:]] == [False, False, True, True]
    assert all(b"second" in data for data in newcomer.got[1:])
    assert parts(opened()) == []


async def test_two_attempts_at_once_write_two_files_and_both_become_whole(opened: Open) -> None:
    late, current = opened(), opened()
    first = await late.begin("p", "same")
    second = await current.begin("p", "same")
    await write(first, 0, mark=b"late")
    await write(second, 0, 1, mark=b"current")
    listener = Listener(opened())
    await listener.has(3)
    await second.finish()
    await listener.task
    assert all(b"current" in data for data in listener.got[1:])
    # One that was thought dead is a whole recording of the podcast as well.
    await first.finish()
    assert times(await heard(current)) == [0]
    assert parts(current) == []


async def test_a_discarded_attempt_is_gone_and_its_listeners_wait_for_another(opened: Open) -> None:
    recordings = opened()
    first = await recordings.begin("p", "a")
    await write(first, 0, 1)
    listener = Listener(recordings)
    await listener.has(3)
    await first.discard()
    await first.discard()
    assert parts(recordings) == []
    with pytest.raises(InvalidInput, match="finished or discarded"):
        await write(first, 2)
    second = await recordings.begin("p", "b")
    await write(second, 0, 1, 2)
    await listener.has(4)
    await second.finish()
    await second.discard()
    await listener.task
    assert times(listener.got) == [0, 1000, 2000]
    assert recordings.whole("p") is not None


async def test_who_waits_too_long_for_another_attempt_learns_that_it_is_given_up(opened: Open, tmp_path: Path) -> None:
    await asyncio.to_thread(killed_writer, tmp_path / "recordings")
    clock = ManualClock()
    recordings = opened(clock=clock, patience=timedelta(minutes=2))
    listener = Listener(recordings)
    await listener.has(3)
    follower = recordings._followers["p"]
    changed = follower.changed
    clock.advance(119)
    again = Listener(recordings)
    await again.has(3)
    assert not changed.is_set()
    clock.advance(2)
    with pytest.raises(GivenUp):
        await listener.task
    with pytest.raises(GivenUp):
        await again.task


async def test_as_long_as_somebody_writes_it_is_not_given_up(opened: Open) -> None:
    clock = ManualClock()
    recordings = opened(clock=clock)
    recording = await recordings.begin("p", "a")
    await write(recording, 0)
    listener = Listener(recordings)
    await listener.has(2)
    clock.advance(timedelta(hours=1))
    await write(recording, 1)
    await listener.has(3)
    assert not recordings._followers["p"].given_up
    await recording.finish()
    await listener.task


# Refusals --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("podcast_id", ["", "a/b", "../x", "a b", "x" * 129, "é", "a:b"])
async def test_an_id_that_no_podcast_can_have_reaches_no_file(opened: Open, podcast_id: str) -> None:
    recordings = opened()
    with pytest.raises(InvalidInput, match="podcast_id"):
        recordings.whole(podcast_id)
    with pytest.raises(InvalidInput, match="podcast_id"):
        await recordings.begin(podcast_id, "a")
    with pytest.raises(InvalidInput, match="podcast_id"):
        await heard(recordings, podcast_id)


@pytest.mark.parametrize("podcast_id", ["..", ".", "parts", "p.1.a", "-", "~", "x" * 128])
async def test_ids_with_dots_are_kept_apart(opened: Open, podcast_id: str) -> None:
    recordings = opened()
    await made(recordings, "p", mark=b"other")
    recording = await recordings.begin(podcast_id, "a" * 64)
    await write(recording, 0, mark=b"mine")
    assert b"mine" in (await anext_of(recordings, podcast_id))[1]
    await recording.finish()
    assert len(await heard(recordings, podcast_id)) == 2
    assert len(await heard(recordings, "p")) == 4


async def anext_of(recordings: Recordings, podcast_id: str) -> list[bytes]:
    clusters = recordings.clusters(podcast_id)
    got = [await anext(clusters), await anext(clusters)]
    await clusters.aclose()
    return got


async def test_what_cannot_be_is_refused_and_named(opened: Open) -> None:
    recordings = opened()
    for attempt in ("", "a.b", "a/b", "x" * 65):
        with pytest.raises(InvalidInput, match="attempt"):
            await recordings.begin("p", attempt)
    with pytest.raises(InvalidInput, match="from"):
        await heard(recordings, from_ms=-1)
    recording = await recordings.begin("p", "a")
    with pytest.raises(InvalidInput, match="append the one that begins at 0 ms"):
        await write(recording, 1)
    with pytest.raises(InvalidInput, match="no cluster"):
        await recording.finish()
    await write(recording, 0)
    with pytest.raises(InvalidInput, match="append the one that begins at 1000 ms"):
        await write(recording, 0)
    await recording.finish()


async def test_a_full_disk_is_an_error_and_leaves_nothing_whole(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    recordings = opened()
    recording = await recordings.begin("p", "a")
    await write(recording, 0)

    def full(handle: int, data: Any) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(RecordingFailed, match="No space left"):
        await write(recording, 1)
    with pytest.raises(RecordingFailed, match="No space left"):
        await recording.finish()
    with pytest.raises(RecordingFailed, match="No space left"):
        await recordings.begin("p", "b")
    await recording.discard()
    monkeypatch.undo()
    assert recordings.whole("p") is None
    assert parts(recordings) == []


async def test_a_directory_that_cannot_be_used_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    recordings = Recordings(tmp_path / "file" / "recordings")
    with pytest.raises(RecordingFailed):
        await recordings.begin("p", "a")
    with pytest.raises(RecordingFailed):
        await heard(recordings)
    await recordings.close()


async def test_who_still_listens_when_it_closes_is_turned_away(opened: Open) -> None:
    recordings = opened()
    recording = await recordings.begin("p", "a")
    await write(recording, 0)
    listener = Listener(recordings)
    await listener.has(2)
    await recordings.close()
    with pytest.raises(RecordingFailed, match="closed"):
        await listener.task
    recording._file.discard()


# Limits ----------------------------------------------------------------------------------------------


def aged(path: Path, clock: ManualClock, days: float) -> None:
    at = (clock.now() - timedelta(days=days)).timestamp()
    os.utime(path, (at, at))


async def test_the_oldest_whole_recordings_go_when_there_are_too_many(opened: Open) -> None:
    clock = ManualClock()
    recordings = opened(clock=clock)
    sizes = []
    for number in range(4):
        path = await made(recordings, f"p{number}")
        aged(path, clock, 4 - number)
        sizes.append(path.stat().st_size)
    bounded = opened(clock=clock, max_bytes=sum(sizes[:2]) + 1)
    await bounded.sweep()
    assert [bounded.whole(f"p{number}") is not None for number in range(4)] == [False, False, True, True]
    # One that is larger than the limit stays until there is a newer one.
    tiny = opened(clock=clock, max_bytes=1)
    await tiny.sweep()
    assert [tiny.whole(f"p{number}") is not None for number in range(4)] == [False, False, False, True]
    path = await made(tiny, "p4")
    assert tiny.whole("p3") is None
    assert path.exists()


async def test_recordings_that_are_too_old_go(opened: Open) -> None:
    clock = ManualClock()
    recordings = opened(clock=clock, max_age=timedelta(days=2))
    aged(await made(recordings, "old"), clock, 2.1)
    aged(await made(recordings, "new"), clock, 1.9)
    await recordings.sweep()
    assert recordings.whole("old") is None
    assert recordings.whole("new") is not None


async def test_what_is_listened_to_stays_and_goes_afterwards(opened: Open) -> None:
    clock = ManualClock()
    recordings, other = opened(clock=clock), opened(clock=clock, max_age=timedelta(days=2))
    aged(await made(recordings), clock, 3)
    clusters = recordings.clusters("p")
    assert await anext(clusters) == webm.init_segment(3000)
    await other.sweep()
    assert other.whole("p") is not None
    assert await anext(clusters) == a_cluster(0).data
    await clusters.aclose()
    await recordings.close()
    await other.sweep()
    assert other.whole("p") is None


async def test_what_is_written_stays_and_what_dead_attempts_have_left_goes(opened: Open, tmp_path: Path) -> None:
    clock = ManualClock()
    recordings = opened(clock=clock)
    await asyncio.to_thread(killed_writer, tmp_path / "recordings")
    (dead,) = parts(recordings)
    aged(dead, clock, 0)
    await recordings.sweep()
    assert parts(recordings) == [dead], "its listeners may wait for the next attempt"
    living = await recordings.begin("p", "b")
    await recordings.sweep()
    (part,) = parts(recordings)
    assert part != dead
    await write(living, 0)
    aged(part, clock, 1)
    await recordings.sweep()
    assert parts(recordings) == [part]
    await living.finish()
    # Without a later attempt it goes after a while, and so does one that has not even got its name.
    await asyncio.to_thread(killed_writer, tmp_path / "recordings")
    new = tmp_path / "recordings" / "parts" / "0.new"
    new.touch()
    recordings.whole("p").unlink()  # type: ignore[union-attr]
    for path in parts(recordings):
        aged(path, clock, 0.001)
    await recordings.sweep()
    assert len(parts(recordings)) == 2
    for path in parts(recordings):
        aged(path, clock, 0.01)
    await recordings.sweep()
    assert parts(recordings) == []


async def test_files_that_are_not_ours_are_left_alone(opened: Open, tmp_path: Path) -> None:
    clock = ManualClock()
    recordings = opened(clock=clock, max_age=timedelta(days=1), max_bytes=1)
    await made(recordings)
    others = [
        tmp_path / "recordings" / name for name in ("notes.txt", "parts/notes.txt", "parts/x.y.part", "parts/x.part")
    ]
    for path in others:
        path.write_text("mine")
        aged(path, clock, 10)
    await recordings.sweep()
    assert all(path.exists() for path in others)


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
        for number in range(5, 250):
            await recording.append(a_cluster(number))
        await recording.finish()
        await asyncio.gather(*listeners)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert [one + place % 5 for place, one in enumerate(counts)] == [251] * 200
    assert list(recordings._followers) == ["p"]
    # All 250 clusters for 250 listeners would be 270 MB; a batch for each is 8 MB.
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
