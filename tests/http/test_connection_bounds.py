"""What one connection may cost: requests that wait, heads, bodies, and time."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from greenroom_platform.http.http_protocol import HttpProtocol
from tests.support.asgi_server import Application
from tests.support.patience import until
from tests.support.raw_connections import Answer, RawConnection, connected
from tests.support.running_service import Service
from tests.support.stream_listeners import Inner, inner

LIVE = b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n"


class Hasty(HttpProtocol):
    PATIENCE = 0.2


class Unhurried(HttpProtocol):
    """Its patience ends when a test says so: the machine may stand still before what was said is read."""

    PATIENCE = 600


class Held:
    """Around the service: holds the answers to `/held` until they are let go, and notes what was asked."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.asked = 0

    def around(self, app: Application) -> Application:
        async def holding(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] == "http":
                self.asked += 1
                if scope["path"] == "/held":
                    await receive()
                    await self.gate.wait()
            await app(scope, receive, send)

        return holding


@asynccontextmanager
async def serving(
    tmp_path: Path, protocol: type[HttpProtocol] = HttpProtocol, held: Held | None = None
) -> AsyncIterator[Inner]:
    def tune(config: uvicorn.Config) -> None:
        config.http = protocol
        made: Callable[[], Any] = config.app  # type: ignore[assignment]
        if held is not None:
            config.app = lambda: held.around(made())

    async with inner(tmp_path / "data", tune) as app:
        yield app


async def refused(opened: RawConnection, status: int, slug: str) -> Answer:
    """The refusal that comes next, after which the connection ends."""
    answer = await opened.answer()
    assert answer.status == status, answer
    answer.problem(slug)
    assert answer.headers["connection"] == "close"
    assert await opened.end() == b""
    return answer


def protocols(app: Inner) -> list[Any]:
    return [one for one in app.server.server_state.connections if isinstance(one, HttpProtocol)]


async def once(app: Inner, condition: Callable[[Any], Any]) -> Any:
    """The protocol of the only connection, as soon as a condition of it holds."""
    await until(lambda: any(condition(one) for one in protocols(app)))
    (protocol,) = protocols(app)
    return protocol


def end_patience(protocol: Any) -> None:
    """Do now what it does when its patience is at its end."""
    timer = protocol._patience
    assert timer.when() - asyncio.get_running_loop().time() <= protocol.PATIENCE
    call, arguments = timer._callback, timer._args
    timer.cancel()
    call(*arguments)


# What waits --------------------------------------------------------------------------------------------


async def test_pipelined_requests_are_all_answered_in_their_order(tmp_path: Path) -> None:
    async with serving(tmp_path) as app, connected(app.url) as opened:
        paths = [f"/nobody/{number}" for number in range(3000)]  # together more than one head may have
        opened.say(b"".join(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode() for path in paths))
        assert [(await opened.answer()).problem("not-found")["instance"] for _ in paths] == paths


async def test_behind_a_held_request_16_wait_and_no_more_is_read(tmp_path: Path) -> None:
    held = Held()
    async with serving(tmp_path, held=held) as app, connected(app.url) as opened:
        opened.say(b"GET /held HTTP/1.1\r\nHost: x\r\n\r\n" + LIVE * 100_000)
        await until(lambda: any(len(one.pipeline) >= 16 for one in protocols(app)))
        for _ in range(50):
            await asyncio.sleep(0)
        (protocol,) = protocols(app)
        assert len(protocol.pipeline) == 16
        assert not protocol.transport.is_reading()
        assert len(protocol._unparsed) <= 512 * 1024
        assert held.asked == 1
        held.gate.set()
        assert (await opened.answer()).status == 404
        for _ in range(100):
            assert (await opened.answer()).status == 200


