"""The recordings of a data directory: written while they are rendered, listened to from any process of this host."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from greenroom.clock import SYSTEM, Clock
from greenroom.errors import GreenroomError, InvalidInput
from greenroom_platform.studio import webm
from greenroom_platform.studio.recording_dir import RecordingDir
from greenroom_platform.studio.recording_reader import Follower
from greenroom_platform.studio.recording_writer import RecordingFailed, RecordingFile
from greenroom_platform.studio.webm import CLUSTER_MS, Cluster

log = logging.getLogger("greenroom.studio")

MAX_BYTES = 2 * 1024**3
"""Of all whole recordings: some 1,700 of six minutes."""
MAX_AGE = timedelta(days=30)
PATIENCE = timedelta(minutes=2)
"""How long a listener waits for another attempt: longer than a dead worker's claim lasts."""
_THREADS = 4


class NothingYet(GreenroomError):
    """There is no recording of this podcast: it has not begun, was given up, or has been removed."""

    def __init__(self, podcast_id: str) -> None:
        super().__init__(f"there is no recording of podcast {podcast_id!r}")


class GivenUp(GreenroomError):
    """A recording was begun, nobody writes it any more, and no other attempt came in time."""

    def __init__(self, podcast_id: str) -> None:
        super().__init__(f"the recording of podcast {podcast_id!r} was given up")


class Recording:
    """An attempt under way, by one caller. Made by `Recordings.begin`; it ends by `finish` or `discard`."""

    def __init__(self, recordings: Recordings, file: RecordingFile) -> None:
        self._recordings = recordings
        self._file = file

    async def append(self, cluster: Cluster) -> None:
        """Add the next cluster; every listener gets it.

        Raises:
            InvalidInput: for one that does not begin where the last one ended.
            RecordingFailed: when it cannot be written; then only `discard` is left.
        """
        await self._recordings.run_to_write(self._file.append, cluster)

    async def finish(self) -> None:
        """Make it the whole recording of its podcast, where there is none yet, and remove others beyond the limits.

        Raises:
            RecordingFailed: when it cannot be written.
        """
        await self._recordings.run_to_write(self._file.finish)
        await self._recordings.sweep()

    async def discard(self) -> None:
        """Remove what there is of it; of a whole one nothing."""
        await self._recordings.run_to_write(self._file.discard)


class Recordings:
    """Every recording of one directory. Several processes may use it at once.

    Arguments:
        directory: made where it is missing.
        max_bytes: of all whole recordings together; the newest one stays in any case.
        max_age: of a whole recording.
        patience: how long a listener waits for another attempt once nobody writes any more.
    """

    def __init__(
        self,
        directory: Path,
        *,
        max_bytes: int = MAX_BYTES,
        max_age: timedelta = MAX_AGE,
        patience: timedelta = PATIENCE,
        clock: Clock = SYSTEM,
    ) -> None:
        self._shelf = RecordingDir(directory)
        self._max_bytes = max_bytes
        self._max_age = max_age
        self._patience = patience
        self._clock = clock
        self._threads = ThreadPoolExecutor(_THREADS, "greenroom-recordings")
        self._followers: dict[str, Follower] = {}
        self._looking = set[asyncio.Task[None]]()

    async def begin(self, podcast_id: str, attempt: str) -> Recording:
        """Begin an attempt. Who listens to an earlier one goes on with this one, at the same place.

        Arguments:
            attempt: a name for it, of letters, digits, `_` and `-`; it shows in the file's name.

        Raises:
            InvalidInput: for an id or name that cannot be.
            RecordingFailed: when the directory cannot be written to.
        """
        await self.sweep()
        file: RecordingFile = await self.run_to_write(RecordingFile, self._shelf, podcast_id, attempt)
        return Recording(self, file)

    def whole(self, podcast_id: str) -> Path | None:
        """The file of a whole recording, with its duration and cues; None where there is none."""
        path = self._shelf.whole(podcast_id)
        return path if path.exists() else None

    async def clusters(self, podcast_id: str, *, from_ms: int = 0, wait: bool = False) -> AsyncGenerator[bytes, None]:
        """The initial segment, then the clusters from the one that holds `from_ms` on, to the end of the recording.

        A recording in progress is followed, from attempt to attempt. Past the end of a whole one there is no cluster.

        Arguments:
            wait: wait for a recording that has not begun, for as long as it takes.

        Raises:
            InvalidInput: for an id that cannot be, or a negative place.
            NothingYet: where there is no recording; not with `wait`.
            GivenUp: when nobody goes on with what was begun.
            RecordingFailed: when the files cannot be read.
        """
        if from_ms < 0:
            raise InvalidInput("from", f"{from_ms} ms is before the beginning", "use 0 or more")
        number = from_ms // CLUSTER_MS
        begun = False
        async with self._following(podcast_id) as follower:
            while True:
                changed, source = follower.changed, follower.source
                if source is not None and not begun:
                    begun = True
                    yield webm.init_segment(source.duration_ms)
                if source is not None and number < len(source):
                    for cluster in await follower.read(source, number):
                        number += 1
                        yield cluster
                    continue
                if follower.trouble is not None:
                    raise RecordingFailed(f"the recording cannot be read: {follower.trouble}")
                if source is not None and source.whole:
                    return
                if follower.closed:
                    raise RecordingFailed("the recordings are closed")
                if begun and follower.given_up:
                    raise GivenUp(podcast_id)
                if follower.looked and not begun and not wait:
                    raise NothingYet(podcast_id)
                await changed.wait()

    async def sweep(self) -> None:
        """Remove what dead attempts have left, and whole recordings beyond the limits, the oldest first."""
        now = self._clock.now()
        oldest = (now - self._max_age).timestamp()

        def swept() -> list[Path]:
            return self._shelf.sweep(max_bytes=self._max_bytes, oldest=oldest, now=now.timestamp())

        try:
            removed = await self._run(swept)
        except OSError as error:
            # Room that was not made is no reason not to record: where there is none the recording says so.
            log.warning("old recordings cannot be removed: %s", error)
            return
        for path in removed:
            log.info("removed the recording %s", path.name)

    async def close(self) -> None:
        """Let go of files and threads; who still listens gets an error."""
        for follower in self._followers.values():
            follower.close()
        if self._looking:
            await asyncio.wait(self._looking)
        await asyncio.to_thread(self._threads.shutdown)

    async def run_to_write(self, call: Callable[..., Any], *args: Any) -> Any:
        """Run a blocking call on a thread.

        Raises:
            RecordingFailed: for an `OSError`.
        """
        try:
            return await self._run(call, *args)
        except OSError as error:
            raise RecordingFailed(f"the recording cannot be written: {error.strerror or error}") from error

    async def _run(self, call: Callable[..., Any], *args: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._threads, call, *args)

    @asynccontextmanager
    async def _following(self, podcast_id: str) -> AsyncIterator[Follower]:
        follower = self._followers.get(podcast_id)
        if follower is None:
            patience = self._patience.total_seconds()
            follower = Follower(self._shelf, podcast_id, self._run, self._clock, patience)
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
