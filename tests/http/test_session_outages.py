"""Sessions whose server is down, frozen or busy: 503 where a session is needed, never "not signed in"."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from time import monotonic
from typing import Any

import httpx
import pytest

from greenroom.engine.limits import Limits
from greenroom_platform.accounts.passwords import Passwords
from greenroom_platform.http.app import create_app
from greenroom_platform.http.settings import Settings
from greenroom_platform.storage.sqlite.users import SqliteUsers
from tests.support.asgi_server import called
from tests.support.cheap_accounts import Hasher
from tests.support.patience import wait_for
from tests.support.people import COOKIE, PASSWORD, Person, people_of
from tests.support.problem_checks import problem
from tests.support.proxy import Proxy
from tests.support.real_servers import Server
from tests.support.running_service import API, TOKEN, Serve, Service

NEEDED: list[tuple[str, str, Any]] = [
    ("GET", "/session", None),
    ("GET", "/sessions", None),
    ("DELETE", "/session", None),
    ("DELETE", "/sessions/handle", None),
    ("POST", "/session/logout-everywhere", None),
    ("PATCH", "/session/preferences", {"playback_speed_default": 2}),
    ("POST", "/session/login", {"username": "somebody", "password": PASSWORD}),
]
NEW = "another horse battery staple"


def refused(person: Person, method: str, path: str, body: Any) -> None:
    """It must be 503, soon, and leave the cookie where it is."""
    began = monotonic()
    answer = person.client.request(method, API + path, json=body)
    assert monotonic() - began < 12, "the deadline of its commands is half a second, and a machine may stand still"
    problem(answer, 503, "unavailable")
    assert answer.headers["retry-after"] == "1"
    assert answer.headers["cache-control"] in ("private, no-store", "no-store")
    assert "set-cookie" not in answer.headers


@pytest.fixture
def apart(lasting: Server, serve: Serve) -> Service:
    """A service whose sessions have a server of their own."""
    return serve("--session-url", lasting.address)


@contextmanager
def signed_in(service: Service) -> Iterator[Person]:
    """Somebody who has signed in."""
    with people_of(service) as people:
        ana = people().sign_up()
        ana.log_in()
        yield ana


def test_with_the_session_server_down_only_what_needs_a_session_is_503(lasting: Server, apart: Service) -> None:
    with signed_in(apart) as ana:
        lasting.kill()
        for call in NEEDED:
            refused(ana, *call)
        for path in ("/topics", "/snippets"):
            assert ana.get(path).status_code == 200
        # How many users an address may make is counted there.
        made = apart.client.post(f"{API}/users", json={"username": "during", "password": PASSWORD})
        problem(made, 503, "unavailable")
        problem(apart.client.get(f"{API}/activity", headers=apart.editor), 503, "unavailable")
        assert "greenroom_sessions_active" not in apart.client.get("/metrics").text
        assert apart.client.get("/health/ready").json()["status"] == "degraded"
        lasting.start()
        wait_for(lambda: ana.get("/session").status_code == 200, 30)
        assert "user_id" in ana.get("/session").json()


def test_while_it_is_frozen_too_and_who_was_signed_in_still_is_afterwards(lasting: Server, apart: Service) -> None:
    with signed_in(apart) as ana:
        with lasting.frozen():
            for call in NEEDED:
                refused(ana, *call)
            assert ana.get("/topics").status_code == 200
        wait_for(lambda: ana.get("/session").status_code == 200, 30)


def test_sessions_on_redis_or_valkey_begin_change_and_end(server: Server, serve: Serve) -> None:
    service = serve("--session-url", server.address)
    with signed_in(service) as ana:
        assert ana.prefer(playback_speed_default=2)["playback_speed_default"] == 2
        ana.log_in()
        assert ana.get("/session").json()["preferences"]["playback_speed_default"] == 2
        assert len(ana.get("/sessions").json()) == 1
        raw, caches = server.raw(), service.raw()
        assert len(raw("KEYS", "session:*")) == 1
        assert not caches("KEYS", "session:*")
        ana.post("/session/logout-everywhere")
        assert not raw("KEYS", "session:*")


def test_with_cache_url_alone_sessions_are_on_the_embedded_server(valkey: Server, serve: Serve) -> None:
    service = serve("--cache-url", valkey.address)
    with signed_in(service) as ana:
        ana.get("/topics")
        raw, caches = service.raw(), valkey.raw()
        assert (len(raw("KEYS", "session:*")), len(caches("KEYS", "session:*"))) == (1, 0)
        assert not raw("KEYS", "cache:*")
        valkey.kill()
        assert ana.get("/session").status_code == 200
        token = ana.token
    service.stop()
    service.start()
    headers = {"Cookie": f"{COOKIE}={token}"}
    assert "user_id" in service.client.get(f"{API}/session", headers=headers).json(), "kept over a restart"


# In this process ------------------------------------------------------------------------------------


@asynccontextmanager
async def running(app: Any) -> AsyncIterator[None]:
    """Run an application's lifespan around the block."""
    inbox, outbox = asyncio.Queue[Any](), asyncio.Queue[Any]()
    task = asyncio.ensure_future(app({"type": "lifespan", "asgi": {}, "state": {}}, inbox.get, outbox.put))
    await inbox.put({"type": "lifespan.startup"})
    assert (await outbox.get())["type"] == "lifespan.startup.complete"
    try:
        yield
    finally:
        await inbox.put({"type": "lifespan.shutdown"})
        assert (await outbox.get())["type"] == "lifespan.shutdown.complete"
        await task


