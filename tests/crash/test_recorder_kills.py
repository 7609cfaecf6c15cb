"""A recorder killed before any of its file operations leaves no half recording, and nothing in the way."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

from greenroom_platform.studio.recording_store import LocalRecordingStore
from greenroom_platform.studio.recording_writer import take_over
from tests.support.studio_samples import a_cluster, parse

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

def record(directory):
    # Imported here: its threads would not be there in a process that is forked.
    from greenroom_platform.studio.recording_store import LocalRecordingStore, segment_name, whole_name
    from greenroom_platform.studio import webm

    store = LocalRecordingStore(directory)
    clusters = [a_cluster(number, b"killed").data for number in range(3)]
    write = os.write
    deadly([number], lambda name: write(1, f"{name}\\n".encode()))
    store._create(segment_name("p", 1, 0), b"".join(clusters))
    store._create(whole_name("p", 1), webm.whole_file(clusters, 3000.0))
    store._create(segment_name("p", 1, 1), b"{}")

number = 0
while True:
    child = os.fork()
    if child == 0:
        record(Path(sys.argv[1]) / str(number))
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if status == 0:
        break
    assert os.WIFSIGNALED(status), status
    number += 1
print("lived")
"""


def test_a_recorder_killed_before_any_file_operation(tmp_path: Path) -> None:
    line = [sys.executable, "-c", KILLED, str(tmp_path)]
    run = subprocess.run(line, capture_output=True, text=True, timeout=100, check=True)
    *killed, last = run.stdout.split()
    assert last == "lived"
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


def test_a_file_that_has_just_begun_is_not_swept(tmp_path: Path) -> None:
    store = LocalRecordingStore(tmp_path)
    new = tmp_path / "new" / "0.new"
    new.touch()
    asyncio.run(store.sweep(new.stat().st_mtime + 599))
    assert new.exists()
    asyncio.run(store.sweep(new.stat().st_mtime + 601))
    assert not new.exists()
