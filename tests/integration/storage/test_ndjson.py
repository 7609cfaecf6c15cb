"""Loading NDJSON: the good lines are stored in whatever order they come, and every bad one is told with its place."""

from __future__ import annotations

import io
import json
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from greenroom_platform.domain.records import Change, SnippetImport, TopicImport
from greenroom_platform.models import Snippet, Topic
from greenroom_platform.storage import BadLine, LoadSummary, SqliteRecords, load
from greenroom_platform.storage.ndjson import BATCH
from greenroom_platform.storage.ndjson_lines import LINE_LIMIT
from greenroom_platform.storage.sqlite.database import Database
from greenroom_platform.testing.records_changes import NOON, ids, snippet, topic

MOMENT = "2026-01-02T12:00:00.123456Z"
TOPIC: dict[str, Any] = {
    "topic_id": "a",
    "display_name": "Name",
    "description": "",
    "keywords": [],
    "created_at": MOMENT,
    "updated_at": MOMENT,
}
SNIPPET: dict[str, Any] = {
    "snippet_id": "s",
    "topic_id": "a",
    "title": "Title",
    "text_content": "Text.",
    "generation_timestamp": MOMENT,
}


@pytest.fixture
async def records(tmp_path: Path) -> AsyncIterator[SqliteRecords]:
    records = await SqliteRecords.open(tmp_path / "record.sqlite3")
    yield records
    await records.close()


def line(members: dict[str, Any], **other: Any) -> bytes:
    """One line; a member that is `...` is left out."""
    return (
        json.dumps({name: value for name, value in {**members, **other}.items() if value is not ...}).encode() + b"\n"
    )


def padded(size: int) -> bytes:
    """A good line of a topic, so many bytes long without its end."""
    return line(TOPIC, description="x" * (size - len(line(TOPIC)) + 1))


class Told:
    """What a load did, and the bad lines that it told of."""

    def __init__(self, loaded: LoadSummary, bad: list[BadLine]) -> None:
        self.lines, self.topics, self.snippets, self.changes = (
            loaded.lines,
            loaded.topics,
            loaded.snippets,
            loaded.changes,
        )
        assert loaded.bad == len(bad)
        self.bad = bad


async def loaded(records: SqliteRecords, *sources: bytes, now: datetime | None = None) -> Told:
    """Load sources named 1, 2, …"""
    bad: list[BadLine] = []
    named = [(str(number), io.BytesIO(source)) for number, source in enumerate(sources, 1)]
    return Told(await load(records, named, on_bad=bad.append, now=now), bad)


# Bad lines -------------------------------------------------------------------------------------------

SEE_TOPIC, SEE_SNIPPET = "see the topic in `greenroom load -h`", "see the snippet in `greenroom load -h`"
ONE_OBJECT, UTF_8 = "write one JSON object a line", "write one JSON object a line, in UTF-8"
KEY_PART = "use 1 to 128 characters of A-Z a-z 0-9 . _ ~ -"


