"""Changes whose process did not get to drop their keys: the engine was down, or the process was killed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from greenroom.origin.database import Database
from greenroom.podcast import changes, newest
from greenroom.testing.records_changes import NOON, about, fill, ids, wording
from tests.support.outbox_probe import TOPICS, Outbox, dropped, make_stale, opened, pages
from tests.support.real_servers import Server


@pytest.fixture
async def records(tmp_path: Path) -> AsyncIterator[Outbox]:
    records = Outbox(await Database.open(tmp_path / "record.sqlite3"))
    yield records
    await records.close()


# The engine is down ----------------------------------------------------------------------------------


async def test_a_change_made_in_an_outage_is_sent_before_the_next_room_reads(
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


async def test_every_process_sends_what_another_left_despite_record_failures(
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
