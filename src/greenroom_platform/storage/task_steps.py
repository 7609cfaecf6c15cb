"""What becomes of a task's members, whatever database keeps it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Any

import msgspec

from greenroom.errors import Conflict, InvalidInput
from greenroom_platform.domain.task_records import StoredRecording, Waiting
from greenroom_platform.models import ERROR, QUEUED, STATUSES, PodcastTask, in_utc


def after(now: datetime, seconds: float) -> datetime:
    """The moment so many seconds later, in UTC."""
    return in_utc(now) + timedelta(seconds=seconds)


def check_step(status: str) -> None:
    """Return if a worker may tell this status.

    Raises:
        InvalidInput: when it is none, or the failure.
    """
    if status not in STATUSES or status == STATUSES.failure:
        raise InvalidInput("status", f"{status!r} is not a step", f"use one of {', '.join(STATUSES.steps)}")


def unclaimed(task: PodcastTask) -> PodcastTask:
    """The task without its claim."""
    return msgspec.structs.replace(task, worker=msgspec.UNSET, claimed_until=msgspec.UNSET)


def shown(task: PodcastTask, now: datetime, **members: Any) -> PodcastTask | None:
    """The task with other members; None where listeners see no difference. An end takes the claim and the estimate."""
    changed = msgspec.structs.replace(task, **members)
    if STATUSES.ended(changed.status):
        changed = msgspec.structs.replace(unclaimed(changed), estimated_completion_time=msgspec.UNSET)
    return None if changed.shown == task.shown else msgspec.structs.replace(changed, updated_at=in_utc(now))


_STATES: dict[str, tuple[Callable[[PodcastTask], bool], str]] = {
    "there": (lambda _: True, ""),
    "failed": (lambda task: task.status == ERROR, "has not failed: only a failed podcast is made once more"),
    "claimed": (lambda task: task.worker is not msgspec.UNSET, "is nobody's: only what a worker has is given back"),
    "unfinished": (lambda task: not STATUSES.ended(task.status), "has ended already"),
}
"""What operators may ask of a task before they change it, and what it is where it does not hold."""


def check_state(task: PodcastTask | None, podcast_id: str, state: str) -> PodcastTask:
    """The task, where it is in one of `_STATES`.

    Raises:
        LookupError: when there is no such task.
        Conflict: when it is in another state.
    """
    if task is None:
        raise LookupError(f"there is no podcast {podcast_id}")
    holds, otherwise = _STATES[state]
    if not holds(task):
        raise Conflict(f"podcast {podcast_id} {otherwise}")
    return task


# docs/decisions/0103-failed-podcasts-are-retried-under-their-id.md
def queued_again(task: PodcastTask, now: datetime) -> PodcastTask:
    """A failed task as it is queued once more, with all its attempts. The number of its claims goes on: what an old one
    brings is refused."""
    unset = msgspec.UNSET
    return msgspec.structs.replace(
        task, status=QUEUED, error_message=unset, retry_at=unset, attempts=0, progress=0.0, updated_at=in_utc(now)
    )


def expired_of(stored: StoredRecording | None, task: PodcastTask, now: datetime) -> StoredRecording | None:
    """What is noted of a deleted task's recordings, so that they are removed; None where it was never claimed."""
    if stored is None and task.claim:
        stored = StoredRecording(podcast_id=task.podcast_id, claim=task.claim, size=0, ended=in_utc(now))
    if stored is None or stored.expired is not None:
        return stored
    return msgspec.structs.replace(stored, expired=in_utc(now))


def waiting_of(unfinished: Iterable[PodcastTask], now: datetime) -> Waiting:
    """Who waits of all unfinished tasks, which are in the order of their requests."""
    waiting, busy = list[str](), list[datetime]()
    for task in unfinished:
        until = task.claimed_until
        if isinstance(until, msgspec.UnsetType) or until <= now:
            waiting.append(task.podcast_id)
        elif not isinstance(task.estimated_completion_time, msgspec.UnsetType):
            busy.append(task.estimated_completion_time)
    return Waiting(tuple(waiting), min(busy, default=None))
