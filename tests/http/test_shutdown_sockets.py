"""At the end every socket is told 1001, whatever it and the event loop are doing in that moment."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from websockets.asyncio.client import ClientConnection

from greenroom_platform.http.stream_messages import CLOSES, GOING_AWAY
from greenroom_platform.http.websocket_protocol import WebSocketProtocol
from tests.support.patience import wait_for
from tests.support.process_tree import ON_LINUX, Process, is_stopped, process, workers
from tests.support.running_service import KEPT, NO_TLS, Serve
from tests.support.stream_listeners import TEXT, Bare, Heard, Inner, hear, heavy, inner, listener, tones

LOOK = 0.1
"""Seconds between two looks of uvicorn for the end."""


async def begun(app: Inner) -> str:
    """The id of a podcast whose recording is under way."""
    claim, _ = await app.studio.rendering(tones(3)[:1])
    return claim.podcast_id


async def started(opened: ClientConnection) -> Heard:
    """What a listener has heard who is served: its stream has begun."""
    return await hear(opened, clusters=2)


# Every moment of a socket, in one loop ------------------------------------------------------------------


async def test_an_open_socket_is_told_before_its_stream_knows_of_the_end(tmp_path: Path) -> None:
    """The interleaving where the loop stood still: the server closes, and no step of the application came before."""
    async with inner(tmp_path / "data") as app, listener(app.url, await begun(app)) as opened:
        heard = await started(opened)
        app.server.should_exit = True  # and no signal: the application is told nothing at all
        await hear(opened, heard)
    assert (heard.code, heard.reason) == (1001, CLOSES[GOING_AWAY])


async def test_a_handshake_under_way_ends_and_is_told(tmp_path: Path) -> None:
    entered, over = asyncio.Event(), asyncio.Event()

    class Protocol(WebSocketProtocol):
        def shutdown(self) -> None:
            super().shutdown()
            over.set()

    def tune(config: uvicorn.Config) -> None:
        made: Callable[[], Any] = config.app  # type: ignore[assignment]

        def build() -> Any:
            app = made()

            async def held(scope: Any, receive: Any, send: Any) -> None:
                if scope["type"] == "websocket":
                    entered.set()
                    await over.wait()
                await app(scope, receive, send)

            return held

        config.app, config.ws = build, Protocol

    async with inner(tmp_path / "data", tune) as app:
        hearing = asyncio.ensure_future(_heard(app.url, await begun(app)))
        await entered.wait()
        app.server.should_exit = True
        heard = await hearing
    assert (heard.code, heard.reason) == (1001, CLOSES[GOING_AWAY])


async def test_a_connection_taken_as_the_end_comes_is_told(tmp_path: Path) -> None:
    """The system has accepted it, and the server learns of it after it has told all that it knows."""
    late: list[Callable[[], None]] = []
    arrived = asyncio.Event()

    class Late(HttpToolsProtocol):
        def connection_made(self, transport: Any) -> None:
            # In its next turn: before Python 3.11.4 the loop begins to read after this, paused or not.
            asyncio.get_running_loop().call_soon(transport.pause_reading)

            def register() -> None:
                super(Late, self).connection_made(transport)
                transport.resume_reading()

            late.append(register)
            arrived.set()

    def tune(config: uvicorn.Config) -> None:
        config.http = Late

    async with inner(tmp_path / "data", tune) as app:
        podcast_id = await begun(app)
        hearing = asyncio.ensure_future(_heard(app.url, podcast_id))
        await arrived.wait()
        app.ending.begin()
        app.server.should_exit = True
        await _shut_down(app.server)
        (register,) = late
        register()
        heard = await hearing
    assert (heard.code, heard.reason) == (1001, CLOSES[GOING_AWAY])


@pytest.mark.parametrize("words", [0, 3], ids=["silent", "talking"])
async def test_a_listener_who_reads_slowly_is_told_behind_what_is_sent(tmp_path: Path, words: int) -> None:
    """Nobody reads what a client says by then. Unread, it would reset the connection, and the close would be lost."""
    async with inner(tmp_path / "data") as app:
        podcast_id = await app.studio.ready([heavy(number) for number in range(40)])
        opened = await Bare.opened(app.url, podcast_id)
        assert (await opened.frame())[0] == TEXT
        await _stuck(app.server)
        (protocol,) = _sockets(app.server)
        protocol.transport.pause_reading()  # as where it has not taken the client's last words yet
        protocol.read_paused = True
        app.ending.begin()
        app.server.should_exit = True
        await _shut_down(app.server)
        assert protocol.transport.is_reading()
        for _ in range(words):
            await opened.say("still here")
        assert await opened.close_code() == 1001
        opened.abort()


async def test_a_socket_that_its_stream_has_closed_keeps_its_own_code(tmp_path: Path) -> None:
    async with inner(tmp_path / "data") as app:
        podcast_id = await app.studio.ready(tones(1))
        opened = await Bare.opened(app.url, podcast_id)
        await until_closed(app.server)
        app.server.should_exit = True
        await _shut_down(app.server)
        assert await opened.close_code() == 1000
        opened.abort()


async def _heard(url: str, podcast_id: str) -> Heard:
    async with listener(url, podcast_id) as opened:
        return await hear(opened)


async def _shut_down(server: uvicorn.Server) -> None:
    """Return when the server takes no connections any more, and has told all that it knows."""
    async with asyncio.timeout(20):
        while any(one.is_serving() for one in server.servers):
            await asyncio.sleep(0)


def _sockets(server: uvicorn.Server) -> list[WebSocketProtocol]:
    return [one for one in server.server_state.connections if isinstance(one, WebSocketProtocol)]


async def _stuck(server: uvicorn.Server) -> None:
    """Return when the one socket has no room for more."""
    async with asyncio.timeout(20):
        while not any(not one.writable.is_set() for one in _sockets(server)):
            await asyncio.sleep(0)


async def until_closed(server: uvicorn.Server) -> None:
    """Return when the application has closed the one socket."""
    async with asyncio.timeout(20):
        while not any(one.close_sent for one in _sockets(server)):
            await asyncio.sleep(0)


# Processes whose loop stands still as the signal comes --------------------------------------------------------


@asynccontextmanager
async def listening_to(url: str, number: int) -> AsyncIterator[list[ClientConnection]]:
    """Listeners of one podcast that is never made."""
    async with httpx.AsyncClient(base_url=url, timeout=30, verify=NO_TLS, limits=KEPT) as client:
        answer = await client.post("/api/v1/podcasts/generate", json={"topic_id": "tech_ai_ethics"})
        podcast_id = answer.json()["podcast_id"]
    opened = [await listener(url, podcast_id) for _ in range(number)]
    for one in opened:
        await hear(one, clusters=0)
        await one.recv()
    yield opened
    for one in opened:
        await one.close()


@contextmanager
def standing_still(serving: set[Process]) -> Iterator[None]:
    """Stop processes; when they go on, whatever came meanwhile comes at once, and so does the server's next look."""
    for one in serving:
        one.signal(signal.SIGSTOP)
    for one in serving:
        wait_for(lambda one=one: is_stopped(one.pid), 30)
    try:
        yield
        passed = time.monotonic() + 2 * LOOK
        wait_for(lambda: time.monotonic() > passed, 30)
    finally:
        for one in serving:
            one.signal(signal.SIGCONT)


