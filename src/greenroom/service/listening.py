"""One listener of a podcast's stream: counted while they listen, sent a cluster when they have taken the last one."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from greenroom.errors import EngineError, GreenroomError
from greenroom.podcast.models import PodcastStatus
from greenroom.podcast.statuses import Statuses
from greenroom.sessions import Presence, SessionGone, Stream
from greenroom.studio.recordings import NothingYet, Recordings
from greenroom.studio.webm import MIME

log = logging.getLogger("greenroom.service")

Say = Callable[[bytes], Awaitable[None]]

DONE, GOING_AWAY, OVERLOAD, SESSION_OVER, UNKNOWN = 1000, 1001, 1013, 4401, 4404
"""The codes that a stream closes with: the contract, section 2."""

FAILED = "The podcast could not be made."
NOT_KEPT = "This recording is not kept any more. Ask for the podcast again."
INTERRUPTED = "The recording was interrupted. Try again in a moment."


class Listening:
    """A stream to one listener.

    Arguments:
        session: the id of the listener's session, where there is one.
        from_ms: where in the recording to begin.
        text, data: send a text message, or a binary one; each returns when the listener's connection has room for more,
            so that a slow listener is waited for and nothing is queued.
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
        self._session = session
        self._from_ms = from_ms
        self._statuses = statuses
        self._recordings = recordings
        self._presence = presence
        self._text = text
        self._data = data

    async def run(self, until: Iterable[Callable[[], Awaitable[int]]]) -> int | None:
        """Stream to the end of the recording; returns the code to close with, None where the listener has gone.

        Arguments:
            until: waits for what ends it sooner, each for a code.
        """
        status = await self._statuses.get(self._podcast_id)
        if status is None:
            return UNKNOWN
        async with self._counted() as session_over:
            await self._say({"type": "stream_start", "podcast_id": self._podcast_id, "mime": MIME})
            return await _first(self._send(status), self._failure(), session_over(), *(one() for one in until))

    async def _send(self, status: PodcastStatus) -> int:
        """Every cluster from the asked place on."""
        # A recording that has not begun is waited for; one that should be whole and is not there will not come.
        ready = status.status == "ready_to_stream"
        try:
            async for cluster in self._recordings.clusters(self._podcast_id, from_ms=self._from_ms, wait=not ready):
                await self._data(cluster)
        except NothingYet:
            return await self._fail(NOT_KEPT)
        except GreenroomError as error:
            log.warning("a stream was interrupted: %s", error)
            return await self._fail(INTERRUPTED)
        await self._say({"type": "stream_end"})
        return DONE

    async def _failure(self) -> int:
        """Return when the podcast turns out not to be made."""
        async for status in self._statuses.follow(self._podcast_id):
            if status.status == "error":
                message = status.error_message
                return await self._fail(message if isinstance(message, str) else FAILED)
        await asyncio.Event().wait()  # it is whole: the sending ends by itself
        return DONE

    async def _fail(self, detail: str) -> int:
        await self._say({"type": "error", "detail": detail})
        return DONE

    async def _say(self, message: dict[str, Any]) -> None:
        await self._text(msgspec.json.encode(message))

    # Being counted ---------------------------------------------------------------------------------

    @asynccontextmanager
    async def _counted(self) -> AsyncIterator[Callable[[], Awaitable[int]]]:
        """Stand among the listeners; gives what returns when the session is found to be over.

        A server that cannot be asked keeps nobody from listening: they are counted when it is back.
        """
        stream: Stream | None = None

        async def stand() -> bool:
            nonlocal stream
            try:
                if stream is not None:
                    return await self._presence.renew(stream)
                stream = await self._presence.open(self._podcast_id, self._session)
            except SessionGone:
                return False
            except GreenroomError as error:
                log.warning("a listener is not counted: %s", type(error).__name__)
            return True

        async def session_over() -> int:
            while await asyncio.sleep(self._presence.interval, True):
                if not await stand():
                    break
            return SESSION_OVER

        async def already_over() -> int:
            return SESSION_OVER

        try:
            yield session_over if await stand() else already_over
        finally:
            if stream is not None:
                await _in_any_case(self._presence.close(stream))


async def _first(*work: Awaitable[int]) -> int | None:
    """The code of what ends first; the others are cancelled. None where it ended because the listener has gone."""
    tasks = [asyncio.ensure_future(one) for one in work]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        ended = next(task for task in tasks if task.done())
        return ended.result()
    except OSError:
        return None  # sent to somebody who is not there any more
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


async def _in_any_case(work: Awaitable[None]) -> None:
    """Do it though this task is cancelled: a socket that is cut off must not stay among the listeners."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.shield(task)
    except EngineError as error:
        log.warning("a listener who has left is counted until they lapse: %s", type(error).__name__)
