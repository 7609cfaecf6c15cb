"""MongoDB and those who write to it, killed at any moment: nothing acknowledged is lost, and nothing is torn."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count

import pytest

from greenroom.errors import RecordError, RecordUnavailable
from greenroom_platform.storage.mongodb.records import MongoRecords
from greenroom_platform.testing.records_changes import NOON, topic, wording
from tests.support.mongo_server import MongoServer
from tests.support.repository import ROOT

NAME = "greenroom"

# A process that adds snippets of its own until it is killed, and says which have been acknowledged.
WRITER = """
import asyncio, sys
from greenroom_platform.storage.mongodb.records import MongoRecords
from greenroom_platform.testing.records_changes import NOON, wording

async def main():
    records = await MongoRecords.open(sys.argv[1])
    number = 0
    while True:
        name = f"{sys.argv[2]}-{number}"
        written = await records.add_snippet(name, wording("a"), NOON)
        print(name, written.change.change_id, flush=True)
        number += 1

asyncio.run(main())
"""


@contextmanager
def writer(url: str, name: str) -> Iterator[subprocess.Popen[str]]:
    """The process, killed at the end of the block."""
    command = [sys.executable, "-c", WRITER, url, name]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, start_new_session=True)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def acknowledged(process: subprocess.Popen[str]) -> dict[str, int]:
    """What a process that was killed has said, by snippet."""
    process.kill()
    text, _ = process.communicate()
    lines = [line.split() for line in text.splitlines(keepends=True) if line.endswith("\n")]
    return {name: int(number) for name, number in lines}


async def everything(records: MongoRecords) -> tuple[set[str], dict[int, tuple[str, ...]]]:
    """The snippets that are there, and the outbox."""
    async with asyncio.timeout(60):
        while True:
            with suppress(RecordUnavailable):
                await records.ping()
                break
            await asyncio.sleep(0.01)
    pages = [await records.page("a", number) for number in range(1, 60)]
    rows: dict[int, tuple[str, ...]] = {}
    after = 0
    while changes := await records.pending(after=after):
        rows |= {one.change_id: one.snippets for one in changes if one.snippets}
        after = changes[-1].change_id
    return {one.snippet_id for page in pages for one in page}, rows


@pytest.mark.parametrize("round_", range(2))
async def test_a_killed_server_loses_nothing_that_it_acknowledged(mongo: MongoServer, round_: int) -> None:
    # The three meet in one topic. One that was given up for a short deadline would hold it, until the server ends that
    # transaction after 60 s.
    records = await MongoRecords.open(mongo.url(NAME), write_deadline=30.0)
    await records.store([topic("a")], [])
    written: dict[str, int] = {}
    killed = asyncio.Event()

    async def write(name: str) -> None:
        for number in count():
            if killed.is_set():
                return
            one = f"{name}-{number}"
            with suppress(RecordError):
                written[one] = (await records.add_snippet(one, wording("a"), NOON)).change.change_id

    writing = [asyncio.create_task(write(name)) for name in "xyz"]
    async with asyncio.timeout(60):
        while len(written) < 30 + round_ * 7:
            await asyncio.sleep(0.001)
    mongo.kill()
    killed.set()
    await asyncio.to_thread(mongo.start)
    await asyncio.gather(*writing)
    there, rows = await everything(records)
    assert written.keys() <= there
    assert {number: (name,) for name, number in written.items()}.items() <= rows.items()
    assert sorted(name for names in rows.values() for name in names) == sorted(there), "torn"
    await records.close()


async def test_two_processes_on_one_record_killed_leave_it_whole(mongo: MongoServer) -> None:
    records = await MongoRecords.open(mongo.url(NAME))
    await records.store([topic("a")], [])
    with writer(mongo.url(NAME), "x") as first, writer(mongo.url(NAME), "y") as second:
        assert first.stdout is not None
        assert second.stdout is not None
        pipes = [first.stdout, second.stdout] * 10
        lines = [await asyncio.to_thread(pipe.readline) for pipe in pipes]
        said = {name: int(number) for name, number in (line.split() for line in lines)}
        said |= acknowledged(first) | acknowledged(second)
    there, rows = await everything(records)
    assert len(said) >= 20
    assert said.keys() <= there
    assert {number: (name,) for name, number in said.items()}.items() <= rows.items()
    assert sorted(name for names in rows.values() for name in names) == sorted(there), "torn"
    # Whoever was killed in a transaction holds its topic until the server ends the transaction, after 60 s; no other.
    await records.store([topic("b")], [])
    await records.add_snippet("after", wording("b"), NOON)
    await records.close()
