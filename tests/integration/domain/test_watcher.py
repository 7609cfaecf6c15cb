"""The watcher of changes made outside: what it drops, when it acknowledges, and that one process at a time does it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from greenroom.clock import SYSTEM
from greenroom.counters import Counters
from greenroom.errors import RecordUnavailable
from greenroom_platform.definitions import SNIPPET, SNIPPET_PAGE
from greenroom_platform.domain import leadership, watcher
from greenroom_platform.domain.foreign_changes import ForeignChanges
from greenroom_platform.domain.leadership import Leadership
from greenroom_platform.platform import Platform, open_platform
from greenroom_platform.storage import SqliteRecords
from greenroom_platform.storage.sqlite.database import Database
from greenroom_platform.testing.records_changes import fill
from tests.support.full_server import full
from tests.support.outbox_probe import dropped, make_stale, pages
from tests.support.patience import until
from tests.support.proxy import ClusterProxy, Proxy
from tests.support.real_cluster import Cluster
from tests.support.real_servers import Server


class Source:
    """Changes made outside that a test tells of, and the positions that are acknowledged."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[ForeignChanges[int] | Exception] = asyncio.Queue()
        self.positions: list[int] = []
        self.failures = 0
        self.readers = 0

    async def changes(self) -> AsyncGenerator[ForeignChanges[int], None]:
        self.readers += 1
        try:
            while True:
                found = await self.queue.get()
                if isinstance(found, Exception):
                    raise found
                yield found
        finally:
            self.readers -= 1

    async def acknowledge(self, position: int) -> None:
        if self.failures:
            self.failures -= 1
            raise RecordUnavailable("for the test")
        self.positions.append(position)


class Told(SqliteRecords):
    """A record whose changes made outside are what a test tells."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.source = Source()
        self.foreign_changes: Any = self.source
        self.away = False

    async def ping(self) -> None:
        if self.away:
            raise RecordUnavailable("away, for the test")


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is waited for that a test can do without."""
    monkeypatch.setattr(watcher, "AGAIN", 0.02)
    monkeypatch.setattr(watcher, "REST", 0.1)
    monkeypatch.setattr(leadership, "LOOK", 0.05)


@pytest.fixture
async def records(tmp_path: Any) -> AsyncIterator[Told]:
    records = Told(await Database.open(tmp_path / "record.sqlite3"))
    await fill(records, "a", 21)
    yield records
    await records.close()


@asynccontextmanager
async def watching(valkey: Server | Proxy, records: Told) -> AsyncIterator[tuple[Platform, Counters]]:
    counters = Counters()
    opened = open_platform(valkey.address, sessions=False, database=records, counters=counters)
    async with opened as platform, platform.watching():
        await until(lambda: records.source.readers)
        yield platform, counters


def change(position: int, **stale: Any) -> ForeignChanges[int]:
    return ForeignChanges(position=position, events=1, **stale)


async def test_exactly_what_is_told_is_dropped_and_then_acknowledged(valkey: Server, records: Told) -> None:
    async with watching(valkey, records) as (_, counters):
        keys = make_stale(valkey)
        await records.source.queue.put(
            change(7, topics=("a",), snippets=("a000", "no key:"), pages=(("b", 3),), statuses=("a",), written=0.0)
        )
        await until(lambda: records.source.positions == [7])
        gone = {"cache:topic:a", "cache:topics:all", "cache:snippet:a000", "cache:podcast_status:a"}
        assert dropped(valkey, keys) == gone | pages("b", 3)
        assert counters.foreign_changes == {("change",): 1, ("resume",): 1, ("lost",): 0, ("failed",): 0}
        assert sum(counters.foreign_lag.counts) == 1


@pytest.mark.own_limits
async def test_nothing_is_acknowledged_before_the_server_has_dropped_it(valkey: Server, records: Told) -> None:
    async with watching(valkey, records) as (_, counters):
        keys = make_stale(valkey)
        with valkey.frozen():
            await records.source.queue.put(change(1, snippets=("a000",)))
            await until(lambda: counters.foreign_changes["failed",])
            assert records.source.positions == []
        await until(lambda: records.source.positions == [1])
        assert dropped(valkey, keys) == {"cache:snippet:a000"}