@pytest.mark.parametrize(
    ("bad", "field", "reason", "remedy"),
    [
        (b"{'a': 1}\n", "line", "is not JSON: ", UTF_8),
        (line(TOPIC)[:-2] + b"\n", "line", "is not JSON: ", UTF_8),
        (line(TOPIC)[:-1] + line(TOPIC), "line", "is not JSON: ", UTF_8),
        (line(TOPIC).replace(b"Name", b"N\xe4me"), "line", "is not JSON: ", UTF_8),
        (line(TOPIC).replace(b"Name", b"\\ud800"), "line", "is not JSON: ", UTF_8),
        (line(TOPIC).decode().encode("utf-16-le")[:-1], "line", "is not JSON: ", UTF_8),
        (b"[" * 100_000 + b"\n", "line", "is not JSON: ", UTF_8),
        (b"[]\n", "line", "is a JSON array", "`jq -c '.[]'`"),
        (b"[" + line(TOPIC)[:-1] + b", " + line(SNIPPET)[:-1] + b"]\n", "line", "is a JSON array", "`jq -c '.[]'`"),
        (b"null\n", "line", "is not a JSON object", ONE_OBJECT),
        (padded(LINE_LIMIT + 1), "line", "is longer than 1,049,600 bytes", "shorten the text"),
        (padded(3 * LINE_LIMIT), "line", "is longer than 1,049,600 bytes", "shorten the text"),
        (b"{}\n", "topic_id, display_name, description, keywords", "are missing", SEE_TOPIC),
        (b'{"snippet_id": "s"}\n', "topic_id, title, text_content", "are missing", SEE_SNIPPET),
        (line(TOPIC, display_name=...), "display_name", "is missing", SEE_TOPIC),
        (line(TOPIC, display_name=""), "display_name", "Expected `str` of length >= 1", SEE_TOPIC),
        (line(TOPIC, description=None), "description", "Expected `str`, got `null`", SEE_TOPIC),
        (line(TOPIC, keywords=["b", 1]), "keywords[1]", "Expected `str`, got `int`", SEE_TOPIC),
        (line(TOPIC, keywords=[""]), "keywords[0]", "Expected `str` of length >= 1", SEE_TOPIC),
        (line(TOPIC, rank=1), "rank", "is not a known member", SEE_TOPIC),
        (line(SNIPPET, rank=1), "rank", "is not a known member", SEE_SNIPPET),
        (line(SNIPPET, text_content=...), "text_content", "is missing", SEE_SNIPPET),
        (line(SNIPPET, title=""), "title", "Expected `str` of length >= 1", SEE_SNIPPET),
        (line(SNIPPET, text_content=""), "text_content", "Expected `str` of length >= 1", SEE_SNIPPET),
        (line(SNIPPET, image_url=None), "image_url", "Expected `str`, got `null`", SEE_SNIPPET),
        (line(TOPIC, topic_id="b:c"), "topic_id", "'b:c' cannot be part of a key", KEY_PART),
        (line(TOPIC, topic_id="b" * 129), "topic_id", "cannot be part of a key", KEY_PART),
        (line(TOPIC, topic_id=7), "topic_id", "Expected `str`, got `int`", SEE_TOPIC),
        (line(SNIPPET, snippet_id=""), "snippet_id", "'' cannot be part of a key", KEY_PART),
        (line(SNIPPET, topic_id="b c"), "topic_id", "'b c' cannot be part of a key", KEY_PART),
        (line(SNIPPET, topic_id="b"), "topic_id", "'b' is neither in the record nor in the input", "add the topic's"),
        (line(TOPIC, created_at="2026-01-02T12:00:00"), "created_at", "a timezone", SEE_TOPIC),
        (line(TOPIC, updated_at="2026-02-30T12:00:00Z"), "updated_at", "Invalid RFC3339", SEE_TOPIC),
        (line(SNIPPET, generation_timestamp="yesterday"), "generation_timestamp", "Invalid RFC3339", SEE_SNIPPET),
        (line(SNIPPET, generation_timestamp=1767355200), "generation_timestamp", "Expected `datetime`", SEE_SNIPPET),
        (line(TOPIC, created_at="0001-01-01T00:00:00+01:00"), "created_at", "is not in the years", "correct the"),
        (
            line(SNIPPET, generation_timestamp="9999-12-31T23:59:59-01:00"),
            "generation_timestamp",
            "is not in the years 1 to 9999",
            "correct the timestamp",
        ),
    ],
)
async def test_a_bad_line_is_reported_with_its_place_and_the_others_are_stored(
    records: SqliteRecords, bad: bytes, field: str, reason: str, remedy: str
) -> None:
    result = await loaded(records, line(TOPIC), b"\n" + bad + line(SNIPPET, snippet_id="good"))
    (only,) = result.bad
    assert (only.source, only.number, only.field) == ("2", 2, field)
    assert reason in only.reason
    assert remedy in only.remedy
    assert str(only) == f"2:2: {only.field}: {only.reason}; {only.remedy}"
    assert (result.lines, result.topics, result.snippets) == (3, 1, 1)
    assert await records.topics() == (topic("a"),)
    assert await records.page("a", 1) == (snippet("good", "a", NOON),)


async def test_bad_lines_are_told_as_they_come_and_orphans_last(records: SqliteRecords) -> None:
    orphan = line(SNIPPET, topic_id="unknown")
    result = await loaded(records, b"1\n" + orphan + b"3\n", orphan.replace(b'"s"', b'"t"') + b"2\n")
    assert [(bad.source, bad.number) for bad in result.bad] == [("1", 1), ("1", 3), ("2", 2), ("1", 2), ("2", 1)]


# Lines and files -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(line(TOPIC) + line(SNIPPET), id="plain"),
        pytest.param((line(TOPIC) + line(SNIPPET)).rstrip(b"\n"), id="last line without its end"),
        pytest.param((line(TOPIC) + line(SNIPPET)).replace(b"\n", b"\r\n"), id="CRLF"),
        pytest.param(b"\xef\xbb\xbf" + line(TOPIC) + line(SNIPPET), id="byte order mark"),
        pytest.param(b"\xef\xbb\xbf\r\n" + line(TOPIC) + b"\n \t\r\n" + line(SNIPPET) + b"\n\n", id="empty lines"),
    ],
)
async def test_whatever_an_editor_makes_of_line_ends_is_read(records: SqliteRecords, text: bytes) -> None:
    result = await loaded(records, text)
    assert (result.lines, result.topics, result.snippets, result.bad) == (2, 1, 1, [])
    assert await records.topics() == (topic("a"),)
    assert await records.snippet("s") == snippet("s", "a", NOON)


