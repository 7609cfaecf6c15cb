"""Whole objects in one transaction: only what differs is written, and what it made stale is one change."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec

from greenroom.errors import UnknownReference
from greenroom.origin import rows
from greenroom.origin.outbox import page_ends, record_change
from greenroom.podcast.models import Snippet, Topic, in_utc
from greenroom.podcast.records import Change

_CHUNK = 500
"""Ids in one query; SQLite takes 999 parameters at least."""


def stored_whole(connection: sqlite3.Connection, topics: Sequence[Topic], snippets: Sequence[Snippet]) -> Change | None:
    """Store within the current transaction; of several objects with one id the last counts.

    Raises:
        UnknownReference: when a snippet's topic is neither stored nor among `topics`.
    """
    wanted_topics = {one.topic_id: _topic_in_utc(one) for one in topics}
    wanted_snippets = {one.snippet_id: _snippet_in_utc(one) for one in snippets}
    known = {one.topic_id for one in _existing_topics(connection, {one.topic_id for one in snippets})}
    for snippet in wanted_snippets.values():
        if snippet.topic_id not in known and snippet.topic_id not in wanted_topics:
            raise UnknownReference("topic_id", snippet.topic_id)
    old_topics = {one.topic_id: one for one in _existing_topics(connection, wanted_topics)}
    old_snippets = {one.snippet_id: one for one in _existing_snippets(connection, wanted_snippets)}
    new_topics = [one for key, one in wanted_topics.items() if old_topics.get(key) != one]
    new_snippets = [one for key, one in wanted_snippets.items() if old_snippets.get(key) != one]
    if not new_topics and not new_snippets:
        return None
    touched = {one.topic_id for one in new_snippets}
    touched |= {old_snippets[one.snippet_id].topic_id for one in new_snippets if one.snippet_id in old_snippets}
    before = page_ends(connection, touched)
    for topic in new_topics:
        rows.write_topic(connection, topic)
    for snippet in new_snippets:
        rows.write_snippet(connection, snippet)
    return record_change(
        connection,
        time.time(),
        topics=[one.topic_id for one in new_topics],
        snippets=[one.snippet_id for one in new_snippets],
        pages=page_ends(connection, touched, least=before),
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


def _topic_in_utc(topic: Topic) -> Topic:
    return msgspec.structs.replace(topic, created_at=in_utc(topic.created_at), updated_at=in_utc(topic.updated_at))


def _snippet_in_utc(snippet: Snippet) -> Snippet:
    return msgspec.structs.replace(snippet, generation_timestamp=in_utc(snippet.generation_timestamp))
