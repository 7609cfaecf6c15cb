"""Objects to rows and back, within a transaction or outside of one."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

import msgspec

from greenroom_platform.models import Snippet, Topic
from greenroom_platform.storage.moments import microseconds


def read_topic(connection: sqlite3.Connection, topic_id: str) -> Topic | None:
    """One topic; None where there is none."""
    row = connection.execute("SELECT document FROM topics WHERE topic_id = ?", (topic_id,)).fetchone()
    return msgspec.json.decode(row[0], type=Topic) if row else None


def read_snippet(connection: sqlite3.Connection, snippet_id: str) -> Snippet | None:
    """One snippet; None where there is none."""
    row = connection.execute("SELECT document FROM snippets WHERE snippet_id = ?", (snippet_id,)).fetchone()
    return msgspec.json.decode(row[0], type=Snippet) if row else None


def write_topic(connection: sqlite3.Connection, topic: Topic) -> None:
    """Insert or replace a topic within a transaction."""
    write_topics(connection, [topic])


def write_topics(connection: sqlite3.Connection, topics: Iterable[Topic]) -> None:
    """Insert or replace topics within a transaction."""
    rows = [(one.topic_id, one.display_name, msgspec.json.encode(one).decode()) for one in topics]
    connection.executemany("INSERT OR REPLACE INTO topics VALUES (?, ?, ?)", rows)


def write_snippet(connection: sqlite3.Connection, snippet: Snippet) -> None:
    """Insert or replace a snippet within a transaction."""
    write_snippets(connection, [snippet])


def write_snippets(connection: sqlite3.Connection, snippets: Iterable[Snippet]) -> None:
    """Insert or replace snippets within a transaction."""
    rows = [
        (one.snippet_id, one.topic_id, microseconds(one.generation_timestamp), msgspec.json.encode(one).decode())
        for one in snippets
    ]
    connection.executemany("INSERT OR REPLACE INTO snippets VALUES (?, ?, ?, ?)", rows)
