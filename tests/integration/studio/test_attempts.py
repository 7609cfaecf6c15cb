"""Attempts at recordings: each goes on where another ended, fails as a whole, and is removed when it is too old."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from greenroom.errors import InvalidInput
from greenroom.testing.clock import ManualClock
from greenroom_platform.studio import webm
from greenroom_platform.studio.recording_writer import RecordingFailed
from greenroom_platform.studio.recordings import GivenUp, Recordings
from tests.support.made_recordings import Listener, Open, heard, made, opening, parts, times, write
from tests.support.studio_samples import a_cluster


@pytest.fixture
async def opened(tmp_path: Path) -> AsyncIterator[Open]:
    async with opening(tmp_path / "recordings") as opened:
        yield opened


# Attempts --------------------------------------------------------------------------------------------

# A process that writes two clusters, and is then killed or waits to be.
WRITER = """
import asyncio, sys
from pathlib import Path
from greenroom_platform.studio.recordings import Recordings
from tests.support.studio_samples import a_cluster

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


async def test_of_two_attempts_at_once_the_first_that_is_whole_stays(opened: Open) -> None:
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
    # One that was thought dead comes to its end after all: who has half of the other would get the rest of this.
    path = current.whole("p")
    assert path is not None
    whole = path.read_bytes()
    await first.finish()
    assert path.read_bytes() == whole
    assert times(await heard(current)) == [0, 1000]
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
