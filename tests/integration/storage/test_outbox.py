"""Changes whose process did not get to drop their keys: the engine was down, or the process was killed."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from greenroom.caching.outbox_drops import OutboxDrops
from greenroom.engine.server.standalone import Standalone
from greenroom_platform.domain import newest, outbox_sender
from greenroom_platform.domain.records import Change
from greenroom_platform.storage.sqlite.database import Database
from greenroom_platform.testing.records_changes import NOON, about, fill, ids, snippet, wording
from tests.support.outbox_probe import TOPICS, Outbox, dropped, make_stale, opened, page, pages
from tests.support.patience import until
from tests.support.real_servers import Raw, Server


@pytest.fixture
async def records(tmp_path: Path) -> AsyncIterator[Outbox]:
    records = Outbox(await Database.open(tmp_path / "record.sqlite3"))
    yield records
    await records.close()


def calls(raw: Raw, command: str) -> int:
    """How often a server was sent a command."""
    stats = raw("INFO", "commandstats").decode()
    return int(stats.partition(f"cmdstat_{command}:calls=")[2].partition(",")[0] or 0)


async def make_old(valkey: Server, records: Outbox) -> None:
    """Let the server have topic `a` as it was, and the outbox say that it has changed."""
    async with opened(valkey, records) as platform:
        await platform.topics.put("a", about("Old"))
        await platform.topics.get("a")
        await platform.topics.all()
    await records.put_topic("a", about("New"), NOON)
    records.acknowledged.clear()


async def leave(records: Outbox, changes: Sequence[Change]) -> None:
    """Let changes wait in the outbox, as a process leaves them that was killed."""

    rows = [(0.0, msgspec.json.encode(change).decode()) for change in changes]

    def left(connection: sqlite3.Connection) -> None:
        connection.executemany("INSERT INTO outbox (committed, change) VALUES (?, ?)", rows)

    await records._database.write(left)


# The engine is down ----------------------------------------------------------------------------------


async def test_a_change_made_in_an_outage_is_sent_before_the_next_room_reads(
    valkey: Server, records: Outbox, caplog: pytest.LogCaptureFixture
) -> None:
    await fill(records, "a", 1)
    async with opened(valkey, records) as platform:
        valkey.kill()
        with caplog.at_level(logging.WARNING, "greenroom.domain"):
            written = await platform.topics.put("a", about("After"))
        assert await records.pending() == (written.change,)
        assert f"change {written.change.change_id} " in caplog.text
    valkey.start()
    keys = make_stale(valkey)
    records.acknowledged.clear()
    async with opened(valkey, records) as platform:
        async with asyncio.timeout(30):
            await records.acknowledged.wait()
        assert dropped(valkey, keys) == {"cache:topic:a", TOPICS}
        assert await platform.topics.get("a") == written.value
        assert await records.pending() == ()


async def test_a_change_made_while_the_engine_is_down_is_sent_at_its_return(
    valkey: Server, records: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox_sender, "RESEND_AFTER", 0.01)
    await fill(records, "a", 1)
    async with opened(valkey, records) as platform:
        valkey.kill()
        written = await platform.topics.put("a", about("After"))
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
        assert await platform.topics.get("a") == written.value


# What others left ------------------------------------------------------------------------------------


async def test_every_process_sends_what_another_left_despite_record_failures(
    valkey: Server, records: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox_sender, "RESEND_AFTER", 0.01)
    monkeypatch.setattr(newest, "KEPT", 1e9)
    await fill(records, "a", 1)
    async with opened(valkey, records) as platform:
        assert ids((await platform.snippets.read_newest()).value or ()) == ["a000"]
        keys = make_stale(valkey)
        records.failures = 3
        records.acknowledged.clear()
        await records.add_snippet("new", wording("a"), NOON)
        async with asyncio.timeout(30):
            await records.acknowledged.wait()
            assert dropped(valkey, keys) == {"cache:snippet:new"} | pages("a", 2)
            while len((await platform.snippets.read_newest()).value or ()) == 1:
                await asyncio.sleep(0.001)
        assert records.failures == 0


async def test_what_is_younger_than_asked_for_is_left_to_its_own_process(
    valkey: Server, records: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox_sender, "RESEND_AFTER", 1e6)
    async with opened(valkey, records) as platform:
        await records.put_topic("a", about("A"), NOON)
        assert await platform.outbox.send_pending(older_than=60) == 0
        assert len(await records.pending()) == 1
        assert await platform.outbox.send_pending() == 1


async def test_all_that_was_left_is_sent_by_the_next_room_however_much(valkey: Server, records: Outbox) -> None:
    for number in range(250):
        await records.put_topic(f"t{number}", about("A"), NOON)
    raw = valkey.raw()
    for number in range(250):
        raw("SET", f"cache:topic:t{number}", "old")
    async with opened(valkey, records):
        async with asyncio.timeout(30):
            await records.acknowledged.wait()
        assert raw("EXISTS", *(f"cache:topic:t{number}" for number in range(250))) == 0
        assert await records.pending() == ()


async def test_a_thousand_changes_of_the_same_pages_drop_each_page_once(
    valkey: Server, records: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a load leaves them that was killed: each row names the topic's pages, and all 3,000 of them."""
    change = Change(change_id=0, snippets=("s1", "s2"), pages=(("a", 3000),))
    await leave(records, [change] * 1000)
    raw = valkey.raw()
    raw("SET", page("a", 3000), "old")
    sent: list[str] = []
    drop = Standalone.drop

    def counted(engine: Standalone, keys: Sequence[str], *args: Any) -> Any:
        sent.extend(keys)
        return drop(engine, keys, *args)

    monkeypatch.setattr(Standalone, "drop", counted)
    async with opened(valkey, records):
        async with asyncio.timeout(60):
            await records.acknowledged.wait()
        assert raw("EXISTS", page("a", 3000)) == 0
        assert await records.pending() == ()
        assert len(sent) == len(set(sent)) == 3003, "and the epoch of searches"
        assert calls(raw, "del") < 100, "in batches"


