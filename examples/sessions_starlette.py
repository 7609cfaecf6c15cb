"""Sessions in Starlette. Run it with `uvicorn sessions_starlette:app`; without VALKEY_URL a Valkey is embedded."""

import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from greenroom import Greenroom, SessionMiddleware, session_of


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncGenerator[None]:
    async with Greenroom(os.environ.get("VALKEY_URL")) as app.state.room:
        yield


async def log_in(request: Request) -> Response:  # check the password first
    return Response((await session_of(request.scope).sign_in({"user_id": request.path_params["user"]})).body)


async def read(request: Request) -> Response:  # 401 without a session
    return Response((await session_of(request.scope).require()).body)


async def change(request: Request) -> Response:
    return Response((await session_of(request.scope).update(cart=await request.json())).body)


async def log_out(request: Request) -> Response:
    await session_of(request.scope).end()
    return Response(status_code=204)


async def listen(socket: WebSocket) -> None:
    await session_of(socket.scope).require()
    await socket.accept()
    async for text in socket.iter_text():  # closed with 4401 when the session ends, wherever that is
        live = await session_of(socket.scope).update(said=text)
        await socket.send_text(live.body.decode())


routes = [Route("/log-in/{user}", log_in, methods=["POST"]), Route("/", read), WebSocketRoute("/listen", listen)]
routes += [Route("/cart", change, methods=["PUT"]), Route("/", log_out, methods=["DELETE"])]
sessions = Middleware(SessionMiddleware, sessions=lambda: app.state.room.sessions)
app: Starlette = Starlette(routes=routes, middleware=[sessions], lifespan=lifespan)
