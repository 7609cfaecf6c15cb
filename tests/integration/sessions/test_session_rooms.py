"""The middleware over a room that is opened later than its application is made."""

from __future__ import annotations

from typing import Any

import pytest

from greenroom import Greenroom, SessionMiddleware, session_of
from greenroom.errors import InvalidInput, RoomNotOpen
from tests.support.asgi_server import called
from tests.support.real_servers import Server


async def application(scope: Any, receive: Any, send: Any) -> None:
    session = session_of(scope)
    if await session.get() is None:
        await session.start(user_id="ana")
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"fine"})


@pytest.mark.parametrize("given", ["the room", "its sessions", "a function of the room", "a function of its sessions"])
async def test_a_room_or_its_sessions_may_be_given(valkey: Server, given: str) -> None:
    room = Greenroom(valkey.address)
    wanted: dict[str, Any] = {
        "the room": room,
        "a function of the room": lambda: room,
        "a function of its sessions": lambda: room.sessions,
    }
    early = SessionMiddleware(application, wanted[given]) if given in wanted else None
    async with room:
        app = early or SessionMiddleware(application, room.sessions)
        async with called(app) as client:
            first = await client.get("/")
            assert (first.status_code, first.text, "greenroom" in first.cookies) == (200, "fine", True)
            assert "set-cookie" not in (await client.get("/")).headers
        assert len(await room.sessions.of_user("ana")) == 1


async def test_a_room_that_is_not_open_yet_says_so_at_the_request(valkey: Server) -> None:
    room = Greenroom(valkey.address)
    async with called(SessionMiddleware(application, room)) as client:
        with pytest.raises(RoomNotOpen):
            await client.get("/")
        async with room:
            assert (await client.get("/")).text == "fine"


@pytest.mark.parametrize("wrong", [None, 5, Greenroom, "room"])
def test_what_is_no_room_is_refused_when_the_application_is_made(wrong: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        SessionMiddleware(application, wrong)
    assert caught.value.field == "sessions"
