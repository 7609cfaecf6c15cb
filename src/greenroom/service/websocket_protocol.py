"""The server's side of a WebSocket, which tells its client 1001 when the process is told to end."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from greenroom.service.listening import GOING_AWAY, RESTARTS

LAST_WORD = 2.0
"""Seconds that a client has to answer a close before its connection is closed."""


class WebSocketProtocol(WebSocketsSansIOProtocol):
    """Closes with 1001 at shutdown, whatever the application does at that moment.

    Uvicorn's own `shutdown` closes with 1012, and closes the connection in the same step. An application that wants
    to say 1001 must be quicker, and cannot be: the server looks for the end every tenth of a second. After a signal in
    the last millisecond of it, or while the loop stood still, both find out in the same step of the loop. The
    application needs several steps to send its close, the server one.

    So the server says 1001 itself:

    - A socket that is open is closed here and now, behind what its client has not taken yet.
    - A handshake under way goes on. The close follows the accept; a refusal stays a refusal.
    - A socket that the application has closed keeps the application's code.

    The connection stays for the client's answer. Closed at once, with something from the client unread, it would be
    reset, and the system would throw away the close with whatever else it had not sent yet.
    """

    _ending = False
    _told = False

    def shutdown(self) -> None:
        """Called by the server once, at the end."""
        self._ending = True
        self.stop_keepalive()
        if self.handshake_complete:
            self._tell()

    async def send(self, message: Any) -> None:
        """Called by the application.

        Raises:
            ClientDisconnected: for what comes after the close, as for a client that has left.
        """
        if not self._told:
            await self.writable.wait()
        if self._told:  # also while it waited
            raise ClientDisconnected
        await super().send(message)
        if self._ending and self.handshake_complete:
            self._tell()

    def _tell(self) -> None:
        self._told = True
        if self.transport.is_closing():
            return
        if not self.close_sent:
            self.queue.put_nowait({"type": "websocket.disconnect", "code": GOING_AWAY, "reason": RESTARTS})
            self.conn.send_close(GOING_AWAY, RESTARTS)
            self.transport.write(b"".join(self.conn.data_to_send()))
            self.close_sent = True
        if self.read_paused:
            self.read_paused = False
            self.transport.resume_reading()
        if self.close_timer is not None:
            self.close_timer.cancel()
        self.close_timer = asyncio.get_running_loop().call_later(LAST_WORD, self.transport.close)
