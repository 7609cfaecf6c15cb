"""Objects to rows and back, within a transaction or outside of one."""

from __future__ import annotations

import sqlite3

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
    row = (topic.topic_id, topic.display_name, msgspec.json.encode(topic).decode())
    connection.execute("INSERT OR REPLACE INTO topics VALUES (?, ?, ?)", row)


def write_snippet(connection: sqlite3.Connection, snippet: Snippet) -> None:
    """Insert or replace a snippet within a transaction."""
    moment = microseconds(snippet.generation_timestamp)
    row = (snippet.snippet_id, snippet.topic_id, moment, msgspec.json.encode(snippet).decode())
    connection.execute("INSERT OR REPLACE INTO snippets VALUES (?, ?, ?, ?)", row)
