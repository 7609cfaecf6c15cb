"""`request.session` of real frameworks on a real server, and plain HTTP through a container's bridge."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import fastapi
import httpx
import litestar
import msgspec
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from greenroom import CookieSettings, Greenroom, SessionMiddleware, SessionSettings, session_of
from tests.support.asgi_server import called, served
from tests.support.real_servers import Server


async def _step(session: Any, path: str) -> Any:
    """What a package does with `request.session`, by the path that was asked for."""
    match path.strip("/").split("/"):
        case ["set", name, value]:
            session[name] = int(value) if value.isdigit() else value
        case ["append", name, value]:
            session.setdefault(name, [])
            session[name].append(value)
        case ["pop", name]:
            session.pop(name, None)
        case ["clear"]:
            session.clear()
        case ["bad"]:
            session["bad"] = object()
        case ["fail"]:
            session["failed"] = True
            raise RuntimeError
        case ["public"]:
            return {}
    return dict(session)


def starlette_app() -> Any:
    async def step(request: Request) -> Response:
        return JSONResponse(await _step(request.session, request.url.path))

    return Starlette(routes=[Route("/{path:path}", step)])


def fastapi_app() -> Any:
    app = fastapi.FastAPI()

    @app.get("/{path:path}")
    async def step(request: fastapi.Request, path: str) -> Any:
        return await _step(request.session, path)

    return app


def litestar_app() -> Any:
    @litestar.get(["/", "/{path:path}"])
    async def step(request: litestar.Request[Any, Any, Any]) -> Any:
        return await _step(request.session, request.url.path)

    return litestar.Litestar([step])


@asynccontextmanager
async def visiting(
    server: Server, app: Any, *, holds: Any = dict[str, Any], **options: Any
) -> AsyncIterator[tuple[httpx.AsyncClient, Greenroom]]:
    room = Greenroom(server.address, sessions=SessionSettings(holds))
    wrapped = SessionMiddleware(app, room, session_mapping=True, cookie=CookieSettings(name="shop"), **options)
    async with room, served(wrapped) as site, site.client() as client:
        yield client, room


@pytest.mark.parametrize("make", [starlette_app, fastapi_app, litestar_app])
async def test_a_framework_s_session_is_a_mapping_that_is_kept(valkey: Server, make: Callable[[], Any]) -> None:
    async with visiting(valkey, make()) as (client, room):
        assert (await client.get("/")).json() == {}
        assert not client.cookies, "a visit that keeps nothing begins no session"
        assert (await client.get("/set/theme/dark")).json() == {"theme": "dark"}
        first = client.cookies["shop"]
        assert (await client.get("/append/seen/a")).json() == {"theme": "dark", "seen": ["a"]}
        assert (await client.get("/append/seen/b")).json()["seen"] == ["a", "b"]
        assert (await client.get("/pop/theme")).json() == {"seen": ["a", "b"]}
        assert client.cookies["shop"] == first

        assert (await client.get("/set/user_id/7")).json()["user_id"] == 7
        signed_in = client.cookies["shop"]
        assert signed_in != first, "a log-in changes the token"
        assert len(await room.sessions.of_user(7)) == 1
        assert (await client.get("/")).json() == {"seen": ["a", "b"], "user_id": 7}

        await client.get("/pop/user_id")
        assert await room.sessions.of_user(7) == []
        assert client.cookies["shop"] not in (first, signed_in)
        assert (await client.get("/")).json() == {"seen": ["a", "b"]}
        await client.get("/clear")
        assert not client.cookies
        assert await room.sessions.active() == 0


class Numbered(msgspec.Struct):
    user_id: int | msgspec.UnsetType = msgspec.UNSET


async def test_a_user_id_that_is_a_number_alone_logs_in_by_the_mapping(valkey: Server) -> None:
    async with visiting(valkey, starlette_app(), holds=Numbered) as (client, room):
        assert (await client.get("/set/user_id/7")).json() == {"user_id": 7}
        assert (await client.get("/")).json() == {"user_id": 7}
        assert len(await room.sessions.of_user(7)) == 1
        assert (await client.get("/set/user_id/ana")).status_code == 500
        assert (await client.get("/")).json() == {"user_id": 7}


@pytest.mark.parametrize("last", ["flash", "clear", "after"])
async def test_a_session_that_the_request_ends_takes_the_mapping_with_it(valkey: Server, last: str) -> None:
    async def log_out(request: Request) -> Response:
        if last == "clear":
            request.session.clear()
        elif last == "flash":
            request.session["flash"] = "Good-bye"
        await session_of(request.scope).end()
        if last == "after":
            request.session["flash"] = "Good-bye"
        return JSONResponse({})

    app = starlette_app()
    app.routes.insert(0, Route("/log-out", log_out))
    async with visiting(valkey, app) as (client, room):
        await client.get("/set/user_id/7")
        answer = await client.get("/log-out")
        assert (answer.status_code, dict(client.cookies)) == (200, {})
        assert await room.sessions.active() == 0
        assert (await client.get("/")).json() == {}


async def test_a_failed_answer_writes_nothing_of_the_mapping(valkey: Server) -> None:
    async with visiting(valkey, starlette_app()) as (client, _):
        await client.get("/set/theme/dark")
        assert (await client.get("/fail")).status_code == 500
        assert (await client.get("/bad")).status_code == 500
        assert (await client.get("/")).json() == {"theme": "dark"}


async def test_a_mapping_that_nobody_looks_at_leaves_an_answer_public(valkey: Server) -> None:
    async with visiting(valkey, starlette_app()) as (client, _):
        await client.get("/set/theme/dark")
        assert "cache-control" not in (await client.get("/public")).headers
        assert (await client.get("/")).headers["cache-control"] == "private, no-store"


async def test_without_the_server_the_mapping_is_503_where_it_is_used(valkey: Server) -> None:
    async with visiting(valkey, starlette_app()) as (client, _):
        await client.get("/set/theme/dark")
        valkey.kill()
        answer = await client.get("/")
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert (await client.get("/public")).status_code == 200
        client.cookies.clear()
        assert (await client.get("/set/theme/dark")).status_code == 503


async def test_a_dead_token_begins_anew_by_the_mapping_under_another(valkey: Server) -> None:
    async with visiting(valkey, starlette_app()) as (client, room):
        await client.get("/set/user_id/7")
        dead = client.cookies["shop"]
        await room.sessions.end_all(7)
        assert (await client.get("/set/theme/dark")).json() == {"theme": "dark"}
        assert client.cookies["shop"] != dead


# Plain HTTP, and a cookie that stays ---------------------------------------------------------------

BRIDGE = ("172.17.0.1", 50000)
"""The peer of a request that comes through Docker's bridge."""


