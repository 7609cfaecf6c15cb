"""A record on MongoDB whose server goes away, stands still or is cut off: what was not acknowledged, and what was."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pytest

from greenroom.caching import Outcome
from greenroom.errors import RecordError, RecordOutcomeUnknown, RecordUnavailable
from greenroom_platform.domain.action_log import Action
from greenroom_platform.domain.records import TopicDraft
from greenroom_platform.models import Topic
from greenroom_platform.platform import Platform, open_platform
from greenroom_platform.storage.mongodb import database as mongodb_database
from greenroom_platform.storage.mongodb.records import MongoRecords
from greenroom_platform.testing.records_changes import NOON, about
from greenroom_platform.testing.records_elsewhere import answering
from tests.support.mongo_proxy import MongoProxy
from tests.support.mongo_server import MongoServer
from tests.support.real_servers import Server

NAME = "greenroom"
PATIENT = 30.0
"""Seconds that a change may take which must succeed, on a busy machine."""


@pytest.fixture
async def records(mongo: MongoServer) -> AsyncIterator[MongoRecords]:
    """On a server of its own."""
    records = await MongoRecords.open(mongo.url(NAME), write_deadline=PATIENT)
    yield records
    await records.close()


@pytest.fixture
async def shared_records(mongo_url: str) -> AsyncIterator[MongoRecords]:
    """On the server of all tests, which is not killed, and goes on in the end."""
    records = await MongoRecords.open(mongo_url, write_deadline=PATIENT)
    yield records
    await records.close()


async def test_a_server_that_goes_away_in_a_transaction_leaves_nothing_of_it(
    mongo: MongoServer, records: MongoRecords
) -> None:
    await records.put_topic("a", about("Before"), NOON)
    pending = await records.pending()

    def edit(stored: Topic | None) -> TopicDraft:
        mongo.kill()
        return about("After")

    # Enough to come to the edit.
    with hurried(records, 3.0), pytest.raises(RecordUnavailable):
        await records.edit_topic("a", edit, NOON)
    mongo.start()
    await answering(records)
    found = await records.topic("a")
    assert found is not None
    assert found.display_name == "Before"
    assert await records.pending() == pending
    assert (await records.put_topic("a", about("After"), NOON)).value == await records.topic("a")


async def test_a_server_that_stands_still_costs_a_change_its_deadline_alone(
    mongo_shared: MongoServer, shared_records: MongoRecords
) -> None:
    await shared_records.put_topic("a", about("Before"), NOON)
    mongo_shared.freeze()
    try:
        async with asyncio.timeout(20):  # the driver's own helper would go on for 120
            with hurried(shared_records), pytest.raises(RecordUnavailable):
                await shared_records.put_topic("a", about("After"), NOON)
            with pytest.raises(RecordUnavailable):
                await shared_records.ping()
    finally:
        mongo_shared.thaw()
    await answering(shared_records)
    found = await shared_records.topic("a")
    assert found is not None
    assert found.display_name == "Before"


@pytest.mark.parametrize("under_way", ["edit", "read", "nothing"])
async def test_a_record_that_closes_ends_what_is_under_way(
    mongo_shared: MongoServer, shared_records: MongoRecords, under_way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await shared_records.put_topic("a", about("Before"), NOON)
    monkeypatch.setattr(shared_records._database, "_write_deadline", 1.0)  # nothing must succeed any more
    if under_way != "nothing":
        mongo_shared.freeze()
    calls: dict[str, Callable[[], asyncio.Task[Any]]] = {
        "edit": lambda: asyncio.create_task(shared_records.put_topic("a", about("After"), NOON)),
        "read": lambda: asyncio.create_task(shared_records.topic("a")),
    }
    task = calls[under_way]() if under_way in calls else None
    try:
        if task is not None:
            await asyncio.wait([task], timeout=0.1)
        async with asyncio.timeout(10):
            await shared_records.close()
            if task is not None:
                with pytest.raises(RecordError):
                    await task
        for call in (shared_records.ping, shared_records.topics, shared_records.pending):
            with pytest.raises(RecordUnavailable, match="closed"):
                await call()
        with pytest.raises(RecordUnavailable, match="closed"):
            await shared_records.put_topic("a", about("After"), NOON)
    finally:
        mongo_shared.thaw()


async def test_a_client_that_is_closed_under_way_ends_the_change_in_time(
    mongo_url: str, shared_records: MongoRecords
) -> None:
    """The driver's own helper would go on for ever."""
    await shared_records.put_topic("a", about("Before"), NOON)
    closing: list[asyncio.Task[None]] = []

    def edit(stored: Topic | None) -> TopicDraft:
        closing.append(asyncio.create_task(shared_records._database.client.close()))
        return about("After")

    async with asyncio.timeout(20):
        with hurried(shared_records, 3.0), pytest.raises(RecordError):
            await shared_records.edit_topic("a", edit, NOON)
        await asyncio.wait(closing)
        for call in (
            shared_records.ping,
            shared_records.topics,
            lambda: anext(shared_records.foreign_changes.changes()),
        ):
            with pytest.raises(RecordUnavailable):
                await call()
    other = await MongoRecords.open(mongo_url)
    found = await other.topic("a")
    assert found is not None
    assert found.display_name == "Before"
    await other.close()


