"""Asking for podcasts, and the worker's side of it: each change that listeners see is sent once it is committed."""

from __future__ import annotations

import asyncio
import hashlib
import re
from contextlib import suppress
from datetime import datetime

from greenroom.clock import Clock
from greenroom.errors import ClaimLost, InvalidInput, RecordError
from greenroom.opened import Opened
from greenroom_platform.domain.action_log import ActionLog, is_paused
from greenroom_platform.domain.changes import Changes
from greenroom_platform.domain.task_records import Claim, IdempotencyKey, Requested, TaskRecords
from greenroom_platform.models import PodcastTask

QUEUE = 100
"""Unfinished podcasts at a time."""
CLAIM = 30.0
"""Seconds for which a worker claims a task; it renews the claim well before."""
ATTEMPTS = 3
"""Times that a task is taken up."""
EXHAUSTED = "The podcast could not be made: it was tried several times. Please ask for it again later."
"""What listeners are told of a task that was taken up as often as it may be."""
_KEY = re.compile(r"[\x21-\x7e]{1,255}")


PAUSE_MIN = 1.0
"""Seconds between a first attempt that has failed and the next; three times as many after each further one."""
PAUSE_MAX = 30.0
"""Seconds between two attempts at most."""


def pause_after(attempts: int) -> float:
    """Seconds after so many attempts that have failed."""
    return min(PAUSE_MAX, PAUSE_MIN * 3.0 ** (attempts - 1))


class Generation:
    """The generation of podcasts: requests.

    Arguments:
        queue: unfinished podcasts that there may be.
    """

    def __init__(self, tasks: TaskRecords, clock: Clock, opened: Opened, *, queue: int = QUEUE) -> None:
        self._tasks = tasks
        self._opened = opened
        self._clock = clock
        self._queue = queue
        self.asked = asyncio.Event()
        """Set at each request; a worker in this process waits for it."""

    async def request(self, topic_id: str, *, caller: str = "", key: str | None = None) -> Requested:
        """Ask for a podcast on a topic; a worker makes it.

        Arguments:
            caller: who asks; only a hash of it is kept.
            key: the caller's name for this request: sent again within 24 hours it gives the same podcast.

        Raises:
            InvalidInput: for a key that is none.
            KeyReused: when the caller has used the key for another topic.
            UnknownReference: when the topic does not exist.
            QueueFull: when too many podcasts are waited for; retry later.
        """
        self._opened.check()
        named = None
        if key is not None:
            if _KEY.fullmatch(key) is None:
                raise InvalidInput("key", "it cannot be a key", "use 1 to 255 visible ASCII characters, no spaces")
            named = IdempotencyKey(hashlib.sha256(caller.encode("utf-8", "surrogatepass")).hexdigest(), key)
        podcast_id = self._clock.token().hex()
        requested = await self._tasks.add_task(
            podcast_id, topic_id, self._clock.now(), max_unfinished=self._queue, key=named
        )
        self.asked.set()
        return requested

    async def queue(self) -> tuple[int, float]:
        """How many podcasts are unfinished, and for how many seconds the oldest of them has been waited for."""
        self._opened.check()
        queue = await self._tasks.queue()
        waited = 0.0 if queue.oldest is None else (self._clock.now() - queue.oldest).total_seconds()
        return queue.length, max(0.0, waited)


class Tasks:
    """The generation of podcasts: what workers do. All but `claim` raise `ClaimLost` to who must stop.

    Arguments:
        log: says whether an operator has paused the queue; None where the record keeps no such log.
    """

    def __init__(
        self,
        tasks: TaskRecords,
        changes: Changes,
        clock: Clock,
        *,
        attempts: int = ATTEMPTS,
        log: ActionLog | None = None,
    ) -> None:
        self._tasks = tasks
        self._log = log
        self._changes = changes
        self._clock = clock
        self._attempts = attempts

    async def claim(self, worker: str, seconds: float = CLAIM) -> Claim | None:
        """Claim the oldest waiting task for so many seconds; None where none waits, and while the queue is paused.

        Tasks that were taken up too often, by workers that were killed or gave them back, fail here.
        """
        self._changes.opened.check()
        claiming = self._changes.detached.begin(self._claim(worker, seconds), "greenroom-claiming")
        try:
            return await asyncio.shield(claiming)
        except asyncio.CancelledError:
            # Prevents: a worker is stopped while the record claims a task for it · the task waits for the claim to
            # lapse, and has an attempt less.
            self._changes.detached.begin(self._unclaim(claiming), "greenroom-claiming")
            raise

    async def _claim(self, worker: str, seconds: float) -> Claim | None:
        if await is_paused(self._log):
            return None
        now = self._clock.now()
        async with self._changes.writing():
            failed = await self._tasks.fail_exhausted(EXHAUSTED, now, attempts=self._attempts)
        for change in failed:
            await self._changes.send(change)
        return await self._tasks.claim(worker, seconds, now, attempts=self._attempts)

    async def _unclaim(self, claiming: asyncio.Task[Claim | None]) -> None:
        with suppress(ClaimLost, RecordError):
            if (claim := await claiming) is not None:
                await self.give_back(claim, counted=False)

    async def renew(self, claim: Claim, seconds: float = CLAIM, *, progress: float | None = None) -> None:
        """Keep the claim for so many seconds from now; `progress` is the share of the work done, 0 to 1."""
        self._changes.opened.check()
        await self._tasks.renew(claim, seconds, self._clock.now(), progress=progress)

    async def advance(
        self,
        claim: Claim,
        status: str,
        *,
        estimated: datetime | None = None,
        size: int = 0,
        duration: float | None = None,
    ) -> PodcastTask:
        """Show how far the podcast is, and when it is expected to be whole; never a step back.

        Arguments:
            size: bytes of the whole recording, with the last status.
            duration: seconds of it, likewise.
        """
        self._changes.opened.check()
        return await self._changes.detached.finish(self._advance(claim, status, estimated, size, duration))

    async def _advance(
        self, claim: Claim, status: str, estimated: datetime | None, size: int, duration: float | None
    ) -> PodcastTask:
        async with self._changes.writing():
            advanced = await self._tasks.advance(
                claim, status, self._clock.now(), estimated=estimated, size=size, duration=duration
            )
        if advanced.change is not None:
            await self._changes.send(advanced.change)
        return advanced.task

    async def fail(self, claim: Claim, message: str) -> None:
        """Give up for good, with a message that a listener can understand."""
        self._changes.opened.check()
        await self._changes.detached.finish(self._fail(claim, message))

    async def _fail(self, claim: Claim, message: str) -> None:
        async with self._changes.writing():
            change = await self._tasks.fail(claim, message, self._clock.now())
        await self._changes.send(change)

    async def give_back(self, claim: Claim, *, counted: bool) -> None:
        """Let another worker take it up, or this one again; a failure is `counted`, a clean stop is not.

        After a failure nobody takes it up for a while: what fails at once would use up its attempts in a second, and
        what was missing, a disk or a voice, is then still missing.
        """
        self._changes.opened.check()
        pause = pause_after(claim.task.attempts) if counted else 0.0
        await self._tasks.give_back(claim, self._clock.now(), counted=counted, pause=pause)
