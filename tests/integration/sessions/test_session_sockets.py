"""A socket and its session on real servers: it closes when the session ends, wherever that is."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import InvalidStatus

from greenroom.engine import Engine
from greenroom.sessions import SessionLimits, SessionMiddleware, Sessions, session_of
from greenroom.sessions.token import new_token, session_id
from greenroom_platform.models import Session
from tests.support.asgi_server import Site, closed, served, sessions_on
from tests.support.patience import PATIENT, until
from tests.support.proxy import Proxy
from tests.support.real_servers import Raw, Server, valkey_binary

pytestmark = pytest.mark.on_cluster

ENDED = 4401
LONG = timedelta(hours=1)


class Stage:
    """An application of sockets: one that is silent, one that does as it is told, one for members only."""

    def __init__(self) -> None:
        self.may_accept = asyncio.Event()
        self.may_accept.set()
        self.asked = asyncio.Event()
        self.over = asyncio.Event()
        self.left: list[dict[str, Any]] = []
        """What `receive` gave last to each socket that talks."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "websocket"
        session = session_of(scope)
        if scope["path"] == "/members-only":
            await session.require()
        self.asked.set()
        await self.may_accept.wait()
        await send({"type": "websocket.accept"})
        if scope["path"] == "/silent":
            await self.over.wait()
            return
        assert (await receive())["type"] == "websocket.connect"
        while (message := await receive())["type"] == "websocket.receive":
            match message["text"].partition("="):
                case "read", _, _:
                    live = await session.get()
                case "keep", _, note:
                    live = await session.update(note=note)
                case "end", _, _:
                    await session.end()
                    live = await session.get()
                case _:
                    live = None
            await send({"type": "websocket.send", "text": json.dumps(live and live.members)})
        self.left.append(message)


class House:
    """A site, the sessions of its process, and those of another."""

    def __init__(self, stage: Stage, site: Site, here: Sessions[Session], elsewhere: Sessions[Session]) -> None:
        self.stage = stage
        self.site = site
        self.here = here
        self.elsewhere = elsewhere

    async def started(self, **members: object) -> tuple[str, str]:
        """A session begun in the other process: its id and its token."""
        live, token = await self.elsewhere.start(members)
        return live.session_id, token

    async def told(self, socket: ClientConnection, what: str) -> Any:
        """What the application answers."""
        await socket.send(what)
        async with asyncio.timeout(20):
            return json.loads(await socket.recv())


class Houses:
    """Opens houses on a server, and closes them after the test."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self._stack = stack

    async def __call__(
        self,
        server: Server | Proxy,
        limits: SessionLimits | None = None,
        *,
        elsewhere: Server | None = None,
        **options: Any,
    ) -> House:
        enter = self._stack.enter_async_context
        here = await enter(sessions_on(server.address, limits, **options))
        other = await enter(sessions_on((elsewhere or server).address, limits))
        stage = Stage()
        site = await enter(served(SessionMiddleware(stage, here)))
        self._stack.callback(stage.over.set)
        return House(stage, site, here, other)


@pytest.fixture
async def house() -> AsyncIterator[Houses]:
    async with AsyncExitStack() as stack:
        yield Houses(stack)


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a change take as long as a test makes its bytes wait."""
    monkeypatch.setattr(Engine, "call_budget", 60.0)


# Ended elsewhere -----------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/silent", "/talk"])
async def test_a_session_ended_in_another_process_closes_its_sockets(server: Server, house: Houses, path: str) -> None:
    home = await house(server)
    session, token = await home.started(user_id="u1")
    async with home.site.socket(path, token) as one, home.site.socket(path, token) as other:
        await home.elsewhere.end(session)
        assert [await closed(one), await closed(other)] == [ENDED, ENDED]
        assert "sign in again" in (one.close_reason or "")


async def test_the_application_that_waits_for_a_message_is_told_of_the_end(valkey: Server, house: Houses) -> None:
    home = await house(valkey)
    session, token = await home.started()
    async with home.site.socket("/talk", token) as socket:
        await home.told(socket, "read")
        await home.elsewhere.end(session)
        await closed(socket)
    await until(lambda: home.stage.left)
    (last,) = home.stage.left
    assert (last["type"], last["code"]) == ("websocket.disconnect", ENDED)


async def test_the_sockets_of_other_sessions_stay(valkey: Server, house: Houses) -> None:
    home = await house(valkey)
    session, token = await home.started(user_id="u1")
    _, others = await home.started(user_id="u1")
    async with (
        home.site.socket("/talk", token) as mine,
        home.site.socket("/talk", others) as theirs,
        home.site.socket("/talk") as nobodys,
    ):
        await home.elsewhere.end(session)
        assert await closed(mine) == ENDED
        assert (await home.told(theirs, "read"))["user_id"] == "u1"
        assert await home.told(nobodys, "read") is None


