"""From a change to the keys that it made stale, on a real server, whoever was killed in between."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from greenroom.errors import RecordUnavailable
from greenroom.origin import SqliteRecords
from greenroom.origin.database import Database
from greenroom.podcast import changes, newest
from greenroom.podcast.records import Change
from greenroom.room import Greenroom
from greenroom.testing.records_changes import NOON, about, fill, ids, snippet, topic, wording
from tests.servers import Server

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

    async def pending(self, *, older_than: float = 0.0, limit: int = 100) -> tuple[Change, ...]:
        self.looked.set()
        await self.open_for_looks.wait()
        self._fail()
        return await super().pending(older_than=older_than, limit=limit)

    async def acknowledge(self, change_ids: Sequence[int]) -> None:
        self._fail()
        await super().acknowledge(change_ids)
        self.acknowledged.set()

    def _fail(self) -> None:
        if self.failures:
            self.failures -= 1
            raise RecordUnavailable("for the test")


@pytest.fixture
async def records(tmp_path: Path) -> AsyncIterator[Outbox]:
    records = Outbox(await Database.open(tmp_path / "record.sqlite3"))
    yield records
    await records.close()


def opened(valkey: Server, records: Outbox) -> AbstractAsyncContextManager[Greenroom]:
    return Greenroom.open(valkey.address, database=records)


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


async def add(room: Greenroom) -> None:
    written = await room.records.add_snippet("new", wording("a"), NOON)
    await room.changes.send(written.change)


async def store(room: Greenroom) -> None:
    change = await room.records.store([topic("b", name="After"), topic("c")], [snippet("b000", "c", NOON)])
    assert change is not None
    await room.changes.send(change)


@pytest.mark.parametrize("prefix", ["", "p:"])
@pytest.mark.parametrize(
    ("write", "expected"),
    [
        (lambda room: room.topics.put("a", about("After")), {"cache:topic:a", TOPICS}),
        (lambda room: room.topics.delete("c"), {"cache:topic:c", TOPICS, page("c", 1)}),
        (add, {"cache:snippet:new"} | pages("a", 4)),
        (lambda room: room.snippets.add(wording("b")), pages("b", 2)),
        (lambda room: room.snippets.put("a020", wording("a")), {"cache:snippet:a020"} | pages("a", 3)),
        (lambda room: room.snippets.put("a000", wording("b")), {"cache:snippet:a000"} | pages("a", 3) | pages("b", 2)),
        (lambda room: room.snippets.delete("a000"), {"cache:snippet:a000"} | pages("a", 3)),
        (store, {"cache:topic:b", TOPICS, "cache:snippet:b000"} | pages("b", 2) | pages("c", 2)),
    ],
    ids=["topic", "no topic", "snippet on a new page", "snippet", "same topic", "moved", "no snippet", "whole objects"],
)
async def test_a_change_drops_exactly_its_keys_and_leaves_the_outbox(
    valkey: Server, records: Outbox, prefix: str, write: Callable[[Greenroom], Awaitable[object]], expected: set[str]
) -> None:
    await fill(records, "a", 40)
    await fill(records, "b", 1)
    await records.store([topic("c")], [])
    async with Greenroom.open(valkey.address, database=records, prefix=prefix) as room:
        keys = make_stale(valkey, prefix)
        await write(room)
        assert dropped(valkey, keys, prefix) == expected
        assert await records.pending() == ()


async def test_what_is_read_after_a_change_is_what_was_written(valkey: Server, records: Outbox) -> None:
    await fill(records, "a", 21)
    await fill(records, "b", 1)
    async with opened(valkey, records) as room:
        for number in range(2):
            await room.topics.put("a", about(f"Name {number}"))
            topics = [await room.topics.get("a"), (await room.topics.all())[-1]]
            assert [one.display_name for one in topics if one] == [f"Name {number}"] * 2
            await room.snippets.put("a000", wording("ab"[number], f"Title {number}"))
            found = await room.snippets.get("a000")
            assert found is not None
            assert (found.topic_id, found.title) == ("ab"[number], f"Title {number}")
            assert ids(await room.snippets.page("a", 2)) == [["a000"], []][number]
            assert ids(await room.snippets.page("b")) == [["b000"], ["a000", "b000"]][number]


# The engine is down ----------------------------------------------------------------------------------


async def test_a_change_made_while_the_engine_is_down_is_sent_before_the_next_room_reads(
    valkey: Server, records: Outbox, caplog: pytest.LogCaptureFixture
) -> None:
    await fill(records, "a", 1)
    async with opened(valkey, records) as room:
        valkey.kill()
        with caplog.at_level(logging.WARNING, "greenroom.podcast"):
            written = await room.topics.put("a", about("After"))
        assert await records.pending() == (written.change,)
        assert f"change {written.change.change_id} " in caplog.text
    valkey.start()
    keys = make_stale(valkey)
    async with opened(valkey, records) as room:
        assert dropped(valkey, keys) == {"cache:topic:a", TOPICS}
        assert await room.topics.get("a") == written.value
        assert await records.pending() == ()


async def test_a_change_made_while_the_engine_is_down_is_sent_at_its_return(
    valkey: Server, records: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes, "RESEND_AFTER", 0.01)
    await fill(records, "a", 1)
    async with opened(valkey, records) as room:
        valkey.kill()
        written = await room.topics.put("a", about("After"))
        records.open_for_looks.clear()
        records.looked.clear()
        await records.looked.wait()  # nobody is about to send what was looked up before
        records.acknowledged.clear()
        valkey.start()
        keys = make_stale(valkey)
        records.open_for_looks.set()
        async with asyncio.timeout(30):
            await records.acknowledged.wait()
        assert {"cache:topic:a", TOPICS} <= dropped(valkey, keys)
        assert await room.topics.get("a") == written.value


# What others left ------------------------------------------------------------------------------------


async def test_every_process_sends_what_another_left_and_goes_on_after_a_failure_of_the_record(
    valkey: Server, records: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes, "RESEND_AFTER", 0.01)
    monkeypatch.setattr(newest, "KEPT", 1e9)
    await fill(records, "a", 1)
    async with opened(valkey, records) as room:
        assert ids((await room.snippets.read_newest()).value or ()) == ["a000"]
        keys = make_stale(valkey)
        records.failures = 3
        records.acknowledged.clear()
        await records.add_snippet("new", wording("a"), NOON)
        async with asyncio.timeout(30):
            await records.acknowledged.wait()
            assert dropped(valkey, keys) == {"cache:snippet:new"} | pages("a", 2)
            while len((await room.snippets.read_newest()).value or ()) == 1:
                await asyncio.sleep(0.001)
        assert records.failures == 0


async def test_what_is_younger_than_asked_for_is_left_to_its_own_process(valkey: Server, records: Outbox) -> None:
    async with opened(valkey, records) as room:
        await records.put_topic("a", about("A"), NOON)
        assert await room.changes.send_pending(older_than=60) == 0
        assert len(await records.pending()) == 1
        assert await room.changes.send_pending() == 1


async def test_all_that_was_left_is_sent_at_the_opening_however_much(valkey: Server, records: Outbox) -> None:
    for number in range(250):
        await records.put_topic(f"t{number}", about("A"), NOON)
    raw = valkey.raw()
    for number in range(250):
        raw("SET", f"cache:topic:t{number}", "old")
    async with opened(valkey, records):
        assert raw("EXISTS", *(f"cache:topic:t{number}" for number in range(250))) == 0
        assert await records.pending() == ()


async def test_a_topic_of_ten_thousand_pages_is_dropped_whole(valkey: Server, records: Outbox) -> None:
    raw = valkey.raw()
    every = [page("a", number) for number in range(1, 10_001)]
    raw("MSET", *(text for key in every for text in (key, "old")))
    async with opened(valkey, records) as room:
        written = await records.put_topic("a", about("A"), NOON)
        await room.changes.send(Change(change_id=written.change.change_id, pages=(("a", 10_000),)))
        assert raw("EXISTS", *every) == 0
        assert await records.pending() == ()


async def test_an_id_that_no_key_can_hold_holds_up_no_other_change(valkey: Server, records: Outbox) -> None:
    await records.put_topic("a:b", about("A"), NOON)
    await records.put_topic("a", about("A"), NOON)
    keys = make_stale(valkey)
    async with opened(valkey, records):
        assert dropped(valkey, keys) == {"cache:topic:a", TOPICS}
        assert await records.pending() == ()


async def test_a_change_whose_row_cannot_be_acknowledged_is_made_all_the_same(valkey: Server, records: Outbox) -> None:
    async with opened(valkey, records) as room:
        keys = make_stale(valkey)
        records.open_for_looks.clear()  # keeps the sender out
        records.failures = 1
        written = await room.topics.put("a", about("A"))
        assert dropped(valkey, keys) == {"cache:topic:a", TOPICS}
        records.open_for_looks.set()
        assert await records.pending() == (written.change,)
