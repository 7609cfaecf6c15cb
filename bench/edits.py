"""What one edit of a topic of 10,000 pages costs the event loop: `python -m bench.edits`.

Three states of the pages: stored on the server; named by the topic's group too, as pages that were loaded are; and read
by this process besides, so that it is pushed each of them.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import sys
import tempfile
import time
from asyncio import events
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.common import server
from greenroom_platform.domain.records import Change
from greenroom_platform.platform import Platform, open_platform
from greenroom_platform.storage import SqliteRecords
from greenroom_platform.storage.sqlite.database import Database
from greenroom_platform.testing.records_changes import NOON, about
from tests.support.real_servers import Server

PAGES = 10_000
EDITS = 5
_PAGE = "cache:snippets:topic:a:page:{}"


@contextmanager
def steps() -> Iterator[list[float]]:
    """What each step of the event loop takes of the processor, in milliseconds."""
    handles: Any = events.Handle
    run, took = handles._run, []

    def timed(handle: Any) -> None:
        began = time.thread_time()
        run(handle)
        took.append((time.thread_time() - began) * 1e3)

    handles._run = timed
    try:
        yield took
    finally:
        handles._run = run


async def edit(one: Server, platform: Platform, state: str, number: int) -> tuple[float, float]:
    """What all steps of an edit take together, and the longest; in milliseconds."""
    raw = one.raw()
    keys = [_PAGE.format(page) for page in range(1, PAGES + 1)]
    raw("MSET", *(text for key in keys for text in (key, "[]")))
    if state != "stored":
        (group,) = platform.snippets.pages._ladder._groups_of({"topic_id": "a"})
        name = platform.room._wired().backing.groups.name(group)
        raw(
            "ZADD",
            name,
            *(text for at, key in enumerate(keys, 1_700_000_000_000_000) for text in (at, key)),
        )
    if state == "read":
        pages = platform.snippets.pages
        await pages.get_many([{"topic_id": "a", "page_number": page} for page in range(1, PAGES + 1)])
    written = await platform.records.put_topic("a", about(f"A{number}"), NOON)
    change = Change(change_id=written.change.change_id, topics=("a",), pages=(("a", PAGES),))
    gc.collect()
    with steps() as took:
        await platform.changes.before("a")
        await platform.changes.send(change)
    assert raw("EXISTS", *keys) == 0
    raw.close()
    return sum(took), max(took)


async def measure(one: Server) -> None:
    """Print a line for each state: the least of some edits, since the rest is other work of the machine."""
    with tempfile.TemporaryDirectory(prefix="greenroom-bench-") as directory:
        records = SqliteRecords(await Database.open(Path(directory) / "record.sqlite3"))
        async with open_platform(one.address, database=records) as platform:
            _ = platform.changes
            for state in ("stored", "in the group", "read"):
                found = [await edit(one, platform, state, number) for number in range(EDITS)]
                whole, longest = (min(column) for column in zip(*found, strict=True))
                sys.stdout.write(
                    f"{PAGES:,} pages, {state}: {whole:.0f} ms of the loop, longest step {longest:.1f} ms\n"
                )
        await records.close()


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    with server() as running:
        asyncio.run(measure(running))
