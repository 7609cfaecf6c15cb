"""The place in MongoDB's change stream: which refusals lose it, and what of it counts afterwards."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from contextlib import aclosing, suppress
from pathlib import Path
from typing import Any

import bson
import pymongo
import pytest
from pymongo.asynchronous.change_stream import AsyncChangeStream
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.database import Database

from greenroom.errors import RecordUnavailable
from greenroom_platform.definitions import SNIPPET_PAGE
from greenroom_platform.domain.foreign_changes import EVERYTHING
from greenroom_platform.storage.mongodb import foreign
from greenroom_platform.storage.mongodb.records import MongoRecords
from greenroom_platform.testing.records_changes import fill
from tests.support.mongo_server import MongoServer, mongo_binary
from tests.support.patience import until

Other = Database[dict[str, Any]]
LATER = bson.Timestamp(2**31, 1)


@pytest.fixture
def mongo_with_failures(tmp_path: Path) -> Iterator[MongoServer]:
    """A server that can be told to refuse commands."""
    if mongo_binary() is None:
        pytest.skip("SecantusDB has no wheel for this Python or platform")
    server = MongoServer(None, tmp_path / "log", "--enable-test-commands")
    server.start()
    yield server
    server.kill()


async def begun(records: MongoRecords) -> None:
    """The record has been watched once."""
    source = records.foreign_changes
    async with aclosing(source.changes()) as changes:  # type: ignore[type-var]
        await source.acknowledge((await anext(changes)).position)


@pytest.mark.parametrize("code", [13, 18, 50])
async def test_a_refusal_that_says_nothing_of_the_place_keeps_it(mongo_with_failures: MongoServer, code: int) -> None:
    """Prevents: a right is taken away for a minute · every cache is emptied, as if the history were lost."""
    server = mongo_with_failures
    records = await MongoRecords.open(server.url("places"))
    await fill(records, "a", 1)
    await begun(records)
    with pymongo.MongoClient[dict[str, Any]](server.host) as client:
        refusal = {"failCommands": ["aggregate"], "errorCode": code}
        client.admin.command({"configureFailPoint": "failCommand", "mode": {"times": 1}, "data": refusal})
        with pytest.raises(RecordUnavailable):
            async with aclosing(records.foreign_changes.changes()) as changes:  # type: ignore[type-var]
                await anext(changes)
        client["places"].topics.update_one({"_id": "a"}, {"$set": {"display_name": "Z"}})
        async with aclosing(records.foreign_changes.changes()) as changes:  # type: ignore[type-var]
            found = await anext(changes)
    assert (found.lost, found.topics) == ((), ("a",))
    await records.close()


@pytest.fixture
def other(mongo_shared: MongoServer, mongo_url: str) -> Iterator[Other]:
    """The database as another program has it."""
    with pymongo.MongoClient[dict[str, Any]](mongo_shared.host) as client:
        yield client[mongo_url.rpartition("/")[2]]


async def test_what_had_left_in_a_lost_history_counts_no_more(mongo_records: MongoRecords, other: Other) -> None:
    """Prevents: another server's history is lost, whose clock is ahead · what had left in it counts for ever."""
    await fill(mongo_records, "a", 2)
    left = {"counted": LATER, "topics": ["a"], "counts": [900]}
    other.greenroom.update_one({"_id": "stream"}, {"$set": {"token": {"_data": "00ff"}, "left": left}}, upsert=True)
    source = mongo_records.foreign_changes
    async with aclosing(source.changes()) as changes:  # type: ignore[type-var]
        assert (await anext(changes)).lost == EVERYTHING
        other.snippets.delete_one({"_id": "a000"})
        assert (await anext(changes)).pages == (("a", 2),)


async def test_a_dropped_database_is_everything(mongo_records: MongoRecords, other: Other) -> None:
    await fill(mongo_records, "a", 1)
    await begun(mongo_records)
    async with aclosing(mongo_records.foreign_changes.changes()) as changes:  # type: ignore[type-var]
        other.client.drop_database(other.name)
        async with asyncio.timeout(30):
            while (await anext(changes)).lost != EVERYTHING:
                pass


