"""Objects to rows and back, within a transaction or outside of one."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from typing import Any, TypeVar

import msgspec

from greenroom_platform.domain.task_records import StoredRecording
from greenroom_platform.models import PodcastTask, Snippet, Topic, User
from greenroom_platform.storage.broken import broken_document, check_status
from greenroom_platform.storage.moments import microseconds

T = TypeVar("T", bound=msgspec.Struct)

_SEARCHED: dict[type[msgspec.Struct], tuple[str, ...]] = {
    Topic: ("topic_id",),
    Snippet: ("snippet_id", "topic_id"),
    User: ("user_id",),
    PodcastTask: ("podcast_id",),
    StoredRecording: ("podcast_id",),
}
"""The members that are columns too, by which a row is found; its id first."""
# No REPLACE, and each column by its name. Prevents: another program adds a column of its own · no change can be stored,
# or each one empties that column.
_TOPIC = (
    "INSERT INTO topics (topic_id, display_name, document) VALUES (?, ?, ?) ON CONFLICT (topic_id)"
    " DO UPDATE SET display_name = excluded.display_name, document = excluded.document"
)
_SNIPPET = (
    "INSERT INTO snippets (snippet_id, topic_id, generated, document) VALUES (?, ?, ?, ?) ON CONFLICT (snippet_id)"
    " DO UPDATE SET topic_id = excluded.topic_id, generated = excluded.generated, document = excluded.document"
)


def columns(type_: type[msgspec.Struct]) -> str:
    """What `decoded` needs of a row.

    As bytes. Prevents: another program stores text that is no UTF-8 · the whole query fails, and with it every list.
    """
    return ", ".join(f"CAST({name} AS BLOB)" for name in ("document", *_SEARCHED[type_]))


def decoded(row: Any, type_: type[T]) -> T:
    """The object in a row, of which `columns` were asked for.

    Raises:
        BrokenDocument: where it does not fit the type, as one that another program has written.
    """
    document, *searched = row
    id_ = repr((searched[0] or b"").decode("utf-8", "replace"))
    try:
        found = msgspec.json.decode(document, type=type_)
    except (msgspec.DecodeError, UnicodeDecodeError, TypeError, RecursionError) as error:
        raise broken_document(type_, id_, str(error)) from None
    for name, column in zip(_SEARCHED[type_], searched, strict=True):
        # Prevents: another program moves a snippet in its column alone · an editor changes it · the pages of the topic
        # that its document names are dropped, and not those that it is on.
        if str(getattr(found, name)).encode() != column:
            raise broken_document(type_, id_, f"its {name} is not that of its row")
    check_status(found, id_)
    return found


def topic_exists(connection: sqlite3.Connection, topic_id: str) -> bool:
    """Whether there is such a topic, and be it one that does not fit."""
    return connection.execute("SELECT 1 FROM topics WHERE topic_id = ?", (topic_id,)).fetchone() is not None


def read_topic(connection: sqlite3.Connection, topic_id: str) -> Topic | None:
    """One topic; None where there is none.

    Raises:
        BrokenDocument: as `decoded`.
    """
    query = f"SELECT {columns(Topic)} FROM topics WHERE topic_id = ?"  # noqa: S608
    row = connection.execute(query, (topic_id,)).fetchone()
    return decoded(row, Topic) if row else None


def read_snippet(connection: sqlite3.Connection, snippet_id: str) -> Snippet | None:
    """One snippet; None where there is none; raises as `read_topic`."""
    query = f"SELECT {columns(Snippet)} FROM snippets WHERE snippet_id = ?"  # noqa: S608
    row = connection.execute(query, (snippet_id,)).fetchone()
    return decoded(row, Snippet) if row else None


def write_topic(connection: sqlite3.Connection, topic: Topic) -> None:
    """Insert or replace a topic within a transaction."""
    write_topics(connection, [topic])


def write_topics(connection: sqlite3.Connection, topics: Iterable[Topic]) -> None:
    """Insert or replace topics within a transaction."""
    rows = [(one.topic_id, one.display_name, msgspec.json.encode(one).decode()) for one in topics]
    connection.executemany(_TOPIC, rows)


def write_snippet(connection: sqlite3.Connection, snippet: Snippet) -> None:
    """Insert or replace a snippet within a transaction."""
    write_snippets(connection, [snippet])


def write_snippets(connection: sqlite3.Connection, snippets: Iterable[Snippet]) -> None:
    """Insert or replace snippets within a transaction."""
    rows = [
        (one.snippet_id, one.topic_id, microseconds(one.generation_timestamp), msgspec.json.encode(one).decode())
        for one in snippets
    ]
    connection.executemany(_SNIPPET, rows)
