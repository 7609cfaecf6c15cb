"""Deleting one's account: the password is asked for, every session ends, and no crash or log-in leaves half of it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from greenroom.errors import RecordUnavailable
from greenroom_platform.models import User
from tests.http.test_change_of_password import cheap_passwords, here, signs_in
from tests.support.patience import until
from tests.support.people import PASSWORD, People, Person, people_of
from tests.support.problem_checks import blamed, problem
from tests.support.running_service import API, Service

__all__ = ["cheap_passwords"]


@pytest.fixture
def people(service: Service) -> Iterator[People]:
    with people_of(service) as made:
        yield made


def leave(person: Person, password: str = PASSWORD) -> httpx.Response:
    return person.client.request("DELETE", f"{API}/users/me", json={"password": password})


async def leaves(client: httpx.AsyncClient) -> httpx.Response:
    return await client.request("DELETE", f"{API}/users/me", json={"password": PASSWORD})


async def signed_in(client: httpx.AsyncClient) -> None:
    given = {"username": "ana", "password": PASSWORD}
    assert (await client.post(f"{API}/session/login", json=given)).status_code == 200


def test_every_session_ends_and_the_name_is_free(people: People) -> None:
    one = people().sign_up()
    other = people(one.username)
    for person in (one, other):
        person.log_in()
    one.prefer(playback_speed_default=1.5)
    answer = leave(one)
    assert (answer.status_code, answer.content) == (204, b"")
    assert "Max-Age=0" in answer.headers["set-cookie"]
    for person in (one, other):
        problem(person.get("/session"), 401, "unauthorized")
    problem(leave(other), 401, "unauthorized")
    assert not signs_in(other, PASSWORD)
    another = people(one.username).sign_up()
    assert another.log_in().json()["preferences"]["playback_speed_default"] == 1.0
    assert another.get("/history").json() == []


def test_a_wrong_password_deletes_nothing_and_counts(people: People) -> None:
    one, visitor = people().sign_up(), people()
    problem(leave(visitor), 401, "unauthorized")
    visitor.prefer(playback_speed_default=1.5)
    problem(leave(visitor), 401, "unauthorized")
    one.log_in()
    assert blamed(one.client.request("DELETE", f"{API}/users/me", json={}))[0] == "password"
    for _ in range(10):
        assert blamed(leave(one, "wrong horse battery"))[0] == "password"
    problem(leave(one), 429, "too-many-requests")
    assert one.get("/session").status_code == 200


@pytest.mark.parametrize("moment", ["before its session begins", "once its session has begun"])
async def test_a_log_in_in_progress_is_no_log_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str) -> None:
    """Its password was found right before the account was deleted."""
    async with here(tmp_path) as (client, platform, user):
        name = "sign_in" if moment == "before its session begins" else "still_right"
        step, reached, go = getattr(platform.accounts, name), asyncio.Event(), asyncio.Event()

        async def held(*args: Any, **options: Any) -> Any:
            found = await step(*args, **options) if name == "sign_in" else None
            reached.set()
            await go.wait()
            return found if name == "sign_in" else await step(*args, **options)

        await signed_in(client)
        monkeypatch.setattr(platform.accounts, name, held)
        async with httpx.AsyncClient(transport=client._transport, base_url=client.base_url) as other:
            given = {"username": "ana", "password": PASSWORD}
            trying = asyncio.create_task(other.post(f"{API}/session/login", json=given))
            await reached.wait()
            assert (await leaves(client)).status_code == 204
            go.set()
            problem(await trying, 401, "unauthorized")
        assert await platform.sessions.of_user(user.user_id) == []


async def test_whoever_signed_in_between_the_two_ends_is_signed_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with here(tmp_path) as (client, platform, user):
        await signed_in(client)
        records: Any = platform.records
        delete_user = records.users.delete_user

        async def meanwhile(*args: Any) -> bool:
            await platform.sessions.start({"user_id": user.user_id})
            deleted: bool = await delete_user(*args)
            return deleted

        monkeypatch.setattr(records.users, "delete_user", meanwhile)
        assert (await leaves(client)).status_code == 204
        assert await platform.sessions.of_user(user.user_id) == []


async def test_a_record_that_fails_leaves_the_whole_account_signed_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with here(tmp_path) as (client, platform, user):
        await signed_in(client)
        records: Any = platform.records

        async def away(*_: Any) -> bool:
            raise RecordUnavailable("the record is away")

        with monkeypatch.context() as patched:
            patched.setattr(records.users, "delete_user", away)
            problem(await leaves(client), 503, "unavailable")
        assert await platform.sessions.of_user(user.user_id) == []
        await until(lambda: not len(platform.sessions.leftovers))
        assert await records.users.user(user.user_id) == user
        await signed_in(client)
        assert (await leaves(client)).status_code == 204
        assert await records.users.user(user.user_id) is None


async def test_a_password_changed_meanwhile_keeps_the_account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with here(tmp_path) as (client, platform, user):
        await signed_in(client)
        records: Any = platform.records
        delete_user = records.users.delete_user

        async def overtaken(user_id: str, password_hash: str) -> bool:
            changing = "another horse battery staple"
            changed: User = await platform.accounts.change_password(user_id, PASSWORD, changing, address="127.0.0.2")
            assert changed.user_id == user.user_id
            deleted: bool = await delete_user(user_id, password_hash)
            return deleted

        monkeypatch.setattr(records.users, "delete_user", overtaken)
        problem(await leaves(client), 409, "conflict")
        assert await records.users.user(user.user_id) is not None
