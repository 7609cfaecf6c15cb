"""Several processes on one file of SQLite: killed at any moment, writing at once, out of space on the disk."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from greenroom_platform.storage import SqliteRecords
from greenroom_platform.testing.records_changes import ids, topic

# A process that writes one topic and is killed at a statement, or, where none is named, in place of acknowledging.
KILLED = """
import asyncio, os, signal, sys
from pathlib import Path
from greenroom_platform.storage import SqliteRecords
from greenroom_platform.storage.sqlite import database
from greenroom_platform.testing.records_changes import NOON, about

connected = database._connected

def kill(statement=""):
    if statement.startswith(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)

def deadly(path):
    connection = connected(path)
    connection.set_trace_callback(kill)
    return connection

async def main():
    records = await SqliteRecords.open(Path(sys.argv[1]))
    if sys.argv[2]:
        database._connected = deadly
    await records.put_topic("a", about("A"), NOON)
    kill()

asyncio.run(main())
"""

# A process that says that it is ready, and at a line on standard input adds 40 snippets of its own.
WRITER = """
import asyncio, sys
from pathlib import Path
from greenroom_platform.storage import SqliteRecords
from greenroom_platform.testing.records_changes import NOON, wording

async def main():
    records = await SqliteRecords.open(Path(sys.argv[1]))
    print("ready", flush=True)
    sys.stdin.readline()
    for number in range(40):
        await records.add_snippet(f"{sys.argv[2]}{number:02}", wording("a"), NOON)
    await records.close()

asyncio.run(main())
"""

# A process whose files may not grow while it writes a long text, as on a full disk.
FULL = """
import asyncio, resource, sys
from pathlib import Path
from greenroom.errors import RecordUnavailable
from greenroom_platform.storage import SqliteRecords
from greenroom_platform.testing.records_changes import NOON, about

async def main():
    records = await SqliteRecords.open(Path(sys.argv[1]))
    await records.put_topic("before", about("Before"), NOON)
    size, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, most))
    try:
        await records.put_topic("lost", about("Lost", description="x" * 400_000), NOON)
    except RecordUnavailable as error:
        print(error)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, most))
    await records.put_topic("after", about("After"), NOON)

asyncio.run(main())
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "record.sqlite3"


@pytest.fixture
async def records(path: Path) -> AsyncIterator[SqliteRecords]:
    records = await SqliteRecords.open(path)
    yield records
    await records.close()


def run(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True, timeout=60)


def writing(path: Path, name: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path), name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


@pytest.mark.parametrize("statement", ["INSERT INTO outbox", "COMMIT"])
async def test_a_kill_before_the_commit_leaves_neither_change_nor_outbox_row(
    path: Path, records: SqliteRecords, statement: str
) -> None:
    assert run(KILLED, str(path), statement).returncode == -signal.SIGKILL
    assert await records.topics() == ()
    assert await records.pending() == ()


async def test_a_kill_between_commit_and_acknowledgement_leaves_the_outbox_row(
    path: Path, records: SqliteRecords
) -> None:
    assert run(KILLED, str(path), "").returncode == -signal.SIGKILL
    assert await records.topics() == (topic("a", name="A"),)
    (change,) = await records.pending()
    assert change.topics == ("a",)


async def test_two_processes_that_write_at_once_lose_nothing(path: Path, records: SqliteRecords) -> None:
    await records.store([topic("a")], [])
    with writing(path, "x") as first, writing(path, "y") as second:
        for writer in (first, second):
            assert writer.stdout is not None
            assert writer.stdout.readline() == "ready\n"
        for writer in (first, second):
            assert writer.stdin is not None
            writer.stdin.write("go\n")
            writer.stdin.flush()
    assert (first.returncode, second.returncode) == (0, 0)
    every = [one for page in range(1, 6) for one in await records.page("a", page)]
    assert ids(every) == [f"{name}{number:02}" for name in "xy" for number in range(40)]
    pending = await records.pending()
    assert {change.snippets for change in pending[1:]} == {(one.snippet_id,) for one in every}


async def test_a_full_disk_loses_one_write_and_no_other(path: Path, records: SqliteRecords) -> None:
    process = run(FULL, str(path))
    assert process.returncode == 0, process.stderr
    assert process.stdout.startswith("the database failed: d")  # disk I/O error, or: database or disk is full
    assert [one.topic_id for one in await records.topics()] == ["after", "before"]
    assert [change.topics for change in await records.pending()] == [("before",), ("after",)]
