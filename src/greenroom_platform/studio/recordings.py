"""The recordings of a platform: written while they are rendered, listened to from any process of any of its hosts."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

from greenroom.clock import SYSTEM, Clock
from greenroom.errors import GreenroomError, InvalidInput
from greenroom.keyspace.parts import check_part
from greenroom_platform.domain.task_records import StoredRecording, TaskRecords
from greenroom_platform.studio import recording_sweeper, webm
from greenroom_platform.studio.recording_errors import RecordingFailed
from greenroom_platform.studio.recording_reader import Follower
from greenroom_platform.studio.recording_source import RecordingGone, RecordingSource
from greenroom_platform.studio.recording_store import RecordingStore, transcript_name, whole_name
from greenroom_platform.studio.recording_writer import RecordingWriter, remove_attempt, take_over
from greenroom_platform.studio.webm import CLUSTER_MS

log = logging.getLogger("greenroom.studio")

MAX_BYTES = 2 * 1024**3
"""Of all whole recordings: some 1,400 of six minutes."""
MAX_AGE = timedelta(days=30)
PATIENCE = timedelta(minutes=2)
"""How long a listener waits for another attempt: longer than a dead worker's claim lasts."""
SWEEP_EVERY = 60.0
"""Seconds between two sweeps by one worker."""
_KNOWN = 1000
_KNOWN_FOR = 60.0
"""Seconds for which the record is not asked again which recording is whole: an expired one is there for an hour."""


class NothingYet(GreenroomError):
    """There is no recording of this podcast: it has not begun, was given up, or has been removed."""

    def __init__(self, podcast_id: str) -> None:
        super().__init__(f"there is no recording of podcast {podcast_id!r}")


class GivenUp(GreenroomError):
    """A recording was begun, and does not go on: nobody writes it any more, or the next attempt is another one."""

    def __init__(self, podcast_id: str) -> None:
        super().__init__(f"the recording of podcast {podcast_id!r} was given up")


class WholeRecording:
    """A whole recording, as the record names it; its object may have been removed all the same."""

    def __init__(self, store: RecordingStore, stored: StoredRecording) -> None:
        self._store = store
        self.name = whole_name(stored.podcast_id, stored.claim)
        self._transcript = transcript_name(stored.podcast_id, stored.claim)
        self.size = stored.size
        self.etag = f'"{stored.claim:x}-{stored.size:x}"'
        """The same on every host: what a claim has recorded never changes."""

    async def read(self, wanted: range, chunk: int) -> AsyncIterator[bytes] | None:
        """Its bytes, in pieces as they are taken; None where it has been removed.

        Raises:
            RecordingsUnavailable: when the store does not answer; from the iteration too.
            RecordingFailed: where the object is not all there; from the iteration too.
        """
        return await self._store.stream(self.name, wanted.start, wanted.stop, chunk)

    async def transcript(self) -> bytes | None:
        """The JSON of what is said in it; None where there is none, as of what an earlier version has made.

        Raises:
            RecordingsUnavailable: when the store does not answer.
        """
        return await self._store.get(self._transcript)

    async def duration(self) -> float | None:
        """Its seconds, from its header; None where that does not tell; raises as `transcript`."""
        header = await self._store.get(self.name, 0, webm.HEADER_SIZE)
        told = None if header is None else webm.read_duration(header)
        return None if told is None else told / 1000


