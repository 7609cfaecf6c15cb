"""The head of an answer: byte for byte what uvicorn itself makes of the same messages, and no secret is kept."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from greenroom_platform.http import response_head
from greenroom_platform.http.http_protocol import HttpProtocol

NAMES = [
    *(b"content-type", b"ETag", b"vary", b"cache-status", b"x-request-id", b"set-cookie", b"Connection", b"date"),
    *(b"transfer-encoding", b"content-length", b"link", b"cache-control"),
]
VALUES = [b"", b"a", b"close", b"keep-alive, Close", b"chunked", b"0", b"3", b"text/plain; charset=utf-8"]


class _Wire(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.closed = False

    def write(self, data: Any) -> None:
        self.written += bytes(data)

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


def answered(
    kind: type[HttpToolsProtocol], request: bytes, status: int, headers: list[tuple[bytes, bytes]], body: bytes
) -> tuple[bytes, bool, str]:
    """What a protocol writes for an answer, whether it closes, and what the application was told."""
    told = ""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        nonlocal told
        try:
            await send({"type": "http.response.start", "status": status, "headers": headers})
            await send({"type": "http.response.body", "body": body})
        except RuntimeError as error:
            told = str(error)

    async def run() -> tuple[bytes, bool]:
        config = Config(app, http="httptools", log_level="critical", access_log=False, proxy_headers=False, ws="none")
        config.load()
        state = ServerState()
        state.default_headers = [(b"date", b"Sun, 29 Nov 2026 12:00:00 GMT")]
        protocol, wire = kind(config=config, server_state=state, app_state={}), _Wire()
        protocol.connection_made(wire)
        protocol.data_received(request)
        await asyncio.gather(*state.tasks, return_exceptions=True)
        ended = wire.written, wire.closed
        protocol.connection_lost(None)  # which closes it
        return ended

    return *asyncio.run(run()), told


@pytest.fixture(autouse=True)
def nothing_kept() -> Iterator[None]:
    response_head._lines.clear()
    yield
    response_head._lines.clear()


@example(method=b"GET", version=b"1.1", status=200, headers=[(b"connection", b"keep-alive, Close")], body=b"abc")
@example(method=b"GET", version=b"1.1", status=200, headers=[(b"content-length", b"3")], body=b"abc")
@settings(max_examples=150, deadline=None, database=None)
@given(
    method=st.sampled_from([b"GET", b"HEAD"]),
    version=st.sampled_from([b"1.0", b"1.1"]),
    status=st.sampled_from([200, 204, 206, 304, 404, 503]),
    headers=st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(VALUES)), max_size=6),
    body=st.sampled_from([b"", b"abc"]),
)
def test_a_head_is_what_uvicorn_itself_makes_of_it(
    method: bytes, version: bytes, status: int, headers: list[tuple[bytes, bytes]], body: bytes
) -> None:
    headers = [(name, value) for name, value in headers if name != b"content-length" or value.isdigit()]
    request = method + b" / HTTP/" + version + b"\r\nHost: localhost\r\n\r\n"
    theirs = answered(HttpToolsProtocol, request, status, headers, body)
    for _ in range(2):  # the second time its lines are known
        assert answered(HttpProtocol, request, status, headers, body) == theirs


@pytest.mark.parametrize("pair", [(b"na me", b"x"), (b"etag", b"x\r\nset-cookie: y"), (b"vary", b"x\x00")], ids=repr)
def test_a_header_that_would_end_its_line_is_refused(pair: tuple[bytes, bytes]) -> None:
    request = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
    for _ in range(2):
        written, _closed, told = answered(HttpProtocol, request, 200, [pair], b"")
        assert told.startswith("Invalid HTTP header")
        assert pair[1] not in written
    assert pair not in response_head._lines


def test_lines_of_secrets_are_not_kept_and_the_others_have_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(response_head, "_MOST", 8)
    request = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
    for number in range(20):
        tag = b'"%d"' % number
        answered(HttpProtocol, request, 204, [(b"set-cookie", tag), (b"x-request-id", tag), (b"etag", tag)], b"")
        assert len(response_head._lines) <= 8
    assert {name for name, _ in response_head._lines} == {b"date", b"etag"}
