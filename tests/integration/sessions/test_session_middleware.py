"""The middleware around a bare ASGI application: what it adds, what it answers, and what it leaves alone."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any

import httpx
import pytest

from greenroom.sessions import RequestSession, SessionMiddleware, Sessions, SessionSnapshot, SignInRequired, session_of
from greenroom.sessions.request import RequestSession as Found
from greenroom.sessions.websocket import GuardedSocket, SessionEnded
from greenroom_platform.models import Session
from tests.support.asgi_server import HERE, called, served, sessions_on
from tests.support.real_servers import Server
from tests.support.session_stores import cancelled, held_begin

PRIVATE = ("private, no-store", "Cookie, Authorization")
Handler = Callable[[Found[Session]], Awaitable[None]]


class Application:
    """Does with its session what the test says, then answers."""

    def __init__(self, handle: Handler, headers: list[tuple[bytes, bytes]] | None = None) -> None:
        self._handle = handle
        self._headers = headers or []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self._handle(session_of(scope))
        await send({"type": "http.response.start", "status": 200, "headers": self._headers})
        await send({"type": "http.response.body", "body": b"whole"})


@pytest.fixture
async def sessions(valkey: Server) -> AsyncIterator[Sessions[Session]]:
    async with sessions_on(valkey.address) as sessions:
        yield sessions


async def nothing(_: RequestSession[Session]) -> None:
    """A handler that does not ask for the session."""


async def get(session: RequestSession[Session]) -> None:
    await session.get()


async def require(session: RequestSession[Session]) -> None:
    await session.require()


async def start(session: RequestSession[Session]) -> None:
    await session.start()


def told(answer: httpx.Response) -> tuple[str, str]:
    return answer.headers.get("cache-control", ""), answer.headers.get("vary", "")


async def test_a_session_that_nobody_asks_for_is_not_looked_up(valkey: Server, sessions: Sessions[Session]) -> None:
    _, token = await sessions.start({})
    app = SessionMiddleware(Application(nothing, [(b"cache-control", b"public, max-age=60")]), sessions)
    valkey.kill()
    async with called(app) as client:
        answer = await client.get("/", headers={"Cookie": f"greenroom={token}"})
    assert (answer.status_code, told(answer)) == (200, ("public, max-age=60", ""))


async def test_an_answer_that_used_a_session_is_private_whatever_the_app_says(
    sessions: Sessions[Session],
) -> None:
    headers = [(b"Cache-Control", b"public"), (b"cache-control", b"max-age=60"), (b"vary", b"Accept")]
    async with called(SessionMiddleware(Application(get, headers), sessions)) as client:
        answer = await client.get("/")
    assert told(answer) == ("private, no-store", "Accept, Cookie, Authorization")


async def test_one_request_looks_once_however_often_it_asks(valkey: Server, sessions: Sessions[Session]) -> None:
    _, token = await sessions.start({})

    async def ask(session: RequestSession[Session]) -> None:
        found = await asyncio.gather(*(session.get() for _ in range(10)), session.require())
        assert {id(one) for one in found} == {id(found[0])}

    before = calls(valkey, "mget")
    async with called(SessionMiddleware(Application(ask), sessions)) as client:
        assert (await client.get("/", headers={"Cookie": f"greenroom={token}"})).status_code == 200
    assert calls(valkey, "mget") == before + 1


async def test_ten_requests_are_ten_reads_and_at_most_one_touch(valkey: Server, sessions: Sessions[Session]) -> None:
    live, token = await sessions.start({})
    valkey.raw()("DEL", f"greenroom:touched:{{session:{live.session_id}}}")
    before = calls(valkey, "mget"), calls(valkey, "evalsha")
    async with called(SessionMiddleware(Application(get), sessions)) as client:
        for _ in range(10):
            await client.get("/", headers={"Cookie": f"greenroom={token}"})
    await sessions.close()
    touches = calls(valkey, "evalsha") - before[1]
    assert calls(valkey, "mget") - before[0] == 10
    assert touches == 2, "onto the roll of who is active, and the touch"


async def test_a_refusal_that_the_application_does_not_answer_is_answered(sessions: Sessions[Session]) -> None:
    async with called(SessionMiddleware(Application(require), sessions)) as client:
        answer = await client.get("/a%20b?c=d")
    assert (answer.status_code, told(answer)) == (401, PRIVATE)
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["www-authenticate"] == 'Bearer realm="greenroom"'
    assert answer.json() == {
        "type": "about:blank",
        "title": "Signing in is needed",
        "status": 401,
        "detail": "this needs a session",
        "instance": "/a%20b",
    }


async def test_a_framework_s_500_of_a_refusal_is_the_refusal_s_answer(sessions: Sessions[Session]) -> None:
    async def framework(scope: Any, receive: Any, send: Any) -> None:
        try:
            await session_of(scope).require()
        except SignInRequired:
            await send({"type": "http.response.start", "status": 500, "headers": []})
            await send({"type": "http.response.body", "body": b"Internal ", "more_body": True})
            await send({"type": "http.response.body", "body": b"Server Error"})
            raise  # as Starlette's outermost layer does, for the server's log

    async with called(SessionMiddleware(framework, sessions)) as client:
        answer = await client.get("/")
    assert (answer.status_code, answer.json()["status"], told(answer)) == (401, 401, PRIVATE)


async def test_a_500_of_another_cause_stays_one(sessions: Sessions[Session]) -> None:
    async def failing(scope: Any, receive: Any, send: Any) -> None:
        await session_of(scope).get()
        await send({"type": "http.response.start", "status": 500, "headers": []})
        await send({"type": "http.response.body", "body": b"broken"})

    async with called(SessionMiddleware(failing, sessions)) as client:
        answer = await client.get("/")
    assert (answer.status_code, answer.content) == (500, b"broken")


async def test_a_500_of_another_cause_stays_a_500_after_a_refused_session(
    sessions: Sessions[Session],
) -> None:
    async def framework(scope: Any, receive: Any, send: Any) -> None:
        try:
            with suppress(SignInRequired):
                await session_of(scope).require()
            raise ValueError("a defect of the application")
        except ValueError:
            await send({"type": "http.response.start", "status": 500, "headers": []})
            await send({"type": "http.response.body", "body": b"broken"})

    async with called(SessionMiddleware(framework, sessions)) as client:
        answer = await client.get("/")
    assert (answer.status_code, answer.content) == (500, b"broken")


async def test_a_refusal_after_the_answer_has_begun_is_the_server_s_to_break_off(
    sessions: Sessions[Session],
) -> None:
    async def late(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await session_of(scope).require()

    async with called(SessionMiddleware(late, sessions)) as client:
        with pytest.raises(SignInRequired):
            await client.get("/")


async def test_an_application_s_own_answer_to_a_refusal_is_sent(sessions: Sessions[Session]) -> None:
    async def asks(session: RequestSession[Session]) -> None:
        try:
            await session.require()
        except SignInRequired:
            pass

    async with called(SessionMiddleware(Application(asks), sessions)) as client:
        answer = await client.get("/")
    assert (answer.status_code, answer.content, told(answer)) == (200, b"whole", PRIVATE)


async def test_the_body_of_a_refusal_can_be_the_platform_s_own(sessions: Sessions[Session]) -> None:
    app = SessionMiddleware(Application(require), sessions, answer=lambda refused, _: str(refused).encode())
    async with called(app) as client:
        assert (await client.get("/")).content == b"this needs a session"


async def test_the_cookie_without_secure_is_logged_once(
    sessions: Sessions[Session], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "greenroom")

    def levels() -> list[str]:
        return [record.levelname for record in caplog.records if record.name.startswith("greenroom")]

    app = SessionMiddleware(Application(start), sessions)
    async with called(app, url="https://pods.example") as client:
        assert "Secure" in (await client.get("/")).headers["set-cookie"]
    assert not levels()
    async with called(app) as client:
        for _ in range(3):
            client.cookies.clear()
            assert "Secure" not in (await client.get("/")).headers["set-cookie"]
    assert levels() == ["WARNING"]


async def test_a_session_begins_with_what_the_platform_has_set(sessions: Sessions[Session]) -> None:
    live, _ = await sessions.start({"user_id": "u1"})
    assert live.members["preferences"] == {"preferred_topics": [], "playback_speed_default": 1.0}
    live, _ = await sessions.start({"preferences": {"playback_speed_default": 2.0}})
    assert live.members["preferences"] == {"playback_speed_default": 2.0}


async def test_what_the_app_leaves_in_its_scope_reaches_the_layers_around(sessions: Sessions[Session]) -> None:
    async def routes(scope: Any, receive: Any, send: Any) -> None:
        scope["route"] = "/{id}"

    scope: dict[str, Any] = {"type": "http", "method": "GET", "path": "/", "headers": [], "scheme": "https"}

    async def unused(*_: Any) -> Any:
        raise AssertionError

    await SessionMiddleware(routes, sessions)(scope, unused, unused)
    assert scope["route"] == "/{id}"


async def test_other_scopes_pass_by(sessions: Sessions[Session]) -> None:
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope)

    async def unused(*_: Any) -> Any:
        raise AssertionError

    await SessionMiddleware(app, sessions)({"type": "lifespan"}, unused, unused)
    assert seen == [{"type": "lifespan"}]


def test_without_the_middleware_there_is_no_session() -> None:
    with pytest.raises(RuntimeError, match="no SessionMiddleware"):
        session_of({"type": "http"})


async def test_a_change_by_a_request_whose_session_has_ended_is_refused(sessions: Sessions[Session]) -> None:
    live, token = await sessions.start({})

    async def slow(session: RequestSession[Session]) -> None:
        assert await session.get() is not None
        await sessions.end(live.session_id)
        await session.update(late=True)

    async with called(SessionMiddleware(Application(slow), sessions)) as client:
        answer = await client.get("/", headers={"Cookie": f"greenroom={token}"})
    assert answer.status_code == 401
    assert await sessions.read(token) is None


async def test_signing_in_again_while_another_log_in_is_first_is_refused(sessions: Sessions[Session]) -> None:
    live, token = await sessions.start({})

    async def second(session: RequestSession[Session]) -> None:
        assert await session.get() is not None
        await sessions.rotate(live.session_id, {"user_id": "u1"})
        await session.sign_in({"user_id": "u1"})

    async with called(SessionMiddleware(Application(second), sessions)) as client:
        answer = await client.get("/", headers={"Cookie": f"greenroom={token}"})
    assert answer.status_code == 401
    assert len(await sessions.of_user("u1")) == 1


async def test_of_two_tasks_that_start_a_session_one_is_refused(sessions: Sessions[Session]) -> None:
    results = list[object]()

    async def both(session: RequestSession[Session]) -> None:
        results.extend(await asyncio.gather(session.start(), session.start(), return_exceptions=True))

    async with called(SessionMiddleware(Application(both), sessions)) as client:
        answer = await client.get("/")
    assert [type(one) for one in results] == [SessionSnapshot, SignInRequired]
    assert sessions.counters.sessions["started",] == 1
    read = await sessions.read(answer.cookies["greenroom"])
    assert read is not None
    assert read.session_id == results[0].session_id  # type: ignore[attr-defined]


@pytest.mark.parametrize("token", ["", "A" * 43])
async def test_of_two_tasks_that_sign_in_one_session_is_left(sessions: Sessions[Session], token: str) -> None:
    async def both(session: RequestSession[Session]) -> None:
        await asyncio.gather(session.sign_in({"user_id": "u1"}), session.sign_in({"user_id": "u1"}))

    async with called(SessionMiddleware(Application(both), sessions)) as client:
        answer = await client.get("/", headers={"Cookie": f"greenroom={token}"} if token else {})
    counted = sessions.counters.sessions
    assert (counted["started",], counted["rotated",]) == (1, 1)
    (left,) = await sessions.of_user("u1")
    read = await sessions.read(answer.cookies["greenroom"])
    assert read is not None
    assert read.session_id == left.session_id


async def test_a_malformed_token_is_counted_once_a_request(sessions: Sessions[Session]) -> None:
    async def asks(session: RequestSession[Session]) -> None:
        await asyncio.gather(session.get(), session.get())
        with pytest.raises(SignInRequired):
            await session.end()

    async with called(SessionMiddleware(Application(asks), sessions)) as client:
        for _ in range(2):
            await client.get("/", headers={"Cookie": "greenroom=short"})
    assert sessions.counters.sessions["token_malformed",] == 2


async def test_guesses_show_in_the_counts(sessions: Sessions[Session]) -> None:
    async with called(SessionMiddleware(Application(get), sessions)) as client:
        await client.get("/", headers={"Cookie": "greenroom=short"})
        await client.get("/", headers={"Cookie": f"greenroom={'A' * 43}"})
        await client.get("/", headers={"Authorization": f"Bearer {'B' * 43}"})
        await client.post("/", headers={"Origin": "https://evil.example"})
    counted = sessions.counters.sessions
    assert {event[0]: counted[event] for event in counted if counted[event]} == {
        "token_malformed": 1,
        "token_unknown": 2,
        "origin_foreign": 1,
    }


# The channel of a socket ---------------------------------------------------------------------------


class Channel:
    """A server's side of a socket, whose messages take two steps to arrive."""

    def __init__(self) -> None:
        self.messages: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.taken = asyncio.Event()
        self.go = asyncio.Event()
        self.sent: list[dict[str, Any]] = []
        self.gone = False

    async def receive(self) -> Any:
        message = await self.messages.get()
        self.taken.set()
        await self.go.wait()
        return message

    async def send(self, message: Any) -> None:
        if self.gone:
            raise OSError("the client is gone")
        self.sent.append(message)


