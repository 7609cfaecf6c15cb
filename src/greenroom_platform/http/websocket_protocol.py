"""The server's side of a WebSocket: what its client may cost, and 1001 when the process is told to end."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, ClassVar

from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.exceptions import InvalidHeader
from websockets.frames import Close, CloseCode, Frame
from websockets.http11 import Request

from greenroom_platform.http.problems import SOCKET_VERSION, UNEXPECTED, path_as_sent, upgrade_required
from greenroom_platform.http.refused_early import LAST_WORD, NO_MORE, Farewell, refusal
from greenroom_platform.http.stream_messages import CLOSES, GOING_AWAY

_SLICE = 1024
"""Bytes that are parsed before others have their turn: at most some hundred frames, each a step of a generator."""


class Allowance:
    """So many events a second, and as many at once.

    Arguments:
        most: a second.
    """

    def __init__(self, per_second: int, now: float) -> None:
        self._per_second = per_second
        self._left = float(per_second)
        self._at = now

    def spend(self, now: float) -> bool:
        """Count an event; False where it is one too many."""
        self._left = min(self._per_second, self._left + (now - self._at) * self._per_second) - 1
        self._at = now
        return self._left >= 0


class WebSocketProtocol(WebSocketsSansIOProtocol):
    """Uvicorn's protocol with bounds on what a client sends, and with a last word of its own.

    What a client sends is parsed in slices, and between two of them others have their turn. More than
    `CONTROL_FRAMES` or `FRAMES` in a second, or a message in more than `FRAGMENTS`, is closed with 1008. Whatever the
    client is closed for, it can read the code: see `Farewell`.

    A handshake that cannot be is refused with a problem document, before the application is asked.

    It closes with 1001 at shutdown, whatever the application does at that moment. Uvicorn's own `shutdown` closes with
    1012, and closes the connection in the same step. An application that wants to say 1001 must be quicker, and
    cannot be: the server looks for the end every tenth of a second. After a signal in the last millisecond of it, or
    while the loop stood still, both find out in the same step of the loop. The application needs several steps to
    send its close, the server one.

    So the server says 1001 itself:

    - A socket that is open is closed here and now, behind what its client has not taken yet.
    - A handshake under way goes on. The close follows the accept; a refusal stays a refusal.
    - A socket that the application has closed keeps the application's code.

    The connection stays for the client's answer. Closed at once, with something from the client unread, it would be
    reset, and the system would throw away the close with whatever else it had not sent yet.
    """

    CONTROL_FRAMES: ClassVar[int] = 20
    FRAMES: ClassVar[int] = 100
    FRAGMENTS: ClassVar[int] = 32

    _ending = False
    _close_announced = False
    _farewell: Farewell | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        now = self.loop.time()
        self._control_frames = Allowance(self.CONTROL_FRAMES, now)
        self._frames = Allowance(self.FRAMES, now)
        self._unparsed = b""
        self._head = b""
        self._next: asyncio.Handle | None = None

    # What the client sends -------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        if self._farewell is not None:
            self._farewell.heard(data)
            return
        self._unparsed += data
        if self._next is None:
            self._parse()

    def connection_lost(self, exc: Exception | None) -> None:
        self._unparsed = b""
        if self._farewell is not None:
            self._farewell.over()
        super().connection_lost(exc)

    def _parse(self) -> None:
        self._next = None
        if self.transport.is_closing():
            self._unparsed = b""
        if not self._unparsed:
            return
        end = _SLICE if self.handshake_initiated else len(self._unparsed)
        part, self._unparsed = self._unparsed[:end], self._unparsed[end:]
        if not self.handshake_initiated:
            self._head = part
        super().data_received(part)
        if not self.handshake_initiated and self.conn.handshake_exc is not None:
            self._refuse(*_unreadable(b"".join(self.conn.data_to_send())))
        elif self._unparsed and self._farewell is None:
            # Paused, or as much again is read before this is parsed.
            if not self.read_paused:
                self.transport.pause_reading()
            self._next = self.loop.call_soon(self._parse_next)

    def handle_connect(self, event: Request) -> None:
        answer = self.conn.accept(event)
        if answer.status_code == HTTPStatus.SWITCHING_PROTOCOLS:
            super().handle_connect(event)
            return
        self.handshake_initiated = True
        self._refuse(*_no_handshake(answer.status_code, event, self.conn.handshake_exc))

    def _refuse(self, slug: str, detail: str, more: Mapping[str, str] = NO_MORE) -> None:
        """Answer the handshake, and nothing further."""
        self.handshake_complete = True
        # As the protocol of HTTP has read it and handed it over, whatever this one makes of it.
        first, *lines = self._head.partition(b"\r\n\r\n")[0].split(b"\r\n")
        headers = [(name, value) for name, _, value in (line.partition(b": ") for line in lines)]
        instance = path_as_sent({"raw_path": first.split(b" ")[1].partition(b"?")[0]})
        client = self.client[0] if self.client else "-"
        self._part(refusal(slug, detail, client, headers=headers, instance=instance, more=more))

    def _parse_next(self) -> None:
        if not self.read_paused and not self.transport.is_closing():
            self.transport.resume_reading()
        self._parse()

    def handle_ping(self) -> None:
        if self._is_within(control=True):
            super().handle_ping()

    def handle_pong(self, event: Frame) -> None:
        if self._is_within(control=True):
            super().handle_pong(event)

    def handle_text(self, event: Frame) -> None:
        if self._is_within():
            super().handle_text(event)

    def handle_bytes(self, event: Frame) -> None:
        if self._is_within():
            super().handle_bytes(event)

    def handle_cont(self, event: Frame) -> None:
        if self._is_within(fragments=len(self.frames)):
            super().handle_cont(event)

    def _is_within(self, *, control: bool = False, fragments: int = 0) -> bool:
        """Count a frame; where it is one too many the socket is closed, and what follows it is not looked at."""
        if self._farewell is not None:
            return False
        now = self.loop.time()
        if control and not self._control_frames.spend(now):
            reason = f"more than {self.CONTROL_FRAMES} control frames in a second"
        elif not self._frames.spend(now):
            reason = f"more than {self.FRAMES} frames in a second"
        elif fragments >= self.FRAGMENTS:
            reason = f"a message in more than {self.FRAGMENTS} fragments"
        else:
            return True
        self._fail(CloseCode.POLICY_VIOLATION, reason)
        return False

    def send_receive_event_to_app(self) -> None:
        """Called when a message is whole; the original logs a text that is no UTF-8 as an error of the server."""
        if self.curr_msg_data_type == "text" and not _is_text(b"".join(self.frames)):
            self._fail(CloseCode.INVALID_DATA, "a text that is no UTF-8")
        else:
            super().send_receive_event_to_app()

    def handle_parser_exception(self) -> None:
        """Called after what breaks the protocol, or is too long; the library has its close ready, if there is one."""
        said = self.conn.close_sent or Close(CloseCode.PROTOCOL_ERROR, "a frame that cannot be read")
        self._fail(said.code, said.reason)

    def handle_close(self, event: Frame) -> None:
        if self._farewell is None:
            super().handle_close(event)

    def _fail(self, code: int, reason: str) -> None:
        """Close for something that the client has done; what follows it is not looked at."""
        self.queue.put_nowait({"type": "websocket.disconnect", "code": int(code), "reason": reason})
        if not self.handshake_complete:
            self._refuse("bad-request", f"it has sent frames before its handshake was answered: {reason}")
            return
        if self.conn.close_sent is None:
            self.conn.send_close(code, reason)
        self._part(b"".join(self.conn.data_to_send()))

    def _part(self, last_word: bytes) -> None:
        """Say a last word, and read nothing more of what the client says."""
        self.close_sent = self._close_announced = True
        self._unparsed = b""
        self.stop_keepalive()
        if self.read_paused:
            self.read_paused = False
            self.transport.resume_reading()
        self._farewell = Farewell(self.transport, last_word)
        # While it runs the original does not close the connection when the application ends.
        self.close_timer = self._farewell.timer

    # What the application says ---------------------------------------------------------------------

    def shutdown(self) -> None:
        """Called by the server once, at the end."""
        self._ending = True
        self.stop_keepalive()
        if self.handshake_complete:
            self._tell()

    def send_500_response(self) -> None:
        """Called by the server where the application has left without an answer; its own is no problem document."""
        if not self.handshake_complete:
            self._refuse("internal-error", UNEXPECTED)

    async def send(self, message: Any) -> None:
        """Called by the application.

        Raises:
            ClientDisconnected: for what comes after the close, as for a client that has left.
        """
        if not self._close_announced:
            await self.writable.wait()
        if self._close_announced:  # also while it waited
            raise ClientDisconnected
        await super().send(message)
        if message["type"] == "websocket.http.response.body" and not message.get("more_body"):
            # It is answered, if not opened; the original takes it for unanswered, and logs an error of ours.
            self.handshake_complete = True
        if self._ending and self.handshake_complete:
            self._tell()

    def _tell(self) -> None:
        self._close_announced = True
        if self.transport.is_closing() or self._farewell is not None:
            return
        if not self.close_sent:
            self.queue.put_nowait({"type": "websocket.disconnect", "code": GOING_AWAY, "reason": CLOSES[GOING_AWAY]})
            self.conn.send_close(GOING_AWAY, CLOSES[GOING_AWAY])
            self.transport.write(b"".join(self.conn.data_to_send()))
            self.close_sent = True
        if self.read_paused:
            self.read_paused = False
            self.transport.resume_reading()
        if self.close_timer is not None:
            self.close_timer.cancel()
        self.close_timer = asyncio.get_running_loop().call_later(LAST_WORD, self.transport.close)


def _is_text(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _unreadable(said: bytes) -> tuple[str, str]:
    """Problem and detail of a handshake that the library cannot read.

    Arguments:
        said: the library's own answer, which nobody is sent; the older ones have none.
    """
    # It reads lines of 8 KiB: shorter than what an HTTP request may have.
    match said[9:12]:
        case b"414":
            return "uri-too-long", "its address is too long for a WebSocket handshake"
        case b"431":
            return "headers-too-large", "a WebSocket handshake has headers of at most 8 KiB each"
        case _:
            return "bad-request", "it is no WebSocket handshake that can be read"


def _no_handshake(status: int, event: Request, error: Exception | None) -> tuple[str, str, Mapping[str, str]]:
    """Problem, detail and headers of the answer to a handshake that the library refuses."""
    if status == HTTPStatus.METHOD_NOT_ALLOWED:
        return "method-not-allowed", "a WebSocket handshake is a GET", {"Allow": "GET"}
    versions = event.headers.get_all("Sec-WebSocket-Version")
    # RFC 6455, 4.4: who speaks another version learns of ours, and may try again.
    if status == HTTPStatus.UPGRADE_REQUIRED or (len(versions) == 1 and versions != [SOCKET_VERSION]):
        problem = upgrade_required()
        return problem.slug, problem.detail, {**problem.headers, "Connection": "upgrade, close"}
    if isinstance(error, InvalidHeader):
        detail = f"its {error.name} is missing, given more than once, or none that can be read"
        return "bad-request", detail, NO_MORE
    return "bad-request", "it is no WebSocket handshake that can be read", NO_MORE
