"""The podcasts of a round: tasks in a record that all processes share, their statuses in the cache, and who follows.

A status is a key like others, and its rank the version. The platform's own outbox sends what a killed process left.
"""

from __future__ import annotations

import asyncio
import random
import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from greenroom.caching import Cache
from greenroom.caching.declaration_checks import declared_loader
from greenroom.caching.invalidation import Backing
from greenroom.caching.threads import LoaderThreads
from greenroom.clock import SYSTEM
from greenroom.errors import ClaimLost, LoadFailed, Overloaded, QueueFull, RecordUnavailable
from greenroom.keyspace import Keyspace
from greenroom_platform.definitions import PODCAST_STATUS
from greenroom_platform.domain.domain import Domain
from greenroom_platform.domain.records import Change, TopicDraft
from greenroom_platform.domain.task_records import Claim
from greenroom_platform.models import STATUSES, PodcastTask
from greenroom_platform.storage.sqlite.database import Database
from greenroom_platform.storage.sqlite.records import SqliteRecords
from greenroom_platform.storage.sqlite.tasks import SqliteTasks
from torture.history import Crash, Drop, Failed, Load, Read, Write, now
from torture.journal import Journal
from torture.plan import LOADER_DEADLINE, Plan
from torture.podcast_history import Followed
from torture.reads import Before

TOPIC = "t1"
_CLAIM = 0.4
"""Seconds of a claim: less than some workers take."""
_LATELY = 6
"""Podcasts that are read and followed."""
_GAP = 0.04
"""Seconds between a commit and the sending of what it made stale, at most: who is killed in between has not sent it."""
_LAST_GAP = 1.0
"""Likewise after the last status of a podcast, which no later change drops from the caches."""
_LAST_STEP = 0.3
"""Seconds before the last status, at most: by then others have read the one before."""
_PAUSE = 0.06
"""Seconds between two operations of a client, on average."""


async def prepare(path: Path) -> None:
    """The record, before anything happens."""
    records = await SqliteRecords.open(path)
    draft = TopicDraft(display_name="Topic", description="", keywords=())
    change = (await records.put_topic(TOPIC, draft, SYSTEM.now())).change
    await records.acknowledge([change.change_id])
    await records.close()


def versions(path: Path) -> dict[str, int]:
    """Of each podcast's key, the version of its status in the record."""
    with sqlite3.connect(path) as connection:
        rows = connection.execute("SELECT document FROM tasks").fetchall()
    tasks = [msgspec.json.decode(row[0], type=PodcastTask) for row in rows]
    return {PODCAST_STATUS.key(task.podcast_id): version_of(task.status) for task in tasks}


def version_of(status: str) -> int:
    """The version that a status is."""
    return STATUSES.rank(status) + 1


class _ToldTasks(SqliteTasks):
    """Tasks whose loads are written down."""

    def __init__(self, database: Database, journal: Journal) -> None:
        super().__init__(database)
        self._journal = journal

    async def task(self, podcast_id: str) -> PodcastTask | None:
        began, error = now(), ""
        try:
            return await super().task(podcast_id)
        except BaseException as raised:
            error = type(raised).__name__
            raise
        finally:
            key = PODCAST_STATUS.key(podcast_id)
            self._journal.add(Load(self._journal.process, began, now(), key, error))