async def test_a_receive_that_is_given_up_loses_no_message() -> None:
    channel = Channel()
    guarded = GuardedSocket(channel.receive, channel.send, asyncio.Event(), lambda: None)
    waiting = asyncio.ensure_future(guarded.receive())
    channel.messages.put_nowait({"type": "websocket.receive", "text": "one"})
    await channel.taken.wait()  # the server has given it out, and the application has not got it
    waiting.cancel()
    await asyncio.wait([waiting])
    channel.go.set()
    channel.messages.put_nowait({"type": "websocket.receive", "text": "two"})
    assert [(await guarded.receive())["text"] for _ in range(2)] == ["one", "two"]
    await guarded.leave()


async def test_what_comes_after_the_end_of_the_session_reaches_nobody() -> None:
    channel, over = Channel(), asyncio.Event()
    active: list[bool] = []
    guarded = GuardedSocket(channel.receive, channel.send, over, lambda: active.append(True))
    await guarded.send({"type": "websocket.accept"})
    channel.go.set()
    channel.messages.put_nowait({"type": "websocket.receive", "text": "late"})
    over.set()
    assert (await guarded.receive())["type"] == "websocket.disconnect"
    with pytest.raises(SessionEnded):
        await guarded.send({"type": "websocket.send", "text": "late"})
    await guarded.send({"type": "websocket.close", "code": 1000})
    await guarded.leave()
    assert [message.get("code") for message in channel.sent] == [None, 4401]
    assert not active


