"""What the handlers share: the room, the settings, the numbers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from litestar.datastructures import State

from greenroom.room import Greenroom
from greenroom.service.bounds import Places, WrongTokens
from greenroom.service.ending import Ending
from greenroom.service.metrics import Metrics
from greenroom.service.settings import Settings
from greenroom.service.waiting import Waiting


class ServiceState(State):
    """The application's state; `room` is there from start-up to shutdown.

    `voice` returns if podcasts can be spoken here, and raises `MissingExtra` if not.
    """

    room: Greenroom
    settings: Settings
    metrics: Metrics
    ending: Ending
    stream_places: asyncio.Semaphore
    streams_of: Places
    wrong_tokens: WrongTokens
    waiting: Waiting
    voice: Callable[[], None]
