"""From a change to the keys that it made stale, on a real server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from greenroom.engine.server.standalone import Standalone
from greenroom_platform.domain.records import Change
from greenroom_platform.platform import Platform, open_platform
from greenroom_platform.storage import SqliteRecords
from greenroom_platform.storage.sqlite.database import Database
from greenroom_platform.testing.records_changes import NOON, about, fill, ids, snippet, topic, wording
from tests.support.outbox_probe import TOPICS, Outbox, dropped, make_stale, opened, page, pages
from tests.support.real_servers import Server


@pytest.fixture
async def records(tmp_path: Path) -> AsyncIterator[Outbox]:
    records = Outbox(await Database.open(tmp_path / "record.sqlite3"))
    yield records
    await records.close()


async def add(platform: Platform) -> None:
    written = await platform.records.add_snippet("new", wording("a"), NOON)
    await platform.changes.send(written.change)


async def store(platform: Platform) -> None:
    change = await platform.records.store([topic("b", name="After"), topic("c")], [snippet("b000", "c", NOON)])
    assert change is not None
    await platform.changes.send(change)


@pytest.mark.parametrize("prefix", ["", "p:"])
@pytest.mark.parametrize(
    ("write", "expected"),
    [
        (lambda platform: platform.topics.put("a", about("After")), {"cache:topic:a", TOPICS}),
        (lambda platform: platform.topics.delete("c"), {"cache:topic:c", TOPICS, page("c", 1)}),
        (add, {"cache:snippet:new"} | pages("a", 4)),
        (lambda platform: platform.snippets.add(wording("b")), pages("b", 2)),
        (lambda platform: platform.snippets.put("a020", wording("a")), {"cache:snippet:a020"} | pages("a", 3)),
        (
            lambda platform: platform.snippets.put("a000", wording("b")),
            {"cache:snippet:a000"} | pages("a", 3) | pages("b", 2),
        ),
        (lambda platform: platform.snippets.delete("a000"), {"cache:snippet:a000"} | pages("a", 3)),
        (store, {"cache:topic:b", TOPICS, "cache:snippet:b000"} | pages("b", 2) | pages("c", 2)),
    ],
    ids=["topic", "no topic", "snippet on a new page", "snippet", "same topic", "moved", "no snippet", "whole objects"],
)
async def test_a_change_drops_exactly_its_keys_and_leaves_the_outbox(
    valkey: Server, records: Outbox, prefix: str, write: Callable[[Platform], Awaitable[object]], expected: set[str]
) -> None:
    await fill(records, "a", 40)
    await fill(records, "b", 1)
    await records.store([topic("c")], [])
    async with open_platform(valkey.address, database=records, prefix=prefix) as platform:
        keys = make_stale(valkey, prefix)
        await write(platform)
        assert dropped(valkey, keys, prefix) == expected
        assert await records.pending() == ()


async def test_what_is_read_after_a_change_is_what_was_written(valkey: Server, records: Outbox) -> None:
    await fill(records, "a", 21)
    await fill(records, "b", 1)
    async with opened(valkey, records) as platform:
        for number in range(2):
            await platform.topics.put("a", about(f"Name {number}"))
            topics = [await platform.topics.get("a"), (await platform.topics.all())[-1]]
            assert [one.display_name for one in topics if one] == [f"Name {number}"] * 2
            await platform.snippets.put("a000", wording("ab"[number], f"Title {number}"))
            found = await platform.snippets.get("a000")
            assert found is not None
            assert (found.topic_id, found.title) == ("ab"[number], f"Title {number}")
            assert ids(await platform.snippets.page("a", 2)) == [["a000"], []][number]
            assert ids(await platform.snippets.page("b")) == [["b000"], ["a000", "b000"]][number]


async def test_pages_read_here_are_dropped_before_and_after_the_change(
    valkey: Server, records: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    every = await fill(records, "a", 60)
    keys = pages("a", 3)
    async with opened(valkey, records) as platform:

        async def read_all() -> None:
            for number in (1, 2, 3):
                assert len(await platform.snippets.page("a", number)) == 20
            assert dropped(valkey, keys) == set()

        async def delete(snippet_id: str, **condition: Any) -> Change | None:
            assert dropped(valkey, keys) == keys
            await read_all()
            for one in every[1:]:  # as by a process that tells nobody
                gone = await SqliteRecords.delete_snippet(records, one)
                assert gone is not None
                await records.acknowledge([gone.change_id])
            return await SqliteRecords.delete_snippet(records, snippet_id, **condition)

        await read_all()
        monkeypatch.setattr(records, "delete_snippet", delete)
        assert await platform.snippets.delete("a000")
        assert dropped(valkey, keys) == keys


async def test_an_edit_is_one_transaction_of_the_record_and_no_read(
    valkey: Server, records: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(records, "a", 1)
    async with opened(valkey, records) as platform:
        reads, writes = [], []
        database = records._database
        read, write = database.read, database.write

        async def counted_read(work: Any) -> Any:
            reads.append(work)
            return await read(work)

        async def counted_write(work: Any) -> Any:
            writes.append(work)
            return await write(work)

        await records.pending()
        records.open_for_looks.clear()
        monkeypatch.setattr(database, "read", counted_read)
        monkeypatch.setattr(database, "write", counted_write)
        await platform.snippets.edit("a000", lambda stored: wording("a", stored.title + "s"))
        await platform.topics.edit("a", lambda stored: about("After" if stored else "New"))
        assert len(writes) == 4, "each with the row that goes when its keys are dropped"
        assert reads == []
        records.open_for_looks.set()


async def test_a_topic_of_ten_thousand_pages_gives_the_loop_back_often(
    valkey: Server, records: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is done for its pages between two turns of the loop is bounded in keys: the time then is, anywhere."""
    turns, sent, most = 0, 0, 0

    def counted(engine: Standalone, keys: Sequence[str], *args: Any) -> Any:
        nonlocal sent, most
        sent += len(keys)
        most = max(most, sent)
        return drop(engine, keys, *args)

    async def turning() -> None:
        nonlocal turns, sent
        while True:
            turns, sent = turns + 1, 0
            await asyncio.sleep(0)

    drop = Standalone.drop
    monkeypatch.setattr(Standalone, "drop", counted)
    raw = valkey.raw()
    every = [*sorted(pages("a", 10_000)), "cache:topic:a", "cache:snippet:a000"]
    raw("MSET", *(text for key in every for text in (key, "old")))
    async with opened(valkey, records) as platform:
        written = await records.put_topic("a", about("A"), NOON)
        change_id = written.change.change_id
        records.open_for_looks.clear()  # keeps the sender out
        turner = asyncio.create_task(turning())
        await platform.changes.send(
            Change(change_id=change_id, topics=("a",), snippets=("a000",), pages=(("a", 10_000),))
        )
        turner.cancel()
        assert raw("EXISTS", *every) == 0
        assert 1 < most <= 1000
        assert turns > 10
        records.open_for_looks.set()
        assert await records.pending() == ()
