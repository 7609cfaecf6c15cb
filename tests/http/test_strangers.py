"""What strangers are told: no path, address or user; and every answer tells browsers what not to do with it."""

from __future__ import annotations

import re
from typing import Any

import httpx
import pytest
from litestar.datastructures import State
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from greenroom_platform.http.routes.operations import _Pseudonyms, in_a_word
from greenroom_platform.http.settings import Settings
from tests.support.patience import wait_for
from tests.support.people import people_of
from tests.support.problem_checks import problem
from tests.support.raw_connections import connected
from tests.support.running_service import API, Service

SERVE_ENV = {"GREENROOM_ALLOWED_HOSTS": "127.0.0.1,example.org,*.example.net"}
STRANGER = {"X-Forwarded-For": "203.0.113.9"}
"""What a proxy adds that nobody has named: its clients are anywhere."""
EVERY = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}


def told(service: Service, path: str, **headers: str) -> str:
    return service.client.get(path, headers=headers).text


# Health and numbers -------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/metrics", "/health/ready"])
def test_a_stranger_is_told_no_path_address_or_user(service: Service, path: str) -> None:
    with people_of(service) as people:
        person = people().sign_up()
        person.log_in()
        answer = service.client.get(path, headers=STRANGER)
        assert answer.status_code == 200
        for secret in (str(service.data_dir), "valkey.sock", "127.0.0.1", person.username):
            assert secret not in answer.text


def test_this_machine_and_an_editor_are_told_the_servers_by_address(service: Service) -> None:
    service.client.get(f"{API}/topics")
    assert str(service.data_dir) in told(service, "/metrics")
    assert str(service.data_dir) in told(service, "/metrics", **STRANGER, **service.editor)


def test_a_stranger_sees_the_servers_apart_and_the_same_each_time(service: Service) -> None:
    named = {tuple(re.findall(r'node="([^"]+)"', told(service, "/metrics", **STRANGER))) for _ in range(2)}
    (nodes,) = named
    assert nodes
    assert {re.sub("[0-9a-f]{8}", "…", node) for node in nodes} == {"node-…"}


def test_a_server_s_name_for_strangers_differs_with_the_editor_token() -> None:
    named = set()
    for token in ("a" * 16, "b" * 16):
        state: Any = State({"settings": Settings(editor_token=token)})
        named.add(_Pseudonyms(state)("10.0.0.1:6379"))
    assert len(named) == 2, "an address has few possible values: a hash without a key would tell it"


@pytest.mark.parametrize(
    ("detail", "word"),
    [
        ("ok", "ok"),
        ("degraded", "degraded"),
        ("caches: unix:///srv/valkey.sock is not reachable", "unavailable"),
        ("the database is locked", "unavailable"),
        ("cannot be written: /srv/data is full", "cannot be written"),
    ],
)
def test_a_part_s_state_is_one_word_for_strangers(detail: str, word: str) -> None:
    assert in_a_word(detail) == word


def guesser(service: Service, address: str) -> httpx.Client:
    """A client of this address of the loopback network."""
    return httpx.Client(base_url=service.url, transport=httpx.HTTPTransport(local_address=address))


def test_probes_are_answered_however_many_wrong_tokens_came(service: Service) -> None:
    with guesser(service, "127.0.0.31") as one:
        wrong = STRANGER | {"Authorization": "Bearer guessed-token-of-editors"}
        for _ in range(50):
            assert one.get("/health/ready", headers=wrong).status_code == 200
        assert one.delete(f"{API}/topics/guessed", headers=wrong).status_code == 429, "the guesses have counted"
        for path in ("/health/ready", "/metrics"):
            for headers in (wrong, STRANGER, STRANGER | service.editor):
                answer = one.get(path, headers=headers)
                assert answer.status_code == 200
                assert str(service.data_dir) not in answer.text


@pytest.mark.parametrize("authorization", ["Basic c2NyYXBlcjpzZWNyZXQ=", "Bearer", "x"])
def test_what_is_no_bearer_token_is_no_guess(service: Service, authorization: str) -> None:
    with guesser(service, "127.0.0.32") as one:
        for _ in range(51):
            headers = STRANGER | {"Authorization": authorization}
            assert one.get("/health/ready", headers=headers).status_code == 200
        answer = one.delete(f"{API}/topics/guessed", headers={"Authorization": authorization})
        assert "need Authorization: Bearer" in problem(answer, 401, "unauthorized")["detail"]
        assert one.delete(f"{API}/topics/guessed", headers=service.editor).status_code == 404


