"""A record whose outbox a test can look into and hold shut, and the keys that a change can make stale."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager

from greenroom.errors import RecordUnavailable
from greenroom_platform.domain.records import Change
from greenroom_platform.platform import Platform, open_platform
from greenroom_platform.storage import SqliteRecords
from greenroom_platform.storage.sqlite.database import Database
from tests.support.real_servers import Server

TOPICS = "cache:topics:all"


class Outbox(SqliteRecords):
    """A record that tells of acknowledgements, whose outbox can be held shut, and that fails when told to."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.acknowledged = asyncio.Event()
        self.open_for_looks = asyncio.Event()
        self.open_for_looks.set()
        self.looked = asyncio.Event()
        self.failures = 0

    async def pending(self, *, older_than: float = 0.0, after: int = 0, limit: int = 200) -> tuple[Change, ...]:
        self.looked.set()
        await self.open_for_looks.wait()
        self._fail()
        return await super().pending(older_than=older_than, after=after, limit=limit)

    async def acknowledge(self, change_ids: Sequence[int]) -> None:
        self._fail()
        await super().acknowledge(change_ids)
        self.acknowledged.set()

    def _fail(self) -> None:
        if self.failures:
            self.failures -= 1
            raise RecordUnavailable("for the test")


def opened(valkey: Server, records: Outbox) -> AbstractAsyncContextManager[Platform]:
    return open_platform(valkey.address, database=records)


def page(topic_id: str, number: int) -> str:
    return f"cache:snippets:topic:{topic_id}:page:{number}"


def pages(topic_id: str, last: int) -> set[str]:
    return {page(topic_id, number) for number in range(1, last + 1)}


def make_stale(valkey: Server, prefix: str = "") -> set[str]:
    """Put a value under every key that a change to topics a, b, c and their snippets could concern, and some more."""
    keys = {f"cache:topic:{one}" for one in "abc"} | {TOPICS, "cache:podcast_status:a", "session:a"}
    keys |= {f"cache:snippet:{one}" for one in ("a000", "a020", "b000", "new")}
    keys |= {key for one in "abc" for key in pages(one, 6)}
    raw = valkey.raw()
    for key in keys:
        raw("SET", prefix + key, "old", "EX", 600)
    raw.close()
    return keys


def dropped(valkey: Server, keys: set[str], prefix: str = "") -> set[str]:
    raw = valkey.raw()
    gone = {key for key in keys if not raw("EXISTS", prefix + key)}
    raw.close()
    return gone
