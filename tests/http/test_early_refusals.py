"""Answers that no application gives: each is a problem with an id and the security headers, as every other answer."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from greenroom import SessionMiddleware
from greenroom.counters import Counters
from greenroom_platform.http.envelope import Envelope
from greenroom_platform.http.metrics import Metrics
from greenroom_platform.http.security_headers import DATA
from tests.support.asgi_server import Application
from tests.support.patience import until, wait_for
from tests.support.raw_connections import Answer, RawConnection, connected
from tests.support.running_service import API, Service
from tests.support.stream_listeners import UNKNOWN, inner

PATH = f"{API}/podcasts/{UNKNOWN}/stream"
HANDSHAKE = {
    "Host": "x",
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version": "13",
}


def request(first: str, headers: dict[str, str], *more: str) -> bytes:
    """A request's head; a header of the mapping that is empty is left out."""
    lines = [first, *(f"{name}: {value}" for name, value in headers.items() if value), *more]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"


def handshake(*more: str, method: str = "GET", path: str = PATH, version: str = "HTTP/1.1", **other: str) -> bytes:
    """A handshake, with some headers otherwise: `Sec_WebSocket_Key="x"`."""
    changed = {name.replace("_", "-"): value for name, value in other.items()}
    return request(f"{method} {path} {version}", HANDSHAKE | changed, *more)


def whole(answer: Answer, status: int, slug: str) -> dict[str, Any]:
    """The problem of an answer that has all that every answer has."""
    assert answer.status == status, answer
    for name, value in DATA:
        assert answer.headers[name.decode()] == value.decode()
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["date"]
    return answer.problem(slug)


async def ended(opened: RawConnection) -> bool:
    return await opened.end() == b""


# Handshakes that are none --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "status", "slug"),
    [
        (handshake(Sec_WebSocket_Key=""), 400, "bad-request"),
        (handshake(Sec_WebSocket_Key="x"), 400, "bad-request"),
        (handshake(Sec_WebSocket_Key="MTIzNDU2Nzg5MDEyMzQ1"), 400, "bad-request"),
        (handshake(Sec_WebSocket_Key="\xff" * 24), 400, "bad-request"),
        (handshake("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="), 400, "bad-request"),
        (handshake(Sec_WebSocket_Version=""), 400, "bad-request"),
        (handshake("Sec-WebSocket-Version: 13"), 400, "bad-request"),
        (handshake("Sec-WebSocket-Protocol: ,,"), 400, "bad-request"),
        (handshake(Connection="Upgrade, ("), 400, "bad-request"),
        (handshake("Transfer-Encoding: chunked") + b"0\r\n\r\n", 400, "bad-request"),
        (handshake("Content-Length: 2") + b"{}", 400, "bad-request"),
        (handshake(method="POST"), 405, "method-not-allowed"),
        (handshake(method="DELETE"), 405, "method-not-allowed"),
        (handshake(Sec_WebSocket_Version="8"), 426, "upgrade-required"),
        (handshake(Sec_WebSocket_Version="0"), 426, "upgrade-required"),
        (handshake(Sec_WebSocket_Version="14"), 426, "upgrade-required"),
        (handshake("Upgrade: websocket"), 426, "upgrade-required"),
        (handshake(path=f"/{'a' * 8183}"), 414, "uri-too-long"),
        (handshake(f"a: {'b' * 9000}"), 431, "headers-too-large"),
    ],
    ids=lambda value: repr(value[-60:-4]) if isinstance(value, bytes) else None,
)
async def test_a_handshake_that_cannot_be_is_refused_with_a_problem(
    service: Service, said: bytes, status: int, slug: str
) -> None:
    async with connected(service.url) as opened:
        opened.say(said)
        whole(await opened.answer(), status, slug)
        assert await ended(opened)


async def test_who_speaks_another_version_learns_of_ours(service: Service) -> None:
    async with connected(service.url) as opened:
        opened.say(handshake(Sec_WebSocket_Version="8"))
        answer = await opened.answer()
        assert (answer.headers["sec-websocket-version"], answer.headers["upgrade"]) == ("13", "websocket")
        assert answer.headers["connection"] == "upgrade, close"
        assert "Sec-WebSocket-Version: 13" in answer.problem("upgrade-required")["detail"]


async def test_a_handshake_by_another_method_learns_of_get(service: Service) -> None:
    async with connected(service.url) as opened:
        opened.say(handshake(method="POST"))
        assert (await opened.answer()).headers["allow"] == "GET"


