"""Whole objects in one transaction: only what differs is written, and what it made stale is one change."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable, Iterator
from typing import Any

from greenroom_platform.domain.records import Change
from greenroom_platform.models import Snippet, Topic
from greenroom_platform.storage.broken import all_decoded
from greenroom_platform.storage.sqlite import rows
from greenroom_platform.storage.sqlite.outbox import page_ends, record_change
from greenroom_platform.storage.whole import WholeObjects

_CHUNK = 500
"""Ids in one query; SQLite takes 999 parameters at least."""


def stored_whole(connection: sqlite3.Connection, objects: WholeObjects) -> Change | None:
    """Store within the current transaction; None where nothing differs.

    Raises:
        BrokenDocument: when what is stored under an id is another program's, and does not fit.
        UnknownReference: when a snippet's topic is neither stored nor among `topics`.
    """
    named = _in_chunks(connection, "SELECT topic_id FROM topics WHERE topic_id IN", objects.named)
    objects.check({topic_id for (topic_id,) in named})
    new = objects.differing(*_existing(connection, objects.topics, objects.snippets))
    if not new:
        return None
    rows.write_topics(connection, new.topics)
    rows.write_snippets(connection, new.snippets)
    return record_change(
        connection,
        time.time(),
        topics=[one.topic_id for one in new.topics],
        snippets=[one.snippet_id for one in new.snippets],
        pages=page_ends(connection, new.touched, gone=new.gone),
    )


def _existing(
    connection: sqlite3.Connection, topics: Iterable[str], snippets: Iterable[str]
) -> tuple[list[Topic], list[Snippet]]:
    """What is stored under these ids."""
    of_topics = f"SELECT {rows.columns(Topic)} FROM topics WHERE topic_id IN"  # noqa: S608
    of_snippets = f"SELECT {rows.columns(Snippet)} FROM snippets WHERE snippet_id IN"  # noqa: S608
    stored = _in_chunks(connection, of_topics, topics), _in_chunks(connection, of_snippets, snippets)
    return all_decoded(rows.decoded, *stored)


def _in_chunks(connection: sqlite3.Connection, query: str, ids: Iterable[str]) -> Iterator[Any]:
    every = list(ids)
    for start in range(0, len(every), _CHUNK):
        chunk = every[start : start + _CHUNK]
        yield from connection.execute(f"{query} ({','.join('?' * len(chunk))})", chunk)
