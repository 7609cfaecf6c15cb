"""What other programs write where an update of ours cannot be made: told as that document, and in nobody's way."""

from __future__ import annotations

import io
from collections.abc import Awaitable, Callable, Iterator
from datetime import datetime
from typing import Any

import bson
import pymongo
import pytest
from pymongo.database import Database

from greenroom.errors import BrokenDocument
from greenroom_platform.models import User
from greenroom_platform.storage import BadLine, load
from greenroom_platform.storage.mongodb.records import MongoRecords
from greenroom_platform.testing.records_changes import NOON, about, fill, ids, snippet, topic, wording
from tests.support.mongo_server import MongoServer

Other = Database[dict[str, Any]]
GREATEST = bson.Int64((1 << 63) - 1)
NO_NUMBERS = ["x", None, [1], {"a": 1}, True, datetime(2026, 1, 2)]
MANY = "x" * ((16 << 20) - 1000)


@pytest.fixture
def other(mongo_shared: MongoServer, mongo_url: str) -> Iterator[Other]:
    """The database as another program has it."""
    with pymongo.MongoClient[dict[str, Any]](mongo_shared.host) as client:
        yield client[mongo_url.rpartition("/")[2]]


@pytest.fixture
async def records(mongo_records: MongoRecords) -> MongoRecords:
    """A record with a topic, a snippet, a user, and a task that is claimed."""
    await fill(mongo_records, "a", 1)
    user = User(user_id="u", username="ana", password_hash="old", created_at=NOON)
    await mongo_records.users.add_user(user)
    await mongo_records.tasks.add_task("p", "a", NOON, max_unfinished=9)
    return mongo_records


async def _fail(records: MongoRecords) -> object:
    claim = await records.tasks.claim("w", 30, NOON, attempts=3)
    assert claim is not None
    return await records.tasks.fail(claim, "It failed.", NOON)


Write = Callable[[MongoRecords], Awaitable[object]]
WRITES: dict[str, tuple[str, str, str, Write]] = {
    "a topic is put": ("topics", "topic", "a", lambda records: records.put_topic("a", about("B"), NOON)),
    "a topic is stored": ("topics", "topic", "a", lambda records: records.store([topic("a", name="B")], [])),
    "a snippet is added": ("topics", "topic", "a", lambda records: records.add_snippet("n", wording("a"), NOON)),
    "snippets are stored": ("topics", "topic", "a", lambda records: records.store([], [snippet("n", "a", NOON)])),
    "a snippet is deleted": ("topics", "topic", "a", lambda records: records.delete_snippet("a000")),
    "a snippet is put": ("snippets", "snippet", "a000", lambda records: records.put_snippet("a000", wording("a", "B"))),
    "a snippet is stored": (
        "snippets",
        "snippet",
        "a000",
        lambda records: records.store([], [snippet("a000", "a", NOON, "B")]),
    ),
    "a hash is replaced": ("users", "user", "u", lambda records: records.users.replace_hash("u", "old", "new")),
    "preferences are set": (
        "users",
        "user",
        "u",
        lambda records: records.users.set_preferences("u", {"language": "fr"}, NOON),
    ),
    "a task fails": ("AgentTaskState", "podcasttask", "p", _fail),
    "a podcast is asked for": (
        "greenroom",
        "greenroom document",
        "queue",
        lambda records: records.tasks.add_task("q", "a", NOON, max_unfinished=9),
    ),
}


@pytest.mark.parametrize("lock", [*NO_NUMBERS, GREATEST], ids=lambda lock: type(lock).__name__)
@pytest.mark.parametrize("what", WRITES)
async def test_a_lock_that_cannot_be_counted_up_is_told_by_name(
    records: MongoRecords, other: Other, what: str, lock: object
) -> None:
    collection, kind, id_, write = WRITES[what]
    other[collection].update_one({"_id": id_}, {"$set": {"lock": lock}})
    with pytest.raises(BrokenDocument, match=f"the {kind} '{id_}' does not fit its type: its member lock .* remove it"):
        await write(records)
    stored = other[collection].find_one({"_id": id_})
    assert stored is not None
    assert stored["lock"] == lock


@pytest.mark.parametrize("lock", [float("inf"), 2.0**53, float("-inf"), -(2.0**54)])
@pytest.mark.parametrize("what", ["a snippet is added", "snippets are stored", "a podcast is asked for"])
async def test_a_lock_that_one_more_leaves_the_same_is_told_by_name(
    records: MongoRecords, other: Other, what: str, lock: float
) -> None:
    """Prevents: two rely on one topic · neither has changed it, and both are committed."""
    collection, kind, id_, write = WRITES[what]
    other[collection].update_one({"_id": id_}, {"$set": {"lock": lock}})
    with pytest.raises(BrokenDocument, match=f"the {kind} '{id_}' does not fit its type: its member lock is so far"):
        await write(records)


