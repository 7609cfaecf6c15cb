"""What a WebSocket's client may send: frames a second, fragments of a message, and the loop is given back between."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from greenroom_platform.http.websocket_protocol import Allowance, WebSocketProtocol
from tests.support.patience import until
from tests.support.raw_connections import connected
from tests.support.running_service import API
from tests.support.stream_listeners import UNKNOWN, Bare, Inner, inner, tones

PING, PONG, TEXT, BINARY, TEXT_BEGIN, CONTINUED, CONTINUED_END = 0x89, 0x8A, 0x81, 0x82, 0x01, 0x00, 0x80


def frames(first: int, count: int) -> bytes:
    """Empty frames of a client, masked with zeros."""
    return bytes((first, 0x80, 0, 0, 0, 0)) * count


class Endless(Allowance):
    """Nothing is given back, so that a slow test sees the same as a fast one."""

    def spend(self, now: float) -> bool:
        return super().spend(self._at)


class Strict(WebSocketProtocol):
    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        self._control_frames = Endless(self.CONTROL_FRAMES, 0)
        self._frames = Endless(self.FRAMES, 0)


def strictly(config: uvicorn.Config) -> None:
    config.ws = Strict


@asynccontextmanager
async def listening(tmp_path: Path) -> AsyncIterator[tuple[Inner, Bare]]:
    """A listener of a recording that is under way."""
    async with inner(tmp_path / "data", strictly) as app:
        claim, _ = await app.studio.rendering(tones(3)[:1])
        opened = await Bare.opened(app.url, claim.podcast_id)
        yield app, opened
        opened.abort()


@pytest.mark.parametrize(
    "said",
    [
        frames(PING, 21),
        frames(PONG, 21),
        frames(PING, 11) + frames(PONG, 10),
        frames(PING, 100_000),
        frames(TEXT, 101),
        frames(BINARY, 101),
        frames(TEXT_BEGIN, 1) + frames(CONTINUED, 32),
        frames(TEXT_BEGIN, 1) + frames(CONTINUED, 100_000),
    ],
    ids=["pings", "pongs", "both", "a flood", "texts", "binaries", "fragments", "a flood of fragments"],
)
async def test_too_many_frames_are_closed_with_1008(tmp_path: Path, said: bytes) -> None:
    async with listening(tmp_path) as (_, opened):
        sending = asyncio.ensure_future(opened.send(said))
        assert await opened.close_code() == 1008
        sending.cancel()


LONG = b"\x82\xff" + (1_000_000).to_bytes(8, "big") + bytes(4)
"""The head of a message that is longer than one may be."""


@pytest.mark.parametrize(
    ("said", "code"),
    [
        (frames(PING, 21), 1008),
        (frames(PING, 21) + b"\x88\x80" + bytes(4), 0),  # its own close is answered, as that is
        (LONG, 1009),
        (b"\x01\xfe\xff\xff" + bytes(4 + 65_535) + b"\x80\x82" + bytes(6), 1009),
        (b"\x83\x80" + bytes(4), 1002),
        (b"\x81\x00", 1002),
        (b"\x81\x81" + bytes(4) + b"\xff", 1007),
        (b"\x01\x81" + bytes(4) + b"\xc3" + b"\x80\x81" + bytes(4) + b"x", 1007),
    ],
    ids=["pings", "pings and a close", "long", "long in parts", "opcode", "unmasked", "no text", "no text in parts"],
)
async def test_a_client_that_is_closed_can_read_why_whatever_it_still_sends(
    tmp_path: Path, said: bytes, code: int, caplog: pytest.LogCaptureFixture
) -> None:
    async with listening(tmp_path) as (app, opened):
        await opened.send(said + frames(PONG, 30_000))
        assert await opened.close_code() == code
        await until(lambda: not app.server.server_state.tasks)  # its application has ended
        for _ in range(3):  # a connection that is closed by now answers the first with a reset
            await opened.send(frames(PONG, 100))
            await asyncio.sleep(0)
        assert await opened.end() == b""
    assert not [record for record in caplog.records if record.levelno > logging.INFO]


async def test_a_text_in_parts_may_be_cut_within_a_letter(tmp_path: Path) -> None:
    async with listening(tmp_path) as (app, opened):
        await opened.send(b"\x01\x81" + bytes(4) + b"\xc3" + b"\x80\x81" + bytes(4) + b"\xa9" + frames(PING, 1))
        while (await opened.frame())[0] != 10:
            pass
        app.server.should_exit = True
        assert await opened.close_code() == 1001


@pytest.mark.parametrize(
    "said", [frames(PING, 21), LONG, b"\x81\x81" + bytes(4) + b"\xff"], ids=["1008", "1009", "1007"]
)
async def test_frames_before_the_handshake_is_answered_are_refused(
    tmp_path: Path, said: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    go = asyncio.Event()

    def tune(config: uvicorn.Config) -> None:
        strictly(config)
        made: Callable[[], Any] = config.app  # type: ignore[assignment]

        async def holding(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] == "websocket":
                await go.wait()
            await made()(scope, receive, send)

        config.app = lambda: holding

    async with inner(tmp_path / "data", tune) as app, connected(app.url) as opened:
        opened.say(
            f"GET {API}/podcasts/{UNKNOWN}/stream HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        await until(lambda: any(isinstance(one, Strict) for one in app.server.server_state.connections))
        opened.say(said)
        answer = await opened.answer()
        assert (answer.status, "frames" in answer.problem("bad-request")["detail"]) == (400, True)
        go.set()
        await until(lambda: not app.server.server_state.tasks)
        assert await opened.end() == b""
    assert not [record for record in caplog.records if record.levelno > logging.INFO]


async def test_as_many_frames_as_may_be_are_taken(tmp_path: Path) -> None:
    async with listening(tmp_path) as (app, opened):
        message = frames(TEXT_BEGIN, 1) + frames(CONTINUED, 30) + frames(CONTINUED_END, 1)
        await opened.send(frames(PING, 20) + message + frames(TEXT, 48))
        pongs = 0
        while pongs < 20:
            opcode, _ = await opened.frame()
            pongs += opcode == 10
        app.server.should_exit = True
        assert await opened.close_code() == 1001


async def test_a_flood_is_parsed_in_slices(tmp_path: Path) -> None:
    longest = 0

    class Slow(WebSocketProtocol):
        CONTROL_FRAMES = FRAMES = 10**9
        taken = 0

        def _parse(self) -> None:
            nonlocal longest
            before = self.taken
            super()._parse()
            longest = max(longest, self.taken - before)

        def handle_ping(self) -> None:
            Slow.taken += 1
            super().handle_ping()

    def tune(config: uvicorn.Config) -> None:
        config.ws = Slow

    async with inner(tmp_path / "data", tune) as app:
        claim, _ = await app.studio.rendering(tones(3)[:1])
        opened = await Bare.opened(app.url, claim.podcast_id)
        sending = asyncio.ensure_future(opened.send(frames(PING, 20_000)))

        async def read() -> None:
            while True:
                await opened.frame()

        reading = asyncio.ensure_future(read())
        await until(lambda: Slow.taken >= 20_000, 60)
        await sending
        reading.cancel()
        opened.abort()
    assert 0 < longest <= 1024 / 6 + 1


def test_an_allowance_comes_back_with_time_up_to_that_of_a_second() -> None:
    allowance = Allowance(20, now=0.0)
    assert [allowance.spend(100.0) for _ in range(21)] == [True] * 20 + [False]
    allowance = Allowance(20, now=0.0)
    assert all(allowance.spend(0.0) for _ in range(20))
    assert allowance.spend(0.05)
    assert not allowance.spend(0.06)


async def test_a_handshake_of_many_headers_is_read(tmp_path: Path) -> None:
    line = b"\r\n".join(b"h%d: x" % number for number in range(90))
    async with inner(tmp_path / "data") as app, connected(app.url) as opened:
        opened.say(
            f"GET {API}/podcasts/{UNKNOWN}/stream HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n".encode()
            + line
            + b"\r\n\r\n"
        )
        assert (await opened.answer()).status == 101
