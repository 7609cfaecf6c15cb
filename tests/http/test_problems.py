"""What cannot be answered, over HTTP: each a problem document that says what is wrong and what would be accepted."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from greenroom_platform.http.app import create_app
from greenroom_platform.http.settings import Settings
from tests.support.asgi_server import called
from tests.support.problem_checks import blamed, problem
from tests.support.running_service import API, TOKEN, Service, running

TOPIC = f"{API}/topics/refused"
DRAFT = {"display_name": "Test", "description": "A topic of a test.", "keywords": ["one"]}
MEBIBYTE = 1024 * 1024


def put(service: Service, content: Any) -> httpx.Response:
    return service.client.put(TOPIC, content=content, headers=service.editor)


@pytest.fixture(autouse=True)
def _nothing_is_stored(service: Service) -> Iterator[None]:
    yield
    problem(service.client.get(TOPIC), 404, "not-found")


# The address and the method --------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", ["/nobody", f"{API}/nobody", "/docs/nobody", "/docs/assets/nobody.js", "/problems/nobody", "/a%0Ab%C3%A9"]
)
def test_an_unknown_path_is_404(service: Service, path: str) -> None:
    problem(service.client.get(path), 404, "not-found")


@pytest.mark.parametrize("topic_id", ["a%3Ab", "a%2Ab", "%7Bx%7D", "a%20b", "a%0Ab", "%00", "%C3%A9", "%FF", "a" * 129])
@pytest.mark.parametrize("kind", ["topic", "snippet"])
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_an_id_that_no_key_can_hold_is_422(service: Service, method: str, kind: str, topic_id: str) -> None:
    answer = service.client.request(method, f"{API}/{kind}s/{topic_id}", json=DRAFT, headers=service.editor)
    assert blamed(answer) == (f"{kind}_id", "use 1 to 128 characters of A-Z a-z 0-9 . _ ~ -")


METHODS = {
    f"{API}/topics": "GET, HEAD, OPTIONS",
    f"{API}/topics/x": "DELETE, GET, HEAD, OPTIONS, PUT",
    f"{API}/snippets": "GET, HEAD, OPTIONS, POST",
    f"{API}/snippets/x": "DELETE, GET, HEAD, OPTIONS, PUT",
    f"{API}/podcasts/generate": "OPTIONS, POST",
    f"{API}/podcasts/x/status": "GET, HEAD, OPTIONS",
    f"{API}/podcasts/x/events": "GET, HEAD, OPTIONS",
    "/health/ready": "GET, HEAD, OPTIONS",
    "/metrics": "GET, HEAD, OPTIONS",
    "/docs": "GET, HEAD, OPTIONS",
    "/docs/assets/swagger-ui.css": "GET, HEAD, OPTIONS",
}


@pytest.mark.parametrize(("path", "allow"), METHODS.items())
def test_another_method_is_405_and_the_answer_names_the_methods_there_are(
    service: Service, path: str, allow: str
) -> None:
    refused = service.client.patch(path)
    assert problem(refused, 405, "method-not-allowed")["detail"] == f"allowed methods: {allow}"
    assert refused.headers["allow"] == allow
    options = service.client.options(path)
    assert (options.status_code, options.headers["allow"], options.content) == (204, allow, b"")


# The token -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Bearer",
        "Bearer wrong-token-of-the-editors",
        f"Bearer {TOKEN} more",
        f"Bearer {TOKEN[:-1]}",
        f"Basic {TOKEN}",
        TOKEN,
        "Bearer \xe9\xff",
    ],
)
@pytest.mark.parametrize("body", [b"", b"{", b"x" * 2 * MEBIBYTE])
def test_without_the_token_it_is_401_whatever_the_body(
    service: Service, authorization: str | None, body: bytes
) -> None:
    headers = {} if authorization is None else {b"Authorization": authorization.encode("latin-1")}
    answer = service.client.put(TOPIC, content=body, headers=headers)
    detail = problem(answer, 401, "unauthorized")["detail"]
    assert "Authorization: Bearer" in detail
    # A wrong one is told from none: it may be that of another data directory.
    wrong = authorization is not None and authorization.startswith("Bearer ") and authorization.strip() != "Bearer"
    assert ("is not the editor token" in detail and "GREENROOM_EDITOR_TOKEN" in detail) == wrong
    assert answer.headers["www-authenticate"] == 'Bearer realm="greenroom editors"'
    assert TOKEN not in answer.text


@pytest.mark.parametrize("scheme", ["bearer", "BEARER"])
def test_the_scheme_s_case_does_not_matter(service: Service, scheme: str) -> None:
    headers = {"Authorization": f"{scheme} {TOKEN}"}
    problem(service.client.put(TOPIC, content=b"{", headers=headers), 400, "malformed-json")


class Unread(str):
    """A token whose characters cannot be compared one after another: how long that takes tells how many were right."""

    __slots__ = ()
    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        raise AssertionError("compared as a string")

    def startswith(self, *_: Any) -> bool:
        raise AssertionError("compared as a string")

    def encode(self, *_: Any) -> bytes:
        return UnreadBytes(str(self), "ascii")


class UnreadBytes(bytes):
    """Likewise."""

    __slots__ = ()
    __hash__ = bytes.__hash__

    def __eq__(self, other: object) -> bool:
        raise AssertionError("compared as bytes")


async def test_the_editor_token_is_compared_as_a_whole(tmp_path: Path) -> None:
    app = create_app(Settings(data_dir=tmp_path, editor_token=Unread(TOKEN), work=False, sample=False))
    async with running(app), called(app) as client:
        for token, status in ((TOKEN, 404), (TOKEN[:-1], 401), ("x" * len(TOKEN), 401)):
            answer = await client.delete(TOPIC, headers={"Authorization": f"Bearer {token}"})
            assert answer.status_code == status


# The body --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"display_name=Test",
        b'{"display_name": "\xff"}',
        b'{"display_name": "\\ud800"}',
        b'{"display_name": NaN}',
        b"{} {}",
        b"[" * 100_000,
        b'{"keywords": ' * 50_000,
    ],
    ids=lambda body: repr(body[:20]),
)
def test_a_body_that_is_not_json_is_400(service: Service, body: bytes) -> None:
    problem(put(service, body), 400, "malformed-json")


@pytest.mark.parametrize("body", [b"[]", b"null", b'"text"', b"1"])
def test_a_body_that_is_not_an_object_is_422(service: Service, body: bytes) -> None:
    assert blamed(put(service, body)) == ("body", "send one JSON object")


@pytest.mark.parametrize(
    ("member", "value", "field", "remedy"),
    [
        ("display_name", 1, "display_name", "send a string of 1 character or more"),
        ("display_name", "", "display_name", "send a string of 1 character or more"),
        ("display_name", None, "display_name", "send a string of 1 character or more"),
        ("description", ["x"], "description", "send a string"),
        ("keywords", "one", "keywords", "send an array; each item is a string of 1 character or more"),
        ("keywords", ["one", ""], "keywords[1]", "send an array; each item is a string of 1 character or more"),
        ("keywords", [2], "keywords[0]", "send an array; each item is a string of 1 character or more"),
        ("unheard_of", 1, "unheard_of", "leave it out; send display_name, description, keywords"),
        ("x" * 1000, 1, "x" * 64 + "…", "leave it out; send display_name, description, keywords"),
        ("Description", "x", "Description", "leave it out; send display_name, description, keywords"),
    ],
)
def test_a_member_that_cannot_be_is_422_and_the_remedy_says_what_could(
    service: Service, member: str, value: Any, field: str, remedy: str
) -> None:
    answer = service.client.put(TOPIC, json=DRAFT | {member: value}, headers=service.editor)
    assert blamed(answer) == (field, remedy)


@pytest.mark.parametrize("member", DRAFT)
def test_a_missing_member_is_422(service: Service, member: str) -> None:
    body = {name: value for name, value in DRAFT.items() if name != member}
    answer = service.client.put(TOPIC, json=body, headers=service.editor)
    assert blamed(answer)[0] == member
    assert answer.json()["errors"][0]["reason"] == "is missing"


@pytest.mark.parametrize(
    ("member", "value", "remedy"),
    [
        ("title", "", "send a string of 1 character or more"),
        ("image_url", None, "send a string, or leave it out"),
        ("cover_art_prompt", 5, "send a string, or leave it out"),
    ],
)
def test_a_snippet_s_members_are_checked_alike(service: Service, member: str, value: Any, remedy: str) -> None:
    body = {"topic_id": "tech_ai_ethics", "title": "Title", "text_content": "Text", member: value}
    answer = service.client.post(f"{API}/snippets", json=body, headers=service.editor)
    assert blamed(answer) == (member, remedy)


def test_a_body_of_ten_megabytes_is_413(service: Service) -> None:
    assert "1 MiB" in problem(put(service, b"x" * 10_000_000), 413, "too-large")["detail"]


def test_a_long_body_is_413_before_it_has_been_sent(service: Service) -> None:
    at = urlsplit(service.url)
    with socket.create_connection((at.hostname, at.port), timeout=10) as connection:
        head = f"PUT {TOPIC} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: 10000000\r\n\r\n"
        connection.sendall(head.encode())
        assert connection.recv(1000).startswith(b"HTTP/1.1 413 ")


def test_a_long_body_of_unknown_length_is_413(service: Service) -> None:
    problem(put(service, iter([b"x" * 65_536] * 160)), 413, "too-large")


@pytest.mark.parametrize("more", [0, 1])
def test_a_body_of_just_one_mebibyte_is_read(service: Service, more: int) -> None:
    answer = put(service, b" " * (MEBIBYTE + more - 4) + b"null")
    problem(answer, *((413, "too-large") if more else (422, "invalid-input")))


# The document ----------------------------------------------------------------------------------


def test_a_problem_s_type_can_be_looked_up(service: Service) -> None:
    kind = service.client.get("/nobody").json()["type"]
    answer = service.client.get(kind)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/plain; charset=utf-8")
    assert answer.text.startswith("404 ")


def test_a_host_that_is_none_is_400(service: Service) -> None:
    answer = service.client.get("/health/live", headers={"Host": "not a host"})
    assert (answer.status_code, answer.json()["type"]) == (400, "/problems/bad-request")