@pytest.mark.parametrize("header", ["Sec-WebSocket-Key", "Sec-WebSocket-Version"])
async def test_a_refused_handshake_names_the_header(service: Service, header: str) -> None:
    async with connected(service.url) as opened:
        opened.say(handshake(**{header: ""}))
        assert header in whole(await opened.answer(), 400, "bad-request")["detail"]


@pytest.mark.parametrize(
    "said",
    [
        handshake(Connection=""),
        handshake(Connection="keep-alive"),
        handshake(Upgrade=""),
        handshake(Upgrade="h2c"),
        handshake(version="HTTP/1.0"),
        handshake(method="HEAD", Upgrade=""),
    ],
)
async def test_a_socket_s_path_asks_for_a_handshake(service: Service, said: bytes) -> None:
    async with connected(service.url) as opened:
        opened.say(said)
        answer = await opened.answer() if b"HEAD" not in said else await opened.head()
        assert (answer.headers["upgrade"], answer.headers["sec-websocket-version"]) == ("websocket", "13")
        assert "upgrade" in answer.headers["connection"].lower()
        assert answer.status == 426
        if answer.body:
            assert whole(answer, 426, "upgrade-required")["instance"] == PATH


@pytest.mark.parametrize("method", ["POST", "DELETE", "OPTIONS"])
async def test_a_socket_s_path_names_get_to_other_methods(service: Service, method: str) -> None:
    async with connected(service.url) as opened:
        opened.say(handshake(method=method, Upgrade=""))
        answer = await opened.answer()
        whole(answer, 405, "method-not-allowed")
        assert answer.headers["allow"] == "GET"


async def test_a_handshake_with_an_absolute_target_is_one(service: Service) -> None:
    async with connected(service.url) as opened:
        opened.say(handshake(path=f"http://x{PATH}?from=1"))
        assert (await opened.answer()).status == 101


# Of every refusal ----------------------------------------------------------------------------------------

REFUSED = {
    "a handshake": handshake(Sec_WebSocket_Key=""),
    "a handshake with a body": handshake("Content-Length: 2") + b"{}",
    "a handshake with a long header": handshake(a="b" * 9000),
    "no host": request(f"GET {PATH} HTTP/1.1", {}),
    "a bad host": request(f"GET {PATH} HTTP/1.1", {"Host": "a,b"}),
    "two hosts": request(f"GET {PATH} HTTP/1.1", {"Host": "x"}, "Host: x"),
    "a length that is none": request(f"POST {PATH} HTTP/1.1", {"Host": "x"}, "Content-Length: x"),
    "two lengths": request(f"POST {PATH} HTTP/1.1", {"Host": "x"}, "Content-Length: 1", "Content-Length: 2"),
    "a header without a name": request(f"GET {PATH} HTTP/1.1", {"Host": "x"}, ": x"),
    "many headers": request(f"GET {PATH} HTTP/1.1", {"Host": "x"}, *["a: b"] * 100),
    "a long header": request(f"GET {PATH} HTTP/1.1", {"Host": "x", "a": "b" * 65_536}),
}
SLUGS = {400: (400, "bad-request"), 431: (431, "headers-too-large")}


def named(said: bytes, name: str) -> bytes:
    """The request with a request id as its first header."""
    return said.replace(b"\r\n", b"\r\nX-Request-Id: " + name.encode() + b"\r\n", 1)


@pytest.mark.parametrize("said", REFUSED.values(), ids=REFUSED)
async def test_a_refusal_has_the_requests_own_id_in_answer_and_log(service: Service, said: bytes) -> None:
    name = f"early.{len(said)}"
    async with connected(service.url) as opened:
        opened.say(named(said, name))
        answer = await opened.answer()
        assert whole(answer, *SLUGS[answer.status])["request_id"] == name
        assert await ended(opened)
    wait_for(lambda: f"greenroom.access [{name}] refused a request of 127.0.0.1: {answer.status}, " in service.output())


@pytest.mark.parametrize(
    "said",
    [b"no request\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"],
    ids=["words", "TLS", "HTTP/2"],
)
async def test_what_is_no_request_gets_an_id_of_its_own(service: Service, said: bytes) -> None:
    async with connected(service.url) as opened:
        opened.say(named(request("GET /health/live HTTP/1.1", {"Host": "x"}), "before"))
        assert (await opened.answer()).headers["x-request-id"] == "before"
        opened.say(said)
        assert whole(await opened.answer(), 400, "bad-request")["request_id"] != "before"
        assert await ended(opened)


