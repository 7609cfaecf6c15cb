"""Only sessions, of one's own type. Run: `uvicorn only_sessions:app`; VALKEY_URL, or a Valkey is embedded."""

import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from greenroom import CookieSettings, Greenroom, SessionMiddleware, SessionSettings, session_of


class Visitor(msgspec.Struct):
    user_id: int | msgspec.UnsetType = msgspec.UNSET
    basket: list[str] = []


settings = SessionSettings(Visitor, idle=timedelta(hours=2), absolute=timedelta(days=1), remember=timedelta(days=30))
room = Greenroom(os.environ.get("VALKEY_URL"), sessions=settings)


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncGenerator[None]:
    async with room:
        yield


async def log_in(request: Request) -> Response:  # check the password first
    remember = "remember" in request.query_params
    await session_of(request.scope).sign_in({"user_id": request.path_params["user"]}, remember=remember)
    return Response(status_code=204)


async def basket(request: Request) -> Response:
    session = session_of(request.scope)
    live = await session.get() or await session.start()  # a visitor need not sign in
    if request.method == "POST":
        live = await session.update(basket=[*live.value.basket, request.query_params["item"]])
    return JSONResponse(live.value.basket)


async def log_out_everywhere(request: Request) -> Response:
    live = await session_of(request.scope).require()  # 401 without a session
    await room.sessions.end_all(live.value.user_id)
    return Response(status_code=204)


routes = [Route("/log-in/{user:int}", log_in, methods=["POST"]), Route("/basket", basket, methods=["GET", "POST"])]
routes += [Route("/log-out-everywhere", log_out_everywhere, methods=["POST"])]
app = SessionMiddleware(Starlette(routes=routes, lifespan=lifespan), room, cookie=CookieSettings(name="shop"))
