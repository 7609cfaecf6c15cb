"""Who listens over which sockets: what the session names, what is counted, and what a killed server leaves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from websockets.asyncio.client import ClientConnection

from greenroom.sessions import Presence, SessionLimits, SessionMiddleware, Sessions
from greenroom_platform.models import Session
from tests.support.asgi_server import Site, closed, served, sessions_on
from tests.support.listening_app import Listening, process
from tests.support.real_servers import Server

pytestmark = pytest.mark.on_cluster


class House:
    """A site that streams, and the sessions of another process."""

    def __init__(self, site: Site, sessions: Sessions[Session]) -> None:
        self.site = site
        self.sessions = sessions
        self.presence = Presence(sessions)

    async def named(self, session: str) -> str | None:
        """The podcast that a session names."""
        live = await self.sessions.read_id(session)
        assert live is not None
        found = live.value.active_podcast_stream_id
        return None if found is msgspec.UNSET else str(found)


@pytest.fixture
async def house(server: Server) -> AsyncIterator[House]:
    async with (
        sessions_on(server.address) as here,
        sessions_on(server.address) as elsewhere,
        served(SessionMiddleware(Listening(here), here)) as site,
    ):
        yield House(site, elsewhere)


async def listens(socket: ClientConnection) -> ClientConnection:
    """Return when the stream counts as open."""
    await socket.send("?")
    async with asyncio.timeout(20):
        assert await socket.recv() == "?"
    return socket


async def becomes(look: Callable[[], Awaitable[Any]], expected: Any, seconds: float = 20) -> None:
    """Return when a look at the server gives what is expected."""
    async with asyncio.timeout(seconds):
        while await look() != expected:
            await asyncio.sleep(0.01)


async def test_a_stream_is_named_by_the_session_while_it_is_open(house: House) -> None:
    live, token = await house.sessions.start({"user_id": "u1"})
    async with house.site.socket("/p1", token) as socket:
        await listens(socket)
        assert await house.named(live.session_id) == "p1"
        assert await house.presence.listeners() == {"p1": 1}
    await becomes(house.presence.listeners, {})
    await becomes(lambda: house.named(live.session_id), None)


async def test_two_tabs_are_two_listeners_and_the_last_to_close_clears(
    house: House,
) -> None:
    live, token = await house.sessions.start({})
    async with house.site.socket("/p1", token) as one, house.site.socket("/p1", token) as other:
        await listens(one)
        await listens(other)
        assert await house.presence.listeners() == {"p1": 2}
        await other.close()
        await becomes(house.presence.listeners, {"p1": 1})
        await listens(one)
        assert await house.named(live.session_id) == "p1"
    await becomes(lambda: house.named(live.session_id), None)


@pytest.mark.parametrize(("first_to_close", "remains"), [(0, "p2"), (1, "p1")])
async def test_of_two_tabs_on_two_podcasts_the_newest_that_is_open_is_named(
    house: House, first_to_close: int, remains: str
) -> None:
    live, token = await house.sessions.start({})
    async with house.site.socket("/p1", token) as one, house.site.socket("/p2", token) as other:
        await listens(one)
        await listens(other)
        assert await house.named(live.session_id) == "p2"
        await (one, other)[first_to_close].close()
        await becomes(house.presence.listeners, {remains: 1})
        await becomes(lambda: house.named(live.session_id), remains)


async def test_who_has_no_session_is_counted_too(house: House) -> None:
    async with house.site.socket("/p1") as one, house.site.socket("/p1") as other:
        await listens(one)
        await listens(other)
        assert await house.presence.listeners() == {"p1": 2}
    await becomes(house.presence.listeners, {})


async def test_the_end_of_the_session_ends_its_streams(house: House) -> None:
    live, token = await house.sessions.start({"user_id": "u1"})
    async with house.site.socket("/p1", token) as mine, house.site.socket("/p1") as theirs:
        await listens(mine)
        await listens(theirs)
        await house.sessions.end_all("u1")
        assert await closed(mine) == 4401
        await becomes(house.presence.listeners, {"p1": 1})
    assert await house.sessions.read_id(live.session_id) is None


async def test_the_streams_of_a_killed_server_lapse(server: Server) -> None:
    limits = SessionLimits(stream=timedelta(seconds=1))
    async with AsyncExitStack() as stack:
        sessions = await stack.enter_async_context(sessions_on(server.address, limits))
        presence = Presence(sessions)
        live, token = await sessions.start({})
        with process(server.address, 1.0) as (serving, port):
            socket = await stack.enter_async_context(Site(port).socket("/p1", token))
            await listens(socket)
            await becomes(presence.listeners, {"p1": 1})
            serving.kill()
            await closed(socket)
        await becomes(presence.listeners, {})

        server.raw()("DEL", f"greenroom:touched:{{session:{live.session_id}}}")  # as a touch interval later

        async def named_after_a_request() -> bool:
            found = await sessions.read(token)
            assert found is not None
            sessions.touch(found)
            return "active_podcast_stream_id" in found.members

        await becomes(named_after_a_request, False)


async def test_a_living_listener_is_counted_longer_than_one_of_a_killed_server(server: Server) -> None:
    limits = SessionLimits(stream=timedelta(seconds=3))
    async with (
        sessions_on(server.address, limits) as here,
        served(SessionMiddleware(Listening(here), here)) as site,
        site.socket("/p1") as socket,
    ):
        await listens(socket)
        began, raw = server.raw()("TIME"), server.raw()
        while int(raw("TIME")[0]) - int(began[0]) < 5:
            assert await Presence(here).listeners() == {"p1": 1}
            await asyncio.sleep(0.05)