async def test_lines_are_counted_with_the_empty_ones_and_the_long_ones(records: SqliteRecords) -> None:
    result = await loaded(records, b"\xef\xbb\xbf" + padded(LINE_LIMIT + 1) + b"\n\r\n" + padded(LINE_LIMIT) + b"bad")
    assert [bad.number for bad in result.bad] == [1, 5]
    assert result.topics == 1


async def test_nothing_to_load_is_nothing_loaded(records: SqliteRecords) -> None:
    assert await load(records, []) == await load(records, [("-", io.BytesIO(b"\n"))]) == LoadSummary()
    assert await records.is_empty()


async def test_timestamps_with_an_offset_are_stored_in_utc(records: SqliteRecords) -> None:
    east = "2026-01-02T21:00:00.123456+09:00"
    await loaded(records, line(TOPIC, created_at=east, updated_at=east) + line(SNIPPET, generation_timestamp=east))
    assert (await loaded(records, line(TOPIC) + line(SNIPPET))).changes == 0


# Times -----------------------------------------------------------------------------------------------

UNTIMED_TOPIC = line(TOPIC, created_at=..., updated_at=...)
UNTIMED_SNIPPET = line(SNIPPET, generation_timestamp=...)
LATER = NOON + timedelta(days=1)


async def test_lines_without_times_get_the_time_of_the_load(records: SqliteRecords) -> None:
    begun = datetime.now(NOON.tzinfo)
    many = b"".join(line(SNIPPET, snippet_id=f"s{number}", generation_timestamp=...) for number in range(BATCH))
    assert (await loaded(records, UNTIMED_TOPIC + many)).bad == []
    made = await records.topic("a")
    assert made is not None
    assert begun <= made.created_at == made.updated_at <= datetime.now(NOON.tzinfo)
    # One time for the whole load, in however many transactions: their order is that of their ids.
    assert {one.generation_timestamp for one in await records.newest(BATCH)} == {made.created_at}


async def test_lines_without_times_change_nothing_when_loaded_again(records: SqliteRecords) -> None:
    await loaded(records, UNTIMED_TOPIC + UNTIMED_SNIPPET, now=NOON)
    assert (await loaded(records, UNTIMED_TOPIC + UNTIMED_SNIPPET, now=LATER)).changes == 0
    assert await records.topic("a") == topic("a")
    assert await records.snippet("s") == snippet("s", "a", NOON)


async def test_what_changes_without_times_keeps_all_but_the_update(records: SqliteRecords) -> None:
    await loaded(records, line(TOPIC) + line(SNIPPET))
    renamed = line(TOPIC, display_name="After", created_at=..., updated_at=...)
    await loaded(records, renamed + line(SNIPPET, title="After", generation_timestamp=...), now=LATER)
    changed = await records.topic("a")
    assert changed is not None
    assert (changed.display_name, changed.created_at, changed.updated_at) == ("After", NOON, LATER)
    assert await records.snippet("s") == snippet("s", "a", NOON, "After")


# A file of another form ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        pytest.param(json.dumps([TOPIC, SNIPPET], indent=2).encode(), "`jq -c '.[]'`", id="array, indented"),
        pytest.param(
            b"\xef\xbb\xbf\n [" + line(TOPIC)[:-1] + b",\n" + line(SNIPPET) + b"]", "`jq -c '.[]'`", id="rows"
        ),
        pytest.param(json.dumps([TOPIC] * 9000).encode(), "`jq -c '.[]'`", id="array in one long line"),
        pytest.param(json.dumps(TOPIC, indent=2).encode(), "`jq -c .`", id="object, indented"),
    ],
)
async def test_a_file_that_is_json_over_several_lines_is_told_once(
    records: SqliteRecords, text: bytes, remedy: str
) -> None:
    result = await loaded(records, text, line(TOPIC))
    (only,) = result.bad
    assert (only.source, only.field) == ("1", "line")
    assert only.reason.startswith("begins ")
    assert remedy in only.remedy
    assert result.topics == 1, "the other file"


# Any order -------------------------------------------------------------------------------------------


async def test_a_snippet_may_come_before_its_topic_in_another_file(records: SqliteRecords) -> None:
    result = await loaded(records, line(SNIPPET), line(TOPIC))
    assert (result.topics, result.snippets, result.bad) == (1, 1, [])
    assert await records.snippet("s") == snippet("s", "a", NOON)


async def test_a_snippet_s_topic_may_be_in_the_record_already(records: SqliteRecords) -> None:
    await loaded(records, line(TOPIC))
    assert (await loaded(records, line(SNIPPET))).bad == []