async def test_a_room_answers_while_it_reads_a_long_outbox_and_never_the_old(
    valkey: Server, records: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox_sender, "OPENING", 0.01)
    await fill(records, "a", 1)
    await make_old(valkey, records)
    records.open_for_looks.clear()
    async with asyncio.timeout(30), opened(valkey, records) as platform:
        assert not records.acknowledged.is_set()
        assert [one.display_name for one in await platform.topics.all()] == ["New"]
        found = await platform.topics.get("a")
        assert found is not None
        assert found.display_name == "New"
        records.acknowledged.clear()
        records.open_for_looks.set()
        await records.acknowledged.wait()
        assert await records.pending() == ()


async def test_what_is_left_counts_as_dropped_here_before_it_is_sent(
    valkey: Server, records: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox_sender, "OPENING", 0.1)
    await fill(records, "a", 1)
    await make_old(valkey, records)
    marked, go, send = asyncio.Event(), asyncio.Event(), OutboxDrops.send

    async def held(pending: OutboxDrops) -> None:
        marked.set()
        await go.wait()
        await send(pending)

    monkeypatch.setattr(OutboxDrops, "send", held)
    async with opened(valkey, records) as platform:
        await marked.wait()
        raw = valkey.raw()
        assert b"Old" in raw("GET", "cache:topic:a")
        found = await platform.topics.get("a")
        assert found is not None
        assert found.display_name == "New"
        assert b"Old" in raw("GET", TOPICS), "nobody has asked for it, and nobody has sent it"
        go.set()
        async with asyncio.timeout(30):
            await records.acknowledged.wait()
        assert raw("EXISTS", TOPICS) == 0
        assert b"New" in raw("GET", "cache:topic:a")


