"""`/podcasts` over HTTP: asked for once, then polled, waited for and followed until the end."""

from __future__ import annotations

import asyncio
import json
import signal
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import pytest

from greenroom.errors import MissingExtra
from greenroom_platform.domain.task_records import Claim
from greenroom_platform.http.app import create_app
from greenroom_platform.http.routes.podcasts import LONGEST_WAIT, PER_ADDRESS
from greenroom_platform.http.settings import Settings
from greenroom_platform.platform import Platform, open_platform
from tests.support.counted_tasks import STEPS
from tests.support.problem_checks import blamed, problem
from tests.support.real_servers import Server
from tests.support.running_service import API, KEPT, NO_TLS, TOKEN, Serve, Service, running
from tests.support.status_followers import events, listener, long_poller, poller

TOPIC = "for_podcasts"
DRAFT = {"display_name": "Podcasts", "description": "A topic of a test.", "keywords": []}
FLAGS = "--sample", "off", "--work", "off", "--trusted-proxies", "127.0.0.1"
GENERATE = f"{API}/podcasts/generate"
_addresses = (f"203.0.{number // 250}.{number % 250 + 1}" for number in count())


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One for all tests, behind a proxy that says who the client is; the tests themselves are its worker."""
    service = Service(
        tmp_path_factory.mktemp("serve"), *FLAGS, env={"GREENROOM_EDITOR_TOKEN": TOKEN}, hurried=False
    ).start()
    for topic_id in (TOPIC, f"{TOPIC}_too"):
        service.client.put(f"{API}/topics/{topic_id}", json=DRAFT, headers=service.editor).raise_for_status()
    yield service
    service.stop()


@pytest.fixture
async def platform(service: Service) -> AsyncIterator[Platform]:
    """Another process of the same platform: where the worker is."""
    async with open_platform(data_dir=service.data_dir) as platform:
        while (claim := await platform.tasks.claim("cleaner")) is not None:
            await platform.tasks.fail(claim, "Left by another test.")
        yield platform


@pytest.fixture
def address() -> str:
    """A client address of this test alone."""
    return next(_addresses)


Asks = Callable[..., httpx.Response]


@pytest.fixture
def ask(service: Service, address: str) -> Asks:
    """Asks for a podcast."""

    def asked(topic_id: str = TOPIC, *, key: str | None = None, at: Service = service, **others: Any) -> httpx.Response:
        headers = {"X-Forwarded-For": address} | ({} if key is None else {"Idempotency-Key": key})
        return at.client.post(GENERATE, **({"json": {"topic_id": topic_id}, "headers": headers} | others))

    return asked


async def begun(ask: Asks, platform: Platform) -> tuple[str, Claim]:
    """The status URL of a podcast asked for over HTTP, and a worker's claim on it."""
    answer = await asyncio.to_thread(ask)
    claim = await platform.tasks.claim("worker")
    assert claim is not None
    assert claim.podcast_id == answer.json()["podcast_id"]
    return answer.json()["status_url"], claim


# Asking ----------------------------------------------------------------------------------------------


def test_an_accepted_podcast_is_queued_and_says_where_to_look(service: Service, ask: Asks) -> None:
    answer = ask()
    assert answer.status_code == 202
    body = answer.json()
    podcast_id = body["podcast_id"]
    path = f"{API}/podcasts/{podcast_id}"
    assert body == {
        "podcast_id": podcast_id,
        "status": "queued",
        "status_url": f"{path}/status",
        "stream_url": f"{path}/stream",
    }
    assert len(podcast_id) == 32
    assert answer.headers["location"] == f"{path}/status"
    status = service.client.get(body["status_url"])
    assert status.json() == {"podcast_id": podcast_id, "status": "queued"}
    assert ask().json()["podcast_id"] != podcast_id


def test_what_cannot_be_asked_for_is_refused_with_a_remedy(ask: Asks) -> None:
    problem(ask("unknown"), 404, "not-found")
    assert blamed(ask("a:b"))[0] == "topic_id"
    assert blamed(ask(json={}))[0] == "topic_id"
    assert blamed(ask(json={"topic_id": TOPIC, "voice": "deep"}))[0] == "voice"
    for key in ("", "a b", "é".encode(), "k" * 256):
        headers = {"Idempotency-Key": key}
        assert blamed(ask(headers=headers)) == (
            "Idempotency-Key",
            "use 1 to 255 visible ASCII characters, no spaces",
        )
    twice = [("Idempotency-Key", "a"), ("Idempotency-Key", "a")]
    assert blamed(ask(headers=twice))[0] == "Idempotency-Key"


