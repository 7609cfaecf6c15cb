"""The room of an outbox, asynchronous or of `greenroom.sync`: how a thread that has committed has it dropped."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import wait
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol

from greenroom.caching import DropTarget
from greenroom.client import Greenroom
from greenroom.errors import GreenroomError, InvalidInput
from greenroom.integrations.outbox import Stale

if TYPE_CHECKING:
    from greenroom import sync

log = logging.getLogger("greenroom.outbox")

_ROOM = "give a Greenroom, of greenroom or of greenroom.sync"
_LATER = "what a change made stale is to be dropped by another process: %s"

_LOOK = 1.0
"""Seconds after which a thread that waits for a drop looks whether the event loop is still there."""

Drop = Callable[[], Coroutine[Any, Any, None]]


class OutboxRoom(Protocol):
    """What an outbox needs of its room."""

    is_sync: bool

    @property
    def room(self) -> Greenroom:
        """The asynchronous room of this process."""

    def target(self, one: Any) -> Any:
        """What is stale, as the asynchronous room has it; anything else is returned as it is."""

    def check_thread(self) -> None:
        """Return where a thread may wait for the room.

        Raises:
            InvalidInput, RoomElsewhere: in a thread whose event loop would be blocked.
        """

    def drop(self, stale: Sequence[Stale], drop: Drop) -> None:
        """Drop what a change made stale, and wait for it; never raises for the room, since the change is made."""


def room_of(room: object) -> OutboxRoom:
    """The room of an outbox.

    Raises:
        InvalidInput: for what is none.
    """
    if isinstance(room, Greenroom):
        return LoopRoom(room)
    from greenroom import sync  # not before it is needed: it has hooks of the process

    if isinstance(room, sync.Greenroom):
        return ThreadRoom(room)
    raise InvalidInput("room", f"is a {type(room).__name__}", _ROOM)


class LoopRoom:
    """An asynchronous room, whose event loop drops for other threads too while the outbox is open."""

    is_sync = False

    def __init__(self, room: Greenroom) -> None:
        self.room = room
        self.loop: asyncio.AbstractEventLoop | None = None
        """That in which the outbox is open."""

    def target(self, one: Any) -> Any:
        """It has no other targets."""
        return one

    def check_thread(self) -> None:
        """Prevents: a thread commits, and waits for the drop · it is the loop's own, which never makes it."""
        if self.loop is not None and asyncio._get_running_loop() is self.loop:
            remedy = "use an AsyncSession and `async with`, or run the block in a thread"
            raise InvalidInput("session", "would block the room's event loop, which must drop what it commits", remedy)

    def drop(self, _: Sequence[Stale], drop: Drop) -> None:
        """In the loop; where there is none the rows are left to others."""
        if self.loop is None:
            return
        loop, dropping = self.loop, drop()
        try:
            dropped = asyncio.run_coroutine_threadsafe(dropping, loop)
        except RuntimeError as error:  # the loop was closed
            dropping.close()
            log.warning(_LATER, error)
            return
        # Prevents: the loop has made its last turn · this is queued · the loop is closed · its thread waits for ever.
        while not wait([dropped], _LOOK).done and not loop.is_closed():
            pass
        if not dropped.done() or dropped.cancelled():
            with suppress(RuntimeError):
                dropping.close()
            log.warning(_LATER, "its event loop has ended")
            return
        dropped.result()


class ThreadRoom:
    """A room of `greenroom.sync`."""

    is_sync = True

    def __init__(self, room: sync.Greenroom) -> None:
        self._room = room

    @property
    def room(self) -> Greenroom:
        """Another one in a forked child."""
        return self._room.room

    def target(self, one: Any) -> Any:
        """The target of the room's asynchronous face."""
        from greenroom import sync

        return one.target if isinstance(one, sync.DropTarget) else one

    def check_thread(self) -> None:
        """As every call of the room."""
        from greenroom.sync.portal_call import refuse_running_loop

        refuse_running_loop()

    def run(self, work: Drop) -> None:
        """Do something in the room's event loop; opens the room where that is due."""
        self._room.run(lambda _: work())

    def drop(self, stale: Sequence[Stale], drop: Drop) -> None:
        """As the room's own drops: from now on no near hit is given of it, in any thread."""
        from greenroom.sync.called_drops import CalledDrop

        keys = [one.name for one in stale if isinstance(one, DropTarget) and not one.is_group]
        try:
            self._room.drop(CalledDrop(keys, wide=len(keys) < len(stale)), drop)
        except GreenroomError as error:  # it was closed
            log.warning(_LATER, error)
