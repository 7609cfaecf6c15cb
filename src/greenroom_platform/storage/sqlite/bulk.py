"""Whole objects in one transaction: only what differs is written, and what it made stale is one change."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from greenroom_platform.domain.records import Change
from greenroom_platform.models import Snippet, Topic
from greenroom_platform.storage.outbox import page_ends, record_change
from greenroom_platform.storage.sqlite import rows
from greenroom_platform.storage.whole import Wanted

_CHUNK = 500
"""Ids in one query; SQLite takes 999 parameters at least."""


def stored_whole(connection: sqlite3.Connection, wanted: Wanted) -> Change | None:
    """Store within the current transaction; None where nothing differs.

    Raises:
        UnknownReference: when a snippet's topic is neither stored nor among `topics`.
    """
    wanted.check({one.topic_id for one in _existing_topics(connection, wanted.named)})
    new = wanted.differing(_existing_topics(connection, wanted.topics), _existing_snippets(connection, wanted.snippets))
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


def _existing_topics(connection: sqlite3.Connection, ids: Iterable[str]) -> Iterator[Topic]:
    for row in _in_chunks(connection, "SELECT document FROM topics WHERE topic_id IN", ids):
        yield msgspec.json.decode(row[0], type=Topic)


def _existing_snippets(connection: sqlite3.Connection, ids: Iterable[str]) -> Iterator[Snippet]:
    for row in _in_chunks(connection, "SELECT document FROM snippets WHERE snippet_id IN", ids):
        yield msgspec.json.decode(row[0], type=Snippet)


def _in_chunks(connection: sqlite3.Connection, query: str, ids: Iterable[str]) -> Iterator[Any]:
    every = list(ids)
    for start in range(0, len(every), _CHUNK):
        chunk = every[start : start + _CHUNK]
        yield from connection.execute(f"{query} ({','.join('?' * len(chunk))})", chunk)
