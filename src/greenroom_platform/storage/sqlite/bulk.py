"""Whole objects in one transaction: only what differs is written, and what it made stale is one change."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any

import msgspec

from greenroom.errors import UnknownReference
from greenroom_platform.domain.records import Change, SnippetImport, TopicImport
from greenroom_platform.models import Snippet, Topic, in_utc
from greenroom_platform.storage.outbox import page_ends, record_change
from greenroom_platform.storage.sqlite import rows

_CHUNK = 500
"""Ids in one query; SQLite takes 999 parameters at least."""


def stored_whole(
    connection: sqlite3.Connection,
    topics: Sequence[Topic | TopicImport],
    snippets: Sequence[Snippet | SnippetImport],
    now: datetime,
) -> Change | None:
    """Store within the current transaction; of several objects with one id the last counts.

    Times that an object lacks are found here, and not by the caller: an editor's change in between would get times that
    were stored before it.

    Raises:
        UnknownReference: when a snippet's topic is neither stored nor among `topics`.
    """
    wanted_topics = {one.topic_id: one for one in topics}
    wanted_snippets = {one.snippet_id: one for one in snippets}
    known = {one.topic_id for one in _existing_topics(connection, {one.topic_id for one in snippets})}
    for wanted in wanted_snippets.values():
        if wanted.topic_id not in known and wanted.topic_id not in wanted_topics:
            raise UnknownReference("topic_id", wanted.topic_id)
    old_topics = {one.topic_id: one for one in _existing_topics(connection, wanted_topics)}
    old_snippets = {one.snippet_id: one for one in _existing_snippets(connection, wanted_snippets)}
    whole_topics = [_whole_topic(one, old_topics.get(key), now) for key, one in wanted_topics.items()]
    whole_snippets = [_whole_snippet(one, old_snippets.get(key), now) for key, one in wanted_snippets.items()]
    new_topics = [one for one in whole_topics if old_topics.get(one.topic_id) != one]
    new_snippets = [one for one in whole_snippets if old_snippets.get(one.snippet_id) != one]
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


def _whole_topic(wanted: Topic | TopicImport, old: Topic | None, now: datetime) -> Topic:
    members = msgspec.structs.asdict(wanted)
    members["created_at"] = _time(wanted.created_at, old.created_at if old is not None else now)
    members["updated_at"] = _time(wanted.updated_at, old.updated_at if old is not None else now)
    whole = Topic(**members)
    if wanted.updated_at is msgspec.UNSET and whole != old:
        return msgspec.structs.replace(whole, updated_at=now)
    return whole


def _whole_snippet(wanted: Snippet | SnippetImport, old: Snippet | None, now: datetime) -> Snippet:
    members = msgspec.structs.asdict(wanted)
    stored = old.generation_timestamp if old is not None else now
    members["generation_timestamp"] = _time(wanted.generation_timestamp, stored)
    return Snippet(**members)


def _time(given: datetime | msgspec.UnsetType, otherwise: datetime) -> datetime:
    return in_utc(given) if isinstance(given, datetime) else otherwise
