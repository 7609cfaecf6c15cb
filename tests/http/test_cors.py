"""Cross-origin requests: the allowed origins get what browsers ask for, and nobody else gets anything."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from tests.support.described_answers import Description
from tests.support.problem_checks import problem
from tests.support.running_service import API, TOKEN, Service

ALLOWED = "https://listen.example"
OTHERS = [
    "https://evil.example",
    "https://listen.example.evil.example",
    "http://listen.example",
    "null",
    f"{ALLOWED}:8443",
]
TOPIC = f"{API}/topics/tech_ai_ethics"


@pytest.fixture(scope="module")
def open_to_two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service that two origins may call."""
    flags = ("--allowed-origins", f"{ALLOWED}, http://localhost:3000")
    service = Service(tmp_path_factory.mktemp("cors"), *flags, env={"GREENROOM_EDITOR_TOKEN": TOKEN}).start()
    yield service
    service.stop()


def granted(answer: httpx.Response) -> dict[str, str]:
    return {name: value for name, value in answer.headers.items() if name.startswith("access-control-")}


def preflight(service: Service, origin: str, path: str = TOPIC) -> httpx.Response:
    asked = {"Access-Control-Request-Method": "PUT", "Access-Control-Request-Headers": "authorization,content-type"}
    return service.client.options(path, headers={"Origin": origin} | asked)


def names(text: str) -> set[str]:
    return {name.strip().lower() for name in text.split(",")}


@pytest.mark.parametrize("origin", [ALLOWED, "http://localhost:3000"])
def test_an_allowed_origin_may_read_the_answer_and_its_headers(open_to_two: Service, origin: str) -> None:
    answer = open_to_two.client.get(TOPIC, headers={"Origin": origin})
    assert answer.status_code == 200
    found = granted(answer)
    exposed = names(found.pop("access-control-expose-headers"))
    assert exposed >= {"etag", "link", "location", "cache-status", "retry-after", "x-request-id"}
    assert exposed >= {name.lower() for name in Description(open_to_two).document["components"]["headers"]}
    assert found == {"access-control-allow-origin": origin, "access-control-allow-credentials": "true"}


def test_an_allowed_origin_may_read_problems_and_304_too(open_to_two: Service) -> None:
    missing = open_to_two.client.get(f"{API}/topics/nobody", headers={"Origin": ALLOWED})
    problem(missing, 404, "not-found")
    headers = {"Origin": ALLOWED, "If-None-Match": "*"}
    unchanged = open_to_two.client.get(TOPIC, headers=headers)
    assert unchanged.status_code == 304
    for answer in (missing, unchanged):
        assert granted(answer)["access-control-allow-origin"] == ALLOWED


@pytest.mark.parametrize("path", [TOPIC, f"{API}/snippets", f"{API}/nobody"])
def test_a_preflight_of_an_allowed_origin_is_granted(open_to_two: Service, path: str) -> None:
    answer = preflight(open_to_two, ALLOWED, path)
    assert (answer.status_code, answer.content) == (204, b"")
    found = granted(answer)
    assert found["access-control-allow-origin"] == ALLOWED
    assert found["access-control-allow-credentials"] == "true"
    assert names(found["access-control-allow-methods"]) == {"get", "head", "post", "put", "patch", "delete"}
    taken = {name.lower() for name in Description(open_to_two).document["components"]["parameters"]}
    assert names(found["access-control-allow-headers"]) >= {"authorization", "content-type", *taken}
    assert "x-request-id" in answer.headers


@pytest.mark.parametrize("origin", OTHERS)
def test_another_origin_gets_nothing(open_to_two: Service, origin: str) -> None:
    read = open_to_two.client.get(TOPIC, headers={"Origin": origin})
    assert read.status_code == 200
    for answer in (read, preflight(open_to_two, origin)):
        assert granted(answer) == {}


def test_what_depends_on_the_origin_says_so_to_caches(open_to_two: Service) -> None:
    for headers in ({}, {"Origin": ALLOWED}, {"Origin": OTHERS[0]}):
        assert open_to_two.client.get(TOPIC, headers=headers).headers["vary"] == "Origin"


def test_an_options_request_that_is_no_preflight_is_answered_as_ever(open_to_two: Service) -> None:
    answer = open_to_two.client.options(TOPIC, headers={"Origin": ALLOWED})
    assert answer.headers["allow"] == "DELETE, GET, HEAD, OPTIONS, PUT"


@pytest.mark.parametrize("origin", [ALLOWED, *OTHERS])
def test_without_allowed_origins_nobody_gets_anything(service: Service, origin: str) -> None:
    for answer in (service.client.get(TOPIC, headers={"Origin": origin}), preflight(service, origin)):
        assert granted(answer) == {}
        assert "vary" not in answer.headers
