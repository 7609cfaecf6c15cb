"""Changes made outside on MongoDB: every write of another program is told with what it made stale, and none of ours."""

from __future__ import annotations

import asyncio
import statistics
import struct
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing, asynccontextmanager
from datetime import datetime
from time import monotonic
from typing import Any

import bson
import pymongo
import pytest
from pymongo.database import Database

from greenroom.caching import Outcome
from greenroom_platform.definitions import SNIPPET_PAGE
from greenroom_platform.domain.foreign_changes import EVERYTHING, ForeignChanges
from greenroom_platform.platform import open_platform
from greenroom_platform.storage.mongodb import foreign
from greenroom_platform.storage.mongodb.records import MongoRecords
from greenroom_platform.testing.records_changes import NOON, about, fill, snippet, topic, wording
from tests.support.mongo_proxy import MongoProxy
from tests.support.mongo_server import MongoServer
from tests.support.real_servers import Server

Other = Database[dict[str, Any]]
Told = asyncio.Queue[ForeignChanges[Any]]


@pytest.fixture
def other(mongo_shared: MongoServer, mongo_url: str) -> Iterator[Other]:
    """The database as another program has it."""
    with pymongo.MongoClient[dict[str, Any]](mongo_shared.host) as client:
        yield client[mongo_url.rpartition("/")[2]]


@asynccontextmanager
async def watching(records: MongoRecords) -> AsyncIterator[Told]:
    """What is told, acknowledged at once; returns when the beginning is."""
    told: Told = asyncio.Queue()

    async def watch() -> None:
        async with aclosing(records.foreign_changes.changes()) as changes:  # type: ignore[type-var]
            async for found in changes:
                await records.foreign_changes.acknowledge(found.position)
                told.put_nowait(found)

    under_way = asyncio.create_task(watch())
    try:
        yield told
    finally:
        under_way.cancel()
        await asyncio.wait([under_way])


async def next_of(told: Told) -> ForeignChanges[Any]:
    async with asyncio.timeout(30):
        return await told.get()


async def begun(records: MongoRecords, told: Told) -> None:
    """Return when the stream is read from its beginning."""
    assert (await next_of(told)).lost == EVERYTHING


def members(snippet_id: str, topic_id: str) -> dict[str, Any]:
    return {
        "_id": snippet_id,
        "snippet_id": snippet_id,
        "topic_id": topic_id,
        "title": "Foreign",
        "text_content": "Text.",
        "generation_timestamp": NOON,
    }


Write = Callable[[Other], object]
WRITES: dict[str, tuple[Write, dict[str, object]]] = {
    "a topic updated": (
        lambda other: other.topics.update_one({"_id": "a"}, {"$set": {"display_name": "Z"}}),
        {"topics": ("a",)},
    ),
    "a topic's member removed": (
        lambda other: other.topics.update_one({"_id": "a"}, {"$unset": {"description": ""}}),
        {"topics": ("a",)},
    ),
    "a topic's list cut short": (
        lambda other: other.topics.update_one({"_id": "b"}, [{"$set": {"keywords": {"$slice": ["$keywords", 2]}}}]),
        {"topics": ("b",)},
    ),
    "a topic whose id is not a text": (lambda other: other.topics.insert_one({"_id": 7}), {}),
    "a topic inserted": (lambda other: other.topics.insert_one({"_id": "new"}), {"topics": ("new",)}),
    "a topic deleted": (lambda other: other.topics.delete_one({"_id": "b"}), {"topics": ("b",)}),
    "a snippet updated": (
        lambda other: other.snippets.update_one({"_id": "a000"}, {"$set": {"title": "Z"}}),
        {"snippets": ("a000",), "pages": (("a", 3),)},
    ),
    "a snippet moved": (
        lambda other: other.snippets.update_one({"_id": "a000"}, {"$set": {"topic_id": "b"}}),
        {"snippets": ("a000",), "pages": (("a", 3), ("b", 2))},
    ),
    "a snippet replaced elsewhere": (
        lambda other: other.snippets.replace_one({"_id": "a000"}, members("a000", "b")),
        {"snippets": ("a000",), "pages": (("a", 3), ("b", 2))},
    ),
    "a snippet inserted": (
        lambda other: other.snippets.insert_one(members("new", "b")),
        {"snippets": ("new",), "pages": (("b", 2),)},
    ),
    "a snippet deleted": (
        lambda other: other.snippets.delete_one({"_id": "a000"}),
        {"snippets": ("a000",), "pages": (("a", 3),)},
    ),
    "a status set": (
        lambda other: other.AgentTaskState.update_one({"_id": "p"}, {"$set": {"status": "error"}}),
        {"statuses": ("p",)},
    ),
    "a task inserted": (
        lambda other: other.AgentTaskState.insert_one({"_id": "new", "number": 7, "status": "queued"}),
        {"statuses": ("new",)},
    ),
    "a task deleted": (lambda other: other.AgentTaskState.delete_one({"_id": "p"}), {"statuses": ("p",)}),
}