class Podcasts:
    """What one process does for and with podcasts. Made by `opened`."""

    def __init__(self, plan: Plan, backing: Backing, records: SqliteRecords, journal: Journal) -> None:
        self._plan = plan
        self._process = plan.process
        self._backing = backing
        self._records = records
        self._journal = journal
        self._finishing = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._made = 0
        self._status: Cache[Any]
        self._domain: Domain

    @classmethod
    async def opened(cls, plan: Plan, backing: Backing, journal: Journal) -> Podcasts:
        """The platform on the round's record."""
        records = await SqliteRecords.open(plan.podcasts_file)
        records.tasks = _ToldTasks(records._database, journal)
        self = cls(plan, backing, records, journal)
        self._domain = await Domain.open(records, self._cache, backing.outbox_drops, SYSTEM)
        return self

    def start(self) -> None:
        """Let every client begin."""
        kinds: list[Callable[[random.Random], Awaitable[None]]] = [self._work, self._work, self._read, self._read]
        for number, kind in enumerate((*kinds, self._follow)):
            chance = random.Random(f"{self._plan.seed} podcasts {number}")
            self._tasks.append(asyncio.create_task(self._repeat(kind, chance)))

    async def finish(self) -> None:
        """Return when every client has ended what it was doing."""
        self._finishing.set()
        await asyncio.gather(*self._tasks)

    async def close(self) -> None:
        """Close the platform and its record."""
        await self._domain.close()
        await self._records.close()

    async def last(self, key: str) -> int | None:
        """The version that a read brings when all is quiet."""
        parts = PODCAST_STATUS.pattern.parse(key)
        assert parts is not None
        while True:
            with suppress(LoadFailed):
                status = await self._status.get(**parts)
                return None if status is None else version_of(status.status)
            await asyncio.sleep(0.05)

    async def report(self, final: Callable[[str, str, int | None], None]) -> None:
        """All is quiet: what is stored here, and what reads bring."""
        for podcast in await self.ids():
            key = PODCAST_STATUS.key(podcast)
            entry = self._backing.near.get(key, now())
            if entry is not None and entry.value is not None:
                final(key, "near", version_of(entry.value.status))
            final(key, "a read", await self.last(key))

    async def ids(self) -> list[str]:
        """Every podcast that there is, the newest first."""

        def work(connection: sqlite3.Connection) -> list[str]:
            return [row[0] for row in connection.execute("SELECT podcast_id FROM tasks ORDER BY number DESC")]

        return await self._records._database.read(work)

    # ------------------------------------------------------------------------------------------------

    def _cache(self, keyspace: Keyspace[Any], *, load: Any, groups: Sequence[str] = ()) -> Cache[Any]:
        loader = declared_loader(keyspace, load, LoaderThreads)
        cache = Cache(keyspace, loader, backing=self._backing, loader_deadline=LOADER_DEADLINE, groups=groups)
        if keyspace is PODCAST_STATUS:
            self._status = cache
        return cache

    async def _repeat(self, kind: Callable[[random.Random], Awaitable[None]], chance: random.Random) -> None:
        while not self._finishing.is_set():
            await asyncio.sleep(chance.expovariate(1 / _PAUSE))
            try:
                await kind(chance)
            except (RecordUnavailable, QueueFull, ClaimLost):
                pass
            except Exception as error:
                self._journal.add(Crash(self._process, now(), now(), f"{kind.__name__}: {error!r}"))

    async def _work(self, chance: random.Random) -> None:
        """Ask for a podcast, or take one up: step by step, sometimes for longer than the claim."""
        tasks = self._records.tasks
        if chance.random() < 0.3:
            self._made += 1
            podcast = f"p{self._process}-{self._made}"
            self._journal.add(Write(self._process, now(), now(), PODCAST_STATUS.key(podcast), 1, True))
            await tasks.add_task(podcast, TOPIC, SYSTEM.now(), max_unfinished=4)
        claim = await tasks.claim(f"w{self._process}", _CLAIM, SYSTEM.now(), attempts=1000)
        if claim is None:
            return
        for status in STATUSES.steps[1:]:
            if version_of(status) > version_of(claim.task.status):
                longest = _LAST_STEP if status == STATUSES.steps[-1] else 0.1
                await asyncio.sleep(chance.random() * (0.6 if chance.random() < 0.1 else longest))
                if self._finishing.is_set():
                    return
                if chance.random() < 0.05:
                    await self._told(claim, STATUSES.failure, lambda: tasks.fail(claim, "no", SYSTEM.now()))
                    return
                await self._told(claim, status, lambda status=status: self._advanced(claim, status))  # type: ignore[misc]

    async def _advanced(self, claim: Claim, status: str) -> Change | None:
        return (await self._records.tasks.advance(claim, status, SYSTEM.now())).change

    async def _told(self, claim: Claim, status: str, commit: Callable[[], Awaitable[Change | None]]) -> None:
        """Commit a status, and send what that made stale; that it may be committed is told before."""
        key, version, began = PODCAST_STATUS.key(claim.podcast_id), version_of(status), now()
        self._journal.add(Write(self._process, began, began, key, version, True))
        change = await commit()
        if change is None:
            return
        self._journal.add(Write(self._process, began, now(), key, version, True, outbox=True))
        last = status in (STATUSES.failure, STATUSES.steps[-1])
        await asyncio.sleep(random.random() * (_LAST_GAP if last else _GAP))
        began = now()
        await self._domain.changes.send(change)
        acknowledged = change.change_id not in {one.change_id for one in await self._records.pending(limit=1000)}
        # As a group's: it counts from the end of the call, in which other things are done first.
        self._journal.add(Drop(self._process, began, now(), key, version, acknowledged, True))

    async def _read(self, chance: random.Random) -> None:
        ids = (await self.ids())[:_LATELY]
        if not ids:
            return
        podcast, began = chance.choice(ids), now()
        key = PODCAST_STATUS.key(podcast)
        before = Before(self._backing, self._status, key)
        try:
            read = await self._domain.statuses.read(podcast)
        except (LoadFailed, Overloaded, RecordUnavailable) as error:
            self._journal.add(Failed(self._process, began, now(), key, type(error).__name__))
            return
        version = None if read.value is None else version_of(read.value.status)
        self._journal.add(Read(self._process, began, now(), key, before.how(read.outcome, read.entry), version))

    async def _follow(self, chance: random.Random) -> None:
        ids = (await self.ids())[:_LATELY]
        if not ids:
            return
        podcast, began, seen, error = chance.choice(ids), now(), list[tuple[float, int]](), ""
        follow = self._domain.statuses.follow(podcast)
        try:
            async with asyncio.timeout(3.0):
                async for status in follow:
                    seen.append((now(), version_of(status.status)))
        except TimeoutError:
            pass
        except Exception as raised:
            error = type(raised).__name__
        finally:
            await follow.aclose()
        self._journal.add(Followed(self._process, began, now(), PODCAST_STATUS.key(podcast), seen, error))
