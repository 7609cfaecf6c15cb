"""The newest snippets over all topics: one read of the record for all who ask within a second."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from greenroom.errors import RecordUnavailable
from greenroom_platform.domain import newest
from greenroom_platform.domain.newest import Newest
from greenroom_platform.models import Snippet
from greenroom_platform.platform import open_platform
from greenroom_platform.storage import SqliteRecords
from greenroom_platform.storage.sqlite.database import Database
from greenroom_platform.testing.records_changes import NOON, fill, ids, wording
from tests.support.patience import SteadyClock
from tests.support.real_servers import Server


class Counted(SqliteRecords):
    """A record that counts reads of the newest, and stops them, after the read itself, where a test wants it to."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.reads = 0
        self.read = asyncio.Event()
        self.go = asyncio.Event()
        self.go.set()
        self.fails = False

    async def newest(self, limit: int) -> tuple[Snippet, ...]:
        self.reads += 1
        found = await super().newest(limit)
        self.read.set()
        await self.go.wait()
        if self.fails:
            raise RecordUnavailable("for the test")
        return found


@pytest.fixture
async def records(tmp_path: Path) -> AsyncIterator[Counted]:
    records = Counted(await Database.open(tmp_path / "record.sqlite3"))
    await fill(records, "a", 1)
    yield records
    await records.close()


@pytest.fixture
def clock() -> SteadyClock:
    return SteadyClock()


@pytest.fixture
async def list_(records: Counted, clock: SteadyClock) -> AsyncIterator[Newest]:
    list_ = Newest(records, clock)
    yield list_
    await list_.close()


async def told(list_: Newest) -> list[str]:
    return ids((await list_.read()).value or ())


async def test_the_newest_20_of_all_topics_come_with_their_json(records: Counted, list_: Newest) -> None:
    await fill(records, "b", 21)
    read = await list_.read()
    assert read.value == await records.newest(20)
    assert read.body == msgspec.json.encode(await records.newest(20))


async def test_callers_at_once_share_one_read(records: Counted, list_: Newest) -> None:
    records.go.clear()
    tasks = [asyncio.create_task(told(list_)) for _ in range(50)]
    await records.read.wait()
    tasks[0].cancel()
    await asyncio.wait([tasks[0]])
    records.go.set()
    assert await asyncio.gather(*tasks[1:]) == [["a000"]] * 49
    assert records.reads == 1


async def test_it_is_kept_for_one_second_and_no_longer(records: Counted, list_: Newest, clock: SteadyClock) -> None:
    await told(list_)
    await records.add_snippet("b", wording("a"), NOON)
    clock.advance(0.75)
    read = await list_.read()
    assert (ids(read.value or ()), records.reads, read.ttl) == (["a000"], 1, 0.25)
    clock.advance(0.25)
    assert await told(list_) == ["a000", "b"]
    assert records.reads == 2


async def test_its_second_begins_with_the_read_and_not_with_the_answer(
    records: Counted, list_: Newest, clock: SteadyClock
) -> None:
    records.go.clear()
    slow = asyncio.create_task(told(list_))
    await records.read.wait()
    clock.advance(0.75)
    records.go.set()
    await slow
    clock.advance(0.25)
    await told(list_)
    assert records.reads == 2


async def test_a_read_begun_before_a_change_is_neither_joined_nor_kept(records: Counted, list_: Newest) -> None:
    records.go.clear()
    early = asyncio.create_task(told(list_))
    await records.read.wait()
    await records.add_snippet("b", wording("a"), NOON)
    list_.forget()
    late = asyncio.create_task(told(list_))
    records.read.clear()
    await records.read.wait()
    records.go.set()
    assert await late == ["a000", "b"]
    assert await early == ["a000"]
    assert await told(list_) == ["a000", "b"]
    assert records.reads == 2


async def test_an_early_read_that_ends_last_does_not_replace_a_later_one(records: Counted, list_: Newest) -> None:
    records.go.clear()
    early = asyncio.create_task(told(list_))
    await records.read.wait()
    held, records.go = records.go, asyncio.Event()
    records.go.set()
    await records.add_snippet("b", wording("a"), NOON)
    list_.forget()
    assert await told(list_) == ["a000", "b"]
    held.set()
    assert await early == ["a000"]
    assert await told(list_) == ["a000", "b"]
    assert records.reads == 2


async def test_a_failure_reaches_all_who_wait_and_the_next_asks_again(records: Counted, list_: Newest) -> None:
    records.fails = True
    results = await asyncio.gather(*(told(list_) for _ in range(5)), return_exceptions=True)
    assert {type(result) for result in results} == {RecordUnavailable}
    assert records.reads == 1
    records.fails = False
    assert await told(list_) == ["a000"]


async def test_a_change_made_in_this_process_is_seen_at_once(
    valkey: Server, records: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(newest, "KEPT", 1e9)
    async with open_platform(valkey.address, database=records) as platform:

        async def titles() -> list[str]:
            return [one.title for one in (await platform.snippets.read_newest()).value or ()]

        assert await titles() == ["Title"]
        valkey.kill()  # the list is this process's own: no engine is needed to drop it
        added = (await platform.snippets.add(wording("a", "Added"))).value
        assert await titles() == ["Added", "Title"]
        await platform.snippets.put(added.snippet_id, wording("a", "Changed"))
        assert await titles() == ["Changed", "Title"]
        await platform.snippets.delete(added.snippet_id)
        assert await titles() == ["Title"]
