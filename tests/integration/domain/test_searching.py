"""Searches through the cache: a change begins a new epoch, whatever is under way, for every process."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from greenroom.caching import Outcome
from greenroom_platform.models import Topic
from greenroom_platform.platform import Platform, open_platform
from greenroom_platform.storage import SqliteRecords
from greenroom_platform.storage.sqlite.database import SCHEMA_VERSION, Database
from greenroom_platform.testing.records_changes import NOON, about, fill, topic
from greenroom_platform.testing.records_search import topics_found
from tests.support.real_servers import Server


class Held(SqliteRecords):
    """A record whose next search can be held after it was answered."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.holds = False
        self.found, self.go = asyncio.Event(), asyncio.Event()

    async def search_topics(self, words: Sequence[str], limit: int) -> tuple[Topic, ...]:
        found = await super().search_topics(words, limit)
        if self.holds:
            self.holds = False
            self.found.set()
            await self.go.wait()
        return found


@pytest.fixture
async def records(tmp_path: Path) -> AsyncIterator[Held]:
    records = Held(await Database.open(tmp_path / "record.sqlite3"))
    await records.store([topic("t", name="Before")], [])
    yield records
    await records.close()


async def names(platform: Platform, typed: str = "before") -> list[str]:
    found = (await platform.search.read(typed)).value
    assert found is not None
    return [one.display_name for one in found.topics]


async def shown(platform: Platform, typed: str, expected: list[str]) -> None:
    """Return when a search finds this."""
    async with asyncio.timeout(30):
        while await names(platform, typed) != expected:
            await asyncio.sleep(0.001)


async def test_a_search_under_way_during_an_edit_is_shown_to_nobody_later(valkey: Server, records: Held) -> None:
    async with (
        open_platform(valkey.address, database=records) as platform,
        open_platform(valkey.address, database=records) as other,
    ):
        for one in (platform, other):
            await names(one, "other")  # both know the epoch
        records.holds = True
        early = asyncio.create_task(names(platform))
        await records.found.wait()
        await platform.topics.put("t", about("After"))
        assert await names(platform) == []
        await shown(other, "before", [])
        records.go.set()
        assert await early == ["Before"]
        for one in (platform, other):
            assert await names(one) == []


async def test_a_killed_writer_s_change_ends_the_epoch_when_its_row_is_sent(valkey: Server, records: Held) -> None:
    async with open_platform(valkey.address, database=records) as platform:
        assert await names(platform) == ["Before"]
        assert (await platform.search.read(" BEFORE ")).outcome is Outcome.NEAR
        assert await platform.search.find("befor") is None
        await records.put_topic("t", about("After"), NOON)  # committed, and not sent
        await platform.outbox.send_pending()
        assert await names(platform) == []


async def test_what_another_program_writes_is_found_once_it_is_told(
    valkey: Server, records: Held, tmp_path: Path
) -> None:
    async with open_platform(valkey.address, database=records) as platform, platform.watching():
        assert await names(platform, "theirs") == []
        with closing(sqlite3.connect(tmp_path / "record.sqlite3", isolation_level=None)) as theirs:
            theirs.execute("UPDATE topics SET document = json_set(document, '$.display_name', 'Theirs')")
            theirs.execute("INSERT INTO topics VALUES ('no', 'no', 'no JSON')")
        await shown(platform, "theirs", ["Theirs"])


async def test_a_file_from_before_there_was_a_search_is_found_whole(tmp_path: Path) -> None:
    path = tmp_path / "record.sqlite3"
    records = await SqliteRecords.open(path)
    await fill(records, "a", 3)
    await records.close()
    with closing(sqlite3.connect(path, isolation_level=None)) as old:
        for (name,) in old.execute("SELECT name FROM sqlite_master WHERE name LIKE 'searched_%'").fetchall():
            old.execute(f"DROP TRIGGER {name}")
        for table in ("searched", "topic_words", "snippet_words"):
            old.execute(f"DROP TABLE {table}")
        old.execute(f"PRAGMA user_version = {SCHEMA_VERSION - 1}")
    records = await SqliteRecords.open(path)
    assert await topics_found(records, "name") == ["a"]
    assert [one.snippet_id for one in await records.search_snippets(["title"], 20)] == ["a002", "a001", "a000"]
    await records.delete_snippet("a001")
    assert [one.snippet_id for one in await records.search_snippets(["title"], 20)] == ["a002", "a000"]
    await records.close()