class Recordings:
    """Every recording of one platform. Any number of processes may use its store at once.

    Arguments:
        tasks: the record, which tells whose claim on a podcast counts.
        max_bytes: of all whole recordings together; the newest one stays in any case.
        max_age: of a whole recording.
        patience: how long a listener waits for another attempt once nobody writes any more.
    """

    def __init__(
        self,
        store: RecordingStore,
        tasks: TaskRecords,
        *,
        max_bytes: int = MAX_BYTES,
        max_age: timedelta = MAX_AGE,
        patience: timedelta = PATIENCE,
        clock: Clock = SYSTEM,
    ) -> None:
        self.store = store
        self._tasks = tasks
        self.max_bytes = max_bytes
        """Of all whole recordings together."""
        self.max_age = max_age
        """Of a whole recording."""
        self._patience = patience
        self._clock = clock
        self._swept: tuple[float, asyncio.Task[None]] | None = None
        self._known: OrderedDict[str, tuple[float, StoredRecording]] = OrderedDict()
        self._followers: dict[str, Follower] = {}
        self._looking = set[asyncio.Task[None]]()

    def begin(self, podcast_id: str, claim: int) -> RecordingWriter:
        """Begin the recording of a claim; who has it may do so once.

        Who listens to an earlier one goes on with this one at the same place, where it is the same so far.

        Raises:
            InvalidInput: for an id that cannot be.
        """
        return RecordingWriter(self.store, podcast_id, claim)

    async def take_over(self, podcast_id: str, claim: int) -> int | None:
        """Make the whole recording of an earlier claim this one's: its size, or None where there is none.

        Raises:
            RecordingsUnavailable: when the store does not answer.
        """
        return await take_over(self.store, podcast_id, claim)

    async def duration(self, podcast_id: str, claim: int) -> float | None:
        """Seconds of a claim's whole recording; None where they are not known.

        Raises:
            RecordingsUnavailable: when the store does not answer.
        """
        now = self._clock.now()
        return await WholeRecording(
            self.store, StoredRecording(podcast_id=podcast_id, claim=claim, size=0, ended=now)
        ).duration()

    async def remove(self, podcast_id: str, claim: int) -> None:
        """Remove all that a lost claim has recorded, unless it counts; what cannot be removed now goes later.

        Asked of the record first. Otherwise: the last word is committed and its answer lost · it is said again, and
        refused, since the task has ended · what all listeners hear is removed as a late worker's.
        """
        try:
            stored = await self._tasks.stored(podcast_id)
            if stored is None or stored.claim != claim:
                await remove_attempt(self.store, podcast_id, claim)
        except GreenroomError as error:
            log.warning("a late recording is not removed yet: %s", error)

    async def whole(self, podcast_id: str) -> WholeRecording | None:
        """A podcast's whole recording; None where there is none, or none any more.

        Raises:
            InvalidInput: for an id that cannot be.
            RecordUnavailable: when the record cannot be asked.
        """
        check_part("podcast_id", podcast_id)
        known = self._known.get(podcast_id)
        now = self._clock.monotonic()
        if known is None or known[0] < now:
            stored = await self._tasks.stored(podcast_id)
            if stored is None or not stored.size or stored.expired is not None:
                self._known.pop(podcast_id, None)
                return None
            known = self._known[podcast_id] = now + _KNOWN_FOR, stored
            if len(self._known) > _KNOWN:
                self._known.popitem(last=False)
        return WholeRecording(self.store, known[1])

    async def clusters(self, podcast_id: str, *, from_ms: int = 0, wait: bool = False) -> AsyncGenerator[bytes, None]:
        """The initial segment, then the clusters from the one that holds `from_ms` on, to the end of the recording.

        A recording in progress is followed, from attempt to attempt. Past the end of a whole one there is no cluster.

        Arguments:
            wait: wait for a recording that has not begun, for as long as one may come.

        Raises:
            InvalidInput: for an id that cannot be, or a negative place.
            NothingYet: where there is no recording; with `wait` once the podcast has ended without one that is here.
            GivenUp: when nobody goes on with what was begun, or with another one than was heard.
            RecordingsUnavailable, RecordUnavailable: when the store or the record cannot be asked.
            RecordingFailed: when the objects are not what was put.
        """
        check_part("podcast_id", podcast_id)
        if from_ms < 0:
            raise InvalidInput("from", f"{from_ms} ms is before the beginning", "use 0 or more")
        number = begins = from_ms // CLUSTER_MS
        source: RecordingSource | None = None
        gone = False
        async with self._following(podcast_id) as follower:
            while True:
                changed, newest = follower.changed, follower.source
                if source is None and newest is not None:
                    source = newest
                    yield webm.init_segment(source.duration_ms)
                if source is not None and number < len(source) and not gone:
                    try:
                        clusters = await source.read(number)
                    except RecordingGone:
                        # Discarded: the next attempt may go on. Removed when it was over: there is none.
                        gone = True
                        continue
                    for cluster in clusters:
                        number += 1
                        yield cluster
                    continue
                if source is not None and source.whole and source is newest:
                    if not gone:
                        return
                    if follower.over:
                        raise GivenUp(podcast_id)
                if source is not None and newest is not None and source is not newest:
                    goes_on = number == begins or await _goes_on(source, newest, number)
                    if goes_on is False:
                        raise GivenUp(podcast_id)
                    if goes_on:
                        source, gone = newest, False
                        continue
                if follower.trouble is not None:
                    raise follower.trouble
                if follower.closed:
                    raise RecordingFailed("the recordings are closed")
                if source is not None and follower.given_up:
                    raise GivenUp(podcast_id)
                none_comes = follower.missing or (follower.over and follower.given_up)
                if follower.looked and source is None and (none_comes or not wait):
                    raise NothingYet(podcast_id)
                await changed.wait()

    async def kept(self) -> tuple[int, int]:
        """How many whole recordings can be had, and their bytes together.

        Raises:
            RecordUnavailable: when the record cannot be asked.
        """
        sizes = [one.size for one in await self._tasks.all_stored() if one.size and one.expired is None]
        return len(sizes), sum(sizes)

    async def sweep(self) -> None:
        """Remove what is left over, and expire whole recordings beyond the limits, the oldest first."""
        try:
            expired = await recording_sweeper.sweep(
                self.store, self._tasks, self._clock.now(), max_bytes=self.max_bytes, max_age=self.max_age
            )
        except (GreenroomError, OSError) as error:
            # Room that was not made is no reason not to record: where there is none the recording says so.
            log.warning("old recordings cannot be removed: %s", error)
            return
        for one in expired:
            self._known.pop(one.podcast_id, None)
            log.info("expired the recording of podcast %s", one.podcast_id)

    def sweep_soon(self) -> None:
        """Begin the same, once in `SWEEP_EVERY` at most: a slow store keeps no worker waiting."""
        now = self._clock.monotonic()
        if self._swept is None or (now - self._swept[0] >= SWEEP_EVERY and self._swept[1].done()):
            self._swept = now, asyncio.create_task(self.sweep(), name="greenroom-sweep")

    async def close(self) -> None:
        """Let go of what is followed; who still listens gets an error."""
        if self._swept is not None:
            self._swept[1].cancel()
            await asyncio.wait([self._swept[1]])
        for follower in self._followers.values():
            follower.close()
        # What is asked of a record or a store that does not answer is not waited for.
        for looking in self._looking:
            looking.cancel()
        if self._looking:
            await asyncio.wait(self._looking)
        self.store.close()

    @asynccontextmanager
    async def _following(self, podcast_id: str) -> AsyncIterator[Follower]:
        follower = self._followers.get(podcast_id)
        if follower is None:
            patience = self._patience.total_seconds()
            follower = Follower(self.store, self._tasks, podcast_id, self._clock, patience)
            self._followers[podcast_id] = follower
            looking = asyncio.create_task(follower.keep_looking(), name=f"greenroom-recording-{podcast_id}")
            self._looking.add(looking)
            looking.add_done_callback(self._looking.discard)
        follower.listeners += 1
        try:
            yield follower
        finally:
            follower.listeners -= 1
            if not follower.listeners:
                # At once: who comes now gets a look-out that does not end.
                del self._followers[podcast_id]
                follower.stop()


# docs/decisions/0089-listeners-go-on-with-the-same-bytes-only.md
async def _goes_on(heard: RecordingSource, newest: RecordingSource, clusters: int) -> bool | None:
    """Whether another claim's recording has the clusters that were heard of this one; None while it is not so far.

    Otherwise: a worker is killed · a story is changed · the next attempt tells another one · who has heard half of the
    first would hear the second half of the other.
    """
    try:
        other = await newest.digest(clusters)
        if other is None:
            return False if newest.whole else None
        return other == await heard.digest(clusters)
    except RecordingGone:
        return False