async def test_signing_out_everywhere_closes_every_socket_of_the_user(server: Server, house: Houses) -> None:
    home = await house(server)
    tokens = [(await home.started(user_id="u1"))[1] for _ in range(3)]
    async with AsyncExitStack() as stack:
        sockets = [await stack.enter_async_context(home.site.socket("/silent", token)) for token in tokens]
        assert await home.elsewhere.end_all("u1") == 3
        assert [await closed(socket) for socket in sockets] == [ENDED] * 3


async def test_a_log_in_closes_the_sockets_of_the_session_that_it_replaces(server: Server, house: Houses) -> None:
    home = await house(server)
    session, token = await home.started()
    async with home.site.socket("/silent", token) as old:
        _, new_token_ = await home.elsewhere.rotate(session, {"user_id": "u1"})
        assert await closed(old) == ENDED
    async with home.site.socket("/talk", new_token_) as new:
        assert (await home.told(new, "read"))["user_id"] == "u1"


async def test_what_a_rotation_leaves_to_be_read_opens_no_socket(server: Server, house: Houses) -> None:
    home = await house(server, SessionLimits(grace_copy=LONG))
    session, token = await home.started(user_id="u1")
    await home.elsewhere.rotate(session, {"user_id": "u1"})
    copy = await home.here.read(token)
    assert copy is not None, "the copy is there, for requests"
    with pytest.raises(InvalidStatus) as refused:
        await home.site.socket("/members-only", token)
    assert refused.value.response.status_code == 401
    async with home.site.socket("/talk", token) as socket:
        assert await home.told(socket, "read") is None


async def test_a_session_that_ends_before_its_socket_is_accepted_opens_none(server: Server, house: Houses) -> None:
    home = await house(server)
    session, token = await home.started()
    home.stage.may_accept.clear()
    opening = asyncio.ensure_future(_opened(home, "/silent", token))
    await home.stage.asked.wait()  # it was read, and is not accepted yet
    await home.elsewhere.end(session)
    with pytest.raises(InvalidStatus) as refused:
        await opening
    assert refused.value.response.status_code == 403
    home.stage.may_accept.set()


async def test_a_socket_is_accepted_after_its_session_was_read(valkey: Server, house: Houses) -> None:
    async with Proxy(valkey) as proxy:
        home = await house(proxy, elsewhere=valkey, engine_limits=PATIENT)
        session, token = await home.started()
        read = proxy.hold("MGET", f"session:{session}")
        opening = asyncio.ensure_future(_opened(home, "/silent", token))
        await read.reached.wait()
        assert not home.stage.asked.is_set(), "the application was asked before"
        read.release()
        socket = await opening
        await home.elsewhere.end(session)
        assert await closed(socket) == ENDED


# Lapsed --------------------------------------------------------------------------------------------


@pytest.fixture
def never_expires(tmp_path: Path) -> Any:
    """A Valkey that pushes nothing when a key lapses, as long as nobody asks for it."""
    server = Server(valkey_binary(), tmp_path, "--enable-debug-command", "yes")
    server.start()
    assert server.raw()("DEBUG", "SET-ACTIVE-EXPIRE", "0") == b"OK"
    yield server
    server.kill()


async def test_a_session_that_lapses_closes_its_socket_without_a_push(never_expires: Server, house: Houses) -> None:
    idle = SessionLimits(idle=timedelta(seconds=2.9), touch=timedelta(seconds=0.1))
    home = await house(never_expires, idle)
    _, token = await home.started()
    async with home.site.socket("/silent", token) as socket:
        assert await closed(socket) == ENDED
    assert await home.elsewhere.read(token) is None
    assert home.here.counters.sessions["ended",] == 0, "nobody ended it"


async def test_the_absolute_lifetime_closes_the_socket_of_a_busy_session(never_expires: Server, house: Houses) -> None:
    home = await house(never_expires, SessionLimits(idle=LONG, absolute=timedelta(seconds=3)))
    _, token = await home.started()
    async with home.site.socket("/talk", token) as socket:
        await home.told(socket, "keep=busy")
        assert await closed(socket) == ENDED


# The store in trouble ------------------------------------------------------------------------------


