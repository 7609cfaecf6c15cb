"""Following a recording that may still be written, by a worker of any host: one look-out for all its listeners here.

The record tells which claim counts; its segments are asked for one after another. A process that follows a recording
asks the store some twenty times a second while it grows, and the record twice a second while it does not.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress

from greenroom.clock import Clock
from greenroom.errors import GreenroomError
from greenroom_platform.domain.task_records import StoredRecording, TaskRecords
from greenroom_platform.models import READY_TO_STREAM, STATUSES, PodcastTask
from greenroom_platform.studio.recording_errors import RecordingFailed
from greenroom_platform.studio.recording_source import RecordingGone, RecordingSource
from greenroom_platform.studio.recording_store import RecordingStore

log = logging.getLogger("greenroom.studio")

LOOK = 0.05
"""Seconds between two looks at a recording that grows."""
ASK = 0.5
"""Seconds without a new segment after which the record is asked whether the claim still counts."""


class Follower:
    """Follows one podcast's recording from claim to claim for all who listen in this process.

    Arguments:
        patience: seconds without anybody who writes it, after which it is given up.
    """

    def __init__(
        self, store: RecordingStore, tasks: TaskRecords, podcast_id: str, clock: Clock, patience: float
    ) -> None:
        self._store = store
        self._tasks = tasks
        self._podcast_id = podcast_id
        self._clock = clock
        self._patience = patience
        self._alone_since: float | None = None
        self._asked: float | None = None
        self._stopped = asyncio.Event()
        self.listeners = 0
        self.source: RecordingSource | None = None
        """The claim that counts."""
        self.looked = False
        """Whether it is known if there is anything."""
        self.given_up = False
        self.over = False
        """Whether the podcast has ended."""
        self.missing = False
        """Whether it has been made, and there is no recording of it here: none will come."""
        self.trouble: Exception | None = None
        self.closed = False
        self.changed = asyncio.Event()
        """Set at the next change of any of these, and then replaced."""

    def stop(self) -> None:
        """Have `keep_looking` end; nobody listens any more."""
        self._stopped.set()

    def close(self) -> None:
        """Turn away those who still listen."""
        self.closed = True
        self.changed.set()
        self.stop()

    async def keep_looking(self) -> None:
        """Look until the recording is whole and the podcast over; let go of it when nobody listens any more."""
        try:
            while not self._stopped.is_set():
                if await self._looked():
                    self.changed.set()
                    self.changed = asyncio.Event()
                grows = self.source is not None and not self.source.whole
                pause = None if self._settled() else LOOK if grows else ASK
                with suppress(TimeoutError):
                    async with asyncio.timeout(pause):
                        await self._stopped.wait()
        except Exception as error:
            # Prevents: an error that nobody thought of ends the look-out · all who listen wait for ever for a change.
            log.error("a recording cannot be followed", exc_info=error)
            self.trouble = RecordingFailed("the recording cannot be followed; the log has the reason")
        finally:
            self.closed = True
            self.changed.set()
            if self.source is not None:
                self.source.close()

    def _settled(self) -> bool:
        """Whether nothing can change any more.

        A whole recording is not enough. Otherwise: a late worker makes its recording whole · the claim of another
        counts · who comes now hears the late one's, and who hears that is not given the other when it is removed.
        """
        return self.over and self.source is not None and self.source.whole

    async def _looked(self) -> bool:
        """Look once; whether anything has changed."""
        before = self._state()
        grown = False
        try:
            grown = self.source is not None and await self.source.look()
            now = asyncio.get_running_loop().time()
            if grown:
                self._asked = now
            elif self._asked is None or self.source is None or now - self._asked >= ASK:
                self._asked = now
                grown = await self._ask()
            self.trouble = None
        except (OSError, GreenroomError) as error:
            self.trouble = error
        self.looked = True
        self.given_up = self._alone_since is not None and self._clock.monotonic() - self._alone_since > self._patience
        return grown or before != self._state()

    def _state(self) -> tuple[object, ...]:
        return self.looked, self.source, self.given_up, self.trouble, self.over, self.missing

    async def _ask(self) -> bool:
        """Ask the record which claim counts, and take it; whether anything new is there."""
        task = await self._tasks.task(self._podcast_id)
        stored = await self._tasks.stored(self._podcast_id) if task is not None and _is_over(task) else None
        counts = _claim_of(task, stored)
        # Those who hear the claim before hear what there is of it, and then compare.
        source = self.source
        if counts and (source is None or source.claim != counts):
            source = RecordingSource(self._store, self._podcast_id, counts)
        grown = False
        if source is not None and not source.whole:
            if stored is None:
                grown = await source.look()
            else:
                with suppress(RecordingGone):
                    await source.read_index(stored.size)
                    grown = True
        if grown:
            self.source = source
        self.over = task is not None and STATUSES.ended(task.status)
        # Its object is put before the record names it. Otherwise: a worker of another host has put it into a directory
        # of its own · who listens here from the beginning waits for ever.
        self.missing = self.source is None and task is not None and _is_over(task)
        if self._settled() or (task is not None and _is_written(task, self._clock)):
            self._alone_since = None
        elif self._alone_since is None:
            self._alone_since = self._clock.monotonic()
        return grown


def _is_over(task: PodcastTask) -> bool:
    return task.status == READY_TO_STREAM


def _claim_of(task: PodcastTask | None, stored: StoredRecording | None) -> int:
    """The claim whose recording counts; 0 for none."""
    if task is None or (_is_over(task) and (stored is None or stored.expired is not None)):
        return 0
    return task.claim


def _is_written(task: PodcastTask, clock: Clock) -> bool:
    """Whether a worker holds it now."""
    return isinstance(task.worker, str) and task.claimed_until > clock.now()  # type: ignore[operator]
