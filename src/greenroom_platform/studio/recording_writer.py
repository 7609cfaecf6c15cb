"""One claim's recording: segments while it is rendered, then the whole as one object, then the end mark."""

from __future__ import annotations

import asyncio
import logging
import math
from contextlib import suppress

import msgspec

from greenroom.errors import GreenroomError, InvalidInput
from greenroom_platform.studio import webm
from greenroom_platform.studio.recording_errors import RecordingsUnavailable
from greenroom_platform.studio.recording_store import (
    MAX_SEGMENTS,
    RecordingStore,
    segment_name,
    transcript_name,
    whole_name,
)
from greenroom_platform.studio.webm import CLUSTER_MS, Cluster

log = logging.getLogger("greenroom.studio")

SEGMENT = 32 * 1024
"""Bytes that are put at once, about eight seconds of audio."""
INTERVAL = 0.25
"""Seconds between two segments where less than that has come: what listeners are behind at most, at first."""
DOUBLE_AFTER = 200
"""Segments after which that is twice as long, and so on."""
AHEAD = 8 * SEGMENT
"""Bytes that may wait for a slow store before whoever renders has to."""
TAKE_OVER = 8
"""Claims whose whole recording may be taken over; a podcast has three attempts, and those that workers give back."""
PATIENCE = 30.0
"""Seconds for which a store that does not answer is asked again; a claim is renewed meanwhile."""
AGAIN = 1.0
"""Seconds between two of these questions."""


class EndMark(msgspec.Struct, frozen=True):
    """What the last segment holds in place of clusters: the claim's recording is whole.

    Arguments:
        duration_ms: of the whole audio.
        size: bytes of the whole recording.
    """

    duration_ms: float
    size: int


