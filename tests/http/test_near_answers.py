"""Near hits that are answered before sessions and router: the same answers to the byte, and no staler by a moment."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from greenroom_platform.http.near_answers import NOT_PLAIN
from tests.support.both_ways import BothWays, Exchange, both_ways, edit, request_of
from tests.support.patience import be_patient
from tests.support.running_service import API
from tests.support.stream_listeners import TOPIC

ALLOWED = "https://listen.example"
SNIPPET = {"topic_id": TOPIC, "title": "A title", "text_content": "Some text."}


@pytest.fixture
async def ways(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[BothWays]:
    """A service with 21 snippets in one topic."""
    be_patient(monkeypatch)
    async with both_ways(tmp_path, monkeypatch, allowed_origins=ALLOWED) as ways:
        for _ in range(21):
            await edit(ways, "POST", "/snippets", json.dumps(SNIPPET).encode())
        yield ways


async def resources(ways: BothWays) -> list[str]:
    """An address of everything that is cached, with the podcast that could not be made."""
    pages = json.loads((await ways.get(f"{API}/snippets?topic_id={TOPIC}")).body)
    ended = await ways.service.studio.failed("No voice.")
    return [
        f"{API}/snippets?topic_id={TOPIC}&page=1",
        f"{API}/snippets?topic_id={TOPIC}&page=2",
        f"{API}/snippets/{pages[0]['snippet_id']}",
        f"{API}/topics",
        f"{API}/topics/{TOPIC}",
        f"{API}/podcasts/{ended}/status",
    ]


# The same answers --------------------------------------------------------------------------------


async def test_every_cached_resource_is_fast_from_the_third_near_hit_on(ways: BothWays) -> None:
    for path in await resources(ways):
        async with asyncio.timeout(30):
            while not (await ways.get(path)).is_near:
                pass
        answers = [await ways.get(path) for _ in range(3)]
        assert [one.fast for one in answers] == [False, True, True]
        assert all(one.noted == answers[0].noted and one.status == 200 and one.is_near for one in answers)


NAMES = ["topic_id", "page", "unknown", "topic%5Fid", "wait"]
VALUES = [TOPIC, "1", "2", "01", "+1", "%31", "", "99", "x", "nobody", TOPIC.replace("_", "%5F")]
PARAMETERS = st.tuples(st.sampled_from(NAMES), st.sampled_from(VALUES))
QUERIES = st.one_of(
    st.sampled_from(
        [
            *("", "?", f"?topic_id={TOPIC}", f"?topic_id={TOPIC}&page=1", f"?page=1&topic_id={TOPIC}"),
            *(f"?topic_id={TOPIC}&page=2", f"?topic_id={TOPIC}&page=3", f"?topic_id={TOPIC}&topic_id={TOPIC}"),
            *(f"?topic_id={TOPIC}&&page=1", f"?topic_id={TOPIC};page=1", f"?topic_id={TOPIC}&page=1&", "?wait=0"),
        ]
    ),
    st.lists(PARAMETERS, max_size=3).map(lambda pairs: "?" + "&".join(f"{name}={text}" for name, text in pairs)),
)
HEADERS = st.lists(
    st.sampled_from(
        [
            *((("If-None-Match", "{tag}"), ("If-None-Match", "W/{tag}"), ("If-None-Match", "*"))),
            *((("If-None-Match", '"a", {tag}'), ("If-None-Match", '"a"'), ("If-None-Match", "{tag"))),
            *((("Origin", ALLOWED), ("Origin", "https://evil.example"), ("Origin", "null"), ("Origin", ""))),
            *((("Sec-Fetch-Site", "cross-site"), ("Cookie", "greenroom=" + "A" * 43), ("Cookie", "a=b; c"))),
            *((("Authorization", "Bearer x"), ("Authorization", "Basic eA=="), ("X-Request-Id", "mine"))),
            *((("X-Request-Id", "not mine"), ("Range", "bytes=0-3"), ("If-Range", "{tag}"), ("If-Match", '"a"'))),
            *((("If-Modified-Since", "Sat, 28 Nov 2026 00:00:00 GMT"), ("Accept", "text/html"), ("Accept", "*/*"))),
            *((("Accept-Encoding", "gzip"), ("Content-Length", "0"), ("Connection", "close"), ("Expect", "x"))),
            *((("Host", "localhost:8000"), ("Content-Type", "text/plain"), ("X-Unknown", "\xe9"), ("Via", "1.1 a"))),
            *((("X-HTTP-Method-Override", "DELETE"), ("Cache-Control", "no-cache"), ("X-Forwarded-For", "1.2.3.4"))),
        ]
    ),
    max_size=4,
)
METHODS = st.sampled_from(["GET", "GET", "GET", "HEAD", "HEAD", "OPTIONS", "DELETE", "POST", "TRACE"])
Spell = Callable[[str], str]
SPELLINGS: list[Spell] = [
    *(lambda path: path, lambda path: path, lambda path: path),
    lambda path: path + "/",
    lambda path: path.replace("/topics", "/%74opics"),
    lambda path: path.replace("/", "//", 1),
    lambda path: path.upper(),
]


class Compared:
    """What was compared so far, printed at the end of the run."""

    def __init__(self, node: pytest.Item) -> None:
        self._node = node
        self.paths: list[str] = []
        self.requests = self.fast = self.unchanged = 0

    def add(self, exchange: Exchange) -> None:
        self.requests += 1
        self.fast += exchange.fast
        self.unchanged += exchange.fast and exchange.status == 304
        told = f"{self.requests} requests compared both ways, {self.fast} fast, of them {self.unchanged} with 304"
        self._node.user_properties[:] = [("figure", told)]


@pytest.fixture
def compared(request: pytest.FixtureRequest) -> Iterator[Compared]:
    compared = Compared(request.node)
    yield compared
    assert compared.fast > compared.requests / 10
    assert compared.unchanged


@settings(max_examples=400, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 5), st.sampled_from(SPELLINGS), QUERIES, METHODS, HEADERS)
async def test_both_ways_give_the_same_answers_to_the_byte(
    ways: BothWays,
    compared: Compared,
    resource: int,
    spell: Spell,
    query: str,
    method: str,
    headers: list[tuple[str, str]],
) -> None:
    compared.paths = compared.paths or [path.partition("?")[0] for path in await resources(ways)]
    target = spell(compared.paths[resource]) + query
    for _ in range(3):
        plain = await ways.get(target)  # what is cached is near, and known, if it ever will be
    tag = plain.header("etag") or '"none"'
    sent = request_of(method, target, [(name, text.replace("{tag}", tag)) for name, text in headers])
    for _ in range(20):
        with ways.past_the_fast_path():
            slow = await ways.ask(sent)
        other = await ways.ask(sent)
        if slow.header("cache-status") == other.header("cache-status"):
            break  # or the entry has ended between them, or the machine stood still
    assert not slow.fast
    assert other.noted == slow.noted
    compared.add(other)


@pytest.mark.parametrize("header", sorted(NOT_PLAIN))
async def test_a_request_for_more_than_the_whole_goes_to_the_route(ways: BothWays, header: bytes) -> None:
    path = f"{API}/topics/{TOPIC}"
    await ways.warm(path)
    text = "chunked" if header == b"transfer-encoding" else "0"
    body = b"0\r\n\r\n" if header == b"transfer-encoding" else b""
    answer = await ways.ask(request_of("GET", path, [(header.decode(), text)], body))
    assert (answer.fast, answer.status) == (False, 200)
    await ways.warm(path)


async def test_a_fast_answer_is_a_use_of_the_near_entry(ways: BothWays) -> None:
    path = f"{API}/topics/{TOPIC}"
    await ways.warm(path)
    entry = ways.platform.topics.one._near._entries[f"cache:topic:{TOPIC}"]
    entry.frequency = 0
    answer = await ways.get(path)
    assert not answer.fast or entry.frequency == 1


async def test_an_empty_page_is_never_remembered(ways: BothWays) -> None:
    path = f"{API}/snippets?topic_id={TOPIC}&page=3"
    answers = [await ways.get(path) for _ in range(6)]
    assert [(one.status, one.body, one.fast) for one in answers] == [(200, b"[]", False)] * 6


async def test_a_podcast_that_is_being_made_is_never_remembered(ways: BothWays) -> None:
    claim = await ways.service.studio.claimed()
    path = f"{API}/podcasts/{claim.podcast_id}/status"
    answers = [await ways.get(path) for _ in range(6)]
    assert [(one.status, one.fast) for one in answers] == [(200, False)] * 6
    assert all(one.header("retry-after") for one in answers)
