"""The parts of the summary that the record and the servers are asked for, each within a second.

A part that does not answer says why in its place: the others are shown all the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from datetime import UTC, datetime
from time import monotonic
from typing import TypeVar

from greenroom.errors import GreenroomError
from greenroom_platform.domain.action_log import Action, QueuePause
from greenroom_platform.domain.podcasts import ATTEMPTS, QUEUE
from greenroom_platform.http.control.summary import OutboxNow, ProcessesNow, QueueNow, RecordingsNow, SessionsNow
from greenroom_platform.models import PodcastTask
from greenroom_platform.platform import Platform

T = TypeVar("T")

_WITHIN = 1.0
"""Seconds that each part of the summary may take."""
_RECORDINGS_EVERY = 15.0
"""Seconds between two looks at all recordings."""
_ACTIONS = 30
"""Actions that are shown, the newest first."""


class SummaryParts:
    """What one platform answers."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._recordings: tuple[float, RecordingsNow] | None = None

    async def outbox(self) -> OutboxNow:
        """The changes whose keys are still to be dropped."""
        actions = self._platform.actions
        if actions is None:
            return OutboxNow(error="this record does not tell")
        state = await _answer(actions.outbox())
        if isinstance(state, str):
            return OutboxNow(error=state)
        age = None if state.oldest is None else max(0.0, (datetime.now(UTC) - state.oldest).total_seconds())
        return OutboxNow(pending=state.pending, oldest_seconds=age)

    async def queue(self) -> QueueNow:
        """The podcasts that are waited for, and the recordings."""

        async def asked() -> QueueNow:
            platform = self._platform
            length, oldest = await platform.generation.queue()
            control, actions = platform.queue_control, platform.actions
            tasks: tuple[PodcastTask, ...] = () if control is None else await control.tasks()
            pause: QueuePause | None = None if actions is None else await actions.pause()
            return QueueNow(
                paused=pause,
                unfinished=length,
                most=QUEUE,
                oldest_seconds=oldest,
                attempts=ATTEMPTS,
                tasks=tasks,
                recordings=await self._all_recordings(),
                controllable=control is not None and actions is not None,
            )

        answer = await _answer(asked())
        return QueueNow(error=answer) if isinstance(answer, str) else answer

    async def _all_recordings(self) -> RecordingsNow:
        if self._recordings is None or monotonic() - self._recordings[0] > _RECORDINGS_EVERY:
            recordings = self._platform.recordings
            number, size = await recordings.kept()
            self._recordings = (
                monotonic(),
                RecordingsNow(
                    number=number,
                    bytes=size,
                    max_bytes=recordings.max_bytes,
                    max_age_days=recordings.max_age.total_seconds() / 86_400,
                ),
            )
        return self._recordings[1]

    async def presence(self) -> SessionsNow:
        """The active sessions, and the listeners."""

        async def asked() -> SessionsNow:
            presence = self._platform.presence
            return SessionsNow(active=await presence.active(), listeners=sum((await presence.listeners()).values()))

        answer = await _answer(asked())
        return SessionsNow(error=answer) if isinstance(answer, str) else answer

    async def alive(self) -> ProcessesNow:
        """The processes that have told lately that they run."""
        answer = await _answer(self._platform.heartbeats.alive())
        return ProcessesNow(error=answer) if isinstance(answer, str) else ProcessesNow(alive=tuple(answer))

    async def actions(self) -> tuple[Action, ...] | str:
        """The newest actions of operators."""
        actions = self._platform.actions
        return "this record keeps no log" if actions is None else await _answer(actions.newest(_ACTIONS))


async def _answer(asked: Awaitable[T]) -> T | str:
    """The answer of a part, or the reason why there is none."""
    try:
        async with asyncio.timeout(_WITHIN):
            return await asked
    except TimeoutError:
        return "no answer in time"
    except (GreenroomError, OSError) as error:
        return str(error) or type(error).__name__
