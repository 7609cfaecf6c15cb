"""The integration of FastAPI under FastAPI itself, served by uvicorn, on a real server."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
from fastapi import BackgroundTasks, Depends, FastAPI, Request, Response, WebSocket
from websockets.exceptions import ConnectionClosed, InvalidStatus

from greenroom import CacheResult, Greenroom, Keyspace, SessionMiddleware
from greenroom.caching import Outcome
from greenroom.errors import EngineUnavailable, InvalidInput, OutcomeUnknown, Overloaded
from greenroom.integrations.fastapi import (
    CurrentRoom,
    CurrentSession,
    add_error_handlers,
    answer,
    current_room,
    follow,
    lifespan,
    result_of,
)
from greenroom.integrations.problems import NO_SUCH_JOB
from greenroom.progress import Order
from greenroom.testing.http import http_client
from tests.support.asgi_server import served
from tests.support.real_servers import Server

ITEM = Keyspace("item:{name}:{number}", dict[str, int], parts={"number": int}, ttl=timedelta(minutes=5))
JOB = Keyspace("job:{job_id}", dict[str, str], parts={"job_id": int}, ttl=timedelta(minutes=5))
ORDER = Order("queued", "done", failure="failed")


@pytest.fixture
def room(valkey: Server) -> Greenroom:
    return Greenroom(valkey.address)


async def test_the_applications_own_lifespan_runs_while_the_room_is_open(room: Greenroom) -> None:
    said: list[object] = []

    @asynccontextmanager
    async def own(app: FastAPI) -> AsyncIterator[dict[str, int]]:
        said.append((await room.health()).ok)
        yield {"answer": 42}
        said.append((await room.health()).ok)

    app = FastAPI(lifespan=lifespan(room, own))

    @app.get("/")
    async def read(request: Request, current: CurrentRoom) -> list[bool]:
        return [current is room, request.state.answer == 42, app.state.greenroom is room]

    async with http_client(app) as client:
        assert (await client.get("/")).json() == [True, True, True]
    assert said == [True, True]
    with pytest.raises(Exception, match="closed"):
        await room.health()


async def test_a_room_may_be_made_when_the_application_starts(valkey: Server) -> None:
    made: list[Greenroom] = []

    def make() -> Greenroom:
        made.append(Greenroom(valkey.address))
        return made[-1]

    app = FastAPI(lifespan=lifespan(make))

    @app.get("/")
    async def read(current: CurrentRoom) -> bool:
        return current is made[-1]

    assert not made
    async with http_client(app) as client:
        assert (await client.get("/")).json() is True


async def test_a_mounted_application_has_the_room_of_the_outer_one(room: Greenroom) -> None:
    app, inner = FastAPI(lifespan=lifespan(room)), FastAPI()

    @inner.get("/")
    async def read(current: CurrentRoom) -> bool:
        return current is room

    app.mount("/inner", inner)
    async with http_client(app) as client:
        assert (await client.get("/inner/")).json() is True


async def test_without_the_lifespan_the_error_says_what_to_do() -> None:
    with pytest.raises(RuntimeError, match=r"lifespan=lifespan\(room\)"):
        await current_room(Request({"type": "http"}))
    wrong: Any
    for wrong in ({"room": "valkey://x"}, {"room": Greenroom(sessions=False), "own": 3}):
        with pytest.raises(InvalidInput, match="give"):
            lifespan(**wrong)


@pytest.mark.parametrize("plain", [False, True], ids=["async", "plain"])
async def test_a_cached_function_is_read_as_a_dependency_of_its_parameters(room: Greenroom, plain: bool) -> None:
    loads: list[tuple[str, int]] = []

    def load(name: str, number: int = 7) -> dict[str, int] | None:
        loads.append((name, number))
        return {name: number} if number else None

    async def load_later(name: str, number: int = 7) -> dict[str, int] | None:
        return load(name, number)

    item: Any = room.cached(ITEM)(load if plain else load_later)
    app = FastAPI(lifespan=lifespan(room))

    asked = Depends(result_of(item))

    async def read(request: Request, result: CacheResult[Any] = asked) -> Response:
        return answer(request, result, visibility="public", vary=["Accept-Language"])

    app.get("/{name}")(read)
    app.head("/{name}")(read)
    async with served(app) as site, site.client() as client:
        first = await client.get("/a?number=3")
        assert (first.status_code, first.json()) == (200, {"a": 3})
        assert first.headers["cache-status"] == "greenroom; fwd=miss; stored"
        again = await client.get("/a?number=3", headers={"If-None-Match": f'"x", W/{first.headers["etag"]}'})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["vary"] == "Accept-Language"
        assert again.headers["cache-control"] == "public, no-cache"
        assert "content-type" not in again.headers
        head = await client.head("/a?number=3")
        assert (head.status_code, head.content) == (200, b"")
        assert (head.headers["content-length"], head.headers["etag"]) == ("7", first.headers["etag"])
        assert (await client.get("/a")).json() == {"a": 7}
        assert (await client.get("/a?number=0")).status_code == 404
        assert (await client.get("/a?number=x")).status_code == 422
        app.dependency_overrides[result_of(item)] = lambda: CacheResult({"b": 1}, b'{"b":1}', Outcome.NEAR)
        assert (await client.get("/a")).json() == {"b": 1}
    assert loads == [("a", 3), ("a", 7), ("a", 0)]


@pytest.mark.parametrize(
    ("error", "status", "retry"),
    [
        (InvalidInput("name", "holds a space", "use letters"), 422, None),
        (Overloaded("x"), 503, "1"),
        (EngineUnavailable("secret"), 503, "1"),
        (OutcomeUnknown("secret"), 503, None),
    ],
)
async def test_an_error_of_the_library_is_answered_by_a_problem(
    room: Greenroom, error: Exception, status: int, retry: str | None
) -> None:
    app = FastAPI(lifespan=lifespan(room))
    add_error_handlers(app)

    @app.get("/")
    async def fail() -> None:
        raise error

    @app.websocket("/early")
    async def refuse(socket: WebSocket) -> None:
        raise error

    @app.websocket("/late")
    async def close(socket: WebSocket) -> None:
        await socket.accept()
        raise error

    async with served(app) as site, site.client() as client:
        response = await client.get("/")
        assert (response.status_code, response.headers.get("retry-after")) == (status, retry)
        assert response.headers["content-type"] == "application/problem+json"
        assert response.headers["cache-control"] == "no-store"
        assert "secret" not in response.text
        with pytest.raises(InvalidStatus) as refusal:
            await site.socket("/early")
        assert refusal.value.response.status_code == status
        async with site.socket("/late") as socket:
            with pytest.raises(ConnectionClosed) as closed:
                await socket.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == {422: 1008, 503: 1013 if retry else 1011}[status]


async def test_a_handler_of_the_applications_own_is_asked_first(room: Greenroom) -> None:
    app = FastAPI(lifespan=lifespan(room))
    add_error_handlers(app)

    @app.exception_handler(InvalidInput)
    async def own(request: Request, error: InvalidInput) -> Response:
        return Response("mine", 400)

    @app.get("/{name}")
    async def fail(name: str) -> None:
        raise InvalidInput("name", "is wrong", "correct it")

    async with http_client(app) as client:
        assert (await client.get("/x")).text == "mine"


@pytest.mark.parametrize("outermost", [True, False])
async def test_what_a_session_refuses_is_answered_by_its_middleware(room: Greenroom, outermost: bool) -> None:
    app = FastAPI(lifespan=lifespan(room))
    add_error_handlers(app)
    if not outermost:
        app.add_middleware(SessionMiddleware, sessions=room)

    @app.get("/")
    async def me(session: CurrentSession) -> None:
        await session.require()

    @app.websocket("/socket")
    async def listen(socket: WebSocket, session: CurrentSession) -> None:
        await socket.accept()
        await session.require()

    around: Any = SessionMiddleware(app, room) if outermost else app
    async with served(around) as site, site.client() as client:
        response = await client.get("/")
        assert response.status_code == 401
        assert response.headers["www-authenticate"].startswith("Bearer")
        assert response.headers["cache-control"] == "private, no-store"
        async with site.socket("/socket") as socket:
            with pytest.raises(ConnectionClosed) as closed:
                await socket.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 4401


async def test_an_answer_that_used_a_session_is_private_whatever_it_says(room: Greenroom) -> None:
    app = FastAPI(lifespan=lifespan(room))
    app.add_middleware(SessionMiddleware, sessions=room)
    item = room.cache(ITEM, load=lambda name, number: {name: number})

    @app.get("/")
    async def read(request: Request, session: CurrentSession) -> Response:
        await session.get()
        return answer(request, await item.get_result("a", 1), visibility="public")

    async with http_client(app) as client:
        response = await client.get("/")
        assert response.headers["cache-control"] == "private, no-store"
        assert "Cookie" in response.headers["vary"]


async def test_progress_is_resumed_by_the_last_event_id_and_ends_with_204(room: Greenroom) -> None:
    database = {1: {"status": "done"}}
    jobs = room.progress(JOB, load=database.get, order=ORDER, status=lambda job: job["status"])
    app = FastAPI(lifespan=lifespan(room))

    @app.get("/{job_id}")
    async def events(request: Request, job_id: int) -> Response:
        return await follow(request, jobs, job_id, event="job")

    async with served(app) as site, site.client() as client:
        first = await client.get("/1")
        assert first.headers["content-type"].startswith("text/event-stream")
        event = dict(line.split(": ", 1) for line in first.text.split("\n\n")[1].splitlines())
        assert (event["event"], json.loads(event["data"])) == ("job", {"status": "done"})
        again = await client.get("/1", headers={"Last-Event-ID": event["id"]})
        assert (again.status_code, again.content) == (204, b"")
        other = await client.get("/1", headers={"Last-Event-ID": "x"})
        assert event["id"] in other.text
        missing = await client.get("/2")
        assert (missing.status_code, missing.content) == (404, NO_SUCH_JOB.body("/2"))
        assert {name.title(): missing.headers[name] for name in NO_SUCH_JOB.sent_headers} == NO_SUCH_JOB.sent_headers
        assert missing.headers["cache-control"] == "no-store"


async def test_tasks_of_a_stream_run_after_it(room: Greenroom) -> None:
    jobs = room.progress(JOB, load=lambda job_id: {"status": "done"}, order=ORDER, status=lambda job: job["status"])
    after: list[str] = []
    app = FastAPI(lifespan=lifespan(room))

    @app.get("/")
    async def events(request: Request, tasks: BackgroundTasks) -> Response:
        tasks.add_task(after.append, "run")
        return await follow(request, jobs, 1)

    async with http_client(app) as client:
        assert "done" in (await client.get("/")).text
    assert after == ["run"]
