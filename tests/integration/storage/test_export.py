"""Everything of a record as NDJSON: some objects at a time, whole, and taken by a load as it is; and the dry run."""

from __future__ import annotations

import io
import json
import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from greenroom_platform.domain.exports import Chunk, Exports
from greenroom_platform.models import Snippet
from greenroom_platform.storage import BadLine, SqliteRecords, exported, load
from greenroom_platform.storage.ndjson_lines import LINE_LIMIT
from greenroom_platform.testing.records_changes import NOON, about, fill, snippet, topic, wording
from tests.support.record_fixtures import OnMongo, OnSqlite


async def lines_of(records: Exports, chunk: int = 2) -> list[dict[str, Any]]:
    """The objects of an export; each piece ends with a whole line."""
    pieces = [piece async for piece in exported(records, chunk=chunk)]
    assert all(piece.endswith(b"\n") for piece in pieces if piece)
    return [json.loads(line) for line in b"".join(pieces).splitlines()]


def ids_of(lines: list[dict[str, Any]]) -> list[str]:
    return [line.get("snippet_id", line["topic_id"]) for line in lines]


class ExportsContract:
    """For every record."""

    async def test_an_export_has_all_once_and_loading_it_again_changes_nothing(self, records: Any) -> None:
        for topic_id in ("b", "a", "c"):
            await records.put_topic(topic_id, about(topic_id.upper()), NOON)
        await records.add_snippet("s3", wording("a"), NOON)
        await records.add_snippet("s1", wording("c"), NOON + timedelta(microseconds=1))
        await records.add_snippet("s2", wording("a"), NOON)
        for chunk in (1, 2, 3, 50):
            assert ids_of(await lines_of(records, chunk)) == ["a", "b", "c", "s1", "s2", "s3"]
        await records.acknowledge([one.change_id for one in await records.pending()])
        text = b"".join([piece async for piece in exported(records)])
        bad: list[BadLine] = []
        again = await load(records, [("export", io.BytesIO(text))], on_bad=bad.append)
        assert (again.topics, again.snippets, again.changes, bad) == (3, 3, 0, [])
        assert await records.pending() == ()

    async def test_what_no_load_would_take_is_left_out_and_told(
        self, records: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Another program has stored it: a record takes whole objects as they are."""
        whole, story = topic("a"), snippet("s", "a", NOON)
        topics = [whole, replace(whole, topic_id="b", keywords=("",)), replace(whole, topic_id="c", display_name="")]
        snippets = [
            story,
            replace(story, snippet_id="s1", title=""),
            replace(story, snippet_id="s2", text_content=""),
            replace(story, snippet_id="s 3"),
            replace(story, snippet_id="s4", text_content="x" * LINE_LIMIT),
        ]
        await records.store(topics, snippets)
        changes = len(await records.pending())
        for _ in range(2):
            text = b"".join([piece async for piece in exported(records, chunk=2)])
            assert ids_of([json.loads(line) for line in text.splitlines()]) == ["a", "s"]
        bad: list[BadLine] = []
        again = await load(records, [("export", io.BytesIO(text))], on_bad=bad.append)
        assert (again.topics, again.snippets, again.changes, bad) == (1, 1, 0, [])
        assert len(await records.pending()) == changes
        assert (records.broken_documents["topic",], records.broken_documents["snippet",]) == (4, 8)
        told = sorted(line.partition(" does not fit its type: no load takes it, ")[::2] for line in caplog.messages)
        assert [(who, field.partition(":")[0]) for who, field in told] == [
            ("left out: the snippet 's 3'", "snippet_id"),
            ("left out: the snippet 's1'", "title"),
            ("left out: the snippet 's2'", "text_content"),
            ("left out: the snippet 's4'", "line"),
            ("left out: the topic 'b'", "keywords[0]"),
            ("left out: the topic 'c'", "display_name"),
        ]

    async def test_an_empty_record_is_an_empty_export(self, records: Any) -> None:
        assert await lines_of(records) == []

    async def test_a_topic_made_while_it_runs_goes_before_its_snippet(self, records: Any) -> None:
        await records.put_topic("a", about("A"), NOON)
        await records.add_snippet("s1", wording("a"), NOON)

        class Meanwhile:
            """The record, in which a topic and its snippet are made when all topics have been read."""

            topics_after = records.topics_after
            topic = records.topic

            async def snippets_after(self, after: str, limit: int) -> Chunk[Snippet]:
                if not after:
                    await records.put_topic("late", about("Late"), NOON)
                    await records.add_snippet("s2", wording("late"), NOON)
                chunk: Chunk[Snippet] = await records.snippets_after(after, limit)
                return chunk

        assert ids_of(await lines_of(Meanwhile())) == ["a", "late", "s1", "s2"]


class TestSqliteExports(OnSqlite, ExportsContract):
    """On SQLite."""


class TestMongoExports(OnMongo, ExportsContract):
    """On MongoDB."""


@pytest.mark.parametrize("stored", ["'{}'", "x'ff'", "CAST(x'7b7d' AS TEXT)"])
async def test_rows_that_do_not_fit_are_left_out_and_hold_up_nothing(tmp_path: Path, stored: str) -> None:
    path = tmp_path / "record.sqlite3"
    records = await SqliteRecords.open(path)
    await fill(records, "a", 3)
    with closing(sqlite3.connect(path)) as other, other:
        other.execute(f"INSERT INTO snippets VALUES ('a0005', 'a', 1, {stored})")  # noqa: S608
        other.execute("INSERT INTO snippets VALUES (CAST(x'61ff' AS TEXT), 'a', 1, '{}')")
        other.execute("INSERT INTO snippets VALUES (x'ffff', 'a', 1, '{}')")
        other.execute("INSERT INTO topics VALUES ('0', '0', '{}')")
    for chunk in (1, 2, 3, 10):
        assert ids_of(await lines_of(records, chunk)) == ["a", "a000", "a001", "a002"]
    await records.close()


async def test_a_dry_run_finds_the_bad_lines_of_the_load_and_stores_nothing(tmp_path: Path) -> None:
    records = await SqliteRecords.open(tmp_path / "record.sqlite3")
    await records.store([topic("stored")], [snippet("kept", "stored", NOON)])
    lines = [
        {"snippet_id": "early", "topic_id": "new", "title": "T", "text_content": "x"},
        {"topic_id": "new", "display_name": "N", "description": "", "keywords": []},
        {"snippet_id": "here", "topic_id": "stored", "title": "T", "text_content": "x"},
        {"snippet_id": "lost", "topic_id": "nowhere", "title": "T", "text_content": "x"},
        {"snippet_id": "bad", "topic_id": "new", "title": ""},
    ]
    text = b"".join(json.dumps(line).encode() + b"\n" for line in lines) + b"no json\n"
    before = [await lines_of(records), await records.pending()]

    async def found(*, dry_run: bool = False) -> tuple[int, int, list[tuple[int, str, str]]]:
        bad: list[BadLine] = []
        # A batch of one: what an earlier batch would have stored counts for the later ones.
        summary = await load(records, [("body", io.BytesIO(text))], on_bad=bad.append, batch=1, dry_run=dry_run)
        return summary.topics, summary.snippets, sorted((one.number, one.field, one.reason) for one in bad)

    dry = await found(dry_run=True)
    assert [await lines_of(records), await records.pending()] == before
    assert (dry[0], dry[1], [number for number, _, _ in dry[2]]) == (1, 2, [4, 5, 6])
    assert await found() == dry
    assert len(await lines_of(records)) == 5
    await records.close()
