"""A recorder killed before any of its file operations leaves no half recording, and nothing in the way."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

from greenroom.testing.clock import ManualClock
from greenroom_platform.studio.recordings import Recordings
from tests.support.studio_samples import a_cluster, parse

# For each number from 0: a process that makes a recording in a directory of that name, killed before that many file
# operations. It tells what each was before which it was killed, and ends with the first that lived.
KILLED = """
import fcntl, os, signal, sys
from pathlib import Path
from greenroom_platform.studio import recording_dir, recording_writer
from tests.support.studio_samples import a_cluster

OPERATIONS = [
    (os, name)
    for name in ("open", "write", "pwrite", "fsync", "rename", "link", "unlink", "close", "mkdir", "ftruncate")
]
OPERATIONS += [(fcntl, "flock")]

def deadly(left, told):
    for module, name in OPERATIONS:
        def call(*args, _real=getattr(module, name), _name=name, **options):
            if left[0] == 0:
                told(_name)
                os.kill(os.getpid(), signal.SIGKILL)
            left[0] -= 1
            return _real(*args, **options)
        setattr(module, name, call)

def record(directory):
    made = recording_writer.RecordingFile(recording_dir.RecordingDir(directory), "p", "a")
    for number in range(3):
        made.append(a_cluster(number, sys.argv[2].encode()))
    made.finish()

number = 0
while True:
    child = os.fork()
    if child == 0:
        write = os.write
        deadly([number], lambda name: write(1, f"{name}\\n".encode()))
        record(Path(sys.argv[1]) / str(number))
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if status == 0:
        break
    assert os.WIFSIGNALED(status), status
    number += 1
print("lived")
"""


def crash(directory: Path, mark: str) -> list[str]:
    """What each of the killed processes was about to do."""
    run = subprocess.run(
        [sys.executable, "-c", KILLED, str(directory), mark], capture_output=True, text=True, timeout=100, check=True
    )
    *before, last = run.stdout.split()
    assert last == "lived"
    return before


def is_whole(data: bytes, mark: bytes) -> bool:
    _, segment = parse(data)
    assert segment.one("Info").one("Duration") == 3000
    assert len(segment.one("Cues").value) == 3
    return data.count(b"".join(a_cluster(number, mark).data for number in range(3))) == 1


def test_a_recorder_killed_before_any_file_operation(tmp_path: Path) -> None:
    killed = crash(tmp_path, "new")
    assert len(killed) >= 10
    assert {"open", "write", "pwrite", "flock", "fsync", "rename", "link"} <= set(killed)
    wholes = [outcome(tmp_path / str(number)) for number in range(len(killed))]
    assert wholes == sorted(wholes), "from one operation on it is whole"
    first = wholes.index(True)
    assert killed[first - 1] == "link", "and not before"
    assert killed[: first - 1].count("fsync") == 1, "its bytes last before its name is there"
    assert "fsync" in killed[first:], "and its name lasts when it is told to be whole"


def test_a_whole_recording_stays_wherever_another_recorder_is_killed(tmp_path: Path) -> None:
    for number in range(60):
        asyncio.run(made(tmp_path / str(number)))
    killed = crash(tmp_path, "new")
    assert "link" in killed
    assert len(killed) < 60
    for number in range(len(killed)):
        assert not outcome(tmp_path / str(number)), killed[number]


def outcome(directory: Path) -> bool:
    """Whether the new recording is whole; nothing else may be left, and where there is none another can be made."""

    async def look() -> bool:
        clock = ManualClock()
        recordings = Recordings(directory, clock=clock)
        path = recordings.whole("p")
        new = path is not None and b"new" in path.read_bytes()
        await made(directory)
        path = path or recordings.whole("p")
        assert path is not None
        data = path.read_bytes()
        assert is_whole(data, next(mark for mark in (b"new", b"made") if mark in data))
        long_ago = clock.now().timestamp() - 3600
        for part in (directory / "parts").iterdir():
            os.utime(part, (long_ago, long_ago))
        await recordings.sweep()
        assert sorted(path.name for path in directory.rglob("*")) == ["p.webm", "parts"]
        await recordings.close()
        return new

    return asyncio.run(look())


async def made(directory: Path) -> None:
    recordings = Recordings(directory)
    recording = await recordings.begin("p", "b")
    for number in range(3):
        await recording.append(a_cluster(number, b"made"))
    await recording.finish()
    await recordings.close()


def test_a_part_is_never_without_its_lock(tmp_path: Path) -> None:
    """Swept at any moment of its making, an attempt loses nothing: what has its name has its lock."""
    begun = subprocess.Popen([sys.executable, "-c", STOPPED, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    try:
        assert begun.stdout is not None
        assert begun.stdout.readline() == "about to rename\n"
        asyncio.run(swept(tmp_path))
        begun.send_signal(signal.SIGUSR1)
        assert begun.stdout.readline() == "renamed\n"
        asyncio.run(swept(tmp_path))
        begun.send_signal(signal.SIGUSR1)
        assert begun.stdout.readline() == "whole\n"
    finally:
        begun.kill()
        begun.communicate()
    assert (tmp_path / "p.webm").exists()


STOPPED = """
import os, signal, sys
from pathlib import Path
from greenroom_platform.studio import recording_dir, recording_writer
from tests.support.studio_samples import a_cluster

signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
rename = os.rename

def stop(*args):
    print("about to rename", flush=True)
    signal.sigwait({signal.SIGUSR1})
    rename(*args)
    print("renamed", flush=True)
    signal.sigwait({signal.SIGUSR1})

os.rename = stop
made = recording_writer.RecordingFile(recording_dir.RecordingDir(Path(sys.argv[1])), "p", "a")
os.rename = rename
made.append(a_cluster(0))
made.finish()
print("whole", flush=True)
"""


async def swept(directory: Path) -> None:
    # Long after whatever was made: only the lock keeps it. What has no name yet goes by its age alone.
    recordings = Recordings(directory)
    await recordings.sweep()
    clock = ManualClock(start=recordings._clock.now())
    clock.advance(3600)
    later = Recordings(directory, clock=clock)
    await later.sweep()
    await later.close()
    await recordings.close()
