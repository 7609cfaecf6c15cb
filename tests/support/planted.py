"""A platform's caches and sessions, filled as it fills them, for tests that plant faults beside them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from greenroom.acl import Holds
from greenroom.deployment import LoadedRecord
from greenroom.engine import Address
from greenroom.engine.operator import Pace
from greenroom.inspection.audit import Audit
from greenroom.inspection.faults import Faulty
from greenroom.inspection.keys import KeyIndex
from greenroom.inspection.sampling import Bounds
from greenroom_platform.cli.declarations import DECLARATIONS
from greenroom_platform.domain.record_loaders import record_loaders
from greenroom_platform.domain.records import Records
from greenroom_platform.platform import open_platform
from greenroom_platform.storage import load_sample, open_records

INDEX = KeyIndex(DECLARATIONS, "")
TOPIC, SNIPPET = "ocean_science", "ocean_001"


@asynccontextmanager
async def filled(address: str, path: Path) -> AsyncIterator[Records]:
    """A record with the sample, whose caches are full; there is a session, and a topic that is remembered as absent."""
    records = await open_records(path)
    try:
        await load_sample(records)
        async with open_platform(address, database=records) as platform:
            await platform.topics.all()
            await platform.topics.get(TOPIC)
            for snippet in await platform.snippets.page(TOPIC):
                await platform.snippets.get(snippet.snippet_id)
            assert await platform.topics.get("none") is None
            await platform.sessions.start()
        yield records
    finally:
        await records.close()


async def audited(
    address: str,
    records: Records | None,
    *only: str,
    meanwhile: Callable[[], Awaitable[None]] | None = None,
    bounds: Bounds | None = None,
) -> tuple[list[Faulty], Audit]:
    """What an audit finds, and the audit.

    Arguments:
        meanwhile: done in shard of the wait before the second look.
    """
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        if meanwhile is not None:
            await meanwhile()

    reader = None
    if records is not None:
        reader = LoadedRecord({one.pattern.text: load for one, load in record_loaders(records).items()})
    audit = Audit(INDEX, reader, bounds or Bounds(), Pace(10_000), sleep=sleep, only=frozenset(only))
    found = await audit.run([(Holds.BOTH, Address.parse(address))])
    assert slept == ([2.0] if slept else [])
    return found, audit
