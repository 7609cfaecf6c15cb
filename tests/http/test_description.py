"""The description of the API, held against the answers of a running service: it says what is true, and all of it."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from litestar import Litestar

from greenroom_platform.http import description, docs_pages
from greenroom_platform.http.app import create_app
from greenroom_platform.http.auth import WRONG_TOKENS
from greenroom_platform.http.routes.podcasts import PER_ADDRESS
from greenroom_platform.http.settings import Settings
from tests.support.described_answers import OF_EVERY_ANSWER, Description, Operation
from tests.support.described_calls import use_page_calls, use_staff_calls
from tests.support.description_driver import BODIES, CONTROL, SNIPPET, TOPIC, Driver
from tests.support.people import PASSWORD, people_of
from tests.support.problem_checks import problem
from tests.support.running_service import API, KEPT, NO_TLS, TOKEN, Service, running
from tests.support.stream_listeners import Studio, tones

STREAMS = 1
LOOKS = "token-of-who-may-look-in-tests"
ELSEWHERE = "203.0.113.7", "203.0.113.8"
"""Addresses from which a proxy that is trusted forwards."""
UNDRIVEN: dict[int, set[Operation] | None] = {
    # An outage, an end of the service, or a queue that is full.
    503: None,
    # An installation without its voices, or a record that keeps no log.
    501: None,
    409: {("PUT", f"{API}/session/password")},
    # Bounds of hundreds in minutes.
    429: {
        *(("GET", path) for path in (f"{API}/search", f"{API}/podcasts", "/feeds/{name}")),
        *(("POST", f"{API}/history"), ("POST", f"{API}/history/feed"), ("DELETE", f"{API}/history/feed")),
        *((method, f"{API}/history/{{podcast_id}}") for method in ("PUT", "DELETE")),
    },
    # It takes 32 MiB, or is broken off.
    413: {("POST", f"{API}/load")},
    400: {("POST", f"{API}/load")},
    # It is pushed for 15 minutes.
    200: {("GET", f"{API}/control/events")},
}
"""What is described and not seen here, by status: in these operations, or in all."""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One behind a trusted proxy, whose bounds are reached soon; the tests are its worker."""
    bounds = {"SIGNUPS_PER_HOUR": "6", "SESSIONS_PER_MINUTE": "4", "STREAMS_PER_ADDRESS": str(STREAMS), "WORK": "off"}
    tokens = {"EDITOR_TOKEN": TOKEN, "CONTROL_TOKEN": LOOKS}
    env = {f"GREENROOM_{name}": value for name, value in (bounds | tokens).items()}
    flags = "--trusted-proxies", "127.0.0.1"
    service = Service(tmp_path_factory.mktemp("serve"), *flags, env=env).start()
    yield service
    service.stop()


# docs/decisions/0109-the-description-is-read-from-the-handlers.md
async def test_the_description_says_what_is_true_and_all_of_it(service: Service, studio: Studio) -> None:
    description = Description(service)
    driver = Driver(service, description)
    with people_of(service) as people, ExitStack() as stack:
        other = stack.enter_context(httpx.Client(base_url=service.url, timeout=15, verify=NO_TLS, limits=KEPT))
        person = people("described").sign_up()
        driver.credentials["session"] = person.log_in(token=True).json()["token"]
        _refuse(driver)
        _read(driver)
        _write(driver)
        _use_sessions(driver, other)
        await _make_podcasts(driver, studio)
        await use_staff_calls(driver, studio, "described")
        await _use_page(driver, studio, other)
        _reach_bounds(driver, other)
    assert description.seen.keys() == description.operations.keys()
    missing = {
        (*operation, status)
        for operation, seen in description.seen.items()
        for status in description.responses(operation).keys() - seen
        if status not in UNDRIVEN or (UNDRIVEN[status] is not None and operation not in _of(status))
    }
    assert missing == set()
    _hold_headers(description)


