"""Listening with a session: what it names, how long it lives, and what closes the socket. Two processes, one server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import InvalidStatus

from greenroom.sessions import Presence
from greenroom_platform.platform import open_platform
from tests.support.asgi_server import closed
from tests.support.patience import eventually
from tests.support.real_servers import Raw, Server
from tests.support.running_service import API, KEPT, NO_TLS, TOKEN, Serve, Service
from tests.support.session_stores import Passing, age, decoded
from tests.support.stream_listeners import Studio, activity, hear, inner, listener, tones

SERVE_ENV = {"GREENROOM_WORK": "off"}
"""The tests are the worker."""

CLUSTERS = tones(3)
SECOND = timedelta(seconds=1)


@pytest.fixture(scope="module")
def other(service: Service, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Another process of the service, on the same server and record."""
    env = {"GREENROOM_EDITOR_TOKEN": TOKEN} | SERVE_ENV
    other = Service(tmp_path_factory.mktemp("other"), env=env, data_dir=service.data_dir, hurried=False).start()
    yield other
    other.stop()


class Visitor:
    """Somebody with a session."""

    def __init__(self, url: str) -> None:
        self.client = httpx.Client(base_url=url, timeout=30, verify=NO_TLS, limits=KEPT)
        answer = self.client.patch(f"{API}/session/preferences", json={"playback_speed_default": 1.5})
        assert answer.status_code == 200
        self.token = answer.cookies["greenroom"]

    @property
    def headers(self) -> dict[str, str]:
        """What the visitor's listener sends."""
        return {"Cookie": f"greenroom={self.token}"}

    def session(self, url: str = "") -> dict[str, Any]:
        """The session, as its client is shown it."""
        answer = self.client.get(f"{url}{API}/session")
        assert answer.status_code == 200
        found: dict[str, Any] = answer.json()
        return found

    def listens_to(self, url: str = "") -> str | None:
        """The podcast that the session names."""
        return self.session(url).get("active_podcast_stream_id")

    def log_in(self, name: str) -> None:
        """Sign in as a user, who is made where there is none."""
        account = {"username": name, "password": "a password"}
        assert self.client.post(f"{API}/users", json=account).status_code in (201, 409)
        self.client.post(f"{API}/session/login", json=account).raise_for_status()
        self.token = self.client.cookies["greenroom"]


async def stands(opened: ClientConnection) -> None:
    """Return when the listener is counted: a cluster has come."""
    assert len((await hear(opened, clusters=2)).clusters) == 2


# What the session names ------------------------------------------------------------------------------


async def test_the_session_names_what_is_listened_to_until_it_is_closed(
    service: Service, other: Service, studio: Studio
) -> None:
    claim, _ = await studio.rendering(CLUSTERS[:1])
    visitor = Visitor(service.url)
    assert visitor.listens_to() is None
    async with listener(service, claim.podcast_id, **visitor.headers) as opened:
        await stands(opened)
        assert visitor.listens_to() == visitor.listens_to(other.url) == claim.podcast_id
        assert visitor.session()["preferences"]["playback_speed_default"] == 1.5
    await eventually(lambda: visitor.listens_to() is None)
    assert activity(other) == {}


async def test_the_session_names_nothing_after_the_end_of_the_recording(service: Service, studio: Studio) -> None:
    claim, recording = await studio.rendering(CLUSTERS[:1])
    visitor = Visitor(service.url)
    async with listener(service, claim.podcast_id, **visitor.headers) as opened:
        heard = await hear(opened, clusters=2)
        assert visitor.listens_to() == claim.podcast_id
        await studio.finish(claim, recording, CLUSTERS[1:])
        assert (await hear(opened, heard)).code == 1000
    await eventually(lambda: visitor.listens_to() is None)


@pytest.mark.parametrize("first", ["older", "newer"])
async def test_two_tabs_on_one_podcast_and_on_two(service: Service, other: Service, studio: Studio, first: str) -> None:
    (one, _), (two, _) = await studio.rendering(CLUSTERS[:1]), await studio.rendering(CLUSTERS[:1])
    visitor = Visitor(service.url)
    older = await listener(service, one.podcast_id, **visitor.headers)
    await stands(older)
    same = await listener(other, one.podcast_id, **visitor.headers)
    await stands(same)
    newer = await listener(other, two.podcast_id, **visitor.headers)
    await stands(newer)
    assert activity(service) == {one.podcast_id: 2, two.podcast_id: 1}
    assert visitor.listens_to() == two.podcast_id
    await same.close()
    await eventually(lambda: activity(service) == {one.podcast_id: 1, two.podcast_id: 1})
    assert visitor.listens_to() == two.podcast_id
    closes, stays, left = (older, newer, two) if first == "older" else (newer, older, one)
    await closes.close()
    await eventually(lambda: activity(service) == {left.podcast_id: 1})
    await eventually(lambda: visitor.listens_to() == left.podcast_id)
    await stays.close()
    await eventually(lambda: visitor.listens_to() is None)
    assert activity(service) == {}


# How long it lives -----------------------------------------------------------------------------------


