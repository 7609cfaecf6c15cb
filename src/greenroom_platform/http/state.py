"""What the handlers share: the room, the settings, the numbers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from litestar.datastructures import State

from greenroom_platform.http.address_bounds import Places, WrongTokens
from greenroom_platform.http.control.room import ControlRoom
from greenroom_platform.http.ill_since import IllSince
from greenroom_platform.http.long_poll import LongPolls
from greenroom_platform.http.metrics import Metrics
from greenroom_platform.http.near_answers import KnownAddresses
from greenroom_platform.http.settings import Settings
from greenroom_platform.http.shutdown import Shutdown
from greenroom_platform.http.staff_session import StaffSessions
from greenroom_platform.platform import Platform


class ServiceState(State):
    """The application's state; `room` is there from start-up to shutdown.

    `voice` returns if podcasts can be spoken here, and raises `MissingExtra` if not.
    """

    platform: Platform
    control: ControlRoom
    control_streams: asyncio.Semaphore
    settings: Settings
    metrics: Metrics
    ending: Shutdown
    ill_since: IllSince
    stream_places: asyncio.Semaphore
    streams_of: Places
    wrong_tokens: WrongTokens
    staff_sessions: StaffSessions
    waiting: LongPolls
    loading: asyncio.Lock
    known_addresses: KnownAddresses
    voice: Callable[[], None]