def _refuse(driver: Driver) -> None:
    """What is refused before the route is asked, of every operation that describes it."""
    description = driver.description
    for operation, said in description.operations.items():
        described, takes = description.responses(operation), description.takes(operation)
        security = said["security"]
        needs_session = any("session" in one for one in security)
        if 401 in described and security and {} not in security:
            refused = driver.send(operation, status=401, headers={"Authorization": ""})
            assert "www-authenticate" in refused.headers
        if needs_session and {} in security:
            driver.send(operation, status=401, headers={"Authorization": f"Bearer {'A' * 43}"})
        if 403 in described:
            driver.send(operation, status=403, headers=_forbidden(operation, needs_session))
        if 400 in described and operation not in _of(400):
            driver.send(operation, status=400, content=b"{")
        if 413 in described and operation not in _of(413):
            driver.send(operation, status=413, content=b" " * (1024 * 1024 + 1))
        if operation in BODIES:
            driver.send(operation, status=422, ids={"snippet_id": SNIPPET}, json={"no_such_member": 1})
        elif 422 in described:
            bad = dict.fromkeys(("topic_id", "snippet_id", "podcast_id", "change"), "a%20b") | {"keyspace": "topic"}
            numbers = {"page": "0", "wait": "-1", "limit": "0", "dry_run": "perhaps"}
            query = "?" + "&".join(f"{name}={value}" for name, value in numbers.items() if name in takes)
            driver.send(operation, status=422, ids=bad, query=query)
        if "{" in operation[1] and 404 in described:
            driver.send(operation, status=404)


def _of(status: int) -> set[Operation]:
    """The operations in which a status is not seen here."""
    return UNDRIVEN[status] or set()


def _forbidden(operation: Operation, needs_session: bool) -> dict[str, str]:
    """Headers with which it is not allowed: of another origin, over a line without TLS, or of who may only look."""
    if operation[0] != "GET":
        return {"Origin": "https://elsewhere.example"}
    return {"X-Forwarded-For": ELSEWHERE[0]} if needs_session else {"Authorization": f"Bearer {LOOKS}"}


def _read(driver: Driver) -> None:
    """All cached reads, whole and unchanged."""
    known = {"topic_id": TOPIC, "snippet_id": SNIPPET}
    for path in ("topics", "topics/{topic_id}", "snippets", "snippets/{snippet_id}"):
        operation = "GET", f"{API}/{path}"
        query = f"?topic_id={TOPIC}" if path == "snippets" else ""
        whole = driver.send(operation, status=200, ids=known, query=query)
        driver.send(operation, status=304, ids=known, query=query, headers={"If-None-Match": whole.headers["etag"]})
    driver.send(("GET", f"{API}/snippets"), status=404, query="?topic_id=nobody")
    for path in ("/health/live", "/health/ready", "/metrics", f"{API}/activity"):
        driver.send(("GET", path), status=200)
    driver.send(("GET", "/problems/{slug}"), status=200, ids={"slug": "not-found"})


def _write(driver: Driver) -> None:
    """What editors do, with and without conditions."""
    topic, snippet = f"{API}/topics/{{topic_id}}", f"{API}/snippets/{{snippet_id}}"
    ids = {"topic_id": "described"}
    driver.send(("PUT", topic), status=201, ids=ids)
    driver.send(("PUT", topic), status=200, ids=ids)
    driver.send(("PUT", topic), status=412, ids=ids, headers={"If-None-Match": "*"})
    member = BODIES["POST", f"{API}/snippets"] | ids
    added = driver.send(("POST", f"{API}/snippets"), status=201, json=member)
    own = {"snippet_id": added.json()["snippet_id"]}
    driver.send(("DELETE", topic), status=409, ids=ids)
    driver.send(("PUT", snippet), status=200, ids=own, json=member)
    condition = {"If-Match": '"another"'}
    for method in "PUT", "DELETE":
        driver.send((method, snippet), status=412, ids=own, headers=condition)
    for page in range(20):
        driver.send(("POST", f"{API}/snippets"), status=201, json=member | {"title": f"Title {page}"})
    full = driver.send(("GET", f"{API}/snippets"), status=200, query="?topic_id=described")
    assert "link" in full.headers
    driver.send(("DELETE", snippet), status=204, ids=own)
    for one in driver.service.client.get(full.request.url).json():
        driver.send(("DELETE", snippet), status=204, ids={"snippet_id": one["snippet_id"]})
    driver.send(("DELETE", topic), status=412, ids=ids, headers=condition)
    driver.send(("DELETE", topic), status=204, ids=ids)