# Hosts --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["example.org", "EXAMPLE.org:8000", "example.org.", "a.b.example.net", "127.0.0.1:1"])
def test_an_allowed_host_is_answered(service: Service, host: str) -> None:
    assert service.client.get(f"{API}/topics", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "example.org.evil.example", "xexample.org", "example.net", "[::1]", "a" * 250]
)
def test_another_host_is_refused_whatever_is_asked(service: Service, host: str) -> None:
    for path in (f"{API}/topics", "/", "/docs", "/nobody"):
        answer = service.client.get(path, headers={"Host": host})
        assert len(problem(answer, 400, "bad-request")["detail"]) < 200
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_a_probe_and_a_scrape_may_come_by_address(service: Service) -> None:
    for path in ("/health/live", "/health/ready", "/metrics"):
        assert service.client.get(path, headers={"Host": "10.1.2.3:8000"}).status_code == 200


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("http://evil.example/api/v1/topics", 400),
        ("http://example.org@evil.example/api/v1/topics", 400),
        ("http://example.org:81/api/v1/topics", 200),
    ],
)
async def test_the_host_of_an_absolute_target_is_what_counts(service: Service, target: str, status: int) -> None:
    async with connected(service.url) as raw:
        raw.say(f"GET {target} HTTP/1.1\r\nHost: example.org\r\n\r\n".encode())
        assert (await raw.answer()).status == status


async def test_a_socket_for_another_host_is_refused(service: Service) -> None:
    async with connected(service.url) as raw:
        raw.say(
            f"GET {API}/podcasts/any/stream HTTP/1.1\r\nHost: evil.example\r\nUpgrade: websocket\r\n"
            "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
        )
        answer = await raw.answer()
    assert answer.status == 400
    assert "evil.example" in answer.problem("bad-request")["detail"]


# Headers ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        *(
            "/",
            "/page/app.js",
            "/edit",
            "/edit/no",
            "/control",
            "/docs",
            "/docs/openapi.json",
            "/docs/assets/start.js",
            f"{API}/topics",
        ),
        *("/health/live", "/metrics", "/nobody", "/problems/not-found", f"{API}/session", f"{API}/snippets?page=0"),
    ],
)
def test_every_answer_carries_the_security_headers(service: Service, path: str) -> None:
    answer = service.client.get(path)
    assert {name: answer.headers.get_list(name) for name in EVERY} == {name: [value] for name, value in EVERY.items()}
    (policy,) = answer.headers.get_list("content-security-policy")
    rules = dict(rule.partition(" ")[::2] for rule in policy.split("; "))
    assert (rules["default-src"], rules["frame-ancestors"]) == ("'none'", "'none'")
    if "script-src" in rules:
        assert rules["script-src"] == "'self'"
        assert answer.headers["cross-origin-opener-policy"] == "same-origin"


async def test_a_refused_request_carries_them_too(service: Service) -> None:
    async with connected(service.url) as raw:
        raw.say(b"GET / HTTP/1.1\r\n\r\n")
        early = await raw.answer()
    with pytest.raises(InvalidStatus) as caught:
        await connect(f"ws{service.url.removeprefix('http')}/nobody", proxy=None)
    for name, value in EVERY.items():
        assert early.headers[name] == value
        assert caught.value.response.headers.get_all(name) == [value]


# Logs and problems --------------------------------------------------------------------------------


def test_a_long_path_is_cut_in_logs_and_problems(service: Service) -> None:
    path = "/" + "long" * 1500
    answer = service.client.get(path, headers={"X-Request-Id": "cut"})
    assert answer.json()["instance"] == path[:300] + "..."
    assert len(answer.content) < 1000
    answer = service.client.get(f"{API}/topics{path}", headers={"X-Request-Id": "cut"})
    assert answer.status_code == 422
    assert len(answer.content) < 1500

    def lines() -> list[str]:
        return [line for line in service.output().splitlines() if "[cut]" in line]

    wait_for(lambda: len(lines()) == 2)  # a line is written when its answer is out
    assert max(map(len, lines())) < 500


async def test_a_refused_socket_logs_no_error(service: Service) -> None:
    before = len(service.output())
    url = f"ws{service.url.removeprefix('http')}"
    for path, headers in (("/nobody", {}), (f"{API}/podcasts/any/stream", {"Origin": "https://evil.example"})):
        with pytest.raises(InvalidStatus):
            await connect(url + path, additional_headers=headers, proxy=None)
    handshake = b"GET /nobody HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    for more in (b"", b"Sec-WebSocket-Version: 12\r\n", b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: x\r\n"):
        async with connected(service.url) as raw:
            raw.say(handshake + more + b"\r\n")
            assert 400 <= (await raw.answer()).status < 500
    said = service.logged()[before:]
    assert "/nobody 404" in said
    assert not re.search("ERROR|Traceback|opening handshake|uvicorn|websockets", said), said
