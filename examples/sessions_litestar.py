"""Sessions in Litestar. Run it with `uvicorn sessions_litestar:app`; without VALKEY_URL a Valkey is embedded."""

import os
from typing import Any

from litestar import Litestar, WebSocket, delete, get, post, put, websocket
from litestar.di import NamedDependency
from litestar.exceptions import WebSocketDisconnect
from litestar.params import FromPath, JSONBody

from greenroom import Greenroom, RequestSession, SessionMiddleware
from greenroom.integrations.litestar import GreenroomPlugin

room = Greenroom(os.environ.get("VALKEY_URL"))
Session = NamedDependency[RequestSession[Any]]  # the plugin gives it, as `room`


@post("/log-in/{user:str}")
async def log_in(session: Session, user: FromPath[str]) -> dict[str, Any]:  # check the password first
    return (await session.sign_in({"user_id": user})).members


@get("/")
async def read(session: Session) -> dict[str, Any]:  # 401 without a session
    return (await session.require()).members


@put("/cart")
async def change(session: Session, data: JSONBody[list[str]]) -> dict[str, Any]:
    return (await session.update(cart=data)).members


@delete("/")
async def log_out(session: Session) -> None:
    await session.end()


@websocket("/listen")
async def listen(socket: WebSocket[Any, Any, Any], session: Session) -> None:
    await session.require()
    await socket.accept()
    try:
        while text := await socket.receive_text():  # closed with 4401 when the session ends, wherever that is
            await socket.send_json((await session.update(said=text)).members)
    except WebSocketDisconnect:
        pass


application = Litestar([log_in, read, change, log_out, listen], plugins=[GreenroomPlugin(room)])
app = SessionMiddleware(application, room)