async def test_an_end_whose_push_was_lost_with_its_connection_closes_the_socket(valkey: Server, house: Houses) -> None:
    async with Proxy(valkey) as proxy:
        home = await house(proxy, elsewhere=valkey, engine_limits=PATIENT)
        session, token = await home.started()
        async with home.site.socket("/silent", token) as socket:
            held = proxy.hold_push()
            await home.elsewhere.end(session)
            await until(lambda: held.frames)  # the push is on its way, and never arrives
            await proxy.cut()
            assert await closed(socket) == ENDED


async def test_a_socket_closes_if_the_store_returns_without_its_session(valkey: Server, house: Houses) -> None:
    home = await house(valkey)
    _, token = await home.started()
    async with home.site.socket("/talk", token) as socket, home.site.socket("/silent", token) as silent:
        valkey.kill()
        await until(lambda: home.here.engine.unavailable is not None)
        assert "preferences" in await home.told(socket, "read")
        assert (socket.close_code, silent.close_code) == (None, None)
        valkey.start()  # without its data
        assert [await closed(socket), await closed(silent)] == [ENDED, ENDED]


async def test_a_socket_outlives_an_outage_of_the_store_and_sees_its_end(lasting: Server, house: Houses) -> None:
    home = await house(lasting)
    session, token = await home.started()
    async with home.site.socket("/talk", token) as socket:
        lasting.kill()
        await until(lambda: home.here.engine.unavailable is not None)
        lasting.start()
        await until(lambda: home.here.engine.unavailable is None and home.elsewhere.engine.unavailable is None, 20)
        await home.told(socket, "read")
        await home.elsewhere.end(session)
        assert await closed(socket) == ENDED


async def test_with_the_store_down_a_handshake_is_503_only_if_it_needs_a_session(valkey: Server, house: Houses) -> None:
    home = await house(valkey)
    _, token = await home.started()
    valkey.kill()
    with pytest.raises(InvalidStatus) as refused:
        await home.site.socket("/members-only", token)
    assert refused.value.response.status_code == 503
    assert refused.value.response.headers["Retry-After"] == "1"
    async with home.site.socket("/silent", token) as socket:
        assert socket.close_code is None


# What a socket does with its session ---------------------------------------------------------------


async def test_what_a_socket_writes_into_its_session_is_kept(server: Server, house: Houses) -> None:
    home = await house(server)
    _, token = await home.started(user_id="u1")
    async with home.site.socket("/talk", token) as socket:
        assert (await home.told(socket, "keep=one"))["note"] == "one"
        kept = await home.elsewhere.read(token)
        assert kept is not None
        assert kept.members["note"] == "one"


@pytest.mark.usefixtures("patient")
async def test_a_socket_sees_its_own_writes_before_their_pushes(valkey: Server, house: Houses) -> None:
    async with Proxy(valkey) as proxy:
        home = await house(proxy, elsewhere=valkey, engine_limits=PATIENT)
        _, token = await home.started()
        async with home.site.socket("/talk", token) as socket:
            await home.told(socket, "read")
            held = proxy.hold_push()
            for number in range(3):
                await home.told(socket, f"keep={number}")
                assert (await home.told(socket, "read"))["note"] == str(number)
            await until(lambda: held.frames)
            held.release()
            assert (await home.told(socket, "read"))["note"] == "2"


@pytest.mark.usefixtures("patient")
async def test_a_read_under_way_does_not_take_a_socket_s_own_write_back(valkey: Server, house: Houses) -> None:
    async with Proxy(valkey) as proxy:
        home = await house(proxy, elsewhere=valkey, engine_limits=PATIENT)
        session, token = await home.started()
        async with home.site.socket("/talk", token) as socket:
            await home.told(socket, "read")
            looks = proxy.hold("MGET", f"session:{session}", f"greenroom:grace:{{session:{session}}}")
            await home.elsewhere.change(session, lambda body: body[:-1] + b',"by":"another"}')
            await looks.reached.wait()  # the push is followed by a read, on the tracked connection
            replies = proxy.hold_replies()
            looks.release()
            await until(lambda: replies.frames)  # it was read, and is not known here yet
            await home.told(socket, "keep=mine")
            replies.release()
            for _ in range(20):
                assert (await home.told(socket, "read"))["note"] == "mine"


async def test_a_change_made_elsewhere_is_seen_by_the_socket(server: Server, house: Houses) -> None:
    home = await house(server)
    session, token = await home.started()
    async with home.site.socket("/talk", token) as socket:
        await home.elsewhere.change(session, lambda body: body[:-1] + b',"note":"theirs"}')
        async with asyncio.timeout(20):
            while (await home.told(socket, "read")).get("note") != "theirs":
                pass


