"""An Upgrade that is not ours is passed over (RFC 9110, 7.8): the request keeps its body, the connection goes on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import uvicorn

from greenroom_platform.http.http_protocol import HttpProtocol
from tests.support.patience import until
from tests.support.raw_connections import connected
from tests.support.running_service import API, Service
from tests.support.stream_listeners import inner

LIVE = b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n"
SMUGGLED = b"GET /nobody HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: 127.0.0.1\r\n\r\n"
UPGRADES = {
    "of another protocol": b"HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: h2c",
    "of another beside ours": b"HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: h2c, websocket",
    "in two headers": b"HTTP/1.1\r\nConnection: Upgrade\r\nConnection: keep-alive\r\nUpgrade: websocket",
    "as Java's client asks": b"HTTP/1.1\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAE",
}


def request(upgrade: bytes, body: bytes, *, method: bytes = b"PATCH", chunked: bool = False) -> bytes:
    """A change of preferences that asks for an upgrade."""
    framing = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % len(body)
    sent = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body) if chunked else body
    line = b"%b %b/session/preferences %b" % (method, API.encode(), upgrade)
    return line + b"\r\nHost: localhost\r\nContent-Type: application/json\r\n" + framing + b"\r\n\r\n" + sent


@pytest.mark.parametrize("chunked", [False, True], ids=["with a length", "in chunks"])
@pytest.mark.parametrize("upgrade", UPGRADES.values(), ids=UPGRADES)
async def test_the_body_is_read_and_is_no_request_of_its_own(service: Service, upgrade: bytes, chunked: bool) -> None:
    async with connected(service.url) as opened:
        opened.say(request(upgrade, SMUGGLED, chunked=chunked) + LIVE)
        (await opened.answer()).problem("malformed-json")
        assert (await opened.answer()).status == 200
        opened.say(request(upgrade, b'{"preferred_topics": []}', chunked=chunked) + LIVE)
        changed = await opened.answer()
        assert changed.status == 200, changed
        assert json.loads(changed.body)["preferences"]["preferred_topics"] == []
        assert (await opened.answer()).status == 200


async def test_the_body_may_come_byte_by_byte(service: Service) -> None:
    async with connected(service.url) as opened:
        for byte in request(UPGRADES["of another protocol"], SMUGGLED) + LIVE:
            opened.say(bytes([byte]))
            await opened.sent()
        (await opened.answer()).problem("malformed-json")
        assert (await opened.answer()).status == 200


@pytest.mark.parametrize("chunked", [False, True], ids=["with a length", "in chunks"])
@pytest.mark.parametrize("late", [1, 2, 3])
async def test_the_body_may_come_with_the_last_bytes_of_its_head(tmp_path: Path, late: int, chunked: bool) -> None:
    def tune(config: uvicorn.Config) -> None:
        config.http = HttpProtocol

    said = request(UPGRADES["of another protocol"], SMUGGLED, chunked=chunked)
    cut = said.index(b"\r\n\r\n") + 4 - late
    async with inner(tmp_path / "data", tune) as app, connected(app.url) as opened:
        opened.say(said[:cut])
        await until(lambda: [getattr(one, "_head_bytes", 0) for one in app.server.server_state.connections] == [cut])
        opened.say(said[cut:] + LIVE)
        (await opened.answer()).problem("malformed-json")
        assert (await opened.answer()).status == 200


async def test_an_http_1_0_request_keeps_its_body_and_closes(service: Service) -> None:
    async with connected(service.url) as opened:
        upgrade = b"HTTP/1.0\r\nConnection: Upgrade\r\nUpgrade: websocket"
        opened.say(request(upgrade, SMUGGLED))
        (await opened.answer()).problem("malformed-json")
        assert await opened.end() == b""


async def test_a_request_without_a_body_goes_on(service: Service) -> None:
    async with connected(service.url) as opened:
        live = LIVE[:-2] + b"Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
        opened.say(live + LIVE + live)
        assert [(await opened.answer()).status for _ in range(3)] == [200] * 3


async def test_each_head_after_it_may_be_as_long_as_any(service: Service) -> None:
    async with connected(service.url) as opened:
        long = b"".join(b"X-%d: %b\r\n" % (number, b"x" * 4000) for number in range(10))
        live = LIVE[:-2] + b"Connection: Upgrade\r\nUpgrade: h2c\r\n" + long + b"\r\n"
        for _ in range(8):
            opened.say(live[:30_000])
            await opened.sent()
            opened.say(live[30_000:])
            assert (await opened.answer()).status == 200


async def test_a_body_whose_end_nobody_can_tell_is_400(service: Service) -> None:
    async with connected(service.url) as opened:
        said = request(UPGRADES["of another protocol"], SMUGGLED).replace(
            b"Content-Length: 69", b"Transfer-Encoding: gzip"
        )
        assert b"gzip" in said
        opened.say(said + LIVE)
        answer = await opened.answer()
        answer.problem("bad-request")
        assert answer.headers["connection"] == "close"
        assert await opened.end() == b""
