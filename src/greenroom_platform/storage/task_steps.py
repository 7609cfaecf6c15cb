"""What becomes of a task's members, whatever database keeps it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

import msgspec

from greenroom.errors import InvalidInput
from greenroom_platform.domain.task_records import Waiting
from greenroom_platform.models import STATUSES, PodcastTask, in_utc


def after(now: datetime, seconds: float) -> datetime:
    """The moment so many seconds later, in UTC."""
    return in_utc(now) + timedelta(seconds=seconds)


def check_step(status: str) -> None:
    """Return if a worker may tell this status.

    Raises:
        InvalidInput: when it is none, or the failure.
    """
    if status not in STATUSES or status == STATUSES.failure:
        raise InvalidInput("status", f"{status!r} is no step", f"use one of {', '.join(STATUSES.steps)}")


def unclaimed(task: PodcastTask) -> PodcastTask:
    """The task without its claim."""
    return msgspec.structs.replace(task, worker=msgspec.UNSET, claimed_until=msgspec.UNSET)


def shown(task: PodcastTask, now: datetime, **members: Any) -> PodcastTask | None:
    """The task with other members; None where listeners see no difference. An end takes the claim and the estimate."""
    changed = msgspec.structs.replace(task, **members)
    if STATUSES.ended(changed.status):
        changed = msgspec.structs.replace(unclaimed(changed), estimated_completion_time=msgspec.UNSET)
    return None if changed.shown == task.shown else msgspec.structs.replace(changed, updated_at=in_utc(now))


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