async def test_a_key_gives_its_first_answer_again_whatever_became_of_the_podcast(
    ask: Asks, platform: Platform, service: Service
) -> None:
    first = await asyncio.to_thread(ask, key="once")
    claim = await platform.tasks.claim("worker")
    assert claim is not None
    await platform.tasks.fail(claim, "No.")
    again = await asyncio.to_thread(ask, key="once")
    assert (again.status_code, again.json()) == (202, first.json())
    assert again.headers["location"] == first.headers["location"]
    assert (await asyncio.to_thread(ask, key="another")).json() != first.json()
    other = {"Idempotency-Key": "once", "X-Forwarded-For": next(_addresses)}
    assert (await asyncio.to_thread(ask, headers=other)).json() != first.json()
    assert blamed(await asyncio.to_thread(ask, f"{TOPIC}_too", key="once"))[0] == "Idempotency-Key"


def test_one_idempotency_key_in_two_processes_makes_one_podcast(service: Service, serve: Serve, ask: Asks) -> None:
    services = [service, serve(*FLAGS, data_dir=service.data_dir)]
    together = threading.Barrier(8)

    def post(number: int) -> httpx.Response:
        together.wait(30)
        return ask(key="together", at=services[number % 2])

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(post, range(8)))
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["podcast_id"] for answer in answers}) == 1


async def test_where_no_voice_is_to_be_had_the_answer_says_what_is_missing(tmp_path: Path) -> None:
    def no_voice() -> None:
        raise MissingExtra("studio", "speaking podcasts")

    app = create_app(Settings(data_dir=tmp_path, editor_token=TOKEN, work=False), voice=no_voice)
    async with running(app) as client:
        body = problem(await client.post(GENERATE, json={"topic_id": TOPIC}), 501, "not-installed")
        # Whoever asks first need not learn it from a refusal.
        assert (await client.get(f"{API}/site")).json() == {"podcasts": False, "session": False, "staff": False}
    assert "pip install 'greenroom[studio]'" in body["detail"]


def test_a_page_learns_whether_to_ask_for_a_session(service: Service) -> None:
    with httpx.Client(base_url=service.url, verify=NO_TLS, limits=KEPT) as browser:
        answer = browser.get(f"{API}/site")
        assert answer.json() == {"podcasts": True, "session": False, "staff": False}
        assert answer.headers["cache-control"] == "no-store"
        assert "set-cookie" not in answer.headers
        browser.patch(f"{API}/session/preferences", json={"playback_speed_default": 2}).raise_for_status()
        assert browser.get(f"{API}/site").json()["session"] is True
        # A cookie of a session that is over is still to be given up, which the page does.
        browser.cookies.set("greenroom", "A" * 43, domain="127.0.0.1", path="/")
        assert browser.get(f"{API}/site").json()["session"] is True


async def test_without_the_server_podcasts_are_accepted_all_the_same(serve: Serve, valkey: Server) -> None:
    service = await asyncio.to_thread(serve, *FLAGS, "--valkey-url", valkey.address)
    service.client.put(f"{API}/topics/{TOPIC}", json=DRAFT, headers=service.editor).raise_for_status()
    valkey.kill()
    answer = await asyncio.to_thread(service.client.post, GENERATE, json={"topic_id": TOPIC})
    assert answer.status_code == 202
    status = await asyncio.to_thread(service.client.get, answer.json()["status_url"])
    assert status.json()["status"] == "queued"
    assert status.headers["cache-status"] == "greenroom; fwd=bypass; detail=engine-down"


def test_an_address_asks_only_so_often_and_others_are_not_held_up(ask: Asks) -> None:
    for _ in range(PER_ADDRESS.most):
        assert ask("unknown").status_code == 404
    refused = ask()
    problem(refused, 429, "too-many-requests")
    assert 0 < int(refused.headers["retry-after"]) <= PER_ADDRESS.window.total_seconds()
    assert ask(headers={"X-Forwarded-For": next(_addresses)}).status_code == 202


