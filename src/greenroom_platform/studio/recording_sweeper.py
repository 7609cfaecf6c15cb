"""Removing recordings that are too old or too many, and what dead workers have left, by the names in the record.

The store is never listed: what another record, or another program, has put beside ours is not touched. A recording
that is over its limits is first expired in the record, where listeners look it up; its object goes an hour later, so
that those who hear it hear it to its end, on whichever host.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

from greenroom.errors import GreenroomError
from greenroom_platform.domain.task_records import StoredRecording, TaskRecords
from greenroom_platform.studio.recording_store import RecordingStore, transcript_name, whole_name
from greenroom_platform.studio.recording_writer import remove_attempt

log = logging.getLogger("greenroom.studio")

LATER = timedelta(hours=1)
"""Between the end of a podcast, or of its recording's time, and the removal of objects: longer than the longest."""


async def sweep(
    store: RecordingStore, tasks: TaskRecords, now: datetime, *, max_bytes: int, max_age: timedelta
) -> list[StoredRecording]:
    """Remove what may go; returns the whole recordings that were expired, the oldest first.

    Several workers may do so at once: each step can be done twice. A step that fails is logged, and done next time.

    Arguments:
        max_bytes: of all whole recordings together that are not expired; the newest one stays in any case.
        max_age: of a whole recording.
    """
    failed = list[Exception]()
    expired = list[StoredRecording]()
    with _continuing(failed):
        await store.sweep(now.timestamp())
    every = await tasks.all_stored()
    kept = [one for one in every if one.size and one.expired is None]
    total = sum(one.size for one in kept)
    for number, one in enumerate(kept, 1):
        too_much = total > max_bytes and number < len(kept)
        if too_much or one.ended < now - max_age:
            total -= one.size
            with _continuing(failed):
                await tasks.update_stored(one.podcast_id, expired=now)
                expired.append(one)
    for one in every:
        with _continuing(failed):
            if one.expired is not None and one.expired <= now - LATER:
                if one.swept:
                    of = one.podcast_id, one.claim
                    await store.delete(whole_name(*of), transcript_name(*of))
                else:
                    await _remove_attempts(store, one, keep_whole=False)
                await tasks.forget_stored(one.podcast_id, claim=one.claim)
            elif not one.swept and one.ended <= now - LATER:
                await _sweep_attempts(store, tasks, one)
    if failed:
        log.warning("old recordings cannot be removed yet, %d times; the first: %s", len(failed), failed[0])
    return expired


# Otherwise: an object of one podcast cannot be removed · nothing of those that ended after it ever is.
@contextmanager
def _continuing(failed: list[Exception]) -> Iterator[None]:
    """Keep an error for later, and go on with the next podcast."""
    try:
        yield
    except (GreenroomError, OSError) as error:
        failed.append(error)


async def _sweep_attempts(store: RecordingStore, tasks: TaskRecords, one: StoredRecording) -> None:
    """Remove every segment of a podcast that is over, and the whole recordings that the record does not name."""
    await _remove_attempts(store, one, keep_whole=bool(one.size))
    if one.size:
        await tasks.update_stored(one.podcast_id, swept=True)
    else:
        await tasks.forget_stored(one.podcast_id, claim=one.claim)


async def _remove_attempts(store: RecordingStore, one: StoredRecording, *, keep_whole: bool) -> None:
    """Remove what its claims have left, but for the last one's whole recording where that is kept."""
    for claim in range(1, one.claim + 1):
        await remove_attempt(store, one.podcast_id, claim, keep_whole=keep_whole and claim == one.claim)