async def test_a_row_that_cannot_be_read_holds_up_no_other_change(
    valkey: Server, records: Outbox, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(connection: sqlite3.Connection) -> None:
        connection.executemany("INSERT INTO outbox (committed, change) VALUES (0, ?)", [("{",)] * 300)
        connection.execute("INSERT INTO outbox (committed, change) VALUES (0, CAST(x'fffe' AS TEXT))")

    await records._database.write(broken)
    await records.put_topic("a", about("A"), NOON)
    keys = make_stale(valkey)
    async with opened(valkey, records) as platform:
        async with asyncio.timeout(30):
            await records.acknowledged.wait()
        assert dropped(valkey, keys) == {"cache:topic:a", TOPICS}
        assert await records.pending() == ()
        await platform.outbox.send_pending()
    assert sum("cannot be read" in line for line in caplog.messages) == 301, "once each"


async def test_a_key_that_is_no_group_holds_up_no_change(valkey: Server, records: Outbox) -> None:
    await fill(records, "a", 1)
    valkey.raw()("SET", "greenroom:group:{snippet_pages:a}", "no group")
    async with opened(valkey, records):
        async with asyncio.timeout(30):
            while await records.pending():
                await asyncio.sleep(0.001)


async def test_an_id_that_no_key_can_hold_holds_up_no_other_change(valkey: Server, records: Outbox) -> None:
    await records.put_topic("a:b", about("A"), NOON)
    await records.put_topic("a", about("A"), NOON)
    keys = make_stale(valkey)
    async with opened(valkey, records):
        async with asyncio.timeout(30):
            await records.acknowledged.wait()
        assert dropped(valkey, keys) == {"cache:topic:a", TOPICS}
        assert await records.pending() == ()


async def test_a_change_whose_row_cannot_be_acknowledged_is_made_all_the_same(valkey: Server, records: Outbox) -> None:
    async with opened(valkey, records) as platform:
        keys = make_stale(valkey)
        records.open_for_looks.clear()  # keeps the sender out
        records.failures = 1
        written = await platform.topics.put("a", about("A"))
        assert dropped(valkey, keys) == {"cache:topic:a", TOPICS}
        records.open_for_looks.set()
        assert await records.pending() == (written.change,)


# More keys than can be named -------------------------------------------------------------------------

SNIPPETS = "greenroom:generation:{cache:snippet:{snippet_id}}"
OTHERS = (
    "greenroom:generation:{cache:topic:{topic_id}}",
    "greenroom:generation:{cache:snippets:topic:{topic_id}:page:{page_number}}",
    "greenroom:generation:{cache:podcast_status:{podcast_id}}",
)


async def sent_whole(records: Outbox) -> None:
    """Return when the outbox is empty."""
    async with asyncio.timeout(60):
        while await records.pending():
            await asyncio.sleep(0.001)


async def test_more_keys_than_are_held_drop_their_keyspace_whole(
    valkey: Server, records: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes = [
        Change(change_id=0, snippets=tuple(f"s{row}-{number}" for number in range(500)), topics=("a",))
        for row in range(40)
    ]
    await fill(records, "a", 1)
    async with opened(valkey, records) as platform:
        await platform.snippets.get("a000")
    raw = valkey.raw()
    raw("SET", "cache:snippet:a000", raw("GET", "cache:snippet:a000").replace(b"Title", b"Older"), "EX", 600)
    raw("SET", "cache:topic:a", "old", "EX", 600)
    await leave(records, changes)
    held, add = 0, OutboxDrops.add

    async def counted(pending: OutboxDrops, keys: Any) -> None:
        nonlocal held
        held += len(keys)
        await add(pending, keys)

    monkeypatch.setattr(OutboxDrops, "add", counted)
    async with opened(valkey, records) as platform:
        await sent_whole(records)
        assert held == 3, "the topic, the list of topics, and the epoch of searches"
        assert raw("EXISTS", SNIPPETS) == 1
        assert raw("EXISTS", *OTHERS) == 0
        assert raw("EXISTS", "cache:topic:a") == 0
        found = await platform.snippets.get("a000")
        assert found is not None
        assert found.title == "Title"


@pytest.mark.parametrize("keys", [10_000, 10_001])
async def test_ten_thousand_keys_are_dropped_singly_and_one_more_is_not(
    valkey: Server, records: Outbox, keys: int
) -> None:
    changes = [Change(change_id=0, snippets=tuple(f"s{number}" for number in range(n, keys, 10))) for n in range(10)]
    await leave(records, changes)
    raw = valkey.raw()
    raw("SET", "cache:snippet:s9999", "old", "EX", 600)
    async with opened(valkey, records):
        await sent_whole(records)
        assert raw("EXISTS", SNIPPETS) == raw("EXISTS", "cache:snippet:s9999") == int(keys > 10_000)


async def test_a_keyspace_that_waits_for_its_server_counts_as_dropped_here(
    valkey: Server, records: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox_sender, "MAX_KEYS", 30)
    monkeypatch.setattr(outbox_sender, "RESEND_AFTER", 0.01)
    await fill(records, "a", 1)
    async with opened(valkey, records) as platform:
        assert await platform.snippets.get("a000")
        old = valkey.raw()("GET", "cache:snippet:a000")
        valkey.kill()
        await records.store([], [snippet("a000", "a", NOON, title="New")])
        await leave(records, [Change(change_id=0, snippets=tuple(f"s{number}" for number in range(31)))])
        await until(lambda: platform.outbox.unsent, 30)
        found = await platform.snippets.get("a000")
        assert found is not None
        assert found.title == "New"
        valkey.start()
        raw = valkey.raw()
        raw("SET", "cache:snippet:a000", old, "EX", 600)
        await sent_whole(records)
        assert raw("EXISTS", SNIPPETS) == 1
        found = await platform.snippets.get("a000")
        assert found is not None
        assert found.title == "New"


async def test_rows_beyond_those_held_are_read_later_and_count_meanwhile(
    valkey: Server, records: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox_sender, "_MAX_ROWS", 20)
    await make_old(valkey, records)
    (new,) = await records.pending()
    await records.acknowledge([new.change_id])
    await leave(records, [Change(change_id=0, snippets=(f"s{number}",)) for number in range(50)])
    await leave(records, [new])  # the last, which is not read at first
    marked, go, send = asyncio.Event(), asyncio.Event(), OutboxDrops.send
    rows: list[int] = []

    async def held(pending: OutboxDrops) -> None:
        rows.append(len(pending))
        marked.set()
        await go.wait()
        await send(pending)

    monkeypatch.setattr(OutboxDrops, "send", held)
    async with opened(valkey, records) as platform:
        await marked.wait()
        found = await platform.topics.get("a")
        assert found is not None
        assert found.display_name == "New"
        go.set()
        await sent_whole(records)
        assert rows == [21, 21, 13], "one is the epoch of searches each time"