@pytest.mark.parametrize("write", WRITES)
async def test_a_foreign_write_is_told_with_what_it_made_stale(
    mongo_records: MongoRecords, other: Other, write: str
) -> None:
    await fill(mongo_records, "a", 21)
    await fill(mongo_records, "b", 1)
    await mongo_records.tasks.add_task("p", "a", NOON, max_unfinished=1)
    other.topics.update_one({"_id": "b"}, {"$set": {"keywords": ["one", "two", "three", "four"]}})
    work, stale = WRITES[write]
    async with watching(mongo_records) as told:
        await begun(mongo_records, told)
        await asyncio.to_thread(work, other)
        found = await next_of(told)
    assert found.events == 1
    assert found.lost == ()
    assert found.written is not None
    seen = {name: getattr(found, name) for name in ("topics", "snippets", "pages", "statuses") if getattr(found, name)}
    assert seen == stale


async def test_nothing_of_ours_is_told_nor_what_no_reader_sees(mongo_records: MongoRecords, other: Other) -> None:
    records, tasks = mongo_records, mongo_records.tasks
    await fill(records, "a", 1)
    async with watching(records) as told:
        await begun(records, told)
        await records.put_topic("a", about("Ours"), NOON)
        await records.store([topic("b")], [snippet("s", "b", NOON)])
        await records.add_snippet("n", wording("a"), NOON)
        await records.put_snippet("n", wording("b"))
        await records.delete_snippet("n")
        await tasks.add_task("p", "a", NOON, max_unfinished=5)
        claim = await tasks.claim("w", 10, NOON, attempts=3)
        assert claim is not None
        await tasks.renew(claim, 10, NOON, progress=0.5)
        await tasks.advance(claim, "script_generating", NOON)
        await tasks.give_back(claim, NOON, counted=True)
        await records.acknowledge([one.change_id for one in await records.pending()])
        other.topics.update_one({"_id": "a"}, {"$inc": {"lock": 1}})
        other.topics.update_one({"_id": "a"}, {"$set": {"display_name": "Theirs"}})
        found = await next_of(told)
        assert (found.events, found.topics, found.snippets) == (1, ("a",), ())
        assert told.empty()


async def test_what_was_written_while_nobody_watched_is_told_to_the_next(
    mongo_records: MongoRecords, other: Other
) -> None:
    await fill(mongo_records, "a", 3)
    async with watching(mongo_records) as told:
        await begun(mongo_records, told)
        other.snippets.delete_one({"_id": "a000"})
        assert (await next_of(told)).snippets == ("a000",)
    other.snippets.delete_one({"_id": "a001"})
    other.snippets.delete_one({"_id": "a002"})
    async with watching(mongo_records) as told:
        seen: set[str] = set()
        while seen != {"a001", "a002"}:
            found = await next_of(told)
            assert found.lost == ()
            seen |= set(found.snippets)


async def test_what_was_told_and_not_acknowledged_is_told_again(mongo_records: MongoRecords, other: Other) -> None:
    await mongo_records.store([topic("a")], [])
    source = mongo_records.foreign_changes
    async with aclosing(source.changes()) as changes:  # type: ignore[type-var]
        await source.acknowledge((await anext(changes)).position)
        other.topics.update_one({"_id": "a"}, {"$set": {"display_name": "Z"}})
        assert (await anext(changes)).topics == ("a",)
    async with aclosing(source.changes()) as changes:  # type: ignore[type-var]
        assert (await anext(changes)).topics == ("a",)


