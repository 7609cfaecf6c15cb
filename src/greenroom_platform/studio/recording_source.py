"""What one claim has recorded, as it is read: segment by segment while it grows, by ranges once it is whole.

Where each cluster lies in the whole is noted as segments come, eight bytes a second of audio. The clusters themselves
are read when a listener is there, in blocks that all listeners of a process share.
"""

from __future__ import annotations

import asyncio
import hashlib
from array import array
from bisect import bisect_right
from collections import OrderedDict
from itertools import pairwise

import msgspec

from greenroom_platform.studio import webm
from greenroom_platform.studio.recording_errors import RecordingFailed
from greenroom_platform.studio.recording_store import RecordingStore, segment_name, whole_name
from greenroom_platform.studio.recording_writer import EndMark
from greenroom_platform.studio.webm import CLUSTER_HEAD, HEADER_SIZE

BLOCK = 32 * 1024
"""Bytes of a whole recording that are read at once, about eight seconds; a single cluster may be longer."""
BLOCKS = 8
"""Blocks that are kept for all listeners of a recording together."""
_DIGEST = 8


class RecordingGone(Exception):
    """What was there of a recording has been removed."""


class RecordingSource:
    """The recording of one claim.

    Raises, from its methods:
        RecordingsUnavailable: see `RecordingStore`.
        RecordingFailed: where the objects are not what was put.
    """

    def __init__(self, store: RecordingStore, podcast_id: str, claim: int) -> None:
        self.claim = claim
        self._store = store
        self._podcast_id = podcast_id
        self._name = whole_name(podcast_id, claim)
        self._places = array("Q", [HEADER_SIZE])  # where each cluster begins, and where the next one will
        self._firsts = array("L")  # the first cluster of each block
        self._segments = 0
        self._digests: list[bytes] = []  # of all before and with each cluster
        self._blocks: OrderedDict[int, asyncio.Future[bytes | None]] = OrderedDict()
        self.whole = False
        """Whether all of it is known: it grows no more."""
        self.duration_ms: float | None = None

    def __len__(self) -> int:
        """Clusters that are there in full."""
        return len(self._places) - 1

    async def look(self) -> bool:
        """Take note of segments that have come; whether there were any."""
        grown = False
        while not self.whole:
            data = await self._store.get(segment_name(self._podcast_id, self.claim, self._segments))
            if data is None:
                break
            if data.startswith(b"{"):
                self.duration_ms = _mark(data).duration_ms
                self.whole = True
            else:
                self._note(data)
                self._keep(self._segments, _had(data))
                self._segments += 1
            grown = True
        return grown

    async def read_index(self, size: int) -> None:
        """Take note of all of it from the whole recording: its segments may be gone.

        Raises:
            RecordingGone: where it has been removed.
        """
        header = await self._store.get(self._name, 0, HEADER_SIZE)
        if header is None:
            raise RecordingGone
        cues_at = webm.read_cues_place(header)
        index = None if cues_at is None else await self._store.get(self._name, cues_at, size)
        if cues_at is None or index is None:
            raise RecordingFailed(f"{self._name} has no cues")
        try:
            places = array("Q", [*webm.read_cues(index), cues_at])
        except ValueError as error:
            raise RecordingFailed(f"{self._name}: {error}") from None
        if places[: len(self) + 1] != self._places:
            raise RecordingFailed(f"{self._name} is not what its segments were")
        # Further blocks begin where the segments that are known end.
        for number in range(len(self), len(places) - 1):
            if not self._firsts or number == len(self) or places[number + 1] - places[self._firsts[-1]] > BLOCK:
                self._firsts.append(number)
        self._places = places
        self.duration_ms = webm.read_duration(header)
        self.whole = True

    async def read(self, number: int) -> list[bytes]:
        """Clusters from this one on, to the end of its block.

        Raises:
            RecordingGone: where they have been removed.
        """
        block = bisect_right(self._firsts, number) - 1
        data = await self._block(block)
        if data is None:
            raise RecordingGone
        first, last = self._firsts[block], self._last(block)
        if len(data) != self._places[last] - self._places[first]:
            raise RecordingFailed(f"a block of {self._name} is not what it was")
        base = self._places[first]
        return [data[a - base : b - base] for a, b in pairwise(self._places[number : last + 1])]

    async def digest(self, count: int) -> bytes | None:
        """A digest of the first clusters; None where there are not so many yet."""
        if count > len(self):
            return None
        if count > len(self._digests):
            # Known by its cues alone: who compares has heard the beginning of another claim's, which is rare.
            whole = await self._store.get(self._name, HEADER_SIZE, self._places[count])
            if whole is None:
                raise RecordingGone
            self._digests.clear()
            for a, b in pairwise(self._places[: count + 1]):
                self._add_digest(whole[a - HEADER_SIZE : b - HEADER_SIZE])
        return self._digests[count - 1] if count else b""

    def close(self) -> None:
        """Let go of what is read."""
        for task in self._blocks.values():
            task.cancel()
        self._blocks.clear()

    def _note(self, data: bytes) -> None:
        self._firsts.append(len(self))
        at = 0
        while at < len(data):
            head = webm.read_cluster_head(data[at : at + CLUSTER_HEAD])
            if head is None or at + head[0] > len(data):
                raise RecordingFailed(f"a segment of {self._name} is not a row of clusters")
            self._add_digest(data[at : at + head[0]])
            self._places.append(self._places[-1] + head[0])
            at += head[0]

    def _add_digest(self, cluster: bytes) -> None:
        before = self._digests[-1] if self._digests else b""
        self._digests.append(hashlib.blake2b(before + cluster, digest_size=_DIGEST).digest())

    def _last(self, block: int) -> int:
        return self._firsts[block + 1] if block + 1 < len(self._firsts) else len(self)

    async def _block(self, block: int) -> bytes | None:
        task = self._blocks.get(block)
        if task is None or (task.done() and (task.cancelled() or task.exception() is not None)):
            task = asyncio.create_task(self._fetch(block), name="greenroom-recording-block")
            task.add_done_callback(_seen)
            self._keep(block, task)
        else:
            self._blocks.move_to_end(block)
        # Shared: a listener who leaves does not take it from the others.
        return await asyncio.shield(task)

    def _keep(self, block: int, task: asyncio.Future[bytes | None]) -> None:
        self._blocks[block] = task
        while len(self._blocks) > BLOCKS:
            self._blocks.popitem(last=False)

    async def _fetch(self, block: int) -> bytes | None:
        if not self.whole:
            data = await self._store.get(segment_name(self._podcast_id, self.claim, block))
            if data is not None:
                return data
        # A segment is the same bytes of the whole: one that is swept already is there.
        return await self._store.get(self._name, self._places[self._firsts[block]], self._places[self._last(block)])


def _mark(data: bytes) -> EndMark:
    try:
        return msgspec.json.decode(data, type=EndMark)
    except msgspec.DecodeError:
        raise RecordingFailed("a recording's last segment is not an end mark") from None


def _had(data: bytes) -> asyncio.Future[bytes | None]:
    had: asyncio.Future[bytes | None] = asyncio.get_running_loop().create_future()
    had.set_result(data)
    return had


def _seen(task: asyncio.Future[bytes | None]) -> None:
    """Whoever waits for it is told; where they have all left, nobody complains of it."""
    if not task.cancelled():
        task.exception()
