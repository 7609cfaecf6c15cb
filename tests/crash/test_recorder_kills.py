"""A recorder killed before any of its file operations, or puts, leaves no half recording, and nothing in the way."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from greenroom.testing.clock import ManualClock
from greenroom_platform.studio.recording_directory import LocalRecordingStore
from greenroom_platform.studio.recording_writer import take_over
from tests.support.made_recordings import Site, heard, later, site_of, times
from tests.support.recording_fixtures import STORES
from tests.support.studio_samples import a_cluster, parse

# Runs `record` for each number from 0 in a process of its own, up to the first that lives; then it prints that number.
EACH = """
number = 0
while True:
    child = os.fork()
    if child == 0:
        record(number)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if status == 0:
        break
    assert os.WIFSIGNALED(status), status
    number += 1
print(number)
"""

# For each number from 0: a process that makes a recording in a directory of that name, killed before that many file
# operations. It tells what each was before which it was killed, and ends with the first that lived.
KILLED = """
import os, signal, sys
from pathlib import Path
from tests.support.studio_samples import a_cluster

OPERATIONS = ("open", "write", "fsync", "link", "unlink", "close")

def deadly(left, told):
    for name in OPERATIONS:
        def call(*args, _real=getattr(os, name), _name=name, **options):
            if left[0] == 0:
                told(_name)
                os.kill(os.getpid(), signal.SIGKILL)
            left[0] -= 1
            return _real(*args, **options)
        setattr(os, name, call)

def record(number):
    # Imported here: its threads would not be there in a process that is forked.
    from greenroom_platform.studio.recording_store import segment_name, whole_name
    from greenroom_platform.studio.recording_directory import LocalRecordingStore
    from greenroom_platform.studio import webm

    store = LocalRecordingStore(Path(sys.argv[1]) / str(number))
    clusters = [a_cluster(number, b"killed").data for number in range(3)]
    write = os.write
    deadly([number], lambda name: write(1, f"{name}\\n".encode()))
    store._create(segment_name("p", 1, 0), b"".join(clusters))
    store._create(whole_name("p", 1), webm.whole_file(clusters, 3000.0))
    store._create(segment_name("p", 1, 1), b"{}")

"""


def test_a_recorder_killed_before_any_file_operation(tmp_path: Path) -> None:
    line = [sys.executable, "-c", KILLED + EACH, str(tmp_path)]
    run = subprocess.run(line, capture_output=True, text=True, timeout=100, check=True)
    *killed, last = run.stdout.split()
    assert int(last) == len(killed)
    assert {"open", "write", "fsync", "link", "unlink", "close"} == set(killed)
    wholes = [asyncio.run(outcome(tmp_path / str(number))) for number in range(len(killed))]
    assert wholes == sorted(wholes), "from one operation on it is whole"
    first = wholes.index(True)
    assert killed[first - 1] == "link", "and not before"
    segment = killed.index("link")
    assert killed[segment + 1 : first].count("fsync") == 2, "the segment's name, and the bytes of the whole"
    assert "fsync" in killed[first:], "and its name lasts when it is told to be whole"


async def outcome(directory: Path) -> bool:
    """Whether the whole recording is there; then it is all there, and the next claim takes it over."""
    store = LocalRecordingStore(directory)
    size = await take_over(store, "p", 2)
    if size is not None:
        data = await store.get("p.2.webm")
        assert data is not None
        _, segment = parse(data)
        assert len(data) == size
        assert segment.one("Info").one("Duration") == 3000
        assert len(segment.one("Cues").value) == 3
    named = {path.name for path in directory.rglob("*") if path.is_file()}
    assert {name for name in named if not name.endswith(".new")} <= {
        *("p.1.00000", "p.1.00001", "p.1.webm", "p.2.webm"),
    }
    segment_there = await store.get("parts/p.1.00000")
    assert segment_there in (None, b"".join(a_cluster(number, b"killed").data for number in range(3)))
    for left in (directory / "new").iterdir():
        os.utime(left, (0, 0))
    await store.sweep(10_000.0)
    assert list((directory / "new").iterdir()) == []
    return size is not None


# The same for the puts of a recorder: killed before each of them, the last time before the word of it.
KILLED_PUTS = """
import asyncio, os, signal, sys
from greenroom_platform.studio import recording_store, recording_writer
from greenroom_platform.studio.recording_opening import open_recordings
from tests.support.studio_samples import a_cluster

def record(number):
    asyncio.run(recorded(number))

async def recorded(number):
    store = open_recordings(f"{sys.argv[1]}/{number}", None)
    left, create = [number], store.create

    async def deadly(name, data):
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        left[0] -= 1
        await create(name, data)

    store.create = deadly
    recording_writer.SEGMENT = recording_writer.INTERVAL = 0
    made = recording_writer.RecordingWriter(store, "p", 1)
    for second in range(3):
        await made.append(a_cluster(second, b"killed"))
        while made._pending:
            await asyncio.sleep(0.001)
    await made.finish()
    if left[0] == 0:
        os.kill(os.getpid(), signal.SIGKILL)

"""


@pytest.mark.parametrize("kind", STORES)
async def test_a_recorder_killed_before_any_of_its_puts(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    place = request.getfixturevalue("s3_url") if kind == "s3" else str(tmp_path / "recordings")
    line = [sys.executable, "-c", KILLED_PUTS + EACH, place]
    run = await asyncio.to_thread(subprocess.run, line, capture_output=True, text=True, timeout=100, check=False)
    assert run.returncode == 0, run.stderr
    # Three segments, the whole, the end mark; and once between these and the word to the record.
    assert int(run.stdout) == 6
    for number in range(6):
        async with site_of(tmp_path / f"{number}.sqlite3", f"{place}/{number}") as site:
            left = await site.objects()
            segments = [f"parts/p.1.{one:05}" for one in range(4)]
            expected = segments[: min(number, 3)] + ["p.1.webm"] * (number >= 4) + segments[3:] * (number >= 5)
            assert left == sorted(expected), "an end mark is never there before the whole"
            await killed_and_taken_up(site, whole=number >= 4)
            assert await site.objects() == ["p.2.webm"]


async def killed_and_taken_up(site: Site, *, whole: bool) -> None:
    """The next worker takes the whole recording over, or makes it anew; and an hour later nothing else is left."""
    site.clock = ManualClock()
    killed = await site.claimed()
    await site.tasks.renew(killed, -1, site.now())
    recordings, claim = site.open(), await site.claimed()
    assert await recordings.whole("p") is None
    size = await recordings.take_over("p", claim.number)
    assert (size is not None) == whole
    if size is None:
        recording = recordings.begin("p", claim.number)
        for second in range(3):
            await recording.append(a_cluster(second, b"killed"))
        size = await recording.finish()
    await site.tasks.advance(claim, "ready_to_stream", site.now(), size=size)
    assert times(await heard(site.open())) == [0, 1000, 2000]
    later(site.clock, hours=1)
    await recordings.sweep()


def test_a_file_that_has_just_begun_is_not_swept(tmp_path: Path) -> None:
    store = LocalRecordingStore(tmp_path)
    new = tmp_path / "new" / "0.new"
    new.touch()
    asyncio.run(store.sweep(new.stat().st_mtime + 599))
    assert new.exists()
    asyncio.run(store.sweep(new.stat().st_mtime + 601))
    assert not new.exists()
