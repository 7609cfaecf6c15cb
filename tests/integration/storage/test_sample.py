"""The packaged sample: enough to read, in the documented form, without duplicates."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from importlib.resources import files

import msgspec
import pytest

from greenroom.keyspace.parts import check_part
from greenroom_platform.definitions import PAGE_SIZE
from greenroom_platform.models import Snippet, Topic
from greenroom_platform.storage import SqliteRecords, load_sample, open_records

FIRST_RELEASE = datetime(2026, 11, 1, tzinfo=UTC)


def _lines() -> list[bytes]:
    folder = files("greenroom_platform.storage").joinpath("sample")
    return [line for file in folder.iterdir() for line in file.read_bytes().splitlines()]


@pytest.fixture(scope="module")
def topics() -> list[Topic]:
    return [msgspec.json.decode(line, type=Topic) for line in _lines() if b'"snippet_id"' not in line]


@pytest.fixture(scope="module")
def snippets() -> list[Snippet]:
    return [msgspec.json.decode(line, type=Snippet) for line in _lines() if b'"snippet_id"' in line]


def test_there_is_enough_to_read(topics: list[Topic], snippets: list[Snippet]) -> None:
    assert len(topics) >= 12
    assert len(snippets) >= 360
    per_topic = Counter(snippet.topic_id for snippet in snippets)
    assert set(per_topic) == {topic.topic_id for topic in topics}
    assert min(per_topic.values()) > PAGE_SIZE, "every topic has a second page"


def test_nothing_is_there_twice(topics: list[Topic], snippets: list[Snippet]) -> None:
    for values in (
        [topic.topic_id for topic in topics],
        [topic.display_name for topic in topics],
        [snippet.snippet_id for snippet in snippets],
        [snippet.title for snippet in snippets],
        [snippet.text_content for snippet in snippets],
        [snippet.text_content.split(".")[0] for snippet in snippets],
        [" ".join(snippet.text_content.split()[:5]) for snippet in snippets],
    ):
        assert [value for value, count in Counter(values).items() if count > 1] == []


def test_every_text_is_a_few_sentences(snippets: list[Snippet]) -> None:
    for snippet in snippets:
        assert 50 <= len(snippet.text_content.split()) <= 100, snippet.snippet_id
        assert snippet.text_content.count(".") >= 2, snippet.snippet_id
        assert "lorem" not in snippet.text_content.lower()


def test_every_id_fits_a_key_and_every_time_is_past(topics: list[Topic], snippets: list[Snippet]) -> None:
    for topic in topics:
        check_part("topic_id", topic.topic_id)
        assert topic.created_at <= topic.updated_at < FIRST_RELEASE
    for snippet in snippets:
        check_part("snippet_id", snippet.snippet_id)
        assert snippet.generation_timestamp < FIRST_RELEASE


async def test_it_loads_whole_and_twice_is_once(tmp_path: object) -> None:
    records = await open_records(f"sqlite:{tmp_path}/sample.sqlite3")
    assert isinstance(records, SqliteRecords)
    try:
        loaded = await load_sample(records)
        assert loaded.bad == 0
        assert (loaded.topics, loaded.snippets) == (len(await records.topics()), loaded.lines - loaded.topics)
        assert (await load_sample(records)).changes == 0
    finally:
        await records.close()