async def test_blank_lines_without_end_are_no_part_of_the_request_before(service: Service) -> None:
    async with connected(service.url) as opened:
        opened.say(named(request("HEAD /health/live HTTP/1.1", {"Host": "x"}), "before"))
        assert (await opened.head()).headers["x-request-id"] == "before"
        opened.say(b"\r\n" * 40_000)
        assert whole(await opened.answer(), 431, "headers-too-large")["request_id"] != "before"
        assert await ended(opened)


async def test_a_refused_handshake_names_its_path_without_the_query(service: Service) -> None:
    async with connected(service.url) as opened:
        opened.say(handshake(path=f"{PATH}?from=secret", Sec_WebSocket_Key=""))
        assert whole(await opened.answer(), 400, "bad-request")["instance"] == PATH


async def test_a_refused_head_has_no_content(service: Service) -> None:
    async with connected(service.url) as opened:
        opened.say(request("HEAD / HTTP/1.1", {"Host": "a,b"}))
        said = await opened.end()
    head, _, body = said.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert body == b""


# What the application leaves unanswered --------------------------------------------------------------------


class Gone(BaseException):
    """What no application catches."""


async def raises(scope: Any, receive: Any, send: Any) -> None:
    raise Gone


async def says_nothing(scope: Any, receive: Any, send: Any) -> None:
    return


def replaced(app: Application) -> Callable[[uvicorn.Config], None]:
    """Serve an application of the test's own, within the lifespan of the real one."""

    def tune(config: uvicorn.Config) -> None:
        made: Callable[[], Any] = config.app  # type: ignore[assignment]
        real = made()

        async def either(scope: Any, receive: Any, send: Any) -> None:
            await (real if scope["type"] == "lifespan" else app)(scope, receive, send)

        config.app = lambda: either

    return tune


@pytest.mark.parametrize("app", [raises, says_nothing])
@pytest.mark.parametrize("said", [request("GET /a?b HTTP/1.1", {"Host": "x"}), handshake(path="/a?b")])
async def test_what_the_application_leaves_unanswered_is_a_problem(
    tmp_path: Path, app: Application, said: bytes
) -> None:
    async with inner(tmp_path / "data", replaced(app)) as running, connected(running.url) as opened:
        opened.say(named(said, "unanswered"))
        found = whole(await opened.answer(), 500, "internal-error")
        assert (found["request_id"], found["instance"]) == ("unanswered", "/a")
        assert await ended(opened)


@pytest.mark.parametrize("said", [request("GET /a HTTP/1.1", {"Host": "x"}), handshake(path="/a")])
async def test_what_is_cut_off_at_the_end_is_503_with_its_id(
    tmp_path: Path, said: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "greenroom.access")
    asked = asyncio.Event()

    async def stuck(scope: Any, receive: Any, send: Any) -> None:
        asked.set()
        await asyncio.Event().wait()

    async with inner(tmp_path / "data", replaced(Envelope(stuck, Metrics(Counters())))) as running:
        running.server.config.timeout_graceful_shutdown = 0
        async with connected(running.url) as opened:
            opened.say(named(said, "cut-off"))
            await asked.wait()
            running.server.should_exit = True
            answer = await opened.answer()
            found = whole(answer, 503, "unavailable")
            assert (found["request_id"], found["instance"]) == ("cut-off", "/a")
            assert answer.headers["retry-after"] == "1"
            assert await ended(opened)
    await until(lambda: "GET /a 503 " in caplog.text)


async def test_a_session_that_ends_before_its_socket_is_accepted_is_401(tmp_path: Path) -> None:
    async with inner(tmp_path / "data") as running:
        live, token = await running.platform.sessions.start({"user_id": "u1"})
        with_sessions: Any = running.server.config.loaded_app
        while not isinstance(with_sessions, SessionMiddleware):
            with_sessions = with_sessions._app

        async def ends_it(scope: Any, receive: Any, send: Any) -> None:
            await running.platform.sessions.end(live.session_id)
            while (await receive())["type"] != "websocket.disconnect":
                pass

        with_sessions._app = ends_it
        async with connected(running.url) as opened:
            opened.say(handshake(f"Cookie: greenroom={token}", Host="127.0.0.1"))
            answer = await opened.answer()
            whole(answer, 401, "unauthorized")
            assert answer.headers["www-authenticate"].startswith("Bearer ")