async def test_lost_history_drops_keyspaces_whole_before_its_position(valkey: Server, records: Told) -> None:
    async with watching(valkey, records) as (platform, counters):
        assert len(await platform.snippets.page("a")) == 20
        assert len(await platform.snippets.page("a", 2)) == 1
        assert await platform.topics.get("a") is not None
        deleted = await records.delete_snippet("a000")
        assert deleted is not None
        await records.acknowledge([deleted.change_id])  # as another program does
        assert len(await platform.snippets.page("a", 2)) == 1
        await records.source.queue.put(change(5, lost=(SNIPPET_PAGE, SNIPPET)))
        await until(lambda: records.source.positions == [5])
        assert await platform.snippets.page("a", 2) == ()
        assert counters.foreign_changes["lost",] == 1
        assert counters.reads["topic", "loaded"] == 1
        await platform.topics.get("a")
        assert counters.reads["topic", "loaded"] == 1, "topics were not lost"


async def test_a_record_that_fails_is_asked_again(valkey: Server, records: Told) -> None:
    async with watching(valkey, records) as (_, counters):
        await records.source.queue.put(RecordUnavailable("for the test"))
        await until(lambda: counters.foreign_changes["resume",] == 2)
        await records.source.queue.put(change(1))
        await until(lambda: records.source.positions == [1])


