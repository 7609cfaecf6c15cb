"""What the tests of recordings share: a record and a store, recordings made by hand, and who listens to them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import obstore

from greenroom.testing.clock import ManualClock
from greenroom_platform.domain.task_records import Claim
from greenroom_platform.models import READY_TO_STREAM
from greenroom_platform.storage import SqliteRecords
from greenroom_platform.studio.recording_opening import open_recordings
from greenroom_platform.studio.recording_store import RecordingStore
from greenroom_platform.studio.recordings import Recordings
from greenroom_platform.testing.records_changes import NOON, about
from tests.support.studio_samples import a_cluster, parse

HELD = 10 * 365 * 86_400.0
"""Seconds of a claim that does not lapse in a test."""


class Attempt:
    """A worker made by hand: it has claimed a podcast, and records."""

    def __init__(self, site: Site, recordings: Recordings, claim: Claim) -> None:
        self._site = site
        self.claim = claim
        self.recording = recordings.begin(claim.podcast_id, claim.number)

    async def write(self, *numbers: int, mark: bytes = b"") -> Attempt:
        """Append clusters."""
        for number in numbers:
            await self.recording.append(a_cluster(number, mark))
        return self

    async def finish(self) -> None:
        """Make it whole, and tell the record."""
        await self.tell(await self.recording.finish())

    async def tell(self, size: int) -> None:
        """Tell the record that it is whole."""
        await self._site.tasks.advance(self.claim, READY_TO_STREAM, self._site.now(), size=size)

    async def discard(self) -> None:
        """Give it up, as a worker whose renderer has failed."""
        await self.recording.discard()
        await self._site.tasks.give_back(self.claim, self._site.now(), counted=True)

    async def lapse(self) -> None:
        """Lose the claim, as a worker that was killed."""
        await self._site.tasks.renew(self.claim, -1, self._site.now())


class Site:
    """A record and the place of a store, which any number of processes may open."""

    def __init__(self, records: SqliteRecords, place: str) -> None:
        self.records = records
        self.tasks = records.tasks
        self.place = place
        self.clock: ManualClock | None = None
        self._opened: list[Recordings] = []

    def now(self) -> datetime:
        """The time of the record's callers."""
        return self.clock.now() if self.clock is not None else datetime.now().astimezone()

    def store(self) -> RecordingStore:
        """The store as another process opens it."""
        return open_recordings(self.place, None)

    def open(self, **options: Any) -> Recordings:
        """The recordings, as another process opens them; closed after the test."""
        clock = {"clock": self.clock} if self.clock is not None else {}
        self._opened.append(Recordings(self.store(), self.tasks, **(clock | options)))
        return self._opened[-1]

    async def close(self) -> None:
        """Close what was opened."""
        for one in self._opened:
            await one.close()

    async def claimed(self, podcast_id: str = "p") -> Claim:
        """A claim on a podcast, which is asked for where it was not; no other may wait."""
        if await self.tasks.task(podcast_id) is None:
            await self.tasks.add_task(podcast_id, "a", self.now(), max_unfinished=1000)
        claim = await self.tasks.claim("w", HELD, self.now(), attempts=99)
        assert claim is not None
        assert claim.podcast_id == podcast_id
        return claim

    async def begin(self, recordings: Recordings, podcast_id: str = "p") -> Attempt:
        """A worker that begins to record a podcast."""
        return Attempt(self, recordings, await self.claimed(podcast_id))

    async def make(self, recordings: Recordings, podcast_id: str = "p", clusters: int = 3, mark: bytes = b"") -> bytes:
        """A whole recording; returns its bytes."""
        attempt = await self.begin(recordings, podcast_id)
        await attempt.write(*range(clusters), mark=mark)
        await attempt.finish()
        return await self.bytes_of(recordings, podcast_id)

    async def bytes_of(self, recordings: Recordings, podcast_id: str = "p") -> bytes:
        """The bytes of a whole recording."""
        whole = await recordings.whole(podcast_id)
        assert whole is not None
        pieces = await whole.read(range(whole.size), 65_536)
        assert pieces is not None
        data = b"".join([piece async for piece in pieces])
        assert len(data) == whole.size
        return data

    async def objects(self) -> list[str]:
        """The names of all objects in the store."""
        store = self.store()
        try:
            return sorted([one["path"] async for batch in obstore.list(store._store) for one in batch])
        except FileNotFoundError:
            return []

    async def segments(self, podcast_id: str = "p") -> list[str]:
        """The names of a podcast's segments."""
        return [name for name in await self.objects() if name.startswith(f"parts/{podcast_id}.")]


@asynccontextmanager
async def site_of(record: Path, place: str) -> AsyncIterator[Site]:
    """A record with a topic, and the place of a store."""
    records = await SqliteRecords.open(record)
    await records.put_topic("a", about("A"), NOON)
    site = Site(records, place)
    try:
        yield site
    finally:
        await site.close()
        await records.close()


async def heard(recordings: Recordings, podcast_id: str = "p", **options: Any) -> list[bytes]:
    """All that comes to a listener."""
    return [data async for data in recordings.clusters(podcast_id, **options)]


class Listener:
    """Somebody who takes everything that comes."""

    def __init__(self, recordings: Recordings, podcast_id: str = "p", **options: Any) -> None:
        self.got: list[bytes] = []
        self._more = asyncio.Condition()
        self._over = False
        clusters = recordings.clusters(podcast_id, **({"wait": True} | options))
        self.task = asyncio.create_task(self._listen(clusters))
        # Whoever wants to know how it ends awaits it; of the others nobody complains.
        self.task.add_done_callback(lambda task: task.cancelled() or task.exception())

    async def _listen(self, clusters: AsyncIterator[bytes]) -> None:
        try:
            async for data in clusters:
                self.got.append(data)
                async with self._more:
                    self._more.notify_all()
        finally:
            self._over = True
            async with self._more:
                self._more.notify_all()

    async def has(self, count: int) -> None:
        """Wait until it has so many pieces, the initial segment among them."""
        async with self._more:
            await self._more.wait_for(lambda: len(self.got) >= count or self._over)
        assert len(self.got) >= count, self.task


def times(got: list[bytes]) -> list[int]:
    """When the clusters begin, after an initial segment."""
    assert got[0].startswith(b"\x1a\x45\xdf\xa3")
    _, segment = parse(b"".join(got))
    return [cluster.one("Timestamp") for cluster in segment.all("Cluster")]


def later(clock: ManualClock, **time: float) -> None:
    """Let time pass."""
    clock.advance(timedelta(**time))