async def test_metrics_tell_the_queue_s_length_and_how_long_its_oldest_waits(
    service: Service, ask: Asks, platform: Platform
) -> None:
    def queue() -> dict[str, float]:
        lines = service.client.get("/metrics").text.splitlines()
        return {name: float(value) for name, value in (line.split(" ") for line in lines if "_queue_" in line[:30])}

    assert queue() == {"greenroom_podcast_queue_length": 0, "greenroom_podcast_queue_oldest_seconds": 0}
    for _ in range(2):
        assert ask().status_code == 202
    told = queue()
    assert told["greenroom_podcast_queue_length"] == 2
    assert 0 < told["greenroom_podcast_queue_oldest_seconds"] < 600
    while (claim := await platform.tasks.claim("w")) is not None:
        await platform.tasks.fail(claim, "No.")
    assert queue() == {"greenroom_podcast_queue_length": 0, "greenroom_podcast_queue_oldest_seconds": 0}


async def test_a_full_queue_is_503_until_there_is_room(ask: Asks, platform: Platform) -> None:
    for _ in range(100):
        await platform.generation.request(TOPIC)
    for _ in range(PER_ADDRESS.most + 1):  # what is refused with 503 is not counted
        refused = await asyncio.to_thread(ask, key="full")
    problem(refused, 503, "queue-full")
    assert int(refused.headers["retry-after"]) > 0
    while (claim := await platform.tasks.claim("worker")) is not None:
        await platform.tasks.fail(claim, "No.")
    assert (await asyncio.to_thread(ask, key="full")).status_code == 202


# Polling ---------------------------------------------------------------------------------------------


async def test_a_poll_is_a_cached_read_that_says_when_to_come_again(
    service: Service, ask: Asks, platform: Platform
) -> None:
    url, claim = await begun(ask, platform)
    first = await asyncio.to_thread(service.client.get, url)
    assert first.headers["cache-control"] == "public, no-cache"
    assert first.headers["cache-status"] == "greenroom; fwd=miss; stored"
    assert 1 <= int(first.headers["retry-after"]) <= 5
    held = {"If-None-Match": first.headers["etag"]}
    for _ in range(2):
        second = await asyncio.to_thread(service.client.get, url, headers=held)
        assert (second.status_code, second.headers["etag"]) == (304, first.headers["etag"])
        assert "hit" in second.headers["cache-status"]
        assert "retry-after" in second.headers
    await platform.tasks.advance(claim, "ready_to_stream")
    last = await asyncio.to_thread(service.client.get, url, headers=held)
    assert last.json() == {"podcast_id": claim.podcast_id, "status": "ready_to_stream"}
    assert "retry-after" not in last.headers


def test_an_unknown_podcast_is_404_and_an_id_that_cannot_be_is_422(service: Service) -> None:
    for call in ("status", f"status?wait={LONGEST_WAIT}", "events"):
        problem(service.client.get(f"{API}/podcasts/unknown/{call}"), 404, "not-found")
        assert blamed(service.client.get(f"{API}/podcasts/a%3Ab/{call}"))[0] == "podcast_id"


@pytest.mark.parametrize("wait", ["-1", "31", "a", "", "1.5"])
def test_a_wait_that_cannot_be_is_422(service: Service, wait: str) -> None:
    assert blamed(service.client.get(f"{API}/podcasts/p/status", params={"wait": wait})) == (
        "wait",
        "send a whole number from 0 to 30",
    )


async def test_a_long_poll_answers_at_once_if_news_else_at_the_first_change(
    service: Service, ask: Asks, platform: Platform
) -> None:
    url, claim = await begun(ask, platform)
    async with httpx.AsyncClient(base_url=service.url, timeout=LONGEST_WAIT - 1, verify=NO_TLS, limits=KEPT) as client:
        first = await client.get(url, params={"wait": LONGEST_WAIT})
        held = {"If-None-Match": first.headers["etag"]}
        assert (await client.get(url, params={"wait": 1}, headers=held)).status_code == 304
        waiting = asyncio.create_task(client.get(url, params={"wait": LONGEST_WAIT}, headers=held))
        await platform.tasks.advance(claim, "audio_rendering")
        changed = await waiting
        assert (changed.status_code, changed.json()["status"]) == (200, "audio_rendering")
        # What was held before is not what is current: no wait.
        assert (await client.get(url, params={"wait": LONGEST_WAIT}, headers=held)).status_code == 200
        await platform.tasks.fail(claim, "It failed.")
        last = await client.get(url)
        held = {"If-None-Match": last.headers["etag"]}
        # Nothing will follow an end: no wait either.
        assert (await client.get(url, params={"wait": LONGEST_WAIT}, headers=held)).status_code == 304