async def test_a_socket_may_end_its_own_session(server: Server, house: Houses) -> None:
    home = await house(server)
    _, token = await home.started()
    async with home.site.socket("/talk", token) as socket:
        await socket.send("end")
        assert await closed(socket) == ENDED
    assert await home.elsewhere.read(token) is None


async def test_a_message_of_the_client_keeps_its_session_alive(server: Server, house: Houses) -> None:
    home = await house(server)
    session, token = await home.started()
    touched, raw = f"greenroom:touched:{{session:{session}}}", server.raw()
    async with home.site.socket("/talk", token) as socket:
        raw("PEXPIRE", f"session:{session}", 60_000)
        raw("DEL", touched)  # as a touch interval after the last one
        async with asyncio.timeout(20):
            while not raw("EXISTS", touched):
                await home.told(socket, "read")
        assert raw("PTTL", f"session:{session}") > 60_000


async def test_a_silent_socket_does_not_keep_its_session_alive(server: Server, house: Houses) -> None:
    home = await house(server)
    session, token = await home.started()
    touched, raw = f"greenroom:touched:{{session:{session}}}", server.raw()
    async with home.site.socket("/silent", token) as silent, home.site.socket("/talk", token) as other:
        raw("DEL", touched)
        await silent.ping()
        # By now the watch has read it again, after this change's push.
        await home.elsewhere.change(session, lambda body: body)
        await home.told(other, "nothing")
        before = raw("GET", touched)
        await silent.ping()
        assert raw("GET", touched) == before


# Tokens and origins --------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["absent", "dead", "forged", "malformed", "an id"])
async def test_without_a_live_session_a_socket_is_anonymous_where_none_is_needed(
    valkey: Server, house: Houses, kind: str
) -> None:
    home = await house(valkey)
    session, token = await home.started(user_id="u1")
    await home.elsewhere.end(session)
    presented = {"absent": None, "dead": token, "forged": new_token(), "malformed": "x" * 2000, "an id": session}[kind]
    before = names(valkey.raw())
    with pytest.raises(InvalidStatus) as refused:
        await home.site.socket("/members-only", presented)
    assert refused.value.response.status_code == 401
    assert ("invalid_token" in refused.value.response.headers["WWW-Authenticate"]) == (kind != "absent")
    async with home.site.socket("/talk", presented) as socket:
        assert await home.told(socket, "read") is None
        await socket.close()
        assert socket.close_code == 1000
    assert names(valkey.raw()) == before


async def test_a_bearer_token_opens_a_socket_too(valkey: Server, house: Houses) -> None:
    home = await house(valkey)
    _, token = await home.started(user_id="u1")
    async with home.site.socket("/members-only", Authorization=f"Bearer {token}") as socket:
        assert (await home.told(socket, "read"))["user_id"] == "u1"


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:1"])
async def test_a_foreign_page_opens_no_socket_signed_in_or_not(valkey: Server, house: Houses, origin: str) -> None:
    home = await house(valkey)
    _, token = await home.started()
    for presented in (token, None):
        with pytest.raises(InvalidStatus) as refused:
            await home.site.socket("/talk", presented, Origin=origin)
        assert refused.value.response.status_code == 403
    assert not home.stage.asked.is_set()


async def test_a_page_of_its_own_origin_opens_a_socket(valkey: Server, house: Houses) -> None:
    home = await house(valkey)
    _, token = await home.started(user_id="u1")
    async with home.site.socket("/talk", token, Origin=f"http://127.0.0.1:{home.site.port}") as socket:
        assert (await home.told(socket, "read"))["user_id"] == "u1"


async def test_the_session_of_a_socket_begins_in_a_request(valkey: Server, house: Houses) -> None:
    home = await house(valkey)
    refused: list[Exception] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        for begin in (session_of(scope).start(), session_of(scope).sign_in({"user_id": "u1"})):
            try:
                await begin
            except RuntimeError as error:
                refused.append(error)
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.close"})

    async with served(SessionMiddleware(app, home.here)) as site, site.socket("/") as socket:
        await closed(socket)
    assert ["only that sets a cookie" in str(error) for error in refused] == [True, True]


async def test_nothing_of_a_closed_socket_stays_with_the_engine(valkey: Server, house: Houses) -> None:
    home = await house(valkey)
    session, token = await home.started()
    async with home.site.socket("/talk", token) as socket:
        await home.told(socket, "read")
        assert home.here._key_events._events
    await until(lambda: not home.here._key_events._events)
    assert session_id(token) == session


async def _opened(home: House, path: str, token: str) -> ClientConnection:
    return await home.site.socket(path, token)


def names(raw: Raw) -> set[bytes]:
    """Every key of a server."""
    return set(raw("KEYS", "*"))
