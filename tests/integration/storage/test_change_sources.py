"""The contract of a source of changes made outside, held by SQLite's triggers and MongoDB's streams."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pymongo
import pytest
from pymongo.database import Database

from greenroom_platform.domain.records import Records
from greenroom_platform.models import Snippet, Topic
from greenroom_platform.storage.moments import microseconds
from greenroom_platform.testing import ChangeSourceContract
from greenroom_platform.testing.change_source_contract import Outside
from tests.support.mongo_server import MongoServer
from tests.support.record_fixtures import OnMongo, OnSqlite


class SqliteProgram:
    """Another program with the file open."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._run = connection.execute

    def put_topic(self, topic: Topic) -> None:
        row = topic.topic_id, topic.display_name, msgspec.json.encode(topic).decode()
        self._run("INSERT OR REPLACE INTO topics VALUES (?, ?, ?)", row)

    def delete_topic(self, topic_id: str) -> None:
        self._run("DELETE FROM topics WHERE topic_id = ?", (topic_id,))

    def put_snippet(self, snippet: Snippet) -> None:
        moment, document = microseconds(snippet.generation_timestamp), msgspec.json.encode(snippet).decode()
        row = snippet.snippet_id, snippet.topic_id, moment, document
        self._run("INSERT OR REPLACE INTO snippets VALUES (?, ?, ?, ?)", row)

    def delete_snippets(self, *snippet_ids: str) -> None:
        marks = ",".join("?" * len(snippet_ids))
        self._run(f"DELETE FROM snippets WHERE snippet_id IN ({marks})", snippet_ids)  # noqa: S608

    def set_status(self, podcast_id: str, status: str) -> None:
        change = "UPDATE tasks SET document = json_set(document, '$.status', ?) WHERE podcast_id = ?"
        self._run(change, (status, podcast_id))

    def lose_history(self) -> None:
        """As a migration that rebuilds a table, and so takes its triggers away."""
        (name,) = self._run("SELECT name FROM sqlite_master WHERE type = 'trigger' LIMIT 1").fetchone()
        self._run(f"DROP TRIGGER {name}")


class MongoProgram:
    """Another program with the database open."""

    def __init__(self, database: Database[dict[str, Any]]) -> None:
        self._database = database

    def put_topic(self, topic: Topic) -> None:
        members = msgspec.to_builtins(topic)
        self._database.topics.replace_one({"_id": topic.topic_id}, members, upsert=True)

    def delete_topic(self, topic_id: str) -> None:
        self._database.topics.delete_one({"_id": topic_id})

    def put_snippet(self, snippet: Snippet) -> None:
        members = msgspec.to_builtins(snippet)
        self._database.snippets.replace_one({"_id": snippet.snippet_id}, members, upsert=True)

    def delete_snippets(self, *snippet_ids: str) -> None:
        self._database.snippets.delete_many({"_id": {"$in": list(snippet_ids)}})

    def set_status(self, podcast_id: str, status: str) -> None:
        self._database.AgentTaskState.update_one({"_id": podcast_id}, {"$set": {"status": status}})

    def lose_history(self) -> None:
        """As where the oplog does not reach back to the place that is kept."""
        self._database.greenroom.update_one({"_id": "stream"}, {"$set": {"token": {"_data": "00ff"}}})


class TestSqliteChanges(OnSqlite, ChangeSourceContract):
    @pytest.fixture
    def outside(self, records: Records, tmp_path: Path) -> Iterator[Outside]:
        path = tmp_path / "record.sqlite3"
        with closing(sqlite3.connect(path, timeout=10, isolation_level=None, check_same_thread=False)) as connection:
            yield SqliteProgram(connection)


class TestMongoChanges(OnMongo, ChangeSourceContract):
    @pytest.fixture
    def outside(self, records: Records, mongo_shared: MongoServer, mongo_url: str) -> Iterator[Outside]:
        with pymongo.MongoClient[dict[str, Any]](mongo_shared.host) as client:
            yield MongoProgram(client[mongo_url.rpartition("/")[2]])
