"""Sessions in FastAPI. Run it with `uvicorn sessions_fastapi:app`; without VALKEY_URL a Valkey is embedded."""

import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import Depends, FastAPI
from fastapi.requests import HTTPConnection
from starlette.websockets import WebSocket

from greenroom import Greenroom, RequestSession, SessionData, SessionMiddleware, session_of


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
    async with Greenroom(os.environ.get("VALKEY_URL")) as app.state.room:
        yield


def session(connection: HTTPConnection) -> RequestSession[SessionData]:
    return session_of(connection.scope)


Its = Annotated[RequestSession[SessionData], Depends(session)]
app = FastAPI(lifespan=lifespan)
app.add_middleware(SessionMiddleware, sessions=lambda: app.state.room.sessions)


@app.post("/log-in/{user}")
async def log_in(user: str, session: Its) -> dict[str, Any]:  # check the password first
    return (await session.sign_in({"user_id": user})).members


@app.get("/")
async def read(session: Its) -> dict[str, Any]:  # 401 without a session
    return (await session.require()).members


@app.put("/cart")
async def change(cart: list[str], session: Its) -> dict[str, Any]:
    return (await session.update(cart=cart)).members


@app.delete("/", status_code=204)
async def log_out(session: Its) -> None:
    await session.end()


@app.websocket("/listen")
async def listen(socket: WebSocket, session: Its) -> None:
    await session.require()
    await socket.accept()
    async for text in socket.iter_text():  # closed with 4401 when the session ends, wherever that is
        await socket.send_json((await session.update(said=text)).members)
