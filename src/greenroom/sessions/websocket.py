"""A WebSocket closes when its session ends: by a push where any process ends it, by a timer where it expires.

The close is sent for the application, and the application is told of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import asynccontextmanager, suppress
from time import monotonic
from typing import Any, Generic, TypeVar

from greenroom.errors import BrokenValue, EngineError
from greenroom.sessions.refusals import SignInRequired
from greenroom.sessions.snapshot import SessionSnapshot, StoredSession
from greenroom.sessions.store import SessionStore

T = TypeVar("T")

_RETRY_AFTER = 1.0
"""Seconds until a store that could not be asked is asked again."""
_MIN_PAUSE = 0.01
"""Seconds between two looks at a session that is about to lapse."""


class SessionWatch(Generic[T]):
    """Made by `Sessions.watched`.

    The session is read on the tracked connection, after an event is there that its pushes set: each push, the lapse
    of its touch among them, is followed by one more read. A store that cannot be asked says nothing about the session:
    its socket stays open until the session would have lapsed.
    """

    def __init__(
        self,
        session: str,
        store: SessionStore,
        snapshot: Callable[[str, StoredSession], SessionSnapshot[T] | None],
        touch: Callable[[SessionSnapshot[T]], None],
        pushed: asyncio.Event,
    ) -> None:
        self._session = session
        self._store = store
        self._snapshot = snapshot
        self._touch = touch
        self._pushed = pushed
        self._left = 0.0
        self._writes = 0
        self.live: SessionSnapshot[T] | None = None
        """The session as it was read last; None when it is over."""
        self.over = asyncio.Event()
        """Set when the session is over: ended, replaced or lapsed."""

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Read the session, then follow it.

        Raises:
            As `Sessions.read`.
        """
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

    def wrote(self, live: SessionSnapshot[T] | None) -> None:
        """The socket's own application has changed the session, or ended it: it sees that before the push comes."""
        self._writes += 1
        self.live = live if self.live is not None else None
        self._pushed.set()

    async def _look(self) -> None:
        writes = self._writes
        stored, left_ms = await self._store.stay(self._session)
        self._left = max(left_ms / 1000, _MIN_PAUSE)
        if self._writes != writes:
            return  # read, perhaps, before what was written meanwhile; the event was set for it
        live = self._snapshot(self._session, stored)
        # A copy is for requests under way; a socket on it would live on a session that is over.
        self.live = live if live is not None and live.writable else None

    async def _follow(self) -> None:
        ends = monotonic() + self._left
        while self.live is not None:
            try:
                async with asyncio.timeout(self._left):
                    await self._pushed.wait()
            except TimeoutError:
                pass
            self._pushed.clear()
            try:
                await self._look()
                ends = monotonic() + self._left
            except BrokenValue:
                continue  # neither over nor to be believed; its next write is a push
            except EngineError:
                # docs/decisions/0039-sockets-stay-open-without-the-server.md
                if monotonic() >= ends:
                    self.live = None
                self._left = _RETRY_AFTER
        self.over.set()


Message = MutableMapping[str, Any]
REASON = "the session has ended; sign in again, or reconnect with the new cookie"


class SessionEnded(OSError):
    """The application sends on a socket that was closed: the ASGI specification's error for that."""


class GuardedSocket:
    """The channel between a server and an application, closed when `over` is set.

    Arguments:
        on_message: called with each message of the client.
    """

    def __init__(
        self,
        receive: Callable[[], Awaitable[Message]],
        send: Callable[[Message], Awaitable[None]],
        over: asyncio.Event,
        on_message: Callable[[], None],
    ) -> None:
        self._receive = receive
        self._send = send
        self._over = over
        self._on_message = on_message
        self.open = True
        """Whether neither side has closed it."""
        self.accepted = False
        """Whether it was accepted."""
        self._next: asyncio.Task[Message] | None = None

    async def receive(self) -> Message:
        """The next event for the application; a disconnect once the session is over."""
        # Kept from call to call: a cancelled `receive` may have taken a message that nobody then gets.
        if self._next is None:
            self._next = asyncio.ensure_future(self._receive())
        ended = asyncio.ensure_future(self._over.wait())
        try:
            await asyncio.wait({self._next, ended}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            ended.cancel()
        if self._over.is_set():
            await self.close()
            return {"type": "websocket.disconnect", "code": SignInRequired.close_code, "reason": REASON}
        message, self._next = self._next.result(), None
        if message["type"] == "websocket.receive":
            self._on_message()
        elif message["type"] == "websocket.disconnect":
            self.open = False
        return message

    async def send(self, message: Message) -> None:
        """Send for the application.

        Raises:
            SessionEnded: for anything but a close, once the session is over.
        """
        if self._over.is_set():
            await self.close()
            if message["type"] == "websocket.close":
                return
            raise SessionEnded(REASON)
        if message["type"] == "websocket.accept":
            self.accepted = True
        elif message["type"] != "websocket.send":
            self.open = False  # a close, or an answer in place of the handshake
        await self._send(message)

    async def close(self, code: int = SignInRequired.close_code, reason: str = REASON) -> None:
        """Close, if it is open; before it is accepted the server answers 403 whatever the code."""
        if self.open:
            self.open = False
            with suppress(OSError):  # the client was faster
                await self._send({"type": "websocket.close", "code": code, "reason": reason})

    async def watch(self) -> None:
        """Close when the session is over, even where the application neither sends nor receives."""
        await self._over.wait()
        await self.close()

    async def leave(self) -> None:
        """The application has ended."""
        if self._next is not None and not self._next.done():
            self._next.cancel()
            await asyncio.wait([self._next])