async def test_who_cannot_reach_the_record_lets_another_watch_it(
    valkey: Server, records: Told, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prevents: the leader has lost the record · it holds its place all the same · others, who could, read nothing."""
    other = Told(await Database.open(tmp_path / "record.sqlite3"))
    async with AsyncExitStack() as stack:
        stack.push_async_callback(other.close)
        (_, counters) = await stack.enter_async_context(watching(valkey, records))
        platform = await stack.enter_async_context(
            open_platform(valkey.address, sessions=False, database=other, counters=Counters())
        )
        second = await stack.enter_async_context(AsyncExitStack())
        await second.enter_async_context(platform.watching())
        records.away = True
        await records.source.queue.put(RecordUnavailable("for the test"))
        await until(lambda: other.source.readers)
        await other.source.queue.put(change(1))
        await until(lambda: other.source.positions == [1])
        await second.aclose()
        await asyncio.sleep(watcher.REST * 3)  # no test of a time: it would only be green too often
        assert records.source.readers == 0, "it does not compete before it reaches the record"
        records.away = False
        await until(lambda: records.source.readers)
        assert counters.foreign_changes["resume",] == 2


async def test_trouble_of_one_kind_is_told_once(
    valkey: Server, records: Told, caplog: pytest.LogCaptureFixture
) -> None:
    """Its text may be another each time, as by the seconds that were waited."""

    def told() -> int:
        return sum("cannot be read" in one.getMessage() for one in caplog.records)

    async with watching(valkey, records) as (_, counters):
        for number in range(1, 4):
            await records.source.queue.put(RecordUnavailable(f"no answer in {number} s"))
        await until(lambda: counters.foreign_changes["resume",] == 4)
        assert told() == 1
        await records.source.queue.put(change(1))
        await records.source.queue.put(RecordUnavailable("again"))
        await until(lambda: counters.foreign_changes["resume",] == 5)
        assert told() == 2


async def test_a_lost_keyspace_begins_one_generation_while_a_node_is_away(steady: Cluster, records: Told) -> None:
    """Prevents: a node is away · each attempt drops the whole keyspace again, and nothing that is loaded stays."""
    steady.fresh()
    truth = "greenroom:generation:{cache:snippet:{snippet_id}}"
    raw = steady.raw()
    async with ClusterProxy(steady, truth) as proxy, watching(proxy, records) as (platform, counters):
        await platform.snippets.get("a000")
        away = proxy.ways[1]
        await away.down()
        await records.source.queue.put(change(1, lost=(SNIPPET,)))
        await until(lambda: counters.foreign_changes["failed",])
        begun = raw("GET", truth)
        assert begun
        failed = counters.foreign_changes["failed",]
        await until(lambda: counters.foreign_changes["failed",] > failed + 2)
        assert raw("GET", truth) == begun
        assert records.source.positions == []
        await away.up()
        await until(lambda: records.source.positions == [1])


async def test_a_position_that_cannot_be_stored_holds_up_no_later_change(valkey: Server, records: Told) -> None:
    async with watching(valkey, records):
        records.source.failures = 1
        for position in (1, 2):
            await records.source.queue.put(change(position))
        await until(lambda: records.source.positions == [2])


async def test_a_defect_of_the_source_does_not_end_the_watch(valkey: Server, records: Told) -> None:
    async with watching(valkey, records):
        await records.source.queue.put(RuntimeError("a bug"))
        await records.source.queue.put(change(1))
        await until(lambda: records.source.positions == [1])


# One at a time -------------------------------------------------------------------------------------


PLACE = "greenroom:leader:{work}"


class Work:
    """Work that a leader does until it is told to end."""

    def __init__(self) -> None:
        self.under_way = 0
        self.begun = 0

    async def __call__(self) -> None:
        self.under_way += 1
        self.begun += 1
        try:
            await asyncio.Event().wait()
        finally:
            self.under_way -= 1


async def lead_in_turn(platform: Platform) -> None:
    """Let three compete; one leads at a time, and the next when it ends."""
    places = [Leadership(platform.room.engine, "", "work", SYSTEM) for _ in range(3)]
    work = Work()
    tasks = [asyncio.create_task(place.run(work)) for place in places]
    for number in range(3):
        await until(lambda: work.under_way == 1)
        (leader,) = (at for at, place in enumerate(places) if place.leads)
        assert work.begun == number + 1
        tasks[leader].cancel()
        await asyncio.wait([tasks[leader]])
    assert work.under_way == 0


async def test_one_of_many_leads_and_the_next_when_it_ends(valkey: Server, records: Told) -> None:
    async with open_platform(valkey.address, sessions=False, database=records) as platform:
        await lead_in_turn(platform)
        assert valkey.raw()("EXISTS", "greenroom:leader:{work}") == 0


async def test_a_leader_that_lost_its_place_stops_working(
    valkey: Server, records: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leadership, "LIFE", 60.0)
    async with open_platform(valkey.address, sessions=False, database=records) as platform:
        place, work = Leadership(platform.room.engine, "", "work", SYSTEM), Work()
        task = asyncio.create_task(place.run(work))
        await until(lambda: work.under_way)
        valkey.raw()("SET", PLACE, "another", "PX", 50_000)
        await until(lambda: not work.under_way)
        valkey.raw()("DEL", PLACE)  # as the end of the other one's life does
        await until(lambda: work.under_way)
        task.cancel()
        await asyncio.wait([task])


async def test_a_leader_cancelled_while_its_work_ends_waits_and_ends(
    valkey: Server, records: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prevents: a leader has lost its place · its work takes a while to end · the leader, cancelled then, goes on."""
    monkeypatch.setattr(leadership, "LIFE", 60.0)
    ending, let_go = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ending.set()
            await let_go.wait()

    async with open_platform(valkey.address, sessions=False, database=records) as platform:
        task = asyncio.create_task(Leadership(platform.room.engine, "", "work", SYSTEM).run(work))
        await until(lambda: valkey.raw()("EXISTS", PLACE) == 1)
        valkey.raw()("SET", PLACE, "another", "PX", 50_000)
        await until(ending.is_set)
        task.cancel()
        await platform.topics.all()  # and the loop has run
        assert not task.done(), "its work is still under way"
        let_go.set()
        await until(task.done)
        assert task.cancelled()


async def test_a_place_that_stays_for_ever_is_nobody_s(valkey: Server, records: Told) -> None:
    async with open_platform(valkey.address, sessions=False, database=records) as platform:
        valkey.raw()("SET", "greenroom:leader:{work}", "another")
        place, work = Leadership(platform.room.engine, "", "work", SYSTEM), Work()
        task = asyncio.create_task(place.run(work))
        await until(lambda: work.under_way)
        task.cancel()
        await asyncio.wait([task])


async def test_a_leader_keeps_its_place_on_a_full_server(
    valkey: Server, records: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leadership, "LIFE", 60.0)
    async with open_platform(valkey.address, sessions=False, database=records) as platform:
        place, work, raw = Leadership(platform.room.engine, "", "work", SYSTEM), Work(), valkey.raw()
        task = asyncio.create_task(place.run(work))
        await until(lambda: work.under_way)
        with full(valkey):
            raw("PEXPIRE", PLACE, 30_000)
            await until(lambda: raw("PTTL", PLACE) > 30_000 or not work.under_way)
            assert work.under_way
            task.cancel()
            await asyncio.wait([task])
            assert raw("EXISTS", PLACE) == 0, "it is given up there, too"


async def test_a_full_server_gets_a_watcher_that_drops(valkey: Server, records: Told) -> None:
    async with open_platform(valkey.address, sessions=False, database=records) as platform:
        keys = make_stale(valkey)
        with full(valkey):
            async with platform.watching():
                await records.source.queue.put(change(1, snippets=("a000",)))
                await until(lambda: records.source.positions == [1])
                assert dropped(valkey, keys) == {"cache:snippet:a000"}


async def test_a_place_whose_node_is_away_is_another_node_s(steady: Cluster, records: Told) -> None:
    steady.fresh()
    async with (
        ClusterProxy(steady, PLACE) as proxy,
        open_platform(proxy.address, sessions=False, database=records) as platform,
    ):
        await proxy.down()
        await lead_in_turn(platform)
