"""One listener of a podcast's stream: counted while they listen, sent a cluster when they have taken the last one."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from contextlib import aclosing
from typing import TypeVar

import msgspec

from greenroom.errors import GreenroomError, RecordError
from greenroom.progress import WITHOUT_SERVER
from greenroom.sessions import Presence, SessionGone, Stream
from greenroom_platform.domain.statuses import Statuses
from greenroom_platform.http.stream_messages import (
    DONE,
    SESSION_OVER,
    UNKNOWN,
    StreamEnd,
    StreamError,
    StreamStart,
)
from greenroom_platform.models import PodcastStatus
from greenroom_platform.studio.recording_errors import RecordingsUnavailable
from greenroom_platform.studio.recordings import NothingYet, Recordings
from greenroom_platform.studio.webm import MIME

log = logging.getLogger("greenroom.http")

T = TypeVar("T")

Say = Callable[[bytes], Awaitable[None]]

FAILED = "The podcast could not be made."
NOT_KEPT = "This recording is not kept any more. Ask for the podcast again."
INTERRUPTED = "The recording was interrupted. Try again in a moment."


class StreamSession:
    """A stream to one listener.

    Arguments:
        session: the id of the listener's session, where there is one.
        from_ms: where in the recording to begin.
        text: sends a text message; returns when the connection has room for more, so that a slow listener is waited for
            and nothing is queued. `OSError` where there is no connection any more.
        data: sends a binary message, likewise.
    """

    def __init__(
        self,
        podcast_id: str,
        *,
        session: str | None,
        from_ms: int,
        statuses: Statuses,
        recordings: Recordings,
        presence: Presence,
        text: Say,
        data: Say,
    ) -> None:
        self._podcast_id = podcast_id
        self._from_ms = from_ms
        self._statuses = statuses
        self._recordings = recordings
        self._standing = _Standing(presence, podcast_id, session)
        self._text = text
        self._data = data
        self._begun = False

    async def run(self, until: Iterable[Callable[[], Awaitable[int]]]) -> int:
        """Stream to the end of the recording; returns the code to close with. To be followed by `leave`.

        Arguments:
            until: waits for what ends it sooner, each for a code.

        Raises:
            OSError: when the listener has gone.
            Whatever `Statuses.get` raises, before anything is sent.
            RecordingsUnavailable, RecordUnavailable: when the recording cannot be read on now.
        """
        status = await self._statuses.get(self._podcast_id)
        if status is None:
            return UNKNOWN
        if not await self._standing.stand():
            return SESSION_OVER
        await self._say(StreamStart(podcast_id=self._podcast_id, mime=MIME))
        return await _first(self._to_the_end(status), self._standing.over(), *(one() for one in until))

    async def leave(self) -> None:
        """The listener is not counted any more. Never raises; what cannot be told to the server lapses there."""
        await self._standing.leave()

    async def _to_the_end(self, status: PodcastStatus) -> int:
        if status.status == "error":
            failure: str | None = _failure_detail(status)
        else:
            failure = await _first(self._send(ready=status.status == "ready_to_stream"), self._failure())
        # Only now: nothing comes after it.
        await self._say(StreamEnd() if failure is None else StreamError(detail=failure))
        return DONE

    async def _send(self, *, ready: bool) -> str | None:
        """Send every cluster from the asked place on; returns what has gone wrong, if anything.

        A recording that has not begun is waited for; one that should be whole and is not there will not come.
        """
        clusters = self._recordings.clusters(self._podcast_id, from_ms=self._from_ms, wait=not ready)
        try:
            # Closed here and now: its file is open as long as somebody listens.
            async with aclosing(clusters):
                async for cluster in clusters:
                    self._begun = True
                    await self._data(cluster)
        except NothingYet:
            return NOT_KEPT
        except (RecordingsUnavailable, RecordError):
            raise  # for the moment: whoever listens may come again
        except GreenroomError as error:
            log.warning("a stream was interrupted: %s", error)
            return INTERRUPTED
        return None

    async def _failure(self) -> str:
        """Return what went wrong once the podcast turns out not to be made."""
        while True:
            try:
                async with aclosing(self._statuses.follow(self._podcast_id)) as following:
                    async for status in following:
                        if status.status == "error":
                            return _failure_detail(status)
                # It is whole, and made where we are: the sending ends by itself.
                if not self._begun and await self._recordings.whole(self._podcast_id) is None:
                    return NOT_KEPT
                await asyncio.Event().wait()
            except GreenroomError as error:
                # What cannot be asked at the moment says nothing against the recording.
                log.warning("the status of a podcast that is listened to: %s", type(error).__name__)
            await asyncio.sleep(WITHOUT_SERVER)

    async def _say(self, message: StreamStart | StreamEnd | StreamError) -> None:
        await self._text(msgspec.json.encode(message))


def _failure_detail(status: PodcastStatus) -> str:
    return status.error_message if isinstance(status.error_message, str) else FAILED


class _Standing:
    """A listener among the listeners.

    A server that cannot be asked keeps nobody from listening: they are counted when it is back.
    """

    def __init__(self, presence: Presence, podcast_id: str, session: str | None) -> None:
        self._presence = presence
        self._podcast_id = podcast_id
        self._session = session
        self._stream: Stream | None = None

    async def stand(self) -> bool:
        """Be counted, or still be; False when the session is over."""
        try:
            if self._stream is not None:
                return await self._presence.renew(self._stream)
            self._stream = await self._presence.open(self._podcast_id, self._session)
        except SessionGone:
            return False
        except GreenroomError as error:
            log.warning("a listener is not counted: %s", type(error).__name__)
        return True

    async def over(self) -> int:
        """Go on being counted; return when the session is found to be over."""
        while True:
            await asyncio.sleep(self._presence.interval)
            if not await self.stand():
                return SESSION_OVER

    async def leave(self) -> None:
        stream, self._stream = self._stream, None
        if stream is None:
            return
        try:
            await self._presence.close(stream)
        except GreenroomError as error:
            log.warning("a listener who has left is still counted until the entry expires: %s", type(error).__name__)


async def _first(*work: Awaitable[T]) -> T:
    """What comes of that which ends first; the others are cancelled, and have ended too when this returns."""
    tasks = [asyncio.ensure_future(one) for one in work]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        return next(task for task in tasks if task.done()).result()
    finally:
        for task in tasks:
            task.cancel()
        # Gathered, so that nobody complains of an error that came too late to matter.
        await asyncio.gather(*tasks, return_exceptions=True)