async def test_listening_keeps_the_session_alive_beyond_its_idle_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Presence, "interval", 0.01)
    async with inner(tmp_path / "data") as site:
        claim, _ = await site.studio.rendering(CLUSTERS[:1])
        live, token = await site.platform.sessions.start({"preferences": {}})
        with closing(Raw(path=str(tmp_path / "data" / "valkey.sock"))) as raw:
            passes = Passing(SimpleNamespace(raw=lambda: raw), monkeypatch)  # type: ignore[arg-type]
            roll = f"greenroom:streams:{{session:{live.session_id}}}"
            async with listener(site.url, claim.podcast_id, Cookie=f"greenroom={token}") as opened:
                await stands(opened)
                (member,) = raw("ZRANGE", roll, 0, -1)
                for _ in range(40):
                    passes(60 * SECOND)
                    aged = float(raw("ZSCORE", roll, member))
                    await eventually(lambda aged=aged: float(raw("ZSCORE", roll, member)) > aged)
                    await eventually(lambda: raw("PTTL", f"session:{live.session_id}") > 30 * 60 * 1000)
                found = await site.platform.sessions.read(token)
                assert found is not None
                assert decoded(found.body)["active_podcast_stream_id"] == claim.podcast_id
                assert opened.close_code is None


async def test_what_a_killed_process_has_left_open_lapses(serve: Serve, valkey: Server) -> None:
    killed = serve("--valkey-url", valkey.address, home="killed")
    living = serve("--valkey-url", valkey.address, home="living")
    async with open_platform(valkey.address, data_dir=killed.data_dir) as platform:
        claim, _ = await Studio(platform).rendering(CLUSTERS[:1])
        visitor = Visitor(killed.url)
        async with listener(killed, claim.podcast_id, **visitor.headers) as opened:
            await stands(opened)
            killed.kill()
            await closed(opened)
        assert activity(living) == {claim.podcast_id: 1}
        assert visitor.listens_to(living.url) == claim.podcast_id
        age(valkey.raw(), 91 * SECOND)
        assert activity(living) == {}
        await eventually(lambda: visitor.listens_to(living.url) is None)


# What closes the socket --------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["signed out", "logged in", "signed out everywhere"])
async def test_the_end_of_the_session_in_another_process_closes_the_socket(
    service: Service, other: Service, studio: Studio, how: str
) -> None:
    claim, _ = await studio.rendering(CLUSTERS[:1])
    visitor, elsewhere = Visitor(service.url), Visitor(service.url)
    if how == "signed out everywhere":
        visitor.log_in("wanderer")
        elsewhere.log_in("wanderer")
    async with (
        listener(service, claim.podcast_id, **visitor.headers) as opened,
        listener(service, claim.podcast_id, **elsewhere.headers) as second,
        listener(service, claim.podcast_id) as anonymous,
    ):
        for one in (opened, second, anonymous):
            await stands(one)
        assert activity(service) == {claim.podcast_id: 3}
        visitor.client.base_url = httpx.URL(other.url)
        match how:
            case "signed out":
                assert visitor.client.delete(f"{API}/session").status_code == 204
            case "logged in":
                visitor.log_in("rotator")
            case _:
                assert visitor.client.post(f"{API}/session/logout-everywhere").status_code == 204
        assert await closed(opened) == 4401
        assert opened.close_reason == "the session has ended; sign in again, or reconnect with the new cookie"
        left = 1 if how == "signed out everywhere" else 2
        await eventually(lambda: activity(service) == {claim.podcast_id: left})
        if left == 1:
            assert await closed(second) == 4401
        else:
            assert second.close_code is None
            assert elsewhere.listens_to() == claim.podcast_id
        assert anonymous.close_code is None
        if how == "logged in":
            assert visitor.listens_to() is None
            async with listener(service, claim.podcast_id, **visitor.headers) as again:
                await stands(again)
                assert visitor.listens_to() == claim.podcast_id
    await eventually(lambda: activity(service) == {})


@pytest.mark.parametrize(
    "headers",
    [
        {"Cookie": f"greenroom={'A' * 43}"},
        {"Authorization": f"Bearer {'A' * 43}"},
        {"Cookie": "greenroom=no-token"},
        {"Authorization": f"Bearer {TOKEN}"},
    ],
)
async def test_a_token_that_names_no_session_listens_as_nobody(
    service: Service, studio: Studio, headers: dict[str, str]
) -> None:
    claim, _ = await studio.rendering(CLUSTERS[:1])
    before = await studio.platform.presence.active()
    async with listener(service, claim.podcast_id, **headers) as opened:
        await stands(opened)
        assert activity(service) == {claim.podcast_id: 1}
        assert await studio.platform.presence.active() == before
    await eventually(lambda: activity(service) == {})


async def test_an_ended_sessions_token_listens_as_nobody(service: Service, studio: Studio) -> None:
    claim, _ = await studio.rendering(CLUSTERS[:1])
    visitor = Visitor(service.url)
    assert visitor.client.delete(f"{API}/session").status_code == 204
    async with listener(service, claim.podcast_id, **visitor.headers) as opened:
        await stands(opened)
    await eventually(lambda: activity(service) == {})


@pytest.mark.parametrize("origin", ["https://elsewhere.example", "null", "http://127.0.0.1:1"])
async def test_a_foreign_page_is_refused(service: Service, studio: Studio, origin: str) -> None:
    claim, _ = await studio.rendering(CLUSTERS[:1])
    with pytest.raises(InvalidStatus) as refused:
        await listener(service, claim.podcast_id, Origin=origin, X_Request_Id="foreign", **Visitor(service.url).headers)
    answer = refused.value.response
    assert answer.status_code == 403
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["x-request-id"] == "foreign"
    assert activity(service) == {}


async def test_the_service_s_own_page_is_let_in(service: Service, studio: Studio) -> None:
    claim, _ = await studio.rendering(CLUSTERS[:1])
    async with listener(service, claim.podcast_id, Origin=service.url) as opened:
        await stands(opened)