def pending(one: Process, number: int) -> bool:
    """Whether a signal waits for a process."""
    fields = dict(line.split(":\t", 1) for line in Path(f"/proc/{one.pid}/status").read_text().splitlines())
    return bool(int(fields["ShdPnd"], 16) >> (number - 1) & 1)


@ON_LINUX
@pytest.mark.parametrize("signals", [(signal.SIGINT,), (signal.SIGTERM,), (signal.SIGINT, signal.SIGTERM)])
@pytest.mark.parametrize("number", [1, 2])
async def test_a_loop_that_stands_still_at_the_signal_tells_its_sockets(
    serve: Serve, number: int, signals: tuple[int, ...]
) -> None:
    service = await asyncio.to_thread(serve, "--workers", str(number), "--work", "off")
    main = process(service.process.pid)
    serving = {main} if number == 1 else workers(main.pid)
    assert len(serving) == number
    async with listening_to(service.url, 6) as opened:
        with standing_still(serving):
            for sending in signals:
                os.kill(main.pid, sending)
            sent = signals if number == 1 else (signal.SIGTERM,)
            for one in serving:
                for expected in sent:
                    wait_for(lambda one=one, expected=expected: pending(one, expected), 30)
        heard = [await hear(listening) for listening in opened]
    assert {(ended.code, ended.reason) for ended in heard} == {(1001, CLOSES[GOING_AWAY])}
    assert service.process.wait(40) == 0
    assert "Traceback" not in service.output()
    assert "Cancel" not in service.output()
