"""What one client address may do in a time, and what it costs others: nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from greenroom_platform.http.auth import WRONG_TOKENS
from tests.support.patience import wait_for
from tests.support.problem_checks import problem
from tests.support.running_service import API, NO_TLS, Service
from tests.support.stream_listeners import Studio, tones

SERVE_ENV = {
    "GREENROOM_SIGNUPS_PER_HOUR": "3",
    "GREENROOM_SESSIONS_PER_MINUTE": "4",
    "GREENROOM_STREAMS_PER_ADDRESS": "2",
    "GREENROOM_WORK": "off",  # its worker may claim a podcast before the test does
}
PASSWORD = "correct horse battery staple"
FORGED = {"Authorization": "Bearer forged-token-of-an-editor"}


@contextmanager
def client(service: Service, address: str) -> Iterator[httpx.Client]:
    """A client of this address of the loopback network; it keeps no connection.

    Prevents: a connection is idle for 5 s on a busy machine · the server closes it · the next request is sent over it.
    """
    transport = httpx.HTTPTransport(
        local_address=address, verify=NO_TLS, limits=httpx.Limits(max_keepalive_connections=0)
    )
    with httpx.Client(base_url=service.url, transport=transport, timeout=15) as one:
        yield one


def too_many(answer: httpx.Response, longest: int) -> None:
    assert "address" in problem(answer, 429, "too-many-requests")["detail"]
    assert 0 < int(answer.headers["retry-after"]) <= longest


def sign_up(one: httpx.Client, name: str) -> httpx.Response:
    return one.post(f"{API}/users", json={"username": name, "password": PASSWORD})


def test_sign_ups_are_bounded_for_one_address(service: Service) -> None:
    with client(service, "127.0.0.2") as one, client(service, "127.0.0.3") as other:
        assert [sign_up(one, f"bound{number}").status_code for number in range(3)] == [201] * 3
        too_many(sign_up(one, "bound3"), 3600)
        assert sign_up(other, "bound3").status_code == 201


def test_a_sign_up_that_cannot_be_is_not_counted(service: Service) -> None:
    with client(service, "127.0.0.4") as one:
        for _ in range(9):
            assert one.post(f"{API}/users", json={"username": "x", "password": PASSWORD}).status_code == 422
            assert one.post(f"{API}/users", json={"username": "counted", "password": "short"}).status_code == 422
        assert sign_up(one, "counted").status_code == 201


def test_who_may_not_sign_up_may_log_in(service: Service) -> None:
    with client(service, "127.0.0.5") as one:
        for number in range(4):
            sign_up(one, f"member{number}")
        too_many(sign_up(one, "member4"), 3600)
        answer = one.post(f"{API}/session/login", json={"username": "member0", "password": PASSWORD})
        assert answer.status_code == 200


def test_anonymous_sessions_are_bounded_for_one_address(service: Service) -> None:
    with client(service, "127.0.0.6") as one, client(service, "127.0.0.7") as other:
        for _ in range(4):
            assert one.patch(f"{API}/session/preferences", json={}).status_code == 200
            one.cookies.clear()
        too_many(one.patch(f"{API}/session/preferences", json={}), 60)
        assert other.patch(f"{API}/session/preferences", json={}).status_code == 200
        # Who has a session goes on with it.
        for _ in range(9):
            assert other.patch(f"{API}/session/preferences", json={}).status_code == 200


def test_a_session_that_cannot_begin_is_not_counted(service: Service) -> None:
    with client(service, "127.0.0.16") as one:
        for _ in range(9):
            answer = one.patch(f"{API}/session/preferences", json={}, headers={"X-Forwarded-For": "203.0.113.9"})
            problem(answer, 403, "forbidden")
        assert one.patch(f"{API}/session/preferences", json={}).status_code == 200


async def test_streams_are_bounded_for_one_address(service: Service, studio: Studio) -> None:
    claim, _ = await studio.rendering(tones(3)[:1])
    url = f"ws{service.url.removeprefix('http')}{API}/podcasts/{claim.podcast_id}/stream"

    def opened(address: str) -> connect:
        return connect(url, local_addr=(address, 0), proxy=None)

    async with opened("127.0.0.8") as first, opened("127.0.0.8") as second:
        for one in (first, second):
            await one.recv()
        with pytest.raises(InvalidStatus) as caught:
            await opened("127.0.0.8")
        response = caught.value.response
        assert response.status_code == 429
        assert response.headers["content-type"] == "application/problem+json"
        assert int(response.headers["retry-after"]) > 0
        async with opened("127.0.0.9") as other:
            await other.recv()
        await first.close()
        third = None
        async with asyncio.timeout(30):
            while third is None:  # its place is free once its stream has been left
                with suppress(InvalidStatus):
                    third = await opened("127.0.0.8")
        await third.recv()
        await third.close()


async def test_answers_that_wait_are_bounded_for_one_address(service: Service, studio: Studio) -> None:
    claim, _ = await studio.rendering(tones(3)[:1])
    path = f"{API}/podcasts/{claim.podcast_id}"

    def ask() -> None:
        with client(service, "127.0.0.14") as one, client(service, "127.0.0.15") as other:
            tag = one.get(f"{path}/status").headers["etag"]
            with one.stream("GET", f"{path}/events") as first, one.stream("GET", f"{path}/events") as second:
                assert [first.status_code, second.status_code] == [200, 200]
                with one.stream("GET", f"{path}/events") as refused:
                    assert refused.status_code == 429
                    refused.read()
                    too_many(refused, 60)
                too_many(one.get(f"{path}/status?wait=1", headers={"If-None-Match": tag}), 60)
                assert one.get(f"{path}/status").status_code == 200
                with other.stream("GET", f"{path}/events") as third:
                    assert third.status_code == 200
            # The places are free once the streams have been left.
            wait_for(lambda: one.get(f"{path}/status?wait=1", headers={"If-None-Match": tag}).status_code == 304)

    await asyncio.to_thread(ask)


def test_wrong_editor_tokens_are_bounded_for_one_address(service: Service) -> None:
    path = f"{API}/topics/guessed"
    with client(service, "127.0.0.10") as one, client(service, "127.0.0.11") as other:
        for _ in range(WRONG_TOKENS.most):
            problem(one.delete(path, headers=FORGED), 401, "unauthorized")
        too_many(one.delete(path, headers=FORGED), 900)
        # A right one would tell who guesses that it was right.
        too_many(one.delete(path, headers=service.editor), 900)
        problem(other.delete(path, headers=service.editor), 404, "not-found")


def test_a_request_without_a_token_is_no_guess(service: Service) -> None:
    with client(service, "127.0.0.12") as one:
        for _ in range(WRONG_TOKENS.most + 1):
            problem(one.delete(f"{API}/topics/guessed"), 401, "unauthorized")
        problem(one.delete(f"{API}/topics/guessed", headers=service.editor), 404, "not-found")
