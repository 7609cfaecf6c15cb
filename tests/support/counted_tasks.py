"""Podcasts for tests: a record that counts its reads of tasks, and workers moved by hand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from greenroom.errors import RecordUnavailable
from greenroom_platform.domain.task_records import Claim
from greenroom_platform.models import PodcastStatus, PodcastTask
from greenroom_platform.platform import Platform
from greenroom_platform.storage import SqliteRecords, SqliteTasks
from greenroom_platform.storage.sqlite.database import Database
from greenroom_platform.testing.records_changes import NOON, about

STEPS = ("queued", "script_generating", "audio_rendering", "ready_to_stream")


class CountedTasks(SqliteTasks):
    """Tasks that count how often they are read, and fail when told to."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.reads = 0
        self.fails = False

    async def task(self, podcast_id: str) -> PodcastTask | None:
        self.reads += 1
        if self.fails:
            raise RecordUnavailable("for the test")
        return await super().task(podcast_id)


class CountedRecords(SqliteRecords):
    """A record with such tasks."""

    tasks: CountedTasks

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.tasks = CountedTasks(database)

    @classmethod
    async def made(cls, path: Path) -> CountedRecords:
        """An open one, with the topic `a`."""
        records = cls(await Database.open(path))
        await records.put_topic("a", about("A"), NOON)
        return records


class Timers:
    """A timer that a test lets end."""

    def __init__(self) -> None:
        self.set: list[float] = []
        self._calls: list[Callable[[], None]] = []

    def __call__(self, seconds: float, call: Callable[[], None]) -> Timers:
        self.set.append(seconds)
        self._calls = [call]
        return self

    def cancel(self) -> None:
        self._calls = []

    def end(self) -> None:
        """Let the last timer end."""
        (call,) = self._calls
        call()

    def end_any(self) -> None:
        """Let the last timer end, if it is running."""
        for call in self._calls:
            call()

    async def running(self, number: int) -> None:
        """Return when so many have been set and the last is running."""
        async with asyncio.timeout(20):
            while len(self.set) < number or not self._calls:
                await asyncio.sleep(0)


async def begun(platform: Platform) -> Claim:
    """A podcast on the topic `a`, claimed."""
    await platform.generation.request("a")
    claim = await platform.tasks.claim("worker")
    assert claim is not None
    return claim


async def statuses_of(following: AsyncIterator[PodcastStatus]) -> list[str]:
    """All that comes, to the end."""
    return [one.status async for one in following]


async def settled_down(platform: Platform) -> None:
    """Return when the followers' last look is done and each of them waits."""
    stories = platform.statuses._followers._stories
    async with asyncio.timeout(20):
        while any(story.notified or story.done < story.begun for story in stories.values()):
            await asyncio.sleep(0.001)
