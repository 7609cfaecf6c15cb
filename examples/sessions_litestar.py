"""Sessions in Litestar. Run it with `uvicorn sessions_litestar:app`; without VALKEY_URL a Valkey is embedded."""

import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from litestar import Litestar, Request, WebSocket, delete, get, post, put, websocket
from litestar.exceptions import WebSocketDisconnect
from litestar.params import FromPath, JSONBody

from greenroom import Greenroom, SessionMiddleware, session_of


@asynccontextmanager
async def lifespan(app: Litestar) -> AsyncGenerator[None]:
    async with Greenroom(os.environ.get("VALKEY_URL")) as app.state.room:
        yield


@post("/log-in/{user:str}")
async def log_in(request: Request[Any, Any, Any], user: FromPath[str]) -> dict[str, Any]:  # check the password first
    return (await session_of(request.scope).sign_in({"user_id": user})).members


@get("/")
async def read(request: Request[Any, Any, Any]) -> dict[str, Any]:  # 401 without a session
    return (await session_of(request.scope).require()).members


@put("/cart")
async def change(request: Request[Any, Any, Any], data: JSONBody[list[str]]) -> dict[str, Any]:
    return (await session_of(request.scope).update(cart=data)).members


@delete("/")
async def log_out(request: Request[Any, Any, Any]) -> None:
    await session_of(request.scope).end()


@websocket("/listen")
async def listen(socket: WebSocket[Any, Any, Any]) -> None:
    await session_of(socket.scope).require()
    await socket.accept()
    try:
        while text := await socket.receive_text():  # closed with 4401 when the session ends, wherever that is
            await socket.send_json((await session_of(socket.scope).update(said=text)).members)
    except WebSocketDisconnect:
        pass


application = Litestar([log_in, read, change, log_out, listen], lifespan=[lifespan])
app = SessionMiddleware(application, lambda: application.state.room.sessions)