def interval_after(segments: int) -> float:
    """Seconds until the next segment, after so many: short recordings are heard at once, long ones fit."""
    return INTERVAL * float(2 ** (segments // DOUBLE_AFTER))


class RecordingWriter:
    """The recording of one claim on a podcast, by one caller. It ends by `finish` or `discard`.

    A crash between any two of its steps leaves segments without an end mark, which nobody takes for a whole recording,
    or the whole one, which the next claim takes over. All of it is kept in memory: a few megabytes for the longest.
    """

    def __init__(self, store: RecordingStore, podcast_id: str, claim: int) -> None:
        self._store = store
        self._podcast_id = podcast_id
        self._claim = claim
        self._whole = whole_name(podcast_id, claim)
        self._clusters: list[bytes] = []
        self._taken = 0  # clusters that are in segments, or in the one that is being put
        self._segments = 0
        self._pending = 0  # bytes of those that are not
        self._duration_ms = 0.0
        self._transcript: bytes | None = None
        self._open = True
        self._discarded = False
        self._changed = asyncio.Event()
        self._putting = asyncio.create_task(self._keep_putting(), name=f"greenroom-recording-{podcast_id}")
        self._putting.add_done_callback(lambda _: self._tell())

    async def append(self, cluster: Cluster) -> None:
        """Add the next cluster; every listener gets it within `INTERVAL`.

        Raises:
            InvalidInput: for one that does not begin where the last one ended.
            RecordingFailed, RecordingsUnavailable: when an earlier one could not be written; then only `discard` is
                left.
        """
        self._must_be_open()
        expected = len(self._clusters) * CLUSTER_MS
        if cluster.start_ms != expected:
            remedy = f"append the one that begins at {expected} ms"
            raise InvalidInput("cluster", f"it begins at {cluster.start_ms} ms", remedy)
        self._clusters.append(cluster.data)
        self._duration_ms = cluster.end_ms
        self._pending += len(cluster.data)
        self._tell()
        while self._pending > AHEAD and self._has_room() and not self._putting.done():
            await self._changed.wait()
        if self._putting.done():
            self._putting.result()

    @property
    def duration(self) -> float:
        """Seconds of what was appended."""
        return self._duration_ms / 1000

    async def finish(self, transcript: bytes | None = None) -> int:
        """Make it the whole recording of this claim; returns its size in bytes.

        Arguments:
            transcript: the JSON of what is said in it.

        Raises:
            InvalidInput: where it has no cluster.
            RecordingFailed, RecordingsUnavailable: when it cannot be written.
        """
        self._must_be_open()
        if not self._clusters:
            raise InvalidInput("recording", "it has no cluster", "append what was rendered, or discard it")
        self._open, self._transcript = False, transcript
        self._tell()
        return await asyncio.shield(self._putting)

    async def discard(self) -> None:
        """Remove what there is of it. What cannot be removed now, is when the podcast has been over for an hour."""
        self._open, self._discarded = False, True
        self._tell()
        # What is being put is waited for: removed first, it would come after, and nobody would know of it.
        await asyncio.wait([self._putting])
        if not self._putting.cancelled():
            self._putting.exception()
        try:
            # One more than is known of: its put may have reached the store without an answer.
            await remove_attempt(
                self._store, self._podcast_id, self._claim, segments=min(self._segments + 1, MAX_SEGMENTS)
            )
        except GreenroomError as error:
            log.warning("a discarded recording is not removed yet: %s", error)

    async def _keep_putting(self) -> int:
        """Put all of it, a segment when enough has come, or some time after the last one; returns the whole's size."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        while (self._open or self._pending) and not self._discarded:
            changed = self._changed
            wait = due - loop.time()
            if not self._pending or (self._open and not self._has_room()):
                await changed.wait()
            elif wait > 0 and self._open and self._pending < SEGMENT:
                with suppress(TimeoutError):
                    async with asyncio.timeout(wait):
                        await changed.wait()
            else:
                due = loop.time() + interval_after(self._segments)
                await self._put_segment(self._take())
        if self._discarded:
            return 0
        data = webm.whole_file(self._clusters, self._duration_ms)
        # Before the whole. Otherwise: the whole is put · killed · the next claim takes it over, without a transcript.
        if self._transcript is not None:
            await self._put(transcript_name(self._podcast_id, self._claim), self._transcript)
        await self._put(self._whole, data)
        # After the whole. Otherwise: marked · killed · listeners take the end for one that can be heard again.
        await self._put_segment(msgspec.json.encode(EndMark(self._duration_ms, len(data))))
        return len(data)

    async def _put_segment(self, data: bytes) -> None:
        await self._put(segment_name(self._podcast_id, self._claim, self._segments), data)
        self._segments += 1
        self._tell()

    def _has_room(self) -> bool:
        """Whether segments are left but for two: the last one, with all that is still to come, and the end mark."""
        return self._segments < MAX_SEGMENTS - 2

    def _take(self) -> bytes:
        """The next clusters for a segment: at least one, and about `SEGMENT` bytes; all where it is the last."""
        first, size = self._taken, 0
        limit = SEGMENT if self._has_room() else math.inf
        while self._taken < len(self._clusters) and (not size or size + len(self._clusters[self._taken]) <= limit):
            size += len(self._clusters[self._taken])
            self._taken += 1
        self._pending -= size
        self._tell()
        return b"".join(self._clusters[first : self._taken])

    async def _put(self, name: str, data: bytes) -> None:
        """Put an object, and ask again for a while where the store does not answer."""
        loop = asyncio.get_running_loop()
        until = loop.time() + PATIENCE
        while True:
            try:
                return await self._store.create(name, data)
            except RecordingsUnavailable as error:
                if self._discarded or loop.time() >= until:
                    raise
                log.warning("a recording waits for its store: %s", error)
            await asyncio.sleep(AGAIN)

    def _tell(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    def _must_be_open(self) -> None:
        if not self._open:
            raise InvalidInput("recording", "it is finished or discarded", "begin another attempt")


async def remove_attempt(
    store: RecordingStore, podcast_id: str, claim: int, *, segments: int = MAX_SEGMENTS, keep_whole: bool = False
) -> None:
    """Remove all that a claim can have put, by one request; the store is not asked for what there is.

    Otherwise: one segment is missing, as a put that failed · those behind it are not found, and stay for ever.
    """
    names = [segment_name(podcast_id, claim, number) for number in range(segments)]
    if not keep_whole:
        names += [whole_name(podcast_id, claim), transcript_name(podcast_id, claim)]
    await store.delete(*names)


async def take_over(store: RecordingStore, podcast_id: str, claim: int) -> int | None:
    """Make the whole recording of an earlier claim this one's; returns its size, or None where there is none.

    Its worker was killed between the recording's last byte and the word of it. The last `TAKE_OVER` claims are looked
    at: each costs a request before anything is rendered.
    """
    for earlier in reversed(range(max(1, claim - TAKE_OVER), claim)):
        data = await store.get(whole_name(podcast_id, earlier))
        if data is not None:
            said = await store.get(transcript_name(podcast_id, earlier))
            if said is not None:
                await store.create(transcript_name(podcast_id, claim), said)
            await store.create(whole_name(podcast_id, claim), data)
            return len(data)
    return None
