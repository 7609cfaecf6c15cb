"""The documentation's examples of sessions in other people's frameworks run as they stand."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import httpx
import pytest
from websockets.exceptions import InvalidStatus

from tests.docs.test_examples import loaded
from tests.support.asgi_server import Site, closed, served
from tests.support.real_servers import Server


@pytest.fixture(params=["sessions_starlette", "sessions_fastapi", "sessions_litestar"])
async def site(request: pytest.FixtureRequest, valkey: Server, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Site]:
    monkeypatch.setenv("VALKEY_URL", valkey.address)
    async with served(loaded(request.param, monkeypatch).app) as site:
        yield site


def refused(answer: httpx.Response) -> None:
    """The answer must be the middleware's own, whatever the framework makes of an exception."""
    assert (answer.status_code, answer.headers["content-type"]) == (401, "application/problem+json")
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert answer.headers["cache-control"] == "private, no-store"
    assert answer.json()["title"] == "Signing in is needed"


async def test_one_logs_in_reads_changes_and_logs_out(site: Site) -> None:
    async with site.client() as client:
        refused(await client.get("/"))
        answer = await client.post("/log-in/u1")
        assert answer.is_success
        assert (await client.get("/")).json()["user_id"] == "u1"
        changed = await client.put("/cart", json=["a", "b"])
        assert changed.headers["cache-control"] == "private, no-store"
        assert (await client.get("/")).json()["cart"] == ["a", "b"]
        assert (await client.delete("/")).status_code == 204
        assert not client.cookies
        refused(await client.get("/"))
        refused(await client.delete("/"))


async def test_a_socket_needs_the_session_writes_it_and_closes_with_it(site: Site) -> None:
    with pytest.raises(InvalidStatus) as refusal:
        await site.socket("/listen")
    assert refusal.value.response.status_code == 401
    assert refusal.value.response.headers["www-authenticate"].startswith("Bearer")
    async with site.client() as client:
        await client.post("/log-in/u1")
        async with site.socket("/listen", client.cookies["greenroom"]) as socket:
            await socket.send("hello")
            assert json.loads(await socket.recv())["said"] == "hello"
            assert (await client.get("/")).json()["said"] == "hello"
            await client.delete("/")
            assert await closed(socket) == 4401


async def test_a_page_of_a_foreign_origin_may_not_act(site: Site) -> None:
    async with site.client(Origin="https://evil.example") as client:
        assert (await client.post("/log-in/u1")).status_code == 403
        assert not client.cookies
    with pytest.raises(InvalidStatus) as refusal:
        await site.socket("/listen", Origin="https://evil.example")
    assert refusal.value.response.status_code == 403