async def test_a_client_that_is_gone_when_its_session_ends_is_no_error() -> None:
    channel, over = Channel(), asyncio.Event()
    guarded = GuardedSocket(channel.receive, channel.send, over, lambda: None)
    await guarded.send({"type": "websocket.accept"})
    channel.gone = True
    watching = asyncio.ensure_future(guarded.watch())
    over.set()
    await watching
    assert (await guarded.receive())["type"] == "websocket.disconnect"
    await guarded.leave()


def calls(server: Server, command: str) -> int:
    """How often a server has carried a command out."""
    raw = server.raw()
    found = raw("INFO", "commandstats").decode()
    raw.close()
    lines = [line for line in found.splitlines() if line.startswith(f"cmdstat_{command}:")]
    return int(lines[0].partition("calls=")[2].partition(",")[0]) if lines else 0


# After the first byte --------------------------------------------------------------------------------


LATE: dict[str, Handler] = {
    "rotate": lambda session: _done(session.rotate({})),
    "sign in": lambda session: _done(session.sign_in({"user_id": "ana"})),
}


async def _done(call: Awaitable[object]) -> None:
    await call


@pytest.mark.parametrize("late", LATE)
@pytest.mark.parametrize("carrier", ["Cookie", "Authorization"])
@pytest.mark.parametrize("moment", ["in the body", "in the background"])
async def test_once_the_response_has_begun_nothing_changes_a_token(
    sessions: Sessions[Session], late: str, carrier: str, moment: str
) -> None:
    raised: list[BaseException] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        whole = moment == "in the background"
        await send({"type": "http.response.body", "body": b"a", "more_body": not whole})
        try:
            await LATE[late](session_of(scope))
        except RuntimeError as error:
            raised.append(error)
        if not whole:
            await send({"type": "http.response.body", "body": b"b"})

    live, token = await sessions.start({"user_id": "ana"})
    header = f"greenroom={token}" if carrier == "Cookie" else f"Bearer {token}"
    async with called(SessionMiddleware(application, sessions)) as client:
        await client.get("/", headers={carrier: header})
    assert "begun" in str(raised[0])
    found = await sessions.read(token)
    assert found is not None
    assert (found.session_id, found.writable) == (live.session_id, True)
    assert [one.session_id for one in await sessions.of_user("ana")] == [live.session_id]