@asynccontextmanager
async def service_here(tmp_path: Path, sessions: str, caches: str) -> AsyncIterator[httpx.AsyncClient]:
    """The service in this process, and its client."""
    settings = Settings(data_dir=tmp_path, session_url=sessions, cache_url=caches, sample=False, editor_token=TOKEN)
    app = create_app(settings)
    async with running(app), called(app) as client:
        yield client


async def test_a_full_queue_is_overloaded_and_no_anonymous_user(
    valkey: Server, lasting: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Limits.__init__, "__defaults__", _with_outstanding(4))
    async with Proxy(valkey) as proxy, service_here(tmp_path, proxy.address, lasting.address) as client:
        begun = await client.patch(f"{API}/session/preferences", json={"playback_speed_default": 2})
        assert begun.status_code == 200
        held = proxy.hold_replies()
        before = [asyncio.ensure_future(client.get(f"{API}/session")) for _ in range(4)]
        while len(held.frames) < 4:
            await asyncio.sleep(0)
        for method, path, body in NEEDED[:1] + NEEDED[5:6]:
            answer = await client.request(method, API + path, json=body)
            problem(answer, 503, "overloaded")
            assert answer.headers["retry-after"] == "1"
        assert (await client.get(f"{API}/topics")).status_code == 200
        held.release()
        for answer in await asyncio.gather(*before):
            assert answer.json()["preferences"]["playback_speed_default"] == 2


def _with_outstanding(number: int) -> tuple[Any, ...]:
    """The defaults of the engine's limits with another bound, and time enough for a test."""
    longer = {"outstanding": number, "command_deadline": 60.0, "silence": 60.0, "silence_deadline": 60.0}
    return tuple(longer.get(name, one.default) for name, one in Limits.__dataclass_fields__.items())


async def test_a_wrong_password_costs_as_many_hashes_as_an_unknown_user(
    valkey: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hasher = Hasher()
    monkeypatch.setattr("greenroom_platform.accounts.passwords.PasswordHasher", lambda: hasher)
    async with service_here(tmp_path, valkey.address, valkey.address) as client:
        await client.post(f"{API}/users", json={"username": "ana", "password": PASSWORD})
        for username in ("ana", "nobody", "no user's name", "a" * 5000):
            hasher.verified.clear()
            body = {"username": username, "password": "wrong password"}
            assert (await client.post(f"{API}/session/login", json=body)).status_code == 401
            assert len(hasher.verified) == 1, username


async def test_a_session_that_does_not_fit_is_500_and_is_not_overwritten(valkey: Server, tmp_path: Path) -> None:
    async with service_here(tmp_path, valkey.address, valkey.address) as client:
        await client.patch(f"{API}/session/preferences", json={})
        raw = valkey.raw()
        (key,) = raw("KEYS", "session:*")
        for broken in (b"{", b'{"preferences": 7}', b"\xff"):
            raw("SET", key, broken, "XX", "KEEPTTL")
            for method, path, body in NEEDED:
                if (method, path) != ("DELETE", "/session"):
                    problem(await client.request(method, API + path, json=body), 500, "internal-error")
            assert raw("GET", key) == broken


async def test_one_signs_out_of_a_session_that_does_not_fit(valkey: Server, tmp_path: Path) -> None:
    async with service_here(tmp_path, valkey.address, valkey.address) as client:
        raw = valkey.raw()
        for broken in (b"{", b'{"preferences": 7}', b"\xff"):
            await client.patch(f"{API}/session/preferences", json={})
            (key,) = raw("KEYS", "session:*")
            raw("SET", key, broken, "XX", "KEEPTTL")
            answer = await client.delete(f"{API}/session")
            assert answer.status_code == 204
            assert "Max-Age=0" in answer.headers["set-cookie"]
            assert raw("KEYS", "session:*") == []


@pytest.mark.parametrize("after", ["the current password was found right", "the new password was kept"])
async def test_a_change_of_password_amid_an_outage_leaves_no_session_unended(
    valkey: Server, lasting: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: str
) -> None:
    kept = after.startswith("the new")
    owner, name = (SqliteUsers, "replace_hash") if kept else (Passwords, "replaced")
    whole = getattr(owner, name)

    async def then_it_dies(*args: Any, **options: Any) -> Any:
        result = await whole(*args, **options)
        lasting.kill()
        return result

    monkeypatch.setattr("greenroom_platform.accounts.passwords.PasswordHasher", Hasher)
    async with service_here(tmp_path, lasting.address, valkey.address) as client:
        await client.post(f"{API}/users", json={"username": "ana", "password": PASSWORD})

        async def log_in(password: str) -> tuple[int, dict[str, str]]:
            body = {"username": "ana", "password": password, "token": True}
            answer = await client.post(f"{API}/session/login", json=body)
            client.cookies.clear()
            return answer.status_code, {"Authorization": f"Bearer {answer.json().get('token')}"}

        async def alive(headers: dict[str, str]) -> int:
            return (await client.get(f"{API}/session", headers=headers)).status_code

        (_, mine), (_, stolen) = await log_in(PASSWORD), await log_in(PASSWORD)
        with monkeypatch.context() as patched:
            patched.setattr(owner, name, then_it_dies)
            body = {"current_password": PASSWORD, "new_password": NEW}
            answer = await client.put(f"{API}/session/password", json=body, headers=mine)
        detail = problem(answer, 503, "unavailable")["detail"]
        assert ("the password is changed" in detail) == kept
        lasting.start()
        async with asyncio.timeout(30):
            while await alive(mine) != (401 if kept else 200):
                await asyncio.sleep(0)
        assert await alive(stolen) == (401 if kept else 200)
        assert (await log_in(NEW))[0] == (200 if kept else 401)
        assert (await log_in(PASSWORD))[0] == (401 if kept else 200)