async def signing_in(scope: Any, receive: Any, send: Any) -> None:
    await session_of(scope).sign_in({"user_id": "ana"}, remember=scope["path"] == "/remember")
    await PlainTextResponse("fine")(scope, receive, send)


async def test_through_a_container_s_bridge_the_error_says_what_was_seen(
    valkey: Server, caplog: pytest.LogCaptureFixture
) -> None:
    room = Greenroom(valkey.address)
    app = SessionMiddleware(signing_in, room)
    async with room, called(app, client=BRIDGE, url="http://localhost:8000") as client:
        answer = await client.get("/")
    for told in (answer.json()["detail"], caplog.text):
        assert "'172.17.0.1'" in told
        assert "'localhost:8000'" in told
        assert "allow_http='localhost'" in told
    assert answer.status_code == 403


@pytest.mark.parametrize(
    ("allow_http", "url", "headers", "status"),
    [
        ("localhost", "http://localhost:8000", {}, 200),
        ("localhost", "http://127.0.0.1:8000", {}, 200),
        ("localhost", "http://shop.example", {}, 403),
        ("localhost", "http://localhost:8000", {"X-Forwarded-For": "203.0.113.9"}, 403),
        ("localhost", "http://localhost:8000", {"Origin": "http://shop.example"}, 403),
        (True, "http://shop.example", {}, 200),
        (False, "http://localhost:8000", {}, 403),
    ],
)
async def test_plain_http_has_sessions_where_it_is_allowed(
    valkey: Server, allow_http: Any, url: str, headers: dict[str, str], status: int
) -> None:
    async with Greenroom(valkey.address) as room:
        app = SessionMiddleware(signing_in, room, allow_http=allow_http)
        async with called(app, client=BRIDGE, url=url) as client:
            answer = await client.get("/", headers=headers)
    assert (answer.status_code, "greenroom" in answer.cookies) == (status, status == 200)


async def test_the_cookie_of_a_remembered_session_stays(valkey: Server) -> None:
    from datetime import timedelta

    settings = SessionSettings(remember=timedelta(days=30))
    async with (
        Greenroom(valkey.address, sessions=settings) as room,
        called(SessionMiddleware(signing_in, room)) as client,
    ):
        assert "Max-Age=2592000;" in (await client.get("/remember")).headers["set-cookie"]
        assert "Max-Age" not in (await client.get("/")).headers["set-cookie"]