async def test_once_the_response_has_begun_no_session_begins(sessions: Sessions[Session]) -> None:
    async def application(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for late in (session_of(scope).start(), session_of(scope).sign_in({"user_id": "late"})):
            with pytest.raises(RuntimeError, match="begun"):
                await late
        await send({"type": "http.response.body", "body": b""})

    async with called(SessionMiddleware(application, sessions)) as client:
        assert "set-cookie" not in (await client.get("/")).headers
    assert await sessions.of_user("late") == []


async def test_a_response_waits_for_a_token_that_is_being_made(
    sessions: Sessions[Session], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The interleaving: a task rotates, and the response begins before the rotation has come back."""
    rotating, sent = asyncio.Event(), asyncio.Event()
    rotate = Sessions.rotate

    async def slow(self: Any, *args: Any, **options: Any) -> Any:
        rotating.set()
        for _ in range(20):
            await asyncio.sleep(0)
            assert not sent.is_set()
        return await rotate(self, *args, **options)

    monkeypatch.setattr(Sessions, "rotate", slow)

    async def application(scope: Any, receive: Any, send: Any) -> None:
        task = asyncio.create_task(_done(session_of(scope).rotate({})))
        await rotating.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})
        await task

    async def noting(scope: Any, receive: Any, send: Any) -> None:
        async def noted(message: Any) -> None:
            sent.set()
            await send(message)

        await SessionMiddleware(application, sessions)(scope, receive, noted)

    _, token = await sessions.start({"user_id": "ana"})
    async with called(noting) as client:
        answer = await client.get("/", headers={"Cookie": f"greenroom={token}"})
    assert await sessions.read(answer.cookies["greenroom"]) is not None


# An application that fails after it has made a token ----------------------------------------------------


def request_of(token: str) -> dict[str, Any]:
    headers = [(b"host", b"127.0.0.1"), (b"cookie", f"greenroom={token}".encode())]
    return {
        "type": "http",
        "method": "POST",
        "path": "/",
        "raw_path": b"/",
        "query_string": b"",
        "scheme": "http",
        "client": HERE,
        "headers": headers,
    }


class Answered:
    """A server's side of a request, of which the answer is kept."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []

    async def receive(self) -> Any:
        raise AssertionError

    async def send(self, message: Any) -> None:
        self.messages.append(message)

    @property
    def status(self) -> int:
        return int(self.messages[0]["status"])

    @property
    def token(self) -> str:
        """That of the cookie."""
        (header,) = (value for name, value in self.messages[0]["headers"] if name == b"set-cookie")
        return str(header.decode().partition("=")[2].partition(";")[0])


async def asked(app: Any, token: str) -> tuple[Answered, BaseException | None]:
    """The answer to a request, and what the application has left the server with."""
    answer = Answered()
    try:
        await app(request_of(token), answer.receive, answer.send)
    except Exception as error:
        return answer, error
    return answer, None


async def is_live(sessions: Sessions[Session], token: str) -> bool:
    live = await sessions.read(token)
    return live is not None and live.writable


async def rotate_and_fail(session: RequestSession[Session]) -> None:
    await session.rotate({})
    raise ZeroDivisionError


async def sign_in_and_fail(session: RequestSession[Session]) -> None:
    await session.sign_in({"user_id": "ana"})
    raise ZeroDivisionError


@pytest.mark.parametrize("handle", [rotate_and_fail, sign_in_and_fail])
async def test_a_failure_after_a_rotation_is_answered_with_the_new_cookie(
    sessions: Sessions[Session], handle: Handler
) -> None:
    _, token = await sessions.start({})
    answer, error = await asked(SessionMiddleware(Application(handle), sessions), token)
    assert (answer.status, type(error)) == (500, ZeroDivisionError)  # which the layers around still learn of
    assert await is_live(sessions, answer.token)
    assert not await is_live(sessions, token)


async def test_an_application_that_leaves_without_an_answer_has_failed(sessions: Sessions[Session]) -> None:
    async def application(scope: Any, receive: Any, send: Any) -> None:
        await session_of(scope).rotate({})

    _, token = await sessions.start({})
    answer, error = await asked(SessionMiddleware(application, sessions), token)
    assert (answer.status, error) == (500, None)
    assert await is_live(sessions, answer.token)


async def test_a_failure_without_a_new_token_is_left_to_the_layers_around(sessions: Sessions[Session]) -> None:
    async def fail(session: RequestSession[Session]) -> None:
        await session.get()
        raise ZeroDivisionError

    _, token = await sessions.start({})
    answer, error = await asked(SessionMiddleware(Application(fail), sessions), token)
    assert (answer.messages, type(error)) == ([], ZeroDivisionError)
    assert await is_live(sessions, token)


async def test_a_failure_in_the_body_comes_after_the_new_cookie(sessions: Sessions[Session]) -> None:
    async def application(scope: Any, receive: Any, send: Any) -> None:
        await session_of(scope).rotate({})
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise ZeroDivisionError

    _, token = await sessions.start({})
    answer, error = await asked(SessionMiddleware(application, sessions), token)
    assert ([one["type"] for one in answer.messages], type(error)) == (["http.response.start"], ZeroDivisionError)
    assert await is_live(sessions, answer.token)


async def test_over_a_server_a_failure_leaves_its_client_signed_in(sessions: Sessions[Session]) -> None:
    async def application(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            await (rotate_and_fail if scope["path"] == "/fail" else require)(session_of(scope))
            await send({"type": "http.response.start", "status": 204, "headers": []})
            await send({"type": "http.response.body"})

    _, token = await sessions.start({})
    async with served(SessionMiddleware(application, sessions)) as site, site.client() as client:
        client.cookies.set("greenroom", token, domain="127.0.0.1", path="/")
        assert (await client.get("/fail")).status_code == 500
        assert (await client.get("/")).status_code == 204


@pytest.mark.parametrize("moment", ["while it rotates", "after it has rotated"])
async def test_a_request_cancelled_after_a_rotation_is_answered_with_the_cookie(
    sessions: Sessions[Session], monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """The interleaving: the old token is taken · the request is cancelled · the new session is created."""
    rotated, go = asyncio.Event(), asyncio.Event()

    async def handle(session: RequestSession[Session]) -> None:
        await session.rotate({})
        rotated.set()
        await asyncio.Event().wait()

    _, token = await sessions.start({})
    reached = rotated
    if moment == "while it rotates":
        reached, go = held_begin(monkeypatch)
    answer = Answered()
    app = SessionMiddleware(Application(handle), sessions)
    asking = asyncio.create_task(app(request_of(token), answer.receive, answer.send))
    await reached.wait()
    await cancelled(asking, go)
    assert answer.status == 503
    assert await is_live(sessions, answer.token)


@pytest.mark.parametrize(("error", "status"), [(SignInRequired(), 401), (ZeroDivisionError(), 500)])
async def test_an_answer_to_a_failure_waits_for_a_token_that_is_being_made(
    sessions: Sessions[Session], monkeypatch: pytest.MonkeyPatch, error: Exception, status: int
) -> None:
    rotating, go, rotate = asyncio.Event(), asyncio.Event(), Sessions.rotate

    async def slow(self: Any, *args: Any, **options: Any) -> Any:
        rotating.set()
        await go.wait()
        return await rotate(self, *args, **options)

    monkeypatch.setattr(Sessions, "rotate", slow)
    tasks: list[asyncio.Task[None]] = []

    async def handle(session: RequestSession[Session]) -> None:
        tasks.append(asyncio.create_task(_done(session.rotate({}))))
        await rotating.wait()
        asyncio.get_running_loop().call_soon(go.set)
        raise error

    _, token = await sessions.start({})
    answer, raised = await asked(SessionMiddleware(Application(handle), sessions), token)
    await asyncio.gather(*tasks)
    assert (answer.status, raised) == (status, None if status == 401 else error)
    assert await is_live(sessions, answer.token)