@pytest.mark.parametrize("apart", [0, BATCH])
@pytest.mark.parametrize("topic_at", [0, 1, 2])
async def test_of_several_lines_with_one_id_the_last_counts(records: SqliteRecords, topic_at: int, apart: int) -> None:
    between = b"".join(line(TOPIC, topic_id=f"x{number}") for number in range(apart))
    lines = [line(SNIPPET, title="Before"), line(SNIPPET, title="After")]
    lines.insert(topic_at, line(TOPIC, display_name="Before") + line(TOPIC))
    assert (await loaded(records, between.join(lines))).bad == []
    assert await records.topic("a") == topic("a")
    assert await records.snippet("s") == snippet("s", "a", NOON, "After")


@pytest.mark.parametrize("apart", [0, BATCH])
@pytest.mark.parametrize("topic_at", [0, 1, 2])
async def test_a_later_line_that_turns_out_bad_replaces_no_good_one(
    records: SqliteRecords, topic_at: int, apart: int
) -> None:
    between = b"".join(line(TOPIC, topic_id=f"x{number}") for number in range(apart))
    lines = [line(SNIPPET), line(SNIPPET, topic_id="unknown")]
    lines.insert(topic_at, line(TOPIC))
    result = await loaded(records, between.join(lines))
    assert [bad.field for bad in result.bad] == ["topic_id"]
    assert await records.snippet("s") == snippet("s", "a", NOON)


@pytest.mark.parametrize("before", [0, BATCH])
@pytest.mark.parametrize("after", [0, BATCH])
async def test_a_line_that_waits_for_its_topic_does_not_undo_a_later_one(
    records: SqliteRecords, before: int, after: int
) -> None:
    many = [line(TOPIC, topic_id=f"x{number}") for number in range(BATCH)]
    waits, later, late = line(SNIPPET, topic_id="late"), line(SNIPPET), line(TOPIC, topic_id="late")
    lines = [line(TOPIC), waits, *many[:before], later, *many[:after], late]
    assert (await loaded(records, b"".join(lines))).bad == []
    assert await records.snippet("s") == snippet("s", "a", NOON)


# Many lines ------------------------------------------------------------------------------------------


async def test_many_lines_take_several_transactions_and_twice_is_once(
    records: SqliteRecords,
) -> None:
    snippets = [line(SNIPPET, snippet_id=f"s{number:04}") for number in range(1199)]
    source = b"".join([*snippets[:1100], line(TOPIC), *snippets[1100:]])
    told: list[tuple[int, int, int]] = []

    def progress(so_far: LoadSummary) -> None:
        told.append((so_far.lines, so_far.topics, so_far.snippets))

    result = await load(records, [("-", io.BytesIO(source))], on_progress=progress)
    assert (result.lines, result.topics, result.snippets, result.bad) == (1200, 1, 1199, 0)
    assert told == [(1000, 0, 0), (1200, 1, 199), (1200, 1, 1199)]
    pending = await records.pending()
    assert len(pending) == result.changes == 2
    every = [one for page in range(1, 61) for one in await records.page("a", page)]
    assert ids(every) == [f"s{number:04}" for number in range(1199)]
    again = await loaded(records, source)
    assert (again.lines, again.topics, again.snippets, again.changes) == (1200, 1, 1199, 0)
    assert await records.pending() == pending


class Editor(SqliteRecords):
    """A record in which an editor deletes a topic just before the second transaction of a load."""

    stored = 0

    async def store(self, topics: Any, snippets: Any, now: datetime | None = None) -> Change | None:
        self.stored += 1
        if self.stored == 2:
            await self.delete_topic("a")
        return await super().store(topics, snippets, now)


@pytest.mark.parametrize("again", [True, False])
async def test_a_topic_deleted_during_a_load_costs_its_own_snippets_only(tmp_path: Path, again: bool) -> None:
    records = Editor(await Database.open(tmp_path / "record.sqlite3"))
    try:
        others = [line(TOPIC, topic_id=f"x{number}") for number in range(BATCH)]
        last = line(TOPIC) if again else b""
        result = await loaded(records, line(TOPIC) + b"".join(others) + line(SNIPPET) + last)
        assert await records.topic("x0") is not None
        assert await records.topic(f"x{BATCH - 1}") is not None
        if again:
            assert result.bad == []
            assert await records.snippet("s") == snippet("s", "a", NOON)
        else:
            (bad,) = result.bad
            assert (bad.number, bad.field) == (BATCH + 2, "topic_id")
    finally:
        await records.close()


def test_the_templates_are_whole() -> None:
    assert set(TOPIC) == set(Topic.__struct_fields__) == set(TopicImport.__struct_fields__)
    assert set(SNIPPET) == set(Snippet.__struct_fields__) - {"cover_art_prompt", "image_url"}
    assert set(SnippetImport.__struct_fields__) == set(Snippet.__struct_fields__)
