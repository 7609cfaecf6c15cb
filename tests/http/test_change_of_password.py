"""Changing a password: the current one is asked for, all other sessions end, and nobody guesses faster by it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from greenroom.errors import RecordUnavailable
from greenroom_platform.http.app import create_app
from greenroom_platform.http.settings import Settings
from greenroom_platform.models import User
from greenroom_platform.platform import Platform
from tests.support.asgi_server import called, state_of
from tests.support.cheap_accounts import Hasher
from tests.support.patience import until
from tests.support.people import PASSWORD, People, Person, people_of
from tests.support.problem_checks import blamed, problem
from tests.support.running_service import API, TOKEN, Service, running
from tests.support.session_stores import cancelled, held_begin

NEW = "another horse battery staple"


@pytest.fixture(autouse=True)
def cheap_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    """In this process too: a real hash takes a third of a second of both cores."""
    monkeypatch.setattr("greenroom_platform.accounts.passwords.PasswordHasher", Hasher)


@pytest.fixture
def people(service: Service) -> Iterator[People]:
    with people_of(service) as made:
        yield made


def change(person: Person, current: str = PASSWORD, new: str = NEW, **options: object) -> httpx.Response:
    body = {"current_password": current, "new_password": new}
    return person.client.put(f"{API}/session/password", json=body, **options)  # type: ignore[arg-type]


def signs_in(person: Person, password: str) -> bool:
    given = {"username": person.username, "password": password}
    return person.post("/session/login", json=given).status_code == 200


def test_a_new_password_ends_all_other_sessions_and_rotates_this_one(people: People) -> None:
    one = people().sign_up()
    other = people(one.username)
    for person in (one, other):
        person.log_in()
    before = one.token
    answer = change(one)
    assert (answer.status_code, answer.json()["user_id"]) == (200, one.get("/session").json()["user_id"])
    assert "token" not in answer.json()
    assert one.token != before
    assert other.get("/session").status_code == 401
    assert httpx.get(f"{one.client.base_url}{API}/session", cookies={"greenroom": before}).status_code == 401
    assert [session["current"] for session in one.get("/sessions").json()] == [True]
    assert not signs_in(people(one.username), PASSWORD)
    assert signs_in(people(one.username), NEW)


def test_whoever_presents_a_token_gets_the_new_one(people: People) -> None:
    one = people().sign_up()
    token = one.log_in(token=True).json()["token"]
    one.client.cookies.clear()
    answer = change(one, headers={"Authorization": f"Bearer {token}"})
    new = answer.json()["token"]
    assert one.get("/session", headers={"Authorization": f"Bearer {new}"}).status_code == 200
    assert one.get("/session", headers={"Authorization": f"Bearer {token}"}).status_code == 401


def test_a_wrong_current_password_changes_nothing_and_counts(people: People) -> None:
    one, other = people().sign_up(), people()
    one.log_in()
    other.username = one.username
    for _ in range(10):
        assert blamed(change(one, "wrong horse battery"))[0] == "current_password"
    problem(change(one), 429, "too-many-requests")
    answer = other.post("/session/login", json={"username": one.username, "password": PASSWORD})
    problem(answer, 429, "too-many-requests")
    assert one.get("/session").status_code == 200


@pytest.mark.parametrize("new", ["short", "password", "x" * 257])
def test_a_new_password_is_checked_as_at_sign_up(people: People, new: str) -> None:
    one = people().sign_up()
    one.log_in()
    assert blamed(change(one, new=new))[0] == "new_password"
    assert blamed(change(one, new=one.username))[0] == "new_password"
    assert one.get("/session").status_code == 200


@asynccontextmanager
async def here(tmp_path: Path) -> AsyncIterator[tuple[httpx.AsyncClient, Platform, User]]:
    """A service in this process, its platform, and a user of it."""
    app = create_app(Settings(data_dir=tmp_path, editor_token=TOKEN, work=False, sample=False))
    async with running(app), called(app) as client:
        platform: Platform = state_of(app).platform
        yield client, platform, await platform.accounts.create("ana", PASSWORD)


async def test_a_log_in_that_a_change_overtakes_is_no_log_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with here(tmp_path) as (client, platform, user):
        sign_in = platform.accounts.sign_in

        async def overtaken(*args: Any, **options: Any) -> User:
            found = await sign_in(*args, **options)
            await platform.accounts.change_password(user.user_id, PASSWORD, NEW, address="127.0.0.2")
            await platform.sessions.end_all(user.user_id)
            return found

        monkeypatch.setattr(platform.accounts, "sign_in", overtaken)
        answer = await client.post(f"{API}/session/login", json={"username": "ana", "password": PASSWORD})
        problem(answer, 401, "unauthorized")
        assert await platform.sessions.of_user(user.user_id) == []


async def test_a_log_in_that_fails_once_the_password_was_right_signs_nobody_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: Any) -> bool:
        raise RecordUnavailable("the record is away")

    async with here(tmp_path) as (client, platform, user):
        monkeypatch.setattr(platform.accounts, "still_right", away)
        answer = await client.post(f"{API}/session/login", json={"username": "ana", "password": PASSWORD})
        problem(answer, 503, "unavailable")
        assert "user_id" not in (await client.get(f"{API}/session")).json()
        assert await platform.sessions.of_user(user.user_id) == []


@pytest.mark.parametrize("moment", ["while it signs in", "once it has signed in"])
@pytest.mark.parametrize("visitor", ["new", "with a session"])
async def test_a_log_in_that_is_cancelled_signs_nobody_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str, visitor: str
) -> None:
    signed_in, go = asyncio.Event(), asyncio.Event()

    async def for_ever(*_: Any) -> bool:
        signed_in.set()
        await asyncio.Event().wait()
        return True

    async with here(tmp_path) as (client, platform, user):
        if visitor == "with a session":
            await client.patch(f"{API}/session/preferences", json={})
        monkeypatch.setattr(platform.accounts, "still_right", for_ever)
        reached = signed_in
        if moment == "while it signs in":
            reached, go = held_begin(monkeypatch)
        logging_in = client.post(f"{API}/session/login", json={"username": "ana", "password": PASSWORD})
        trying = asyncio.create_task(logging_in)
        await reached.wait()
        await cancelled(trying, go)
        await until(lambda: not len(platform.sessions.leftovers))
        assert await platform.sessions.of_user(user.user_id) == []


@pytest.mark.parametrize(("bearer", "left"), [(False, 1), (True, 0)], ids=["cookie", "bearer"])
async def test_a_change_that_is_cancelled_still_ends_the_other_sessions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bearer: bool, left: int
) -> None:
    """With the cookie this session goes on; whoever presents a token is not given the new one, and signs in again."""
    reached = asyncio.Event()

    async with here(tmp_path) as (client, platform, user):
        given = {"username": "ana", "password": PASSWORD, "token": bearer}
        token = (await client.post(f"{API}/session/login", json=given)).json().get("token")
        if bearer:
            client.cookies.clear()
            client.headers["Authorization"] = f"Bearer {token}"
        change_password, end_all = platform.accounts.change_password, platform.sessions.end_all

        async def meanwhile(*args: Any, **options: Any) -> User:
            changed = await change_password(*args, **options)
            await platform.sessions.start({"user_id": user.user_id})  # the old password was found right before
            monkeypatch.setattr(platform.sessions, "end_all", for_ever)
            return changed

        async def for_ever(*_: Any, **__: Any) -> int:
            reached.set()
            await asyncio.Event().wait()
            return 0

        monkeypatch.setattr(platform.accounts, "change_password", meanwhile)
        body = {"current_password": PASSWORD, "new_password": NEW}
        trying = asyncio.create_task(client.put(f"{API}/session/password", json=body))
        await reached.wait()
        trying.cancel()
        with pytest.raises(asyncio.CancelledError):
            await trying
        monkeypatch.setattr(platform.sessions, "end_all", end_all)
        await until(lambda: not len(platform.sessions.leftovers))
        assert len(await platform.sessions.of_user(user.user_id)) == left


async def test_a_log_in_amid_a_change_ends_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with here(tmp_path) as (client, platform, user):
        await client.post(f"{API}/session/login", json={"username": "ana", "password": PASSWORD})
        change_password = platform.accounts.change_password

        async def meanwhile(*args: Any, **options: Any) -> User:
            changed = await change_password(*args, **options)
            await platform.sessions.start({"user_id": user.user_id})  # the old password was found right before
            return changed

        monkeypatch.setattr(platform.accounts, "change_password", meanwhile)
        body = {"current_password": PASSWORD, "new_password": NEW}
        assert (await client.put(f"{API}/session/password", json=body)).status_code == 200
        assert len(await platform.sessions.of_user(user.user_id)) == 1


def test_nobody_without_an_account_changes_a_password(people: People) -> None:
    visitor = people()
    problem(change(visitor), 401, "unauthorized")
    visitor.prefer(playback_speed_default=1.5)
    problem(change(visitor), 401, "unauthorized")
    assert visitor.get("/session").status_code == 200
