"""Reading a recording that may still be written, by any process of this host: one look-out for all its listeners.

The look-out reads where each cluster is, not the clusters: what a recording costs is a place of eight bytes a second of
audio, and each listener has at most `BATCH` bytes in hand, whether it takes them or not.
"""

from __future__ import annotations

import asyncio
import os
import threading
from array import array
from collections.abc import Awaitable, Callable
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

from greenroom.clock import Clock
from greenroom.errors import GreenroomError
from greenroom_platform.studio import webm
from greenroom_platform.studio.recording_dir import RecordingDir, lock_to_read
from greenroom_platform.studio.webm import CLUSTER_HEAD, HEADER_SIZE

LOOK = 0.05
"""Seconds between two looks at a recording that grows."""
BATCH = 32 * 1024
"""Bytes that a listener reads at a time, about eight seconds; a single cluster may be longer."""


class RecordingSource:
    """A file of clusters, whole or growing. Its calls block: they belong on a thread."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._turn = threading.Lock()
        self._places = array("Q", [HEADER_SIZE])  # where each cluster begins, and where the next one will
        self.whole = False
        self.kept = False
        """Whether we hold its lock: then nobody writes it, and nobody removes it."""
        self.duration_ms: float | None = None

    def __len__(self) -> int:
        """Clusters that are there in full."""
        return len(self._places) - 1

    def look(self) -> bool:
        """Take note of clusters that have come; whether there were any."""
        with self._turn:
            if self._handle < 0:
                return False
            before = len(self)
            # Asked before the size: were it asked after, a writer could add its last clusters and end in between.
            self.kept = self.kept or lock_to_read(self._handle)
            size = os.fstat(self._handle).st_size
            while True:
                at = self._places[-1]
                head = webm.read_cluster_head(os.pread(self._handle, CLUSTER_HEAD, at))
                if head is None or at + head[0] > size:
                    return len(self) > before
                self._places.append(at + head[0])

    def is_named(self, path: Path) -> bool:
        """Whether this file bears that name now."""
        with self._turn:
            if self._handle < 0:
                return False
            with suppress(FileNotFoundError):
                return os.path.samestat(os.fstat(self._handle), path.stat())
            return False

    def end(self) -> None:
        """Note that it is whole, and how long."""
        self.look()
        with self._turn:
            self.whole = True
            if self._handle >= 0:
                self.duration_ms = webm.read_duration(os.pread(self._handle, HEADER_SIZE, 0))

    def read(self, number: int) -> list[bytes]:
        """Clusters from this one on, at least one and about a batch; none where the file was closed meanwhile."""
        with self._turn:
            if self._handle < 0:
                return []
            first = self._places[number]
            last = number + 1
            while last < len(self) and self._places[last + 1] - first <= BATCH:
                last += 1
            data = os.pread(self._handle, self._places[last] - first, first)
            places = self._places[number : last + 1]
            return [data[a - first : b - first] for a, b in pairwise(places)]

    def close(self) -> None:
        with self._turn:
            handle, self._handle = self._handle, -1
            if handle >= 0:
                os.close(handle)


class Follower:
    """Follows one podcast's recording from attempt to attempt for all who listen in this process.

    Arguments:
        run: runs a blocking call on a thread.
        patience: seconds without anybody who writes it, after which it is given up.
    """

    def __init__(
        self, shelf: RecordingDir, podcast_id: str, run: Callable[..., Awaitable[Any]], clock: Clock, patience: float
    ) -> None:
        self._shelf = shelf
        self._podcast_id = podcast_id
        self._whole = shelf.whole(podcast_id)
        self._run = run
        self._clock = clock
        self._patience = patience
        self._alone_since: float | None = None
        self._stopped = asyncio.Event()
        self.listeners = 0
        self.source: RecordingSource | None = None
        self.looked = False
        """Whether it is known if there is anything."""
        self.given_up = False
        self.trouble: Exception | None = None
        self.closed = False
        self.changed = asyncio.Event()
        """Set at the next change of any of these, and then replaced."""

    async def read(self, source: RecordingSource, number: int) -> list[bytes]:
        """See `RecordingSource.read`."""
        clusters: list[bytes] = await self._run(source.read, number)
        return clusters

    def stop(self) -> None:
        """Have `keep_looking` end; nobody listens any more."""
        self._stopped.set()

    def close(self) -> None:
        """Turn away those who still listen."""
        self.closed = True
        self.changed.set()
        self.stop()

    async def keep_looking(self) -> None:
        """Look until the recording is whole and kept, and let go of it when nobody listens any more."""
        try:
            while not self._stopped.is_set():
                if await self._looked():
                    self.changed.set()
                    self.changed = asyncio.Event()
                settled = self.source is not None and self.source.whole and self.source.kept
                with suppress(TimeoutError):
                    async with asyncio.timeout(None if settled else LOOK):
                        await self._stopped.wait()
        finally:
            if self.source is not None:
                self.source.close()

    async def _looked(self) -> bool:
        """Look once; whether anything has changed."""
        before = (self.looked, self.source, self.given_up, self.trouble)
        grown = False
        try:
            # Not cancelled by `stop`: a file that was opened just then would never be closed.
            self.source, grown = await self._run(self._look, self.source)
            self.trouble = None
        except (OSError, GreenroomError) as error:
            self.trouble = error
        self.looked = True
        if self.source is not None and (self.source.whole or not self.source.kept):
            self._alone_since = None
        elif self._alone_since is None:
            self._alone_since = self._clock.monotonic()
        self.given_up = self._alone_since is not None and self._clock.monotonic() - self._alone_since > self._patience
        return grown or before != (self.looked, self.source, self.given_up, self.trouble)

    def _look(self, source: RecordingSource | None) -> tuple[RecordingSource | None, bool]:
        """The file that counts now, and whether anything new is in it."""
        while True:
            # The parts first. Were the whole one looked for first: there is none yet · its part becomes it · there
            # is no part, and a recording that was there all the time has not been found.
            part = self._shelf.newest_part(self._podcast_id)
            whole = self._whole.exists()
            path = self._whole if whole else part
            if source is not None and (path is None or source.is_named(path)):
                # Without a name: what a discarded attempt had can still be listened to.
                found = source
            elif path is None:
                return None, False
            else:
                try:
                    found = RecordingSource(path)
                except FileNotFoundError:
                    continue  # renamed or removed since we looked
            if source is not None and found is not source:
                source.close()
            if whole and not found.whole:
                found.end()
                return found, True
            return found, found.look()