@pytest.mark.parametrize("token", [{"_data": "00ff"}, {"_data": "82" * 40}, None])
async def test_a_place_that_is_refused_is_everything_from_a_stream_that_listens(
    mongo_records: MongoRecords, other: Other, token: object
) -> None:
    await mongo_records.store([topic("a")], [])
    other.greenroom.update_one({"_id": "stream"}, {"$set": {"token": token}}, upsert=True)
    async with aclosing(mongo_records.foreign_changes.changes()) as changes:  # type: ignore[type-var]
        lost = await anext(changes)
        assert lost.lost == EVERYTHING
        # Written before the drop is acknowledged: whoever stored the place first would have missed it.
        other.topics.update_one({"_id": "a"}, {"$set": {"display_name": "Z"}})
        await mongo_records.foreign_changes.acknowledge(lost.position)
        assert (await anext(changes)).topics == ("a",)


async def test_a_snippet_of_an_array_of_topics_is_told_with_the_pages_of_each(
    mongo_records: MongoRecords, other: Other
) -> None:
    await fill(mongo_records, "a", 19)
    async with watching(mongo_records) as told:
        await begun(mongo_records, told)
        other.snippets.insert_one({"_id": "theirs", "topic_id": ["a", "b", 7]})
        assert (await next_of(told)).pages == (("a", 2), ("b", 2))
        other.snippets.delete_one({"_id": "theirs"})
        assert (await next_of(told)).pages == (("a", 2), ("b", 2))


async def test_a_collection_that_is_dropped_is_everything(mongo_records: MongoRecords, other: Other) -> None:
    await fill(mongo_records, "a", 1)
    async with watching(mongo_records) as told:
        await begun(mongo_records, told)
        other.snippets.drop()
        assert (await next_of(told)).lost == EVERYTHING


async def test_a_snippet_that_nobody_knows_the_pages_of_takes_them_all(
    mongo_records: MongoRecords, other: Other
) -> None:
    await fill(mongo_records, "a", 1)
    async with watching(mongo_records) as told:
        await begun(mongo_records, told)
        other.command("collMod", "snippets", changeStreamPreAndPostImages={"enabled": False})
        other.snippets.delete_one({"_id": "a000"})
        found = await next_of(told)
        assert (found.snippets, found.lost) == (("a000",), (SNIPPET_PAGE,))
        # From then on the server tells again what a document was before.
        other.snippets.insert_one(members("new", "a"))
        assert (await next_of(told)).lost == ()
        other.snippets.delete_one({"_id": "new"})
        found = await next_of(told)
        assert (found.snippets, found.lost, found.pages) == (("new",), (), (("a", 2),))


async def test_a_collection_that_is_made_anew_by_others_is_made_ready(
    mongo_records: MongoRecords, other: Other
) -> None:
    await fill(mongo_records, "a", 2)
    async with watching(mongo_records) as told:
        await begun(mongo_records, told)
        kept = list(other.snippets.find())
        other.snippets.drop()
        other.snippets.insert_many(kept)
        assert (await next_of(told)).lost == EVERYTHING
        other.snippets.insert_one(members("new", "a"))
        while "new" not in (await next_of(told)).snippets:
            pass
        other.snippets.update_one({"_id": "a000"}, {"$set": {"title": "Z"}})
        found = await next_of(told)
        assert (found.snippets, found.lost, found.pages) == (("a000",), (), (("a", 2),))
    assert len(other.snippets.index_information()) == 4
    assert other.snippets.options()["changeStreamPreAndPostImages"] == {"enabled": True}


async def test_collections_that_feed_no_cache_may_go_and_come(mongo_records: MongoRecords, other: Other) -> None:
    await fill(mongo_records, "a", 1)
    async with watching(mongo_records) as told:
        await begun(mongo_records, told)
        other.report.insert_one({"_id": 1})
        other.report.rename("earlier")
        other.earlier.aggregate([{"$out": "report"}])
        other.report.drop()
        other.users.drop()
        other.topics.update_one({"_id": "a"}, {"$set": {"display_name": "Z"}})
        found = await next_of(told)
        assert (found.topics, found.lost, found.events) == (("a",), (), 1)
    assert [one for one in other.users.index_information().values() if one.get("unique")]


async def test_a_collection_that_another_is_renamed_to_is_everything(mongo_records: MongoRecords, other: Other) -> None:
    await fill(mongo_records, "a", 1)
    other.snippets.drop()  # before anybody watches: else that is told
    other.draft.insert_one(members("new", "a"))
    async with watching(mongo_records) as told:
        await begun(mongo_records, told)
        other.draft.rename("snippets")
        assert (await next_of(told)).lost == EVERYTHING


async def _deleted(told: Told, number: int) -> list[ForeignChanges[Any]]:
    """What is told of so many events."""
    found: list[ForeignChanges[Any]] = []
    while sum(one.events for one in found) < number:
        found.append(await next_of(told))
    return found


