"""The server, the outage switch and the HTTP client that `greenroom.testing` gives to users."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from greenroom import Greenroom, Keyspace, Outcome, SessionMiddleware, session_of
from greenroom.errors import EngineUnavailable
from greenroom.testing import http
from greenroom.testing.clock import ManualClock
from greenroom.testing.http import WebSocketClosed, WebSocketRefused, http_client
from greenroom.testing.server import Outage, ValkeyServer, running_server

NUMBER = Keyspace("number:{id}", int, ttl=timedelta(hours=1))


@pytest.fixture(scope="module")
def shared() -> Iterator[ValkeyServer]:
    with running_server() as server:
        yield server


@pytest.fixture
def given(shared: ValkeyServer) -> ValkeyServer:
    shared.start()
    shared.flush()
    return shared


async def load(id: str) -> int | None:
    return 1


async def test_an_outage_refuses_at_once_and_loses_nothing(given: ValkeyServer) -> None:
    outage = Outage(given)
    async with Greenroom(given.address) as room:
        numbers = room.cache(NUMBER, load=load, near_for=timedelta(0))
        await numbers.get("a")
        _, token = await room.sessions.start(user_id="ana")
        with outage:
            assert (await numbers.get_result("a")).outcome is Outcome.BYPASSED
            with pytest.raises(EngineUnavailable):
                await room.sessions.read(token)
            with pytest.raises(OSError):
                given.ask("PING")
        await outage.over(room)
        assert (await numbers.get_result("a")).outcome is Outcome.HIT
        assert await room.sessions.read(token) is not None


async def test_a_room_that_does_not_come_back_is_said(given: ValkeyServer) -> None:
    with running_server() as another:
        async with Greenroom(another.address) as room:
            another.close()
            with pytest.raises(TimeoutError):
                await Outage(given).over(room, within=0.05)


async def test_the_clock_moves_the_server_s_lifetimes_and_no_lease(given: ValkeyServer) -> None:
    clock = ManualClock()
    clock.moves_server(given)
    loading, go = asyncio.Event(), asyncio.Event()

    async def slow(id: str) -> int | None:
        loading.set()
        await go.wait()
        return 2

    async with Greenroom(given.address, clock=clock) as room:
        numbers = room.cache(NUMBER, load=slow, near_for=timedelta(0))
        task = asyncio.ensure_future(numbers.get_result("a"))
        await loading.wait()
        clock.advance(timedelta(hours=2))
        go.set()
        assert (await task).stored, "the load still holds its lease"
        clock.advance(timedelta(minutes=50))
        left = given.ask("PTTL", "number:a")
        assert 0 < left <= 10 * 60_000
        clock.advance(timedelta(minutes=10))
        assert given.ask("EXISTS", "number:a") == 0


async def test_a_rate_limit_lapses_attempt_by_attempt_by_the_clock(given: ValkeyServer) -> None:
    clock = ManualClock()
    clock.moves_server(given)
    given.ask("RPUSH", "numbers of one's own", 7)
    async with Greenroom(given.address, clock=clock, prefix="p:") as room:
        limit = room.rate_limit("exports", 2, per=timedelta(minutes=60))
        assert await limit.count("ana") == 0
        clock.advance(timedelta(minutes=40))
        assert await limit.count("ana") == 0
        wait = await limit.count("ana")
        assert 19 * 60 < wait <= 20 * 60
        clock.advance(timedelta(seconds=wait))
        assert await limit.count("ana") == 0
        assert await limit.count("ana") > 39 * 60
    assert given.ask("LRANGE", "numbers of one's own", 0, -1) == [b"7"]


async def test_a_session_in_use_outlives_its_idle_limit_by_the_clock(given: ValkeyServer) -> None:
    clock = ManualClock()
    clock.moves_server(given)
    async with Greenroom(given.address, clock=clock) as room:
        _, token = await room.sessions.start(user_id="ana")
        for _ in range(3):
            clock.advance(timedelta(minutes=20))
            live = await room.sessions.read(token)
            assert live is not None
            room.sessions.touch(live)
            await room.sessions.close()  # the touch goes on behind
        clock.advance(timedelta(minutes=32))
        assert await room.sessions.read(token) is None


async def test_a_server_holds_what_it_had_until_it_is_flushed(given: ValkeyServer) -> None:
    given.ask("SET", "a", "1")
    given.stop()
    given.stop()
    given.start()
    given.start()
    assert given.ask("GET", "a") == b"1"
    given.flush()
    assert given.ask("DBSIZE") == 0


def test_a_server_that_is_closed_leaves_nothing(tmp_path: Path) -> None:
    with running_server() as server:
        path = Path(server.address.removeprefix("unix://")).parent
        assert path.exists()
    assert not path.exists()


# The client ----------------------------------------------------------------------------------------


def application(room: Greenroom, events: list[str]) -> Any:
    """A bare one, which says what becomes of it."""

    async def bare(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            async with room:
                await receive()
                events.append("started")
                await send({"type": "lifespan.startup.complete"})
                await receive()
            events.append("ended")
            await send({"type": "lifespan.shutdown.complete"})
            return
        session = session_of(scope)
        if scope["type"] == "websocket":
            await session.require()
            await receive()
            await send({"type": "websocket.accept"})
            while (message := await receive())["type"] == "websocket.receive":
                await send({"type": "websocket.send", "bytes": (message.get("text") or "").encode()})
                if message.get("text") == "fail":
                    raise RuntimeError("on purpose")
            events.append(f"left with {message['code']}")
            return
        if scope["method"] == "POST":
            await session.sign_in({"user_id": "ana"})
        live = await session.get()
        body = b"nobody" if live is None else str(live.value.user_id).encode()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body})

    return SessionMiddleware(bare, room)


@asynccontextmanager
async def client_of(server: ValkeyServer, events: list[str]) -> Any:
    room = Greenroom(server.address)
    async with http_client(application(room, events)) as client:
        yield client, room


async def test_sessions_work_with_the_client_as_in_production(given: ValkeyServer) -> None:
    events: list[str] = []
    async with client_of(given, events) as (client, _):
        assert (await client.get("/")).text == "nobody"
        answer = await client.post("/")
        assert "__Host-greenroom=" in answer.headers["set-cookie"]
        assert "; Secure;" in answer.headers["set-cookie"]
        assert (await client.get("/")).text == "ana"
    assert events == ["started", "ended"]


async def test_a_client_s_sockets_have_its_session_and_see_its_end(given: ValkeyServer) -> None:
    events: list[str] = []
    async with client_of(given, events) as (client, room):
        with pytest.raises(WebSocketRefused) as refused:
            async with client.websocket("/"):
                pass
        assert refused.value.status == 401
        await client.post("/")
        async with client.websocket("/") as socket:
            await socket.send("a")
            assert await socket.receive() == b"a"
        async with client.websocket("/") as socket:
            await room.sessions.end_all("ana")
            assert await socket.wait_closed() == 4401
            with pytest.raises(WebSocketClosed):
                await socket.receive()
        await client.post("/")
        async with client.websocket("/") as socket:
            await socket.send("fail")
            assert await socket.receive() == b"fail"
            with pytest.raises(RuntimeError, match="on purpose"):
                await socket.receive()
    assert "left with 1000" in events


async def test_a_start_that_fails_is_the_client_s_error() -> None:
    async def failing(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no database"})

    with pytest.raises(RuntimeError, match="startup has failed: no database"):
        async with http_client(failing):
            pass


async def test_an_application_without_a_lifespan_is_called_all_the_same() -> None:
    async def plain(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async with http_client(plain) as client:
        assert (await client.get("/")).status_code == 204


async def test_an_application_that_does_not_start_in_time_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "_STARTING", 0.02)

    async def endless(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.Event().wait()

    with pytest.raises(TimeoutError, match="startup takes more than"):
        async with http_client(endless):
            pass