@pytest.mark.parametrize("what", ["a topic is put", "a topic is stored", "a snippet is put", "a snippet is stored"])
async def test_a_document_that_others_have_filled_is_told_by_name(
    records: MongoRecords, other: Other, what: str
) -> None:
    collection, kind, id_, _ = WRITES[what]
    other[collection].update_one({"_id": id_}, {"$set": {"theirs": MANY}})
    long = "B" * 1000
    writes: dict[str, Write] = {
        "a topic is put": lambda records: records.put_topic("a", about(long), NOON),
        "a topic is stored": lambda records: records.store([topic("a", name=long)], []),
        "a snippet is put": lambda records: records.put_snippet("a000", wording("a", long)),
        "a snippet is stored": lambda records: records.store([], [snippet("a000", "a", NOON, long)]),
    }
    with pytest.raises(BrokenDocument, match=f"the {kind} '{id_}' does not fit its type: it is too large"):
        await writes[what](records)


async def test_a_load_tells_of_lines_whose_lock_cannot_be_counted_up(records: MongoRecords, other: Other) -> None:
    await records.store([topic("x"), topic("y"), topic("z")], [])
    other.topics.update_many({"_id": {"$in": ["x", "y"]}}, {"$set": {"lock": "x"}})
    other.snippets.update_one({"_id": "a000"}, {"$set": {"lock": None}})
    members = '"title": "New", "text_content": "Text."'
    lines = ['{"topic_id": "x", "display_name": "X", "description": "", "keywords": []}']
    lines += [f'{{"snippet_id": "n{one}", "topic_id": "{one}", {members}}}' for one in "xyza"]
    lines += [f'{{"snippet_id": "a000", "topic_id": "a", {members}}}']
    bad: list[BadLine] = []
    loaded = await load(records, [("file", io.BytesIO("\n".join(lines).encode()))], on_bad=bad.append)
    assert sorted((one.number, one.field) for one in bad) == [
        (1, "topic_id"),
        (2, "topic_id"),
        (3, "topic_id"),
        (6, "snippet_id"),
    ]
    assert all("lock" in one.reason for one in bad)
    assert (loaded.topics, loaded.snippets, loaded.bad) == (0, 2, 4)
    assert {one["_id"] for one in other.snippets.find({"title": "New"})} == {"nz", "na"}


@pytest.mark.parametrize(
    "members",
    [{"claim": [1]}, {"claim": GREATEST}, {"attempts": [0]}, {"theirs": MANY}],
    ids=lambda members: f"{members!r:.40}",
)
async def test_a_task_that_cannot_be_claimed_keeps_no_worker_from_the_next(
    records: MongoRecords, other: Other, members: dict[str, Any]
) -> None:
    await records.tasks.add_task("next", "a", NOON, max_unfinished=9)
    other.AgentTaskState.update_one({"_id": "p"}, {"$set": members})
    claim = await records.tasks.claim("w", 30, NOON, attempts=3)
    assert claim is not None
    assert claim.podcast_id == "next"


async def test_a_task_that_cannot_fail_keeps_no_other_from_failing(records: MongoRecords, other: Other) -> None:
    await records.tasks.add_task("next", "a", NOON, max_unfinished=9)
    other.AgentTaskState.update_many({}, {"$set": {"attempts": 3}})
    other.AgentTaskState.update_one({"_id": "p"}, {"$set": {"lock": "x"}})
    (change,) = await records.tasks.fail_exhausted("It failed.", NOON, attempts=3)
    assert change.statuses == ("next",)
    assert records.broken_documents["podcasttask",] == 1


async def test_a_task_whose_attempts_are_none_is_told_when_it_is_given_back(
    records: MongoRecords, other: Other
) -> None:
    claim = await records.tasks.claim("w", 30, NOON, attempts=3)
    assert claim is not None
    other.AgentTaskState.update_one({"_id": "p"}, {"$set": {"attempts": "one"}})
    with pytest.raises(BrokenDocument, match=r"podcasttask 'p' .* member attempts is of the type string"):
        await records.tasks.give_back(claim, NOON, counted=False)


async def test_a_snippet_whose_topic_is_an_array_stops_no_change_of_its_topics(
    records: MongoRecords, other: Other
) -> None:
    await fill(records, "b", 19)
    other.snippets.insert_many([{"_id": f"theirs{number}", "topic_id": ["b", "a", 7, ["b"]]} for number in range(2)])
    written = await records.add_snippet("n", wording("b"), NOON)
    assert written.change is not None
    assert written.change.pages == (("b", 3),), "22 documents are in its pages, two of which are left out"
    assert len(ids(await records.page("b", 1))) == 20
