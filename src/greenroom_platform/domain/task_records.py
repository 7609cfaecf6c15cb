"""The protocol of the generation tasks among the records: a queue, claims for a limited time, forward-only statuses."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Protocol, runtime_checkable

import msgspec

from greenroom_platform.domain.records import Change
from greenroom_platform.models import PodcastTask

KEY_KEPT = timedelta(hours=24)
"""For how long an idempotency key gives its first answer again."""
TASK_KEPT = timedelta(days=30)
"""For how long a finished task is kept."""


class PodcastRequest(msgspec.Struct, frozen=True, kw_only=True):
    """The request for a new podcast."""

    topic_id: str


class IdempotencyKey(msgspec.Struct, frozen=True):
    """What a caller names a request with, so that sending it again does nothing more.

    Arguments:
        caller: whose key it is: the same key of another caller is another key.
        key: as the caller sent it.
    """

    caller: str
    key: str


class Requested(msgspec.Struct, frozen=True):
    """An accepted request: its task, and whether it is new or that of an earlier request with the same key."""

    task: PodcastTask
    created: bool


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """A worker's hold on a task for a limited time; only the last claim of a task counts.

    Arguments:
        task: as it was when it was claimed; `task.status` is the furthest that listeners have seen.
        number: of this claim among all of the task.
    """

    task: PodcastTask
    number: int

    @property
    def podcast_id(self) -> str:
        """The podcast to be made."""
        return self.task.podcast_id


class Advanced(msgspec.Struct, frozen=True):
    """A task after its worker told how far it is; `change` is None where listeners see no difference."""

    task: PodcastTask
    change: Change | None


class Queue(msgspec.Struct, frozen=True):
    """The tasks that are unfinished: their number, and when the oldest was asked for."""

    length: int
    oldest: datetime | None


class StoredRecording(msgspec.Struct, frozen=True, kw_only=True):
    """What a podcast that has ended may have in the store of recordings: names are removed there by this alone.

    Arguments:
        claim: the number of its last claim: the whole recording is this one's, and earlier ones may have left others.
        size: bytes of the whole recording; 0 where there is none.
        ended: when the podcast was made, or failed.
        duration: of the whole recording, in seconds; None where there is none, or it was made before this was noted.
        expired: when it was given up for its age or for want of room: it is not to be had any more, and goes later.
        swept: whether nothing but the whole recording is left.
    """

    podcast_id: str
    claim: int
    size: int
    ended: datetime
    duration: float | None = None
    expired: datetime | None = None
    swept: bool = False


class Listed(msgspec.Struct, frozen=True):
    """A podcast as lists have it: its task, and what there is of it in the store, where it has ended."""

    task: PodcastTask
    stored: StoredRecording | None

    @property
    def duration(self) -> float | msgspec.UnsetType:
        """Seconds of the recording; left out where they are not known."""
        known = None if self.stored is None else self.stored.duration
        return msgspec.UNSET if known is None else known

    @property
    def audible(self) -> bool:
        """Whether there is a whole recording that has not expired."""
        stored = self.stored
        return stored is not None and stored.size > 0 and stored.expired is None


class Waiting(msgspec.Struct, frozen=True):
    """The podcasts that wait for a worker.

    Arguments:
        podcast_ids: of the tasks that nobody works on, in the order in which they will be taken up.
        free_at: when the first of those that are worked on is expected to be done; None where nobody has said.
    """

    podcast_ids: tuple[str, ...]
    free_at: datetime | None


class TaskRecords(Protocol):
    """The generation of podcasts among the records: a bounded queue, claims for a limited time, forward-only statuses.

    Times are the caller's: `now` is its moment in any offset. A claim is *current* until its task ends, it is given
    back, or another worker claims the task, which can happen once it has lapsed. Whether it is current is looked at in
    the transaction that writes. Prevents: a worker is stopped for a minute · its claim lapses, another finishes the
    task · the first wakes up and shows `audio_rendering` again.

    What bounds the table: unfinished tasks are at most as many as `add_task` is told, and each that is added removes
    finished ones that last changed longer than `TASK_KEPT` ago, and keys older than `KEY_KEPT`.

    Raises, from any method: what `Records` does.
    """

    async def add_task(
        self, podcast_id: str, topic_id: str, now: datetime, *, max_unfinished: int, key: IdempotencyKey | None = None
    ) -> Requested:
        """Queue the generation of a podcast; the key is stored in the same transaction.

        Of two requests with one key, however close, one makes a task and the other is given it. Nothing can be cached
        of a podcast that is new, so this makes nothing stale.

        Arguments:
            podcast_id: a new one; not used where an earlier request had the key.
            max_unfinished: unfinished tasks that there may be after it.

        Raises:
            KeyReused: when the key was used less than `KEY_KEPT` ago for another topic.
            UnknownReference: when the topic does not exist.
            QueueFull: when there are as many unfinished tasks.
            Conflict: when the id is taken.
        """

    async def task(self, podcast_id: str) -> PodcastTask | None:
        """One task; None where there is none."""

    async def claim(self, worker: str, seconds: float, now: datetime, *, attempts: int) -> Claim | None:
        """Claim the oldest task that nobody has a current claim of, or whose claim has lapsed; None where none is left.

        Arguments:
            worker: who claims, for the log and for operators.
            seconds: after which the claim lapses, unless it is renewed.
            attempts: a task that was claimed so often already is left out (see `fail_exhausted`).
        """

    async def renew(self, claim: Claim, seconds: float, now: datetime, *, progress: float | None = None) -> None:
        """Let the claim lapse only so many seconds from now, and keep the progress, 0 to 1, where it is told.

        Raises:
            ClaimLost: when the claim is not current.
        """

    async def listed(self, podcast_ids: Sequence[str]) -> tuple[Listed, ...]:
        """Those of some podcasts that there are, in any order."""

    async def ready(self, topic_id: str, limit: int) -> tuple[Listed, ...]:
        """The podcasts of a topic that can be heard whole, the latest first."""

    async def waiting(self, now: datetime) -> Waiting:
        """The podcasts that wait for a worker now."""

    async def advance(
        self,
        claim: Claim,
        status: str,
        now: datetime,
        *,
        estimated: datetime | None = None,
        size: int = 0,
        duration: float | None = None,
    ) -> Advanced:
        """Tell how far the task is, and when it is expected to be done.

        A status behind the one that is shown leaves that one: a task that is taken up again is not seen to go back.
        The last of `STATUSES` ends the task and its claim.

        Arguments:
            estimated: when the podcast is expected to be whole; None leaves what was said. A terminal status drops it.
            size: with the last status: bytes of the whole recording, which is this claim's.
            duration: likewise: its seconds.

        Raises:
            ClaimLost: when the claim is not current.
            InvalidInput: when the status is none, or the failure, for which there is `fail`.
        """

    async def fail(self, claim: Claim, message: str, now: datetime) -> Change:
        """End the task with the status "error" and a message for listeners.

        Raises:
            ClaimLost: when the claim is not current.
        """

    async def give_back(self, claim: Claim, now: datetime, *, counted: bool, pause: float = 0.0) -> None:
        """End the claim and let the task be claimed again; the status shown stays.

        Arguments:
            pause: seconds for which nobody may claim it.
            counted: whether it was one of the attempts allowed: True after a failure that may pass, False where the
                worker itself has to end.

        Raises:
            ClaimLost: when the claim is not current.
        """

    async def queue(self) -> Queue:
        """How many tasks are unfinished, and since when the oldest of them waits."""

    async def fail_exhausted(self, message: str, now: datetime, *, attempts: int) -> tuple[Change, ...]:
        """Fail every task that nobody has a current claim of, and that was claimed so often already.

        Called by each worker before it claims: a task whose workers are killed is not taken up for ever.
        """

    # What ended tasks have in the store of recordings. It is noted in the transaction that ends a task which was ever
    # claimed, and outlives the task.

    async def stored(self, podcast_id: str) -> StoredRecording | None:
        """What a podcast that has ended may have in the store; None where nothing is left."""

    async def all_stored(self) -> tuple[StoredRecording, ...]:
        """The same of all podcasts, the one that ended first at the head."""

    async def update_stored(self, podcast_id: str, *, expired: datetime | None = None, swept: bool = False) -> None:
        """Note that it has expired, or was swept; what was noted of it stays. Nothing where it is forgotten already.

        Prevents, with both read and written at once: two workers sweep · one notes that it has expired · the other,
        which had read it before, notes that it was swept, and it is to be had again.
        """

    async def forget_stored(self, podcast_id: str, *, claim: int | None = None) -> None:
        """Note that nothing of it is left in the store.

        Arguments:
            claim: where given, only if this is still its last claim. Prevents: a worker removes what a failed podcast
                has left · an operator has it made once more, and it is whole · the worker forgets the new recording.
        """


@runtime_checkable
class KeepsTasks(Protocol):
    """A record that keeps tasks beside its topics; `Records` in other regards."""

    @property
    def tasks(self) -> TaskRecords:
        """Its tasks."""
