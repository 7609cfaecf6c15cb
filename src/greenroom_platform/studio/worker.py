"""Takes podcasts from the queue one after another and makes them: script, voices, recording, and the status all along.

A task is claimed for a limited time and the claim renewed while it is worked on: what a killed worker has begun is
taken up again by another, and what a late one brings is refused by the record.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from datetime import timedelta
from typing import NoReturn

from greenroom.clock import SYSTEM, Clock
from greenroom.detached import Detached
from greenroom.errors import ClaimLost, GreenroomError, InvalidInput, RecordError
from greenroom_platform.domain.podcasts import ATTEMPTS, CLAIM, Tasks
from greenroom_platform.domain.snippets import Snippets
from greenroom_platform.domain.task_records import Claim
from greenroom_platform.domain.topics import Topics
from greenroom_platform.models import AUDIO_RENDERING, READY_TO_STREAM, SCRIPT_GENERATING
from greenroom_platform.studio.recording_errors import RecordingFailed, RecordingsUnavailable
from greenroom_platform.studio.recording_writer import RecordingWriter
from greenroom_platform.studio.recordings import Recordings
from greenroom_platform.studio.render_client import Rendering, render
from greenroom_platform.studio.script import NothingToSay, PodcastScript, weave
from greenroom_platform.studio.transcript import transcribed
from greenroom_platform.studio.voice import check_voices

log = logging.getLogger("greenroom.studio")

IDLE = 1.0
"""Seconds between two looks into an empty queue; a request in this process is heard at once."""
REPORT_INTERVAL = 3.0
"""Seconds between two estimates that listeners are told."""
_WORDS = 2.5
"""Words that a host says in a second."""
WITHOUT_STORE = 5.0
"""Seconds between two questions of a worker whose store of recordings does not answer."""
_STOP = 5.0
"""Seconds that a worker which has to end may take to give its task back."""
_DISCARD = 1.0
"""Seconds that it then takes to remove what it has recorded; what is left the sweep removes."""

NO_TOPIC = "The podcast could not be made: its topic is not there any more."
NO_STORY = "The podcast could not be made: there is nothing to tell about its topic yet."
FAILED = "The podcast could not be made: something failed in the studio. Please ask for it again later."

Renderer = Callable[[PodcastScript], AbstractAsyncContextManager[Rendering]]


class Worker:
    """One worker.

    Arguments:
        name: who works, for the log and for operators.
        wake: set when somebody in this process has asked for a podcast.
        claim: seconds for which a task is claimed at a time.
    """

    def __init__(
        self,
        name: str,
        tasks: Tasks,
        topics: Topics,
        snippets: Snippets,
        recordings: Recordings,
        *,
        wake: asyncio.Event,
        claim: float = CLAIM,
        clock: Clock = SYSTEM,
        renderer: Renderer = render,
    ) -> None:
        self._name = name
        self._tasks = tasks
        self._topics = topics
        self._snippets = snippets
        self._recordings = recordings
        self._wake = wake
        self._claim = claim
        self._clock = clock
        self._render = renderer
        self._discards = Detached()
        self._speed = 30.0  # seconds of audio in a second, as it was measured last

    async def run(self) -> None:
        """Work until cancelled; a task under way is then given back.

        Raises:
            NoVoice, MissingExtra: where no podcast can be made.
        """
        check_voices()
        while True:
            self._wake.clear()
            try:
                claim = await self._tasks.claim(self._name, self._claim)
            except RecordError as error:
                log.warning("the queue of podcasts cannot be read: %s", error)
                claim = None
            if claim is not None:
                await self.work(claim)
                continue
            # Otherwise: the last podcast of the day is over for an hour · nothing of it is removed before the next one.
            self._recordings.sweep_soon()
            with suppress(TimeoutError):
                async with asyncio.timeout(IDLE):
                    await self._wake.wait()

    async def work(self, claim: Claim) -> None:
        """Make one podcast; its failure is logged, and told to the record."""
        log.info("making podcast %s, attempt %d", claim.podcast_id, claim.task.attempts)
        began = self._clock.monotonic()
        try:
            await self._finish(claim, *await self._recorded(claim))
        except ClaimLost as error:
            log.warning("podcast %s is given up here: %s", claim.podcast_id, error)
            await self._discards.close()
            await self._recordings.remove(claim.podcast_id, claim.number)
        except asyncio.CancelledError:
            await self._stopped(claim)
            # Claims are fenced: what another one makes of the task by now has other names.
            await self._discards.close(_DISCARD)
            raise
        except RecordingsUnavailable as error:
            # No attempt is counted: the podcast waits until there is a place for it.
            log.warning("podcast %s waits for the store of recordings: %s", claim.podcast_id, error)
            await self._end(self._tasks.give_back(claim, counted=False))
            await self._wait_for_store()
        except _NoTopic:
            await self._end(self._tasks.fail(claim, NO_TOPIC))
        except NothingToSay:
            await self._end(self._tasks.fail(claim, NO_STORY))
        except Exception:
            log.exception("podcast %s could not be made, attempt %d", claim.podcast_id, claim.task.attempts)
            if claim.task.attempts >= ATTEMPTS:
                await self._end(self._tasks.fail(claim, FAILED))
            else:
                await self._end(self._tasks.give_back(claim, counted=True))
        else:
            log.info("made podcast %s in %.1f s", claim.podcast_id, self._clock.monotonic() - began)
        self._recordings.sweep_soon()

    async def _recorded(self, claim: Claim) -> tuple[int, float | None]:
        """Make the whole recording, or take it over; returns its size, and its seconds.

        Raises:
            ClaimLost: when the claim was lost meanwhile.
            RecordingsUnavailable: when the store does not answer.
            RecordingFailed: when it answers, and does not take this recording.
            Whatever making it raises.
        """
        try:
            return await self._held(claim)
        except RecordingsUnavailable as error:
            # Otherwise: a store takes small objects, and no whole recording · no attempt is counted · one podcast is
            # made again for ever at the head of the queue.
            with suppress(InvalidInput):
                await self._recordings.store.check()
                raise RecordingFailed(f"the store answers, and does not take this recording: {error}") from None
            raise

    # Otherwise: the store is away for an hour · the podcast is claimed, begun and given back every few seconds ·
    # hundreds of claims may have left something of it.
    async def _wait_for_store(self) -> None:
        """Return when recordings can be put again. Meanwhile the podcast may be made by a worker of another host."""
        while True:
            await asyncio.sleep(WITHOUT_STORE)
            try:
                return await self._recordings.store.check()
            except (RecordingsUnavailable, InvalidInput) as error:
                log.warning("no podcast is made without the store of recordings: %s", error)

    async def _taken_over_or_made(self, claim: Claim, at: _Progress) -> tuple[int, float | None]:
        # Where there is one, a worker was killed between the recording's last byte and the word of it.
        size = await self._recordings.take_over(claim.podcast_id, claim.number)
        if size is None:
            return await self._make(claim, at)
        return size, await self._recordings.duration(claim.podcast_id, claim.number)

    async def _make(self, claim: Claim, at: _Progress) -> tuple[int, float]:
        await self._tasks.advance(claim, SCRIPT_GENERATING)
        topic = await self._topics.get(claim.task.topic_id)
        if topic is None:
            raise _NoTopic
        snippets = await self._snippets.page(topic.topic_id, 1)
        # In a thread: half a second for the longest, and listeners of others wait for nothing.
        script = await asyncio.to_thread(weave, claim.podcast_id, topic, snippets)
        return await self._record(claim, script, at)

    async def _record(self, claim: Claim, script: PodcastScript, at: _Progress) -> tuple[int, float]:
        await self._tell(claim, script.words / _WORDS / self._speed)
        recording = self._recordings.begin(claim.podcast_id, claim.number)
        try:
            times = await self._fill(recording, claim, script, at)
            await self._tasks.renew(claim, self._claim)  # who is late need not put what nobody will read
            return await recording.finish(transcribed(script, times)), recording.duration
        except asyncio.CancelledError:
            # Not waited for here. Otherwise: the store is silent · a worker has to end · it waits for a put and its
            # removal · nobody can take its task up meanwhile.
            self._discards.begin(recording.discard(), "greenroom-discard")
            raise
        except BaseException:
            await self._discards.finish(recording.discard(), "greenroom-discard")
            raise

    async def _fill(
        self, recording: RecordingWriter, claim: Claim, script: PodcastScript, at: _Progress
    ) -> Sequence[tuple[float, float]]:
        """Render all of it; returns when each line is said."""
        reported_at = self._clock.monotonic()
        async with self._render(script) as rendering:
            async for cluster in rendering:
                await recording.append(cluster)
                progress = rendering.progress
                at.fraction = progress.fraction
                if progress.elapsed > 0:
                    self._speed = max(0.1, progress.audio / progress.elapsed)
                if self._clock.monotonic() - reported_at >= REPORT_INTERVAL and progress.remaining is not None:
                    reported_at = self._clock.monotonic()
                    await self._tell(claim, progress.remaining)
            return rendering.times

    async def _finish(self, claim: Claim, size: int, duration: float | None) -> None:
        """Tell the last word; who has to end in the middle of it tells it all the same."""
        ready = self._tasks.advance(claim, READY_TO_STREAM, size=size, duration=duration)
        telling = asyncio.create_task(ready, name="greenroom-ready")
        try:
            await asyncio.shield(telling)
        except asyncio.CancelledError:
            await asyncio.wait([telling], timeout=_STOP)
            raise

    async def _tell(self, claim: Claim, seconds: float) -> None:
        await self._tasks.advance(
            claim, AUDIO_RENDERING, estimated=self._clock.now() + timedelta(seconds=round(seconds + 0.5))
        )

    # Holding on to the task -------------------------------------------------------------------------

    async def _held(self, claim: Claim) -> tuple[int, float | None]:
        """Renew the claim while the recording is taken over or made; stop when it is lost.

        A slow store may take longer over a recording that is there than a claim lasts.

        Raises:
            ClaimLost: when it was lost.
            Whatever making it raises.
        """
        at = _Progress()
        making = asyncio.create_task(self._taken_over_or_made(claim, at), name="greenroom-podcast")
        renewing = asyncio.create_task(self._renew(claim, at), name="greenroom-claim")
        try:
            await asyncio.wait([making, renewing], return_when=asyncio.FIRST_COMPLETED)
            if not making.done():
                await renewing
            return await making
        finally:
            making.cancel()
            renewing.cancel()
            await asyncio.gather(making, renewing, return_exceptions=True)

    async def _renew(self, claim: Claim, at: _Progress) -> NoReturn:
        lapses = self._clock.monotonic() + self._claim
        while True:
            await asyncio.sleep(self._claim / 3)
            now = self._clock.monotonic()
            try:
                await self._tasks.renew(claim, self._claim, progress=at.fraction)
            except ClaimLost:
                raise
            except GreenroomError as error:
                log.warning("the claim of podcast %s cannot be renewed: %s", claim.podcast_id, error)
                if now >= lapses:
                    raise ClaimLost(f"podcast {claim.podcast_id} could not be held") from error
            else:
                lapses = now + self._claim

    async def _stopped(self, claim: Claim) -> None:
        """Give the task back while this worker ends; one that cannot be is taken up when its claim lapses."""
        try:
            async with asyncio.timeout(_STOP):
                await self._tasks.give_back(claim, counted=False)
        except ClaimLost:
            pass  # it is made by now, or another's
        except (TimeoutError, RecordError) as error:
            log.warning("podcast %s was not given back: %s", claim.podcast_id, error)

    async def _end(self, work: Awaitable[None]) -> None:
        try:
            await work
        except (ClaimLost, RecordError) as error:
            log.warning("the end of a podcast could not be stored in the record: %s", error)


class _NoTopic(GreenroomError):
    """The topic of a podcast was deleted after it was asked for."""


class _Progress:
    """How far a worker is, told with each renewal of its claim."""

    fraction = 0.0