# All at once -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("flushed", [False, True], ids=["", "flushed"])
async def test_all_who_follow_see_each_status_in_order(
    service: Service, ask: Asks, platform: Platform, flushed: bool
) -> None:
    url, claim = await begun(ask, platform)
    seen: dict[str, list[str]] = {"poller": [], "long poller": [], "listener": [], "library": []}

    async def follow() -> None:
        async for one in platform.statuses.follow(claim.podcast_id):
            seen["library"].append(one.status)

    async with httpx.AsyncClient(base_url=service.url, timeout=30, verify=NO_TLS, limits=KEPT) as client:
        tasks = [
            asyncio.create_task(poller(client, url, seen["poller"])),
            asyncio.create_task(long_poller(client, url, seen["long poller"])),
            asyncio.create_task(listener(client, url, seen["listener"])),
            asyncio.create_task(follow()),
        ]
        raw = service.raw()
        for status in STEPS:
            if status != "queued":
                await platform.tasks.advance(claim, status)
            async with asyncio.timeout(20):
                while not all(status in one for one in seen.values()):
                    await asyncio.sleep(0.001)
            if flushed:
                raw("FLUSHALL")
        await asyncio.gather(*tasks)
    for who, statuses in seen.items():
        assert list(dict.fromkeys(statuses)) == list(STEPS), who
        assert statuses == sorted(statuses, key=STEPS.index), who
    assert seen["long poller"] == seen["listener"] == seen["library"] == list(STEPS)


# The event stream ------------------------------------------------------------------------------------


async def test_a_returning_follower_hears_only_news_and_nothing_after_the_end(
    service: Service, ask: Asks, platform: Platform
) -> None:
    url, claim = await begun(ask, platform)
    async with httpx.AsyncClient(base_url=service.url, timeout=30, verify=NO_TLS, limits=KEPT) as client:
        first = events(client, url)
        _, data, mark = await anext(first)
        assert json.loads(data) == {"podcast_id": claim.podcast_id, "status": "queued"}
        await first.aclose()  # type: ignore[attr-defined]
        back = events(client, url, mark)
        coming = asyncio.ensure_future(anext(back))
        await platform.tasks.fail(claim, "There is nothing to tell.")
        _, data, mark = await coming
        assert json.loads(data) == {
            "podcast_id": claim.podcast_id,
            "status": "error",
            "error_message": "There is nothing to tell.",
        }
        assert [one async for one in back] == []
        events_url = url.replace("/status", "/events")
        assert (await client.get(events_url, headers={"Last-Event-ID": mark})).status_code == 204
        assert [json.loads(data)["status"] async for _, data, _ in events(client, url, "of another")] == ["error"]


def test_the_head_of_a_stream_is_answered_at_once(service: Service, ask: Asks) -> None:
    answer = service.client.head(ask().json()["status_url"].replace("/status", "/events"))
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert service.client.get("/health/live").status_code == 200  # on the same connection


async def test_a_drain_ends_streams_and_waits_and_is_not_held_up(serve: Serve) -> None:
    # Without a worker: of a topic without snippets it makes an error within a second, and who waits is answered then.
    service = await asyncio.to_thread(serve, "--sample", "off", "--work", "off")
    service.client.put(f"{API}/topics/{TOPIC}", json=DRAFT, headers=service.editor).raise_for_status()
    url = service.client.post(GENERATE, json={"topic_id": TOPIC}).json()["status_url"]
    address = httpx.URL(service.url)
    async with httpx.AsyncClient(base_url=service.url, timeout=60, verify=NO_TLS, limits=KEPT) as client:
        known = (await client.get(url)).headers["etag"]
        answer, request = await asyncio.open_connection(address.host, address.port)
        request.write(
            f"GET {url}?wait={LONGEST_WAIT} HTTP/1.1\r\nHost: {address.netloc.decode()}\r\n"
            f"If-None-Match: {known}\r\nExpect: 100-continue\r\n\r\n".encode()
        )
        # It waits. Prevents: the request is on its way · the service ends · a connection without a request is closed.
        assert (await answer.readline()).startswith(b"HTTP/1.1 100 ")
        stream = events(client, url)
        await anext(stream)
        stopping = asyncio.create_task(asyncio.to_thread(service.stop, signal.SIGTERM))
        assert [one async for one in stream] == []  # a stream that is cut off raises
        assert (await answer.read()).startswith(b"\r\nHTTP/1.1 304 ")
        request.close()
        assert await stopping == 0
    assert "Cancel" not in service.output()
