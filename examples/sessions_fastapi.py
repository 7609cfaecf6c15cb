"""Sessions in FastAPI. Run it with `uvicorn sessions_fastapi:app`; without VALKEY_URL a Valkey is embedded."""

import os
from typing import Any

from fastapi import FastAPI, WebSocket

from greenroom import Greenroom, SessionMiddleware
from greenroom.integrations.fastapi import CurrentSession, lifespan

room = Greenroom(os.environ.get("VALKEY_URL"))
app = FastAPI(lifespan=lifespan(room))
app.add_middleware(SessionMiddleware, sessions=room)


@app.post("/log-in/{user}")
async def log_in(user: str, session: CurrentSession) -> dict[str, Any]:  # check the password first
    return (await session.sign_in({"user_id": user})).members


@app.get("/")
async def read(session: CurrentSession) -> dict[str, Any]:  # 401 without a session
    return (await session.require()).members


@app.put("/cart")
async def change(cart: list[str], session: CurrentSession) -> dict[str, Any]:
    return (await session.update(cart=cart)).members


@app.delete("/", status_code=204)
async def log_out(session: CurrentSession) -> None:
    await session.end()


@app.websocket("/listen")
async def listen(socket: WebSocket, session: CurrentSession) -> None:
    await session.require()
    await socket.accept()
    async for text in socket.iter_text():  # closed with 4401 when the session ends, wherever that is
        await socket.send_json((await session.update(said=text)).members)