async def test_others_have_their_turn_while_one_connection_is_parsed(tmp_path: Path) -> None:
    turns = [0]

    class Counting(HttpProtocol):
        def _parse(self) -> None:
            turns.append(0)
            super()._parse()

        def _feed(self, piece: bytes) -> None:
            turns[-1] += 1
            super()._feed(piece)

    async with serving(tmp_path, Counting) as app, connected(app.url) as opened:
        body = b"\r\n\r\n" * 10_000  # each looks like the end of a head
        opened.say(b"POST /api/v1/users HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        assert (await opened.answer()).problem("malformed-json")
    assert sum(turns) > 10_000
    assert max(turns) <= 64


async def test_a_body_that_waits_behind_a_held_request_arrives_whole(tmp_path: Path) -> None:
    held = Held()
    async with serving(tmp_path, held=held) as app, connected(app.url) as opened:
        body = b'{"username": "' + b"x" * 200_000 + b'", "password": "long enough"}'
        head = b"POST /api/v1/users HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body)
        opened.say(b"GET /held HTTP/1.1\r\nHost: x\r\n\r\n" + LIVE * 30 + head + body + LIVE)
        await until(lambda: held.asked)
        held.gate.set()
        assert (await opened.answer()).status == 404
        assert {(await opened.answer()).status for _ in range(30)} == {200}
        assert (await opened.answer()).problem("invalid-input")["errors"][0]["field"] == "username"
        assert (await opened.answer()).status == 200


async def test_who_leaves_is_gone_for_the_request_that_is_answered_too(tmp_path: Path) -> None:
    told: list[str] = []

    class Listening(Held):
        def around(self, app: Application) -> Application:
            async def listening(scope: Any, receive: Any, send: Any) -> None:
                if scope["type"] != "http" or scope["path"] != "/held":
                    await app(scope, receive, send)
                    return
                while not told or told[-1] != "http.disconnect":
                    told.append((await receive())["type"])

            return listening

    async with serving(tmp_path, held=Listening()) as app:
        async with connected(app.url) as opened:
            opened.say(b"GET /held HTTP/1.1\r\nHost: x\r\n\r\n" + LIVE * 3)
            await until(lambda: told and any(len(one.pipeline) == 3 for one in protocols(app)))
            (protocol,) = protocols(app)
            assert told == ["http.request"]
        await until(lambda: told[-1] == "http.disconnect")
        assert all(cycle.disconnected and cycle.message_event.is_set() for cycle, _ in protocol.pipeline)


# Heads -------------------------------------------------------------------------------------------------


NO_HOSTS = (
    b"",
    b"a,b",
    b"a@b",
    b"[::1",
    b"::1",
    b"127.0.0.1:abc",
    b"a:1:2",
    b"a b",
    b"a/b",
    b"a:123456",
    b"\xc3\xa9",
    b"a:65536",
)
NO_TARGETS = (
    *(b"http:///x", b"http://user:password@x/", b"http://@x/", b"http://x:99999/", b"ftp://x/", b"/a#b"),
    *(b"http://x/#b", b"*", b"*a"),
)


@pytest.mark.parametrize(
    ("head", "status", "slug"),
    [
        (b"GET /" + b"a" * 8192 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414, "uri-too-long"),
        (b"GET /" + b"a" * 1_000_000, 414, "uri-too-long"),
        (b"GET / HTTP/1.1\r\nHost: x\r\n" + b"a:\r\n" * 100 + b"\r\n", 431, "headers-too-large"),
        (b"GET / HTTP/1.1\r\nHost: x\r\n" + b":\r\n" * 100_000, 400, "bad-request"),
        (b"GET / HTTP/1.1\r\nHost: x\r\n" + b"a:\r\n" * 100_000, 431, "headers-too-large"),
        (b"GET / HTTP/1.1\r\nHost: x\r\na: " + b"b" * 65_536 + b"\r\n\r\n", 431, "headers-too-large"),
        (b"GET / HTTP/1.1\r\nHost: x\r\na: " + b"b" * 2_000_000, 431, "headers-too-large"),
        (b"GET / HTTP/1.1\r\nHost: x\r\n" + b"a" * 2_000_000, 431, "headers-too-large"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + b"a: " + b"b" * 2_000_000, 431, ""),
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + b"a:\r\n" * 100, 431, ""),
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1;" + b"a" * 2_000_000, 431, ""),
        (b"GET / HTTP/1.1\r\n\r\n", 400, "bad-request"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n", 400, "bad-request"),
        *((b"GET / HTTP/1.1\r\nHost: %b\r\n\r\n" % host, 400, "bad-request") for host in NO_HOSTS),
        *((b"GET %b HTTP/1.1\r\nHost: x\r\n\r\n" % target, 400, "bad-request") for target in NO_TARGETS),
        (b"GET http://a@x/ HTTP/1.0\r\n\r\n", 400, "bad-request"),
        (b"OPTIONS *a HTTP/1.1\r\nHost: x\r\n\r\n", 400, "bad-request"),
        (b"CONNECT x:443 HTTP/1.1\r\nHost: x\r\n\r\n", 400, "bad-request"),
        (b"no request\r\n\r\n", 400, "bad-request"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n", 400, "bad-request"),
    ],
    ids=lambda value: repr(value[:12] + value[-12:]) if isinstance(value, bytes) else None,
)
async def test_a_head_that_cannot_be_is_refused_with_a_problem(
    service: Service, head: bytes, status: int, slug: str
) -> None:
    async with connected(service.url) as opened:
        opened.say(head)
        answer = await opened.answer()
        if slug or answer.status == status:  # a body's trailers come after the head was answered, perhaps
            assert answer.status == status, answer
            answer.problem(slug or "headers-too-large")
        assert await opened.end() == b""
        async with connected(service.url) as other:
            other.say(LIVE)
            assert (await other.answer()).status == 200


@pytest.mark.parametrize("rest", [b"0\r\na: " + b"b" * 70_000, b"no chunk\r\n"], ids=["trailers", "chunk"])
async def test_a_request_that_has_its_answer_is_given_no_other(service: Service, rest: bytes) -> None:
    async with connected(service.url) as opened:
        opened.say(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        assert (await opened.answer()).status == 405
        opened.say(rest)
        assert await opened.end() == b""


async def test_a_head_within_every_bound_is_read(service: Service) -> None:
    url, value = b"/" + b"a" * 8000, b"b" * 560
    headers = b"".join(b"h%d: %s\r\n" % (number, value) for number in range(99))
    async with connected(service.url) as opened:
        head = b"GET " + url + b" HTTP/1.1\r\nHost: x\r\n" + headers + b"\r\n"
        assert 64_000 < len(head) <= 65_536
        for start in range(0, len(head), 1000):  # however it is cut
            opened.say(head[start : start + 1000])
            await opened.sent()
        assert (await opened.answer()).status == 404
        opened.say(LIVE)
        assert (await opened.answer()).status == 200


async def test_the_server_as_a_whole_can_be_asked_for_its_options(service: Service) -> None:
    async with connected(service.url) as opened:
        opened.say(b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n" + LIVE)
        answer = await opened.answer()
        assert (answer.status, answer.headers["x-content-type-options"]) == (204, "nosniff")
        assert (await opened.answer()).status == 200


async def test_an_absolute_target_without_a_path_is_the_root(service: Service) -> None:
    async with connected(service.url) as opened:
        opened.say(b"GET http://x HTTP/1.1\r\nHost: y\r\n\r\n" + LIVE)
        assert (await opened.answer()).headers["content-type"].startswith("text/html")
        assert (await opened.answer()).status == 200


async def test_a_refusal_waits_for_the_answers_before_it(tmp_path: Path) -> None:
    held = Held()
    async with serving(tmp_path, held=held) as app, connected(app.url) as opened:
        opened.say(b"GET /held HTTP/1.1\r\nHost: x\r\n\r\n" + LIVE + b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\n")
        await until(lambda: any(one._refusal for one in protocols(app)))
        held.gate.set()
        assert [(await opened.answer()).status for _ in range(2)] == [404, 200]
        await refused(opened, 414, "uri-too-long")


async def test_trailers_never_become_headers(tmp_path: Path) -> None:
    seen: list[Any] = []

    class Noting(Held):
        def around(self, app: Application) -> Application:
            async def noting(scope: Any, receive: Any, send: Any) -> None:
                if scope["type"] == "http":
                    while (await receive()).get("more_body"):
                        pass
                    seen.append(scope["headers"])
                await app(scope, receive, send)

            return noting

    async with serving(tmp_path, held=Noting()) as app, connected(app.url) as opened:
        head = b"POST /nobody HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        opened.say(head + b"1\r\na\r\n0\r\nAuthorization: Bearer stolen\r\n\r\n")
        await opened.answer()
    assert dict(seen[0]) == {b"host": b"x", b"transfer-encoding": b"chunked"}


# Time --------------------------------------------------------------------------------------------------


async def test_a_head_that_does_not_come_is_408(tmp_path: Path) -> None:
    async with serving(tmp_path, Unhurried) as app, connected(app.url) as opened:
        opened.say(b"GET / HTTP/1.1\r\nHost: x\r\n")
        end_patience(await once(app, lambda protocol: protocol._in_head))
        await refused(opened, 408, "request-timeout")


async def test_a_connection_that_asks_nothing_is_closed(tmp_path: Path) -> None:
    async with serving(tmp_path, Hasty) as app, connected(app.url) as opened:
        assert await opened.end() == b""


async def test_a_connection_of_blank_lines_is_closed(tmp_path: Path) -> None:
    async with serving(tmp_path, Unhurried) as app, connected(app.url) as opened:
        protocol = await once(app, lambda protocol: protocol._patience)
        timer = protocol._patience
        opened.say(b"\r\n\r\n")
        await until(lambda: protocol._head_bytes == 4)
        assert protocol._patience is timer
        end_patience(protocol)
        assert await opened.end() == b""


async def test_blank_lines_do_not_keep_a_connection_alive(tmp_path: Path) -> None:
    async with serving(tmp_path, Unhurried) as app, connected(app.url) as opened:
        opened.say(LIVE + b"\r\n\r\n")
        assert (await opened.answer()).status == 200
        opened.say(b"\r\n\r\n")
        end_patience(await once(app, lambda protocol: protocol._patience))
        assert await opened.end() == b""


async def test_a_body_that_is_asked_for_and_does_not_come_is_408(tmp_path: Path) -> None:
    async with serving(tmp_path, Unhurried) as app, connected(app.url) as opened:
        head = b"POST /api/v1/users HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\nExpect: 100-continue\r\n\r\n"
        opened.say(head)
        assert (await opened.answer()).status == 100
        protocol = await once(app, lambda protocol: protocol._patience)
        end_patience(protocol)  # began before the body was asked for
        end_patience(protocol)
        await refused(opened, 408, "request-timeout")


async def test_a_handshake_with_a_body_is_400(tmp_path: Path) -> None:
    async with serving(tmp_path) as app, connected(app.url) as opened:
        upgrade = b"Host: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 10\r\n\r\n"
        opened.say(b"GET /api/v1/podcasts/x/stream HTTP/1.1\r\n" + upgrade)
        await refused(opened, 400, "bad-request")


@pytest.mark.parametrize("sent", [b"", b"x" * 900])
async def test_a_body_that_does_not_move_is_408(tmp_path: Path, sent: bytes, caplog: pytest.LogCaptureFixture) -> None:
    async with serving(tmp_path, Unhurried) as app, connected(app.url) as opened:
        opened.say(b"POST /api/v1/users HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\n\r\n" + sent)
        end_patience(await once(app, lambda protocol: protocol._in_body and protocol._moved == len(sent)))
        await refused(opened, 408, "request-timeout")
    assert not [record for record in caplog.records if record.levelno > logging.INFO]


async def test_a_body_that_moves_is_waited_for(tmp_path: Path) -> None:
    class Moving(Unhurried):
        MOVING = 1

    body = b'{"username": "x", "password": "long enough"}'
    async with serving(tmp_path, Moving) as app, connected(app.url) as opened:
        opened.say(b"POST /api/v1/users HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body))
        protocol = await once(app, lambda protocol: protocol._in_body and protocol._patience)
        for number in range(1, len(body)):
            opened.say(body[number - 1 : number])
            await until(lambda number=number: protocol._moved == number)
            end_patience(protocol)
            assert protocol._patience is not None, "it waits on"
        opened.say(body[-1:])  # nobody looks at a body that is whole
        assert (await opened.answer()).status == 422


async def test_an_application_that_takes_its_time_is_waited_for(tmp_path: Path) -> None:
    held = Held()
    async with serving(tmp_path, held=held) as app, connected(app.url) as opened:
        opened.say(b"GET /held HTTP/1.1\r\nHost: x\r\n\r\n")
        protocol = await once(app, lambda _: held.asked)
        assert protocol._patience is None, "it waits for nothing of the client"
        held.gate.set()
        assert (await opened.answer()).status == 404


async def test_a_body_that_the_client_breaks_off_is_no_failure(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "greenroom")
    async with serving(tmp_path) as app:
        async with connected(app.url) as opened:
            opened.say(b"POST /api/v1/users HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\n\r\nhalf")
            await until(lambda: any(one._in_body for one in protocols(app)))
        await until(lambda: "/api/v1/users" in caplog.text)
        lines = [record for record in caplog.records if record.name in ("greenroom.access", "greenroom.http")]
        assert [(record.levelno, " 400 " in record.getMessage()) for record in lines] == [(logging.INFO, True)]
    gc.collect()