def _use_sessions(driver: Driver, other: httpx.Client) -> None:
    """What listeners do with their sessions."""
    session, log_in = f"{API}/session", ("POST", f"{API}/session/login")
    prefer, password = ("PATCH", f"{session}/preferences"), ("PUT", f"{session}/password")
    driver.send(("GET", session), status=200)
    driver.send(prefer, status=200)
    listed = driver.send(("GET", f"{API}/sessions"), status=200).json()
    driver.send(log_in, status=401, json={"username": "described", "password": "not the right one"})
    another = {"X-Request-Id": "another"}
    token = driver.send(log_in, status=200, client=other, headers=another, json=BODIES[log_in] | {"token": True}).json()
    own = {"handle": listed[0]["handle"]}
    for operation in prefer, password, ("DELETE", f"{API}/sessions/{{handle}}"), ("DELETE", session):
        driver.send(operation, status=412, ids=own, headers={"If-Match": '"another"'})
    driver.credentials["session"] = driver.send(password, status=200).json()["token"]
    driver.send(("GET", session), status=401, headers={"Authorization": f"Bearer {token['token']}"})
    listed = driver.send(("GET", f"{API}/sessions"), status=200).json()
    driver.send(("DELETE", f"{API}/sessions/{{handle}}"), status=204, ids={"handle": listed[0]["handle"]})
    body = {"username": "described", "password": BODIES[password]["new_password"], "token": True}
    for end in ("POST", f"{session}/logout-everywhere"), ("DELETE", session):
        other.cookies.clear()
        driver.credentials["session"] = driver.send(log_in, status=200, client=other, json=body).json()["token"]
        driver.send(end, status=204)
    driver.send(("POST", f"{API}/users"), status=409)
    driver.send(("POST", f"{API}/users"), status=201, json={"username": "described_too", "password": PASSWORD})


async def _make_podcasts(driver: Driver, studio: Studio) -> None:
    """A podcast from the request to the recording."""
    generate, of_podcast = ("POST", f"{API}/podcasts/generate"), f"{API}/podcasts/{{podcast_id}}"
    status, events, audio = (("GET", f"{of_podcast}/{name}") for name in ("status", "events", "audio.webm"))
    once = {"Idempotency-Key": "described"}
    asked = driver.send(generate, status=202, headers=once)
    assert driver.send(generate, status=202, headers=once).json() == asked.json()
    driver.send(generate, status=404, json={"topic_id": "nobody"})
    ids = {"podcast_id": asked.json()["podcast_id"]}
    queued = driver.send(status, status=200, ids=ids)
    assert "retry-after" in queued.headers
    held = {"If-None-Match": queued.headers["etag"]}
    driver.send(status, status=304, ids=ids, headers=held)
    assert "retry-after" in driver.send(audio, status=409, ids=ids).headers
    # One answer waits, and is all that an address may have.
    path = events[1].format(**ids)
    async with (
        httpx.AsyncClient(base_url=driver.service.url, verify=NO_TLS, limits=KEPT) as other,
        other.stream("GET", path) as waiting,
    ):
        coming = waiting.aiter_lines()
        assert (await anext(coming)).startswith("retry:")
        driver.send(status, status=429, ids=ids, query="?wait=30", headers=held)
        driver.send(events, status=429, ids=ids)
        claim = await studio.platform.tasks.claim("by-hand", 600)
        assert claim is not None
        assert claim.podcast_id == ids["podcast_id"]
        await studio.platform.tasks.advance(claim, "audio_rendering")
        recording = await studio.attempt(claim)
        await studio.finish(claim, recording, tones(1))
        lines = [line async for line in coming]
    last = [line.removeprefix("id: ") for line in lines if line.startswith("id: ")][-1]
    driver.send(events, status=204, ids=ids, headers={"Last-Event-ID": last})
    driver.send(events, status=200, ids=ids)
    whole = driver.send(audio, status=200, ids=ids)
    tag = whole.headers["etag"]
    driver.send(audio, status=304, ids=ids, headers={"If-None-Match": tag})
    driver.send(audio, status=206, ids=ids, headers={"Range": "bytes=0-9", "If-Range": tag})
    driver.send(audio, status=416, ids=ids, headers={"Range": "bytes=999999999-"})


async def _use_page(driver: Driver, studio: Studio, other: httpx.Client) -> None:
    """What the page asks for; then the sessions of its user end by an operator, and the user goes."""
    log_in = {"username": "described_too", "password": PASSWORD, "token": True}
    for end in ("POST", f"{CONTROL}/users/{{name}}/sessions/end"), ("DELETE", f"{API}/users/me"):
        other.cookies.clear()
        answer = driver.send(("POST", f"{API}/session/login"), status=200, client=other, json=log_in)
        driver.credentials["session"] = answer.json()["token"]
        if end[0] == "POST":
            await use_page_calls(driver, studio)
        driver.send(end, status=200 if end[0] == "POST" else 204, ids={"name": "described_too"})