async def test_what_had_left_counts_no_more_once_all_pages_are_dropped(
    mongo_records: MongoRecords, other: Other, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(mongo_records, "a", 45)
    await begun(mongo_records)
    every = [one["_id"] for one in other.snippets.find({}, {"_id": 1}, sort=[("_id", 1)])]
    source = mongo_records.foreign_changes
    other.snippets.delete_many({"_id": {"$in": every[:44]}})
    async with aclosing(source.changes()) as changes:  # type: ignore[type-var]
        with monkeypatch.context() as patch:
            patch.setattr(foreign, "_LEFT_MAX", 43)
            found = await anext(changes)
        assert (found.lost, found.events) == ((SNIPPET_PAGE,), 44)
        other.snippets.delete_one({"_id": every[44]})
        found = await anext(changes)
    assert (found.lost, found.pages) == ((), (("a", 2),))


async def test_what_had_left_counts_no_more_once_everything_is_dropped(
    mongo_records: MongoRecords, other: Other
) -> None:
    await fill(mongo_records, "a", 45)
    await begun(mongo_records)
    other.snippets.delete_many({})
    other.AgentTaskState.drop()
    source = mongo_records.foreign_changes
    async with aclosing(source.changes()) as changes:  # type: ignore[type-var]
        found = await anext(changes)
        assert found.lost == EVERYTHING
        assert found.events == 46, "all in one"
        other.snippets.insert_one({"_id": "new", "topic_id": "a"})
        assert (await anext(changes)).pages == (("a", 2),)


async def test_the_place_is_kept_though_nobody_writes_what_is_cached(
    mongo_records: MongoRecords, other: Other, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prevents: nothing that is cached changes for a day · the place is older than the server's history · all caches
    are emptied."""
    monkeypatch.setattr(foreign, "_IDLE", 0.05)
    monkeypatch.setattr(foreign, "_WAIT", 20)
    await begun(mongo_records)

    def kept() -> object:
        return (other.greenroom.find_one({"_id": "stream"}) or {})["token"]

    first = kept()
    async with aclosing(mongo_records.foreign_changes.changes()) as changes:  # type: ignore[type-var]
        watching = asyncio.ensure_future(anext(changes))
        async with asyncio.timeout(60):
            while kept() == first:
                assert not watching.done(), watching
                other.report.insert_one({})
                await asyncio.sleep(0.01)
        assert not watching.done()
        watching.cancel()
        await asyncio.wait([watching])


@pytest.mark.parametrize("passing_over", ["the stream", "a write"])
async def test_a_watch_ends_though_the_driver_passes_a_cancellation_over(
    mongo_records: MongoRecords, other: Other, monkeypatch: pytest.MonkeyPatch, passing_over: str
) -> None:
    reached = asyncio.Event()

    def deaf(call: Any) -> Any:
        async def made(*args: Any, **options: Any) -> Any:
            result = await call(*args, **options)
            if not reached.is_set():
                reached.set()
                with suppress(asyncio.CancelledError):
                    await asyncio.sleep(3600)
            return result

        return made

    await begun(mongo_records)
    monkeypatch.setattr(foreign, "_IDLE", 0.05)
    if passing_over == "the stream":
        monkeypatch.setattr(AsyncChangeStream, "try_next", deaf(AsyncChangeStream.try_next))
    else:
        monkeypatch.setattr(AsyncCollection, "update_one", deaf(AsyncCollection.update_one))
    changes = mongo_records.foreign_changes.changes()
    watching = asyncio.ensure_future(anext(changes))
    await reached.wait()
    watching.cancel()
    async with asyncio.timeout(60):
        await asyncio.wait([watching])
    assert watching.cancelled()


async def test_what_is_read_ahead_of_the_drops_is_bounded(
    mongo_records: MongoRecords, other: Other, monkeypatch: pytest.MonkeyPatch
) -> None:
    longest = 0

    class Counted(deque[Any]):
        def append(self, event: Any) -> None:
            nonlocal longest
            super().append(event)
            longest = max(longest, len(self))

    monkeypatch.setattr(foreign, "_AHEAD", 5)
    monkeypatch.setattr(foreign, "deque", Counted)
    await begun(mongo_records)
    source, names = mongo_records.foreign_changes, [f"t{number:02}" for number in range(50)]
    other.topics.insert_one({"_id": "first"})
    async with aclosing(source.changes()) as changes:  # type: ignore[type-var]
        assert (await anext(changes)).topics == ("first",)
        other.topics.insert_many([{"_id": name} for name in names])
        await until(lambda: longest >= 5)  # and nobody takes them
        seen: list[str] = []
        while len(seen) < 50:
            seen += (await anext(changes)).topics
    assert seen == names
    assert longest == 5


@pytest.mark.parametrize("ahead", [2, 5000])
async def test_a_watch_that_is_left_reads_no_further(
    mongo_records: MongoRecords, other: Other, monkeypatch: pytest.MonkeyPatch, ahead: int
) -> None:
    readers: list[Any] = []

    class Kept(foreign._Reader):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            readers.append(self)

    monkeypatch.setattr(foreign, "_AHEAD", ahead)
    monkeypatch.setattr(foreign, "_Reader", Kept)
    await begun(mongo_records)
    other.topics.insert_many([{"_id": f"t{number}"} for number in range(20)])
    async with aclosing(mongo_records.foreign_changes.changes()) as changes:  # type: ignore[type-var]
        await anext(changes)
        reader = readers[-1]
        await until(lambda: ahead > 2 or len(reader._events) == ahead)  # and it waits for room
        assert not reader._reading.done()
    assert reader._reading.done()


async def test_each_part_of_one_transaction_is_a_place_of_its_own(
    mongo_records: MongoRecords, other: Other, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prevents: a transaction of others is told in parts, which have one time · the place stays at the first · whoever
    watches next tells of the others again."""
    monkeypatch.setattr(foreign, "_TOGETHER", 1)
    await begun(mongo_records)
    names = ["x", "y", "z"]
    with other.client.start_session() as session, session.start_transaction():
        for name in names:
            other.topics.insert_one({"_id": name}, session=session)
    source = mongo_records.foreign_changes
    async with aclosing(source.changes()) as changes:  # type: ignore[type-var]
        for name in names:
            found = await anext(changes)
            assert found.topics == (name,)
            await source.acknowledge(found.position)
    other.topics.insert_one({"_id": "later"})
    async with aclosing(source.changes()) as changes:  # type: ignore[type-var]
        assert (await anext(changes)).topics == ("later",)
