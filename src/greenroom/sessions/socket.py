"""A WebSocket whose session can end: the close is sent for the application, and told to it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from typing import Any

from greenroom.sessions.refusals import SignInRequired

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