def _last_page(found: list[ForeignChanges[Any]]) -> int:
    return max(dict(one.pages).get("a", 0) for one in found)


@pytest.mark.parametrize("killed", [False, True])
async def test_many_deletions_drop_every_page_that_there_was(
    mongo_records: MongoRecords, other: Other, monkeypatch: pytest.MonkeyPatch, killed: bool
) -> None:
    monkeypatch.setattr(foreign, "_TOGETHER", 50)
    await mongo_records.store([topic("a")], [])
    other.snippets.insert_many([members(f"s{number}", "a") for number in range(300)])  # 15 pages
    source = mongo_records.foreign_changes
    async with watching(mongo_records) as told:
        await begun(mongo_records, told)
    other.snippets.delete_many({})
    found: list[ForeignChanges[Any]] = []
    if killed:
        async with aclosing(source.changes()) as changes:  # type: ignore[type-var]
            while sum(one.events for one in found) < 100:
                found.append(await anext(changes))
                await source.acknowledge(found[-1].position)
    async with watching(mongo_records) as told:
        found += await _deleted(told, 300 - sum(one.events for one in found))
        assert not any(one.lost for one in found)
        assert _last_page(found) == 16
        # Once it has caught up, what had left before counts no more.
        other.snippets.insert_one(members("new", "a"))
        assert (await next_of(told)).events == 1
        other.snippets.delete_one({"_id": "new"})
        assert (await next_of(told)).pages == (("a", 2),)


