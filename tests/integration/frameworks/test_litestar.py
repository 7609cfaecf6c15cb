"""The plugin of Litestar under Litestar itself, served by uvicorn, on a real server."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
from litestar import Litestar, Request, Response, WebSocket, get, route, websocket
from litestar.datastructures import Cookie, ResponseHeader
from litestar.di import NamedDependency, Provide
from litestar.params import FromPath, FromQuery

from greenroom import Greenroom, Keyspace, RequestSession, SessionMiddleware
from greenroom.errors import EngineUnavailable, InvalidInput, OutcomeUnknown, Overloaded
from greenroom.integrations.litestar import GreenroomPlugin, answer, follow
from greenroom.integrations.problems import NO_SUCH_JOB
from greenroom.progress import Order
from greenroom.testing.http import http_client
from tests.support.asgi_server import closed, served
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
    async def own(app: Litestar) -> AsyncIterator[None]:
        said.append((await room.health()).ok)
        yield
        said.append((await room.health()).ok)

    @get("/")
    async def read(room: NamedDependency[Greenroom]) -> bool:
        return (await room.health()).ok

    async with http_client(Litestar([read], lifespan=[own], plugins=[GreenroomPlugin(room)])) as client:
        assert (await client.get("/")).json() is True
    assert said == [True, True]
    with pytest.raises(Exception, match="closed"):
        await room.health()


async def test_dependencies_are_called_as_one_likes_and_ones_own_go_first(room: Greenroom) -> None:
    @get("/")
    async def read(cache: NamedDependency[Greenroom], session: NamedDependency[int]) -> list[bool]:
        return [cache is room, session == 5]

    async def five() -> int:
        return 5

    plugin = GreenroomPlugin(room, room_key="cache")
    app = Litestar([read], plugins=[plugin], dependencies={"session": Provide(five)})
    async with http_client(app) as client:
        assert (await client.get("/")).json() == [True, True]


@pytest.mark.parametrize(
    ("field", "given"), [("room", ("x",)), ("room_key", (None, "a b")), ("session_key", (None, "x", ""))]
)
def test_an_argument_that_cannot_be_is_named(field: str, given: tuple[Any, ...]) -> None:
    names = ("room", "room_key", "session_key")
    options = dict(zip(names, (given[0] or Greenroom(sessions=False), *given[1:]), strict=False))
    with pytest.raises(InvalidInput) as raised:
        GreenroomPlugin(**options)
    assert raised.value.field == field


async def test_a_cached_result_is_answered_with_its_validator(room: Greenroom) -> None:
    item = room.cache(ITEM, load=lambda name, number: {name: number} if number else None)

    @route(
        "/{name:str}",
        http_method=["GET", "HEAD"],
        response_headers=[ResponseHeader(name="X-Layer", value="kept")],
        response_cookies=[Cookie("layer", value="kept")],
    )
    async def read(
        request: Request[Any, Any, Any], name: FromPath[str], number: FromQuery[int] = 7
    ) -> Response[dict[str, int]]:
        return answer(request, await item.get_result(name=name, number=number), visibility="public", vary=["Accept"])

    async with served(Litestar([read], plugins=[GreenroomPlugin(room)])) as site, site.client() as client:
        first = await client.get("/a?number=3")
        assert (first.status_code, first.json()) == (200, {"a": 3})
        assert first.headers["cache-status"] == "greenroom; fwd=miss; stored"
        assert (first.headers["x-layer"], first.cookies["layer"]) == ("kept", "kept")
        again = await client.get("/a?number=3", headers={"If-None-Match": f'"x", W/{first.headers["etag"]}'})
        assert (again.status_code, again.content) == (304, b"")
        assert (again.headers["vary"], again.headers["cache-control"]) == ("Accept", "public, no-cache")
        assert "content-type" not in again.headers
        head = await client.head("/a?number=3")
        assert (head.status_code, head.content) == (200, b"")
        assert (head.headers["content-length"], head.headers["etag"]) == ("7", first.headers["etag"])
        assert head.headers["content-type"] == "application/json"
        missing = await client.get("/a?number=0")
        assert (missing.status_code, missing.headers["content-type"]) == (404, "application/problem+json")
        assert (await client.head("/a?number=0")).status_code == 404


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
    @route("/", http_method=["GET", "HEAD"])
    async def fail() -> None:
        raise error

    async with http_client(Litestar([fail], plugins=[GreenroomPlugin(room)])) as client:
        response = await client.get("/")
        assert (response.status_code, response.headers.get("retry-after")) == (status, retry)
        assert response.headers["content-type"] == "application/problem+json"
        assert response.headers["cache-control"] == "no-store"
        assert "secret" not in response.text
        assert json.loads(response.text)["status"] == status
        head = await client.head("/")
        assert (head.status_code, head.headers["content-length"]) == (status, response.headers["content-length"])


async def test_a_handler_of_the_applications_own_goes_first(room: Greenroom) -> None:
    @get("/")
    async def fail() -> None:
        raise InvalidInput("name", "is wrong", "correct it")

    def own(request: Request[Any, Any, Any], error: InvalidInput) -> Response[str]:
        return Response("mine", status_code=400)

    handlers: Any = {InvalidInput: own}
    app = Litestar([fail], plugins=[GreenroomPlugin(room)], exception_handlers=handlers)
    async with http_client(app) as client:
        assert (await client.get("/")).status_code == 400


async def test_what_a_session_refuses_is_answered_by_its_middleware(room: Greenroom) -> None:
    @get("/")
    async def me(session: NamedDependency[RequestSession[Any]]) -> None:
        await session.require()

    @websocket("/socket")
    async def listen(socket: WebSocket[Any, Any, Any], session: NamedDependency[RequestSession[Any]]) -> None:
        await socket.accept()
        await session.require()

    app = SessionMiddleware(
        Litestar([me, listen], plugins=[GreenroomPlugin(room)]), room, answer=lambda refused, scope: b"mine"
    )
    async with served(app) as site, site.client() as client:
        response = await client.get("/")
        assert (response.status_code, response.text) == (401, "mine")
        assert response.headers["cache-control"] == "private, no-store"
        async with site.socket("/socket") as socket:
            assert await closed(socket) == 4401


async def test_progress_is_resumed_by_the_last_event_id_and_ends_with_204(room: Greenroom) -> None:
    database = {1: {"status": "done"}}
    jobs = room.progress(JOB, load=database.get, order=ORDER, status=lambda job: job["status"])

    @get("/{job_id:int}")
    async def events(request: Request[Any, Any, Any], job_id: FromPath[int]) -> Response[Any]:
        return await follow(request, jobs, job_id, event="job")

    async with served(Litestar([events], plugins=[GreenroomPlugin(room)])) as site, site.client() as client:
        first = await client.get("/1")
        assert first.headers["content-type"].startswith("text/event-stream")
        event = dict(line.split(": ", 1) for line in first.text.split("\n\n")[1].splitlines())
        assert (event["event"], json.loads(event["data"])) == ("job", {"status": "done"})
        again = await client.get("/1", headers={"Last-Event-ID": event["id"]})
        assert (again.status_code, again.content) == (204, b"")
        missing = await client.get("/2")
        assert (missing.status_code, missing.content) == (404, NO_SUCH_JOB.body("/2"))
        assert {name.title(): missing.headers[name] for name in NO_SUCH_JOB.sent_headers} == NO_SUCH_JOB.sent_headers
        assert missing.headers["cache-control"] == "no-store"
