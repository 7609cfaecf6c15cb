"""The server's side of an HTTP connection, bounded: uvicorn leaves each of these bounds to a proxy in front of it."""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar

import httptools
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from greenroom_platform.http.problems import UNEXPECTED, path_as_sent
from greenroom_platform.http.refused_early import Farewell, refusal
from greenroom_platform.http.request_target import Unreadable, host_of, target_of
from greenroom_platform.http.response_head import send_head

_PIECE = 64 * 1024
"""Bytes that the parser is given at once; what it collects of an unfinished line is in no callback."""
_PIECES = 64
"""Pieces that are parsed before others have their turn."""
_HEAD_END = b"\r\n\r\n"
_FRAMING = b"content-length", b"transfer-encoding"
"""Headers that say where a body ends (RFC 9112, 6.3)."""


class _Flow(FlowControl):
    """Flow control that a request's application cannot release while the connection has enough to do.

    Prevents: 16 requests wait, and reading is paused · the first one's application asks for its body, and so resumes
    reading · a hundred thousand more are read.
    """

    held = False

    def resume_reading(self) -> None:
        if not self.held:
            super().resume_reading()


class HttpProtocol(HttpToolsProtocol):
    """Uvicorn's protocol with bounds on what one connection may cost.

    - What waits: `WAITING` requests. What comes after them stays unparsed, and the client's system waits.
    - Heads: `HEAD` bytes and `HEADERS` headers (431), `URL` bytes of the address (414).
    - Time: `PATIENCE` seconds for a head (408), and for every `MOVING` bytes of a body.
    - The loop: after `_PIECES` requests of one connection others have their turn.

    A refusal is a problem document. It waits for the answers to earlier requests of the connection, and ends it.
    """

    WAITING: ClassVar[int] = 16
    HEAD: ClassVar[int] = 64 * 1024
    HEADERS: ClassVar[int] = 100
    URL: ClassVar[int] = 8 * 1024
    # docs/decisions/0056-header-deadline-starts-at-connection.md
    PATIENCE: ClassVar[float] = 10.0
    MOVING: ClassVar[int] = 1000

    flow: _Flow

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._unparsed = b""
        self._at = 0
        self._next: asyncio.Handle | None = None
        self._in_head = self._in_body = False
        self._heads = 0  # that were read to their end
        self._head_bytes = 0  # of the head that is being read
        self._quiet_bytes = 0  # of a body, without any of its content: lengths of chunks, and trailers
        self._moved = 0
        self._named = 0
        self._unanswered = 0
        self._upgraded = False
        self._reads_on = False
        self._patience: asyncio.TimerHandle | None = None
        self._refusal: bytes | None = None
        self._farewell: Farewell | None = None
        self._running: RequestResponseCycle | None = None

    # The connection --------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.flow = _Flow(transport)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        self._unparsed = b""
        self._rest()
        if self._farewell is not None:
            self._farewell.over()
        # Uvicorn tells the newest request only. Prevents: a client asks for a long poll, then for something else on the
        # same connection, and leaves · the long poll keeps its place to its end.
        for cycle in (self._running, *(waiting for waiting, _ in self.pipeline)):
            if cycle is not None and not cycle.response_complete:
                cycle.disconnected = True
                cycle.message_event.set()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._farewell is not None:
            self._farewell.heard(data)
            return
        if self._refusal is not None:
            return
        self._unset_keepalive_if_required()
        if self._is_one_head(data):
            self._feed(data)
            self._go_on()
            return
        self._unparsed = self._unparsed[self._at :] + data if self._unparsed else data
        self._at = 0
        if self._next is None and not self._is_full:
            self._parse()

    def on_response_complete(self) -> None:
        self._unanswered -= 1
        super().on_response_complete()
        if self.transport.is_closing():
            return
        if self._refusal is not None:
            if not self._unanswered:
                self._part()
        elif self._unparsed:
            if self._next is None and not self._is_full:
                self._next = self.loop.call_soon(self._parse)
        elif self._in_head or self._in_body:
            self._unset_keepalive_if_required()  # it is not idle: `_patience` runs

    # Parsing ---------------------------------------------------------------------------------------

    @property
    def _is_full(self) -> bool:
        return len(self.pipeline) >= self.WAITING

    def _is_one_head(self, data: bytes) -> bool:
        """Whether it is a whole head and nothing else, as most of what is received: it is parsed as it is."""
        return (
            not (self._unparsed or self._in_body or self._head_bytes or self._is_full)
            and len(data) <= self.HEAD
            and data.find(_HEAD_END) == len(data) - len(_HEAD_END)
        )

    def _parse(self) -> None:
        """Parse what was read, request by request, as far as there is room."""
        self._next = None
        for _ in range(_PIECES):
            if not self._unparsed or self._is_full or self.transport.is_closing():
                break
            self._feed(self._piece())
        self._go_on()

    def _go_on(self) -> None:
        """Wait for more where all is parsed, and for the application where not."""
        if self.transport.is_closing() or self._refusal is not None or self._upgraded:
            self._unparsed = b""
        elif not self._unparsed:
            self._hold(False)
            self._wait()
        else:
            self._rest()  # the client has done its part
            self._hold(True)
        if self._unparsed and not self._is_full:
            self._next = self.loop.call_soon(self._parse)

    def _hold(self, held: bool) -> None:
        if held:
            self.flow.pause_reading()
            self.flow.held = True
        elif self.flow.held:
            self.flow.held = False
            self.flow.resume_reading()

    # docs/decisions/0054-http-is-parsed-head-by-head.md
    def _piece(self) -> bytes:
        """The next bytes for the parser: at most one head ends in them, and no head in them is too long."""
        limit = _PIECE if self._in_body else min(_PIECE, self.HEAD + 1 - self._head_bytes)
        end = self._unparsed.find(_HEAD_END, self._at, self._at + limit)
        end = min(self._at + limit, len(self._unparsed)) if end < 0 else end + len(_HEAD_END)
        piece = self._unparsed if self._at == 0 and end == len(self._unparsed) else self._unparsed[self._at : end]
        self._at = end
        if end == len(self._unparsed):
            self._unparsed, self._at = b"", 0
        return piece

    def _feed(self, piece: bytes) -> None:
        was_in_body, heads, moved = self._in_body, self._heads, self._moved
        try:
            self._parse_piece(piece)
        except httptools.HttpParserError as error:
            cause = error.__context__
            if isinstance(cause, Unreadable):
                self._refuse(cause.slug, cause.detail)
            else:
                self._refuse("bad-request", "it is no HTTP request that can be read")
            return
        # One that ends a body, and perhaps begins a head, is not counted: how much of it is the head's is not known.
        self._head_bytes = 0 if was_in_body or self._heads != heads else self._head_bytes + len(piece)
        self._quiet_bytes = self._quiet_bytes + len(piece) if was_in_body and self._moved == moved else 0
        if self._head_bytes > self.HEAD or self._quiet_bytes > self.HEAD:
            self._refuse("headers-too-large", f"its headers have more than {self.HEAD} bytes")

    def _parse_piece(self, piece: bytes) -> None:
        if not piece:
            return
        try:
            self.parser.feed_data(piece)
        except httptools.HttpParserUpgrade as upgrade:
            if self._should_upgrade():
                self._upgrade()
            else:
                self._read_on()
                # Prevents: the last byte of a head comes with the body · the body is lost · what follows is read as it.
                self._parse_piece(piece[upgrade.args[0] :])

    def on_message_begin(self) -> None:
        if self._reads_on:
            return
        self._in_head, self._named = True, 0
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        if self._reads_on:
            return
        super().on_url(url)
        if len(self.url) > self.URL:
            raise Unreadable("uri-too-long", f"its address has more than {self.URL} bytes")

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._reads_on:
            return
        self._named += 1
        if self._named > self.HEADERS:
            raise Unreadable("headers-too-large", f"it has more than {self.HEADERS} headers")
        # Trailers are not merged into the headers (RFC 9110, 6.5.1): by now they may have been relied on.
        if not self._in_body:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        if self._reads_on:
            return
        self.url, named = target_of(self.parser.get_method(), self.url)
        hosts = [at for at, (name, _) in enumerate(self.headers) if name == b"host"]
        if len(hosts) > 1 or (not hosts and self.parser.get_http_version() == "1.1"):  # RFC 9112, 3.2
            raise Unreadable("bad-request", "it has no Host, or more than one; send it once")
        for at in hosts:
            self.headers[at] = b"host", host_of(named or self.headers[at][1])
        before = self.cycle
        super().on_headers_complete()
        self._unanswered += self.cycle is not before
        self._in_head, self._in_body, self._moved = False, True, 0
        self._heads += 1
        self._rest()

    def on_body(self, body: bytes) -> None:
        self._moved += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        if self.parser.should_upgrade() and not self._should_upgrade():
            return  # the parser leaves out the body: see `_read_on`
        self._in_body = False
        super().on_message_complete()

    def _should_upgrade(self) -> bool:
        # In HTTP/1.0 an Upgrade counts for nothing (RFC 9110, 7.8).
        return self.parser.get_http_version() != "1.0" and super()._should_upgrade()

    def _read_on(self) -> None:
        """Read the body of a request whose Upgrade is not ours: the connection goes on in HTTP/1.1 (RFC 9110, 7.8).

        The parser takes each Upgrade for the end of the message. A new one gets a head of the same length of body.
        Prevents: a proxy passes on a POST with `Upgrade: h2c` · its body is taken for the next request, which has
        headers that only the proxy may set · the proxy gives the answer to another client.
        """
        framing = b"".join(b"%b: %b\r\n" % header for header in self.headers if header[0] in _FRAMING)
        method = self.parser.get_method().replace(b"CONNECT", b"POST")  # each CONNECT is an Upgrade to the parser
        self.parser = httptools.HttpRequestParser(self)
        self._reads_on = True
        try:
            self.parser.feed_data(b"%b / HTTP/1.1\r\n%b\r\n" % (method, framing))
        finally:
            self._reads_on = False

    def _upgrade(self) -> None:
        if self._unanswered:
            self._refuse("bad-request", "a WebSocket cannot begin while other requests of its connection are answered")
        else:
            self._unparsed, self._at = b"", 0
            self._rest()
            self._upgraded = True
            self.handle_websocket_upgrade()

    # Patience --------------------------------------------------------------------------------------

    def _wait(self) -> None:
        """Wait for what the client owes: the rest of a head or of a body, or a first request."""
        if self._in_body:
            if self._patience is None:
                # Until it is asked for it is the application that takes its time; a WebSocket's has none.
                asked = self.cycle is None or not self.cycle.waiting_for_100_continue
                self._patience = self.loop.call_later(self.PATIENCE, self._body_is_due, self._moved, asked)
        elif self._in_head or (not self._unanswered and self.timeout_keep_alive_task is None):
            if self._patience is None:
                self._patience = self.loop.call_later(self.PATIENCE, self._head_is_due)
        else:
            self._rest()

    def _rest(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _head_is_due(self) -> None:
        self._patience = None
        if self._in_head:
            self._refuse("request-timeout", f"its headers took more than {self.PATIENCE:g} s")
        elif not self._unanswered:
            self.transport.close()  # nothing was asked, so nothing is answered

    def _body_is_due(self, moved: int, asked: bool) -> None:
        self._patience = None
        # Where reading is paused it is the application too.
        if self._in_body and asked and self._moved - moved < self.MOVING and not self.flow.read_paused:
            self._refuse("request-timeout", f"its body had fewer than {self.MOVING} bytes in {self.PATIENCE:g} s")
        else:
            self._wait()

    # Refusals --------------------------------------------------------------------------------------

    def _refuse(self, slug: str, detail: str) -> None:
        """Answer the request that is being read, after those before it, and nothing further."""
        self._unparsed, self._at = b"", 0
        self._rest()
        if self.transport.is_closing():
            return
        if self._in_body and self.cycle is not None and self.cycle.response_complete:
            self._refusal = b""  # it has its answer, and another would be taken for that of the next request
            self._part()
            return
        known = self._in_head or self._in_body  # or what the parser holds is of the request before
        self._refusal = refusal(
            slug,
            detail,
            self._peer,
            headers=self.headers if known else (),
            # Its method stands before its address.
            head=bool(known and self.url and self.parser.get_method() == b"HEAD"),
        )
        if self._in_body and self.cycle is not None:
            if self.pipeline:
                self.pipeline.popleft()  # the newest: it has not begun
                self._unanswered -= 1
            elif self.cycle.response_started:
                self.transport.close()  # broken off, so that nobody takes the answer for whole
                return
            else:
                # Its application is told that nobody waits for an answer any more.
                self.cycle.disconnected = True
                self.cycle.message_event.set()
                self._unanswered -= 1
        if not self._unanswered:
            self._part()
        else:
            self._hold(True)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, self._answered(cycle, app))

    def _answered(self, cycle: RequestResponseCycle, app: Any) -> Any:
        """The application, with an answer of ours where it leaves none; the server's own is no problem document."""

        async def answered(scope: Any, receive: Any, send: Any) -> None:
            async def sending(message: Any) -> None:
                if cycle.response_started or message["type"] != "http.response.start":
                    await send(message)
                else:
                    await send_head(cycle, message)

            try:
                await app(scope, receive, sending)
            finally:
                if not cycle.response_started and not cycle.disconnected:
                    cycle.response_started = True  # so that the server says nothing more, and closes
                    last_word = refusal(
                        "internal-error",
                        UNEXPECTED,
                        self._peer,
                        headers=scope["headers"],
                        instance=path_as_sent(scope),
                        head=scope["method"] == "HEAD",
                    )
                    self.transport.write(last_word)

        return answered

    @property
    def _peer(self) -> str:
        return self.client[0] if self.client else "-"

    def _part(self) -> None:
        assert self._refusal is not None
        self._unset_keepalive_if_required()
        self.flow.held = False
        self.flow.resume_reading()
        self._farewell = Farewell(self.transport, self._refusal)
