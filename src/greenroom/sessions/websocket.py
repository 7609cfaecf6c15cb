"""An open socket's eye on its session: ended in any process is a push, lapsed a timer, and then the socket closes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from time import monotonic
from typing import Generic, TypeVar

from greenroom.errors import BrokenValue, EngineError
from greenroom.sessions.snapshot import Live
from greenroom.sessions.store import Found, Slot

T = TypeVar("T")

_AGAIN = 1.0
"""Seconds until a store that could not be asked is asked again."""
_LEAST = 0.01
"""Seconds between two looks at a session that is about to lapse."""


class Watch(Generic[T]):
    """Made by `Sessions.watched`.

    The session is read on the tracked connection, after the bell is there to hear that it changes: each push, the lapse
    of its touch among them, is followed by one more read. A store that cannot be asked says nothing about the session:
    its socket stays open until the session would have lapsed.
    """

    def __init__(
        self,
        session: str,
        slot: Slot,
        seen: Callable[[str, Found], Live[T] | None],
        touch: Callable[[Live[T]], None],
        bell: asyncio.Event,
    ) -> None:
        self._session = session
        self._slot = slot
        self._seen = seen
        self._touch = touch
        self._bell = bell
        self._left = 0.0
        self._writes = 0
        self.live: Live[T] | None = None
        """The session as it was read last; None when it is over."""
        self.over = asyncio.Event()
        """Set when the session is over: ended, replaced or lapsed."""

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Read the session, then follow it. Raises as `Sessions.read`."""
        await self._look()
        following = asyncio.get_running_loop().create_task(self._follow(), name="greenroom-session-watch")
        try:
            yield
        finally:
            following.cancel()
            await asyncio.wait([following])

    def active(self) -> None:
        """The client has sent something: note that the session is in use, if that is due."""
        if self.live is not None:
            self._touch(self.live)

    def wrote(self, live: Live[T] | None) -> None:
        """The socket's own application has changed the session, or ended it: it sees that before the push comes."""
        self._writes += 1
        self.live = live if self.live is not None else None
        self._bell.set()

    async def _look(self) -> None:
        writes = self._writes
        found, left_ms = await self._slot.stay(self._session)
        self._left = max(left_ms / 1000, _LEAST)
        if self._writes != writes:
            return  # read, perhaps, before what was written meanwhile; the bell has rung for it
        live = self._seen(self._session, found)
        # A copy is for requests under way; a socket on it would live on a session that is over.
        self.live = live if live is not None and live.writable else None

    async def _follow(self) -> None:
        ends = monotonic() + self._left
        while self.live is not None:
            try:
                async with asyncio.timeout(self._left):
                    await self._bell.wait()
            except TimeoutError:
                pass
            self._bell.clear()
            try:
                await self._look()
                ends = monotonic() + self._left
            except BrokenValue:
                continue  # neither over nor to be believed; its next write is a push
            except EngineError:
                # docs/decisions/0039-sockets-stay-open-without-the-server.md
                if monotonic() >= ends:
                    self.live = None
                self._left = _AGAIN
        self.over.set()
