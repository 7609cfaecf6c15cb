"""From a change made outside to its new value: `python -m bench.foreign [RECORD]`, one of `RECORDS`.

A process that has the value near reads it again and again while another program writes to the record. Counted is the
time from the end of that program's commit to the first read that has the new value.
"""

from __future__ import annotations

import asyncio
import logging
import random
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, closing
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pymongo

from bench.common import server
from greenroom.caching import Outcome
from greenroom_platform.domain.records import Records
from greenroom_platform.models import Snippet
from greenroom_platform.platform import Platform, open_platform
from greenroom_platform.storage import SqliteRecords
from greenroom_platform.storage.mongodb.records import MongoRecords
from greenroom_platform.testing.records_changes import NOON, fill, snippet
from tests.support.mongo_server import MongoServer

CHANGES = 100


class Outside(NamedTuple):
    """A record, and how another program replaces a snippet in it."""

    records: Records
    replace: Callable[[Snippet], Awaitable[None]]


@asynccontextmanager
async def _sqlite(directory: Path) -> AsyncIterator[Outside]:
    path = directory / "record.sqlite3"
    records = await SqliteRecords.open(path)

    def write(new: Snippet) -> None:
        with closing(sqlite3.connect(path, timeout=10)) as record:
            row = msgspec.json.encode(new).decode(), new.snippet_id
            record.execute("UPDATE snippets SET document = ? WHERE snippet_id = ?", row)
            record.commit()

    yield Outside(records, lambda new: asyncio.to_thread(write, new))
    await records.close()


@asynccontextmanager
async def _mongodb(directory: Path) -> AsyncIterator[Outside]:
    running = MongoServer(directory / "data", directory / "log")
    running.start()
    records = await MongoRecords.open(running.url("greenroom"))
    with pymongo.MongoClient[dict[str, Any]](running.host) as client:
        snippets = client.greenroom.snippets

        def write(new: Snippet) -> None:
            snippets.update_one({"_id": new.snippet_id}, {"$set": {"title": new.title}})

        yield Outside(records, lambda new: asyncio.to_thread(write, new))
    await records.close()
    running.kill()


RECORDS: dict[str, Callable[[Path], AbstractAsyncContextManager[Outside]]] = {"sqlite": _sqlite, "mongodb": _mongodb}
"""What opens each kind of record in a directory."""


async def seen(platform: Platform, title: str) -> None:
    """Read until the new value comes."""
    while True:
        found = await platform.snippets.get("a000")
        if found is not None and found.title == title:
            return
        await asyncio.sleep(0.0005)


async def main(kind: str) -> None:
    """Measure, and print the median and the slowest."""
    took: list[float] = []
    with server() as one, tempfile.TemporaryDirectory(prefix="greenroom-bench-") as directory:
        async with AsyncExitStack() as stack:
            outside = await stack.enter_async_context(RECORDS[kind](Path(directory)))
            await fill(outside.records, "a", 1)
            opened = open_platform(one.address, sessions=False, database=outside.records)
            platform = await stack.enter_async_context(opened)
            await stack.enter_async_context(platform.watching())
            for number in range(CHANGES):
                while (await platform.snippets.read("a000")).outcome is not Outcome.NEAR:
                    await asyncio.sleep(0)
                # At any moment between two looks of the watcher, and not always right after one.
                await asyncio.sleep(random.random())
                title = f"Number {number}"
                await outside.replace(snippet("a000", "a", NOON, title))
                began = time.perf_counter()
                await seen(platform, title)
                took.append(time.perf_counter() - began)
    print(f"{kind}: {CHANGES} changes made outside, from commit to new value")
    print(f"median {statistics.median(took) * 1e3:.1f} ms, slowest {max(took) * 1e3:.1f} ms")


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "sqlite"))
