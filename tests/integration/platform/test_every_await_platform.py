"""Claims, changes, following and opening, whose callers or connections are lost at every await in turn."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from greenroom.errors import GreenroomError
from greenroom_platform.domain.podcasts import ATTEMPTS
from greenroom_platform.domain.records import TopicDraft
from greenroom_platform.domain.task_records import Claim
from greenroom_platform.models import SCRIPT_GENERATING
from greenroom_platform.platform import Platform, open_platform
from tests.support.counted_tasks import CountedRecords, begun
from tests.support.every_await import OUTER, Fault, at_every_await
from tests.support.held import cut, held_by, quiet
from tests.support.patience import until
from tests.support.real_servers import Server

AGAIN = TopicDraft(display_name="Again", description="", keywords=())


class Calls:
    """A room with a topic, a podcast claimed, and another that waits."""

    def __init__(self, platform: Platform, other: Platform, claim: Claim, call: Any) -> None:
        self.platform = platform
        self.other = other
        self.claim = claim
        self.result: Any = None
        self._call = call

    def operation(self) -> Coroutine[Any, Any, None]:
        async def call() -> None:
            self.result = await self._call(self)

        return call()

    def cut(self) -> None:
        cut(self.platform.room._wired().backing.engine)

    async def check(self) -> None:
        await quiet(self.platform.room._wired().backing.engine)
        assert len(self.platform.changes.detached) == 0
        await until(lambda: held_by(self.platform.room._wired().backing, *self.platform.room._caches) == {})
        await CHECKS[self._call](self)


async def claim(calls: Calls) -> Any:
    return await calls.platform.tasks.claim("worker")


async def claimed(calls: Calls) -> None:
    if calls.result is not None:
        await calls.platform.tasks.give_back(calls.result, counted=False)
    again = await calls.other.tasks.claim("another")  # at once, and it has used no attempt
    assert again is not None
    assert again.task.attempts == 1 < ATTEMPTS


async def advance(calls: Calls) -> Any:
    return await calls.platform.tasks.advance(calls.claim, SCRIPT_GENERATING)


async def advanced(calls: Calls) -> None:
    task = await calls.platform.records.tasks.task(calls.claim.podcast_id)  # type: ignore[attr-defined]
    for platform in (calls.platform, calls.other):
        status = await platform.statuses.get(calls.claim.podcast_id)
        assert status is not None
        assert status.status == task.status
    assert await calls.platform.records.pending() == ()
    await calls.platform.tasks.renew(calls.claim)  # it is held as before


async def put(calls: Calls) -> Any:
    return await calls.platform.topics.put("a", AGAIN)


async def changed(calls: Calls) -> None:
    topic = await calls.platform.records.topic("a")
    assert await calls.platform.topics.get("a") == await calls.other.topics.get("a") == topic
    assert await calls.platform.records.pending() == ()


async def follow(calls: Calls) -> Any:
    async with aclosing(calls.platform.statuses.follow(calls.claim.podcast_id)) as following:
        async for _ in following:
            return


async def followed(calls: Calls) -> None:
    assert calls.platform.statuses.followed == 0
    assert not calls.platform.room._wired().backing.local._watches


CHECKS: dict[Any, Callable[[Calls], Awaitable[None]]] = {
    claim: claimed,
    advance: advanced,
    put: changed,
    follow: followed,
}


@pytest.mark.parametrize("fault", OUTER, ids=str)
@pytest.mark.parametrize("call", CHECKS, ids=lambda call: call.__name__)
async def test_a_call_lost_at_any_await_leaves_nothing_held_and_nothing_stale(
    valkey: Server, tmp_path: Path, fault: Fault, call: Any
) -> None:
    runs = iter(range(1000))

    @asynccontextmanager
    async def prepare() -> AsyncIterator[Calls]:
        valkey.raw()("FLUSHALL")
        records = await CountedRecords.made(tmp_path / f"{next(runs)}.sqlite3")
        try:
            async with (
                open_platform(valkey.address, database=records) as platform,
                open_platform(valkey.address, database=records) as other,
            ):
                held = await begun(platform)
                await platform.generation.request("a")
                for one in (platform, other):
                    await one.topics.get("a")
                    await one.statuses.get(held.podcast_id)
                yield Calls(platform, other, held, call)
        finally:
            await records.close()

    assert await at_every_await(prepare, fault) >= 1


class Opening:
    """A room that is opened, used, and closed."""

    def __init__(self, server: Server, directory: Path) -> None:
        self._raw = server.raw()
        self._server = server
        self._directory = directory
        self._tasks = asyncio.all_tasks()
        # The loop of `greenroom.sync`, where a test has begun it, stays with the process.
        self._threads = set(threading.enumerate())

    async def operation(self) -> None:
        try:
            async with open_platform(self._server.address, data_dir=self._directory) as platform:
                await platform.topics.all()
        except GreenroomError:
            pass

    def cut(self) -> None:
        self._raw("CLIENT", "KILL", "TYPE", "normal")

    async def check(self) -> None:
        assert asyncio.all_tasks() - self._tasks == set()
        await until(lambda: b"greenroom" not in self._raw("CLIENT", "LIST"), 20)
        begun = set(threading.enumerate()) - self._threads
        assert [one.name for one in begun if one.name.startswith("greenroom-")] == []
        async with open_platform(self._server.address, data_dir=self._directory) as platform:
            assert await platform.topics.all() == ()


@pytest.mark.parametrize("fault", OUTER, ids=str)
async def test_a_room_lost_at_any_await_of_its_life_leaves_nothing_open(
    valkey: Server, tmp_path: Path, fault: Fault
) -> None:
    @asynccontextmanager
    async def prepare() -> AsyncIterator[Opening]:
        yield Opening(valkey, tmp_path)

    assert await at_every_await(prepare, fault) >= 5