def _reach_bounds(driver: Driver, other: httpx.Client) -> None:
    """429, wherever something is bounded."""
    description = driver.description
    # Forwarded over HTTPS: over plain HTTP from elsewhere no session begins.
    begin = {"X-Forwarded-For": ELSEWHERE[1], "X-Forwarded-Proto": "https", "Authorization": ""}
    bounded: list[tuple[Operation, int, dict[str, Any]]] = [
        (("POST", f"{API}/podcasts/generate"), PER_ADDRESS.most, {}),
        (("PATCH", f"{API}/session/preferences"), 4, {}),
    ]
    for operation, most, options in bounded:
        for _ in range(most):
            other.cookies.clear()
            other.request(*operation, headers=begin, json=BODIES[operation])
        other.cookies.clear()
        driver.send(operation, status=429, client=other, headers=begin, **options)
    for number in range(6):
        body = {"username": f"described{number}", "password": PASSWORD}
        other.post(f"{API}/users", json=body, headers=begin)
    driver.send(("POST", f"{API}/users"), status=429, client=other, headers=begin, json=body | {"username": "one_more"})
    new = BODIES["PUT", f"{API}/session/password"]["new_password"]
    other.cookies.clear()
    log_in = f"{API}/session/login"
    right = {"username": "described", "password": new, "token": True}
    driver.credentials["session"] = other.post(log_in, json=right).json()["token"]
    wrong: dict[str, Any] = {"username": "described", "password": "not the right one"}
    while (refused := driver.service.client.post(log_in, json=wrong)).status_code != 429:
        problem(refused, 401, "unauthorized")
    driver.send(("POST", log_in), status=429)
    driver.send(("DELETE", f"{API}/users/me"), status=429)
    driver.send(("PUT", f"{API}/session/password"), status=429)
    guess = {"X-Forwarded-For": ELSEWHERE[0], "Authorization": "Bearer not-the-token-of-editors"}
    for _ in range(WRONG_TOKENS.most):
        driver.service.client.get(f"{API}/activity", headers=guess)
    for operation, described in description.operations.items():
        if any("editor" in scheme for scheme in described["security"]):
            driver.send(operation, status=429, headers=guess)
    driver.send(("POST", f"{API}/staff/session"), status=429, headers=guess | {"X-Forwarded-Proto": "https"})


def _hold_headers(description: Description) -> None:
    """Every header that is described was sent, except of problems, which are described once for all operations."""
    for operation, status in description.sent:
        response = description.operations[operation]["responses"][str(status)]
        for name in response.get("headers", {}):
            sent = description.sent[operation, status]
            assert name.lower() in sent, f"{operation}: {status}: {name} is described and was never sent"


def test_headers_of_the_protocol_are_no_headers_of_the_api() -> None:
    described = {"etag", "link", "location", "retry-after", "cache-control", "cache-status", "x-request-id"}
    assert not described & OF_EVERY_ANSWER


def test_operations_have_short_names_of_their_own_and_a_security(service: Service) -> None:
    operations = Description(service).operations.values()
    names = [operation["operationId"] for operation in operations]
    assert len(set(names)) == len(names)
    assert {"listTopics", "readTopic", "putTopic", "generatePodcast", "readAudio"} <= set(names)
    assert max(map(len, names)) <= 24
    guarded = [one for one in operations if one["security"] and {} not in one["security"]]
    assert all("401" in one["responses"] for one in guarded)


def applications() -> int:
    gc.collect()
    return sum(type(one) is Litestar for one in gc.get_objects())  # `isinstance` would ask lazy objects of others


async def test_it_is_made_once_and_only_when_it_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []

    def of(*args: Any) -> dict[str, Any]:
        described = description_of(*args)
        made.append(1)
        return described

    description_of = description.of
    monkeypatch.setattr(description, "of", of)
    docs_pages._description.cache_clear()
    app = create_app(Settings(data_dir=tmp_path, editor_token=TOKEN, work=False, sample=False))
    async with running(app) as client:
        await client.get("/docs")
        assert not made
        before = applications()
        answers = await asyncio.gather(*(client.get("/docs/openapi.json") for _ in range(4)))
    assert len(made) == 1
    assert len({one.raise_for_status().content for one in answers}) == 1
    assert applications() == before, "the application that it was made of stays"