async def test_an_unknown_commit_drops_what_it_would_have_made_stale(
    mongo: MongoServer, valkey: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mongodb_database, "_ABORT", 0.05)
    async with MongoProxy(mongo).serving() as proxy:
        records = await MongoRecords.open(proxy.url(NAME), write_deadline=PATIENT)
        await records.put_topic("a", about("Before"), NOON)
        async with open_platform(valkey.address, database=records) as platform:
            await _near(platform)
            # find, update, insert, commitTransaction: it is carried out, and nobody is told.
            with hurried(records, 3.0), proxy.lose_replies(3), pytest.raises(RecordOutcomeUnknown):
                await platform.topics.put("a", about("After"))
            assert proxy.commands[3] == b"commitTransaction"
            await answering(records)
            found = await platform.topics.get("a")
            assert found is not None
            assert found.display_name == "After"
        await records.close()


@pytest.mark.parametrize("read", ["topics", "page", "newest", "topic", "snippet"])
async def test_what_is_loaded_comes_from_what_is_the_primary_still(mongo_shared: MongoServer, read: str) -> None:
    async with MongoProxy(mongo_shared).serving() as proxy:
        records = await MongoRecords.open(proxy.url(f"t{secrets.token_hex(6)}"))
        calls: dict[str, Callable[[], Awaitable[object]]] = {
            "topics": records.topics,
            "page": lambda: records.page("a", 1),
            "newest": lambda: records.newest(20),
            "topic": lambda: records.topic("a"),
            "snippet": lambda: records.snippet("a"),
        }
        with proxy.lose_commands(100):  # only to listen
            await calls[read]()
            last = proxy.bodies[-1]
        assert b"linearizable" in last
        assert len(proxy.bodies) == (1 if read in ("topic", "snippet") else 2)
        await records.close()


async def test_a_podcast_is_queued_once_though_the_sweep_behind_it_fails(
    mongo_shared: MongoServer, mongo_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", "greenroom.storage")
    async with tidied(mongo_shared, mongo_url) as (proxy, records):
        await records.put_topic("a", about("A"), NOON)
        with proxy.lose_commands(1000):
            await records.tasks.add_task("p", "a", NOON, max_unfinished=5)
            behind = proxy.commands.index(b"commitTransaction") + 1
            assert len(proxy.commands) > behind
        with hurried_behind(records), proxy.lose_commands(behind):
            requested = await records.tasks.add_task("q", "a", NOON, max_unfinished=5)
        assert proxy.reached
        await answering(records)
        assert requested.created
        assert await records.tasks.task("q") == requested.task
    assert [one.levelname for one in caplog.records if "clean-up" in one.message] == ["DEBUG"]


async def test_an_action_begins_though_old_ones_cannot_be_forgotten(mongo_shared: MongoServer, mongo_url: str) -> None:
    async with tidied(mongo_shared, mongo_url) as (proxy, records):
        with hurried_behind(records), proxy.lose_commands(1):
            number = await records.actions.begin(Action(at=NOON, who="ana", kind="drop_key", target="a", why="stale"))
        assert (proxy.reached, proxy.commands[:2]) == (True, [b"insert", b"find"])
        await answering(records)
        assert [one.number for one in await records.actions.newest(5)] == [number]


@asynccontextmanager
async def tidied(mongo: MongoServer, url: str) -> AsyncIterator[tuple[MongoProxy, MongoRecords]]:
    """A record behind a proxy."""
    async with MongoProxy(mongo).serving() as proxy:
        records = await MongoRecords.open(proxy.url(url.rpartition("/")[2]), write_deadline=PATIENT)
        yield proxy, records
        await records.close()


@contextmanager
def hurried(records: MongoRecords, seconds: float = 1.0) -> Iterator[None]:
    """Give changes a deadline that a test can wait for."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(records._database, "_write_deadline", seconds)
        yield


@contextmanager
def hurried_behind(records: MongoRecords) -> Iterator[None]:
    """The same for the clean-ups behind changes, and not for the changes, which must succeed."""
    tidy = records._database.tidy

    async def tidy_hurriedly(work: Callable[[], Awaitable[object]]) -> None:
        with hurried(records):
            await tidy(work)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(records._database, "tidy", tidy_hurriedly)
        yield


async def _near(platform: Platform) -> None:
    async with asyncio.timeout(30):
        while (await platform.topics.read("a")).outcome is not Outcome.NEAR:
            await asyncio.sleep(0.001)
