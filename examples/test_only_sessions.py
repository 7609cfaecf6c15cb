"""Tests of `only_sessions.py`. Run them with `pytest -p greenroom.testing.fixtures test_only_sessions.py`."""

import importlib
from collections.abc import AsyncIterator
from datetime import timedelta

import only_sessions
import pytest

from greenroom.testing.http import Client, http_client
from greenroom.testing.server import Outage, ValkeyServer

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def client(greenroom_server: ValkeyServer, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Client]:
    monkeypatch.setenv("VALKEY_URL", greenroom_server.address)
    async with http_client(importlib.reload(only_sessions).app) as client:
        yield client


async def test_a_visitor_s_basket_goes_along_to_the_log_in(client: Client) -> None:
    assert (await client.post("/basket?item=tea")).json() == ["tea"]
    await client.post("/log-in/7")
    assert (await client.post("/basket?item=milk")).json() == ["tea", "milk"]


async def test_a_session_lapses_unless_it_is_remembered(client: Client, greenroom_server: ValkeyServer) -> None:
    await client.post("/log-in/7")
    greenroom_server.pass_time(timedelta(hours=3))
    assert (await client.post("/log-out-everywhere")).status_code == 401
    await client.post("/log-in/7?remember")
    greenroom_server.pass_time(timedelta(days=29))
    assert (await client.post("/log-out-everywhere")).status_code == 204


async def test_in_an_outage_nobody_is_signed_out(client: Client, greenroom_outage: Outage) -> None:
    await client.post("/log-in/7")
    with greenroom_outage:
        assert (await client.get("/basket")).status_code == 503
    await greenroom_outage.over(only_sessions.room)
    assert (await client.post("/log-out-everywhere")).status_code == 204