async def test_more_deletions_than_are_counted_drop_the_pages_whole(
    mongo_records: MongoRecords, other: Other, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(foreign, "_LEFT_MAX", 20)
    await fill(mongo_records, "a", 30)
    async with watching(mongo_records) as told:
        await begun(mongo_records, told)
    other.snippets.delete_many({})
    async with watching(mongo_records) as told:
        found = await _deleted(told, 30)
        assert [one.lost for one in found if one.lost] == [(SNIPPET_PAGE,)]


LATER = bson.Timestamp(2**31, 1)


@pytest.mark.parametrize(("token", "at"), [({"_data": "00ff"}, LATER), ({"_data": "00ff"}, "noon"), ("text", LATER)])
async def test_a_place_that_is_refused_is_replaced_whatever_its_time(
    mongo_records: MongoRecords, other: Other, token: object, at: object
) -> None:
    await fill(mongo_records, "a", 1)
    other.greenroom.update_one({"_id": "stream"}, {"$set": {"token": token, "at": at}}, upsert=True)
    async with watching(mongo_records) as told:
        await begun(mongo_records, told)
    async with watching(mongo_records) as told:
        other.topics.update_one({"_id": "a"}, {"$set": {"display_name": "Z"}})
        assert (await next_of(told)).topics == ("a",)


async def test_a_place_whose_time_is_none_is_replaced(mongo_records: MongoRecords, other: Other) -> None:
    await fill(mongo_records, "a", 1)
    async with watching(mongo_records) as told:
        await begun(mongo_records, told)
        other.greenroom.update_one({"_id": "stream"}, {"$set": {"at": "noon"}})
        other.topics.update_one({"_id": "a"}, {"$set": {"display_name": "Z"}})
        await next_of(told)
    kept = other.greenroom.find_one({"_id": "stream"})
    assert kept is not None
    assert isinstance(kept["at"], bson.Timestamp)


async def test_a_watch_that_is_cancelled_leaves_no_task(mongo_records: MongoRecords) -> None:
    before = asyncio.all_tasks()
    async with watching(mongo_records) as told:
        await begun(mongo_records, told)
        waits = [one for one in asyncio.all_tasks() - before if "Event.wait" in repr(one)]
        async with asyncio.timeout(30):
            while not waits:
                await asyncio.sleep(0)
                waits = [one for one in asyncio.all_tasks() - before if "Event.wait" in repr(one)]
    await asyncio.wait(waits, timeout=10)
    assert all(one.done() for one in waits)


async def test_an_earlier_place_never_takes_the_place_of_a_later(mongo_records: MongoRecords, other: Other) -> None:
    await mongo_records.store([topic("a")], [])
    source, places = mongo_records.foreign_changes, []
    async with aclosing(source.changes()) as changes:  # type: ignore[type-var]
        places.append((await anext(changes)).position)
        await source.acknowledge(places[0])
        other.topics.update_one({"_id": "a"}, {"$set": {"display_name": "Z"}})
        places.append((await anext(changes)).position)
    await source.acknowledge(places[1])
    await source.acknowledge(places[0])
    kept = other.greenroom.find_one({"_id": "stream"})
    assert kept is not None
    assert kept["token"] == places[1].token


async def test_the_place_is_kept_though_only_we_write(
    mongo_records: MongoRecords, other: Other, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Longer than between two writes: no look finds that nothing has come.
    monkeypatch.setattr(foreign, "_IDLE", 0.5)
    monkeypatch.setattr(foreign, "_WAIT", 20)

    def kept() -> object:
        found = other.greenroom.find_one({"_id": "stream"})
        return None if found is None else found["token"]

    async with watching(mongo_records) as told:
        await begun(mongo_records, told)
        first = kept()
        async with asyncio.timeout(30):
            number = 0
            while kept() == first:
                await mongo_records.put_topic("a", about(f"A{number}"), NOON)
                number += 1
        assert told.empty()


async def test_a_history_that_is_lost_drops_whatever_is_cached(mongo_url: str, other: Other, valkey: Server) -> None:
    records = await MongoRecords.open(mongo_url)
    await fill(records, "a", 1)
    async with open_platform(valkey.address, database=records) as platform:
        assert [one.title for one in await platform.snippets.page("a")] == ["Title"]
        other.snippets.update_one({"_id": "a000"}, {"$set": {"title": "Missed"}})
        other.greenroom.update_one({"_id": "stream"}, {"$set": {"token": {"_data": "00ff"}}}, upsert=True)
        assert [one.title for one in await platform.snippets.page("a")] == ["Title"]
        async with platform.watching(), asyncio.timeout(60):
            while [one.title for one in await platform.snippets.page("a")] != ["Missed"]:
                await asyncio.sleep(0.01)
    await records.close()


async def test_a_hundred_foreign_writes_are_each_served_new(
    mongo_url: str, other: Other, valkey: Server, record_property: Callable[[str, object], None]
) -> None:
    took = []
    records = await MongoRecords.open(mongo_url)
    await fill(records, "a", 1)
    async with open_platform(valkey.address, database=records) as platform, platform.watching():
        assert (await platform.topics.get("a")) is not None
        async with asyncio.timeout(60):
            while "token" not in (other.greenroom.find_one({"_id": "stream"}) or {}):
                await asyncio.sleep(0.01)
            for number in range(100):
                while (await platform.topics.read("a")).outcome is not Outcome.NEAR:
                    await asyncio.sleep(0.001)
                name = f"Theirs {number}"
                await asyncio.to_thread(other.topics.update_one, {"_id": "a"}, {"$set": {"display_name": name}})
                began = monotonic()
                while (found := await platform.topics.get("a")) is None or found.display_name != name:
                    await asyncio.sleep(0.001)
                took.append((monotonic() - began) * 1000)
    await records.close()
    middle, worst = statistics.median(took), max(took)
    record_property("figure", f"foreign write to new value, MongoDB: median {middle:.0f} ms, worst {worst:.0f} ms")


async def test_what_cannot_be_decoded_is_told_and_ends_no_watch(
    mongo_shared: MongoServer, mongo_url: str, other: Other
) -> None:
    async with MongoProxy(mongo_shared).serving() as proxy:
        year_9999, later = (struct.pack("<q", moment) for moment in (253_402_214_400_000, 1 << 60))
        proxy.replaced |= {b"no UTF-8": b"\xff\xfe" * 4, year_9999: later}
        records = await MongoRecords.open(proxy.url(mongo_url.rpartition("/")[2]))
        async with watching(records) as told:
            await begun(records, told)
            other.snippets.insert_one(members("s1", "a") | {"title": "no UTF-8"})
            assert (await next_of(told)).snippets == ("s1",)
            other.snippets.insert_one(members("s2", "a") | {"generation_timestamp": datetime(9999, 12, 31)})
            assert (await next_of(told)).snippets == ("s2",)
        other.greenroom.update_many({"_id": "stream"}, {"$set": {"theirs": "no UTF-8"}})
        other.greenroom.insert_one({"_id": "caches", "identity": "i", "address": "no UTF-8"})
        async with watching(records) as told:
            other.topics.insert_one({"_id": "t"})
            assert (await next_of(told)).topics == ("t",)
        known = await records.caches.known()
        assert known is not None
        assert known.identity == "i"
        await records.close()
