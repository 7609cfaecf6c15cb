"""Documents of other programs on MongoDB: read where they can be, left out of lists, never overwritten unread."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import bson
import pymongo
import pytest
from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument
from pymongo.database import Database

from greenroom.errors import BrokenDocument
from greenroom_platform.storage import BadLine, load
from greenroom_platform.storage.mongodb.records import MongoRecords
from greenroom_platform.testing.records_changes import NOON, about, fill, ids, topic, wording
from tests.support.followed_pages import ids_by_pages
from tests.support.mongo_proxy import MongoProxy
from tests.support.mongo_server import MongoServer

Other = Database[dict[str, Any]]
MOMENT = "2026-01-02T12:00:00.123456Z"
TOPIC: dict[str, Any] = {
    "_id": "x",
    "topic_id": "x",
    "display_name": "Name",
    "description": "",
    "keywords": [],
    "created_at": MOMENT,
    "updated_at": MOMENT,
}


@pytest.fixture
def other(mongo_shared: MongoServer, mongo_url: str) -> Iterator[Other]:
    """The database as another program has it."""
    with pymongo.MongoClient[dict[str, Any]](mongo_shared.host) as client:
        yield client[mongo_url.rpartition("/")[2]]


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ({"display_name": 7}, "Expected `str`, got `int`"),
        ({"keywords": "one, two"}, "Expected `array`"),
        ({"created_at": "yesterday"}, "RFC3339"),
        ({"created_at": datetime(2026, 1, 2), "updated_at": "2026-01-02T12:00:00"}, "timezone"),
        ({"topic_id": "another"}, "topic_id is not its _id"),
        ({"_id": 7}, "topic_id is not its _id"),
        ({"description": None}, "Expected `str`, got `null`"),
    ],
)
async def test_a_document_that_does_not_fit_is_left_out_of_lists_and_told_once(
    mongo_records: MongoRecords, other: Other, members: dict[str, Any], reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    await mongo_records.put_topic("a", about("A"), NOON)
    other.topics.insert_one(TOPIC | members)
    with caplog.at_level(logging.ERROR, "greenroom.storage"):
        for _ in range(3):
            assert [one.topic_id for one in await mongo_records.topics()] == ["a"]
    assert mongo_records.broken.count == 3
    (line,) = caplog.messages
    assert reason in line
    if isinstance(members.get("_id", ""), str):
        with pytest.raises(BrokenDocument, match="does not fit"):
            await mongo_records.topic("x")
        with pytest.raises(BrokenDocument):
            await mongo_records.put_topic("x", about("Ours"), NOON)
    raw = other.topics.with_options(CodecOptions(document_class=RawBSONDocument))
    stored = raw.find_one({"display_name": {"$ne": "A"}})
    assert stored is not None
    assert "lock" not in stored


async def test_a_snippet_that_does_not_fit_is_left_out_of_its_pages(mongo_records: MongoRecords, other: Other) -> None:
    every = await fill(mongo_records, "a", 3)
    other.snippets.update_one({"_id": every[1]}, {"$set": {"title": 7}})
    assert ids(await mongo_records.page("a", 1)) == ids(await mongo_records.newest(20)) == [every[2], every[0]]
    with pytest.raises(BrokenDocument):
        await mongo_records.put_snippet(every[1], wording("a"))


async def test_a_load_tells_of_what_it_cannot_replace_and_stores_the_rest(
    mongo_records: MongoRecords, other: Other
) -> None:
    await fill(mongo_records, "a", 3)
    other.topics.insert_one({"_id": "x", "topic_id": "x"})
    other.snippets.update_many({"_id": {"$in": ["a000", "a002"]}}, {"$unset": {"title": ""}})
    members = '"title": "New", "text_content": "Text."'
    lines = ['{"topic_id": "x", "display_name": "X", "description": "", "keywords": []}']
    lines += [f'{{"snippet_id": "a00{number}", "topic_id": "a", {members}}}' for number in range(3)]
    lines += [f'{{"snippet_id": "n{topic_id}", "topic_id": "{topic_id}", {members}}}' for topic_id in ("a", "x")]
    bad: list[BadLine] = []
    source = io.BytesIO("\n".join(lines).encode())
    loaded = await load(mongo_records, [("file", source)], on_bad=bad.append)
    assert [(one.number, one.field) for one in bad] == [(1, "topic_id"), (2, "snippet_id"), (4, "snippet_id")]
    assert all("does not fit" in one.reason and "in the database" in one.remedy for one in bad)
    assert (loaded.topics, loaded.snippets, loaded.bad) == (0, 3, 3)
    stored = {one["_id"]: one.get("title") for one in other.snippets.find()}
    assert stored == {"a000": None, "a001": "New", "a002": None, "na": "New", "nx": "New"}


@pytest.mark.parametrize("broken", [[0], [0, 21, 44], list(range(45)), [*range(5, 40)]])
async def test_a_page_is_full_whatever_is_left_out_of_it(
    mongo_records: MongoRecords, other: Other, broken: list[int]
) -> None:
    every = await fill(mongo_records, "a", 45)
    gone = {every[number] for number in broken}
    other.snippets.update_many({"_id": {"$in": sorted(gone)}}, {"$unset": {"title": ""}})
    seen = await ids_by_pages(mongo_records)
    assert seen == set(every) - gone
    assert len(await mongo_records.newest(7)) == min(7, len(seen))


@pytest.mark.parametrize("members", [{"status": "sleeping"}, {"topic_id": 7}], ids=["a status of theirs", "a number"])
async def test_a_task_that_does_not_fit_keeps_no_worker_from_the_next(
    mongo_records: MongoRecords, other: Other, members: dict[str, Any]
) -> None:
    await mongo_records.put_topic("a", about("A"), NOON)
    for name in ("p1", "p2"):
        await mongo_records.tasks.add_task(name, "a", NOON, max_unfinished=9)
    other.AgentTaskState.update_one({"_id": "p1"}, {"$set": members})
    with pytest.raises(BrokenDocument, match="podcasttask 'p1'"):
        await mongo_records.tasks.task("p1")
    claim = await mongo_records.tasks.claim("w", 30, NOON, attempts=3)
    assert claim is not None
    assert claim.podcast_id == "p2"
    assert await mongo_records.tasks.claim("w", 30, NOON, attempts=3) is None
    assert mongo_records.broken_documents["podcasttask",] == 1


async def test_dates_of_others_are_read_as_the_moments_that_they_are(mongo_records: MongoRecords, other: Other) -> None:
    moment = NOON.replace(microsecond=123_000)
    other.topics.insert_one(TOPIC | {"created_at": moment, "updated_at": moment})
    found = await mongo_records.topic("x")
    assert found == (await mongo_records.topics())[0]
    assert found is not None
    assert (found.created_at, found.updated_at) == (moment, moment)
    assert found.created_at.utcoffset() == timedelta(0)
    written = await mongo_records.put_topic("x", about("Ours"), NOON)
    assert written.value.created_at == moment
    stored = other.topics.find_one({"_id": "x"})
    assert stored is not None
    assert (stored["created_at"], stored["updated_at"]) == ("2026-01-02T12:00:00.123000Z", MOMENT)


async def test_members_of_others_stay_when_an_editor_writes(mongo_records: MongoRecords, other: Other) -> None:
    other.topics.insert_one(TOPIC | {"rank": 3, "tags": ["theirs"]})
    await mongo_records.put_topic("x", about("Ours"), NOON)
    await mongo_records.store([topic("x", name="N")], [])
    stored = other.topics.find_one({"_id": "x"})
    assert stored is not None
    assert (stored["display_name"], stored["rank"], stored["tags"]) == ("N", 3, ["theirs"])


async def test_a_row_of_the_outbox_that_cannot_be_read_holds_up_no_other(
    mongo_records: MongoRecords, other: Other, caplog: pytest.LogCaptureFixture
) -> None:
    first = (await mongo_records.put_topic("a", about("A"), NOON)).change
    rows: list[dict[str, Any]] = [{"change": "{"}, {"change": 7}, {}]
    for number, row in enumerate(rows):
        other.outbox.insert_one({"_id": bson.Int64(first.change_id + 1 + number), "committed": 0.0} | row)
    other.outbox.insert_many([{"_id": "text"}, {"_id": 1e300, "change": "{}"}, {"change": "{}"}])
    last = (await mongo_records.put_topic("a", about("B"), NOON)).change
    with caplog.at_level(logging.ERROR, "greenroom.storage"):
        for _ in range(2):
            assert await mongo_records.pending() == (first, last)
        assert await mongo_records.pending(after=first.change_id, limit=2) == (last,)
    assert len([one for one in caplog.messages if "delete it by hand" in one]) == 3


async def test_a_row_of_the_outbox_that_is_no_utf8_holds_up_no_other(
    mongo_shared: MongoServer, mongo_url: str, other: Other, caplog: pytest.LogCaptureFixture
) -> None:
    async with MongoProxy(mongo_shared).serving() as proxy:
        proxy.replaced[b"no UTF-8"] = b"\xff\xfe" * 4
        records = await MongoRecords.open(proxy.url(mongo_url.rpartition("/")[2]))
        other.outbox.insert_one({"_id": bson.Int64(5), "committed": 0.0, "change": "no UTF-8"})
        change = (await records.put_topic("a", about("A"), NOON)).change
        assert await records.pending() == (change,)
        assert "row 5 of the outbox cannot be read" in caplog.text
        await records.close()


@pytest.mark.parametrize("claim", [None, "1"])
async def test_a_task_whose_claim_is_no_number_keeps_no_worker_from_the_next(
    mongo_records: MongoRecords, other: Other, claim: object
) -> None:
    await mongo_records.put_topic("a", about("A"), NOON)
    for name in ("p1", "p2"):
        await mongo_records.tasks.add_task(name, "a", NOON, max_unfinished=9)
    other.AgentTaskState.update_one({"_id": "p1"}, {"$set": {"claim": claim}})
    found = await mongo_records.tasks.claim("w", 30, NOON, attempts=3)
    assert found is not None
    assert found.podcast_id == "p2"
