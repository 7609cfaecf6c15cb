"""The record on SQLite: JSON documents, indexes for what is asked, an outbox row in the transaction of each change."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from greenroom.errors import Conflict, UnknownReference
from greenroom_platform.definitions import PAGE_SIZE
from greenroom_platform.domain.exports import Chunk
from greenroom_platform.domain.precondition import ALWAYS, Precondition
from greenroom_platform.domain.records import (
    Change,
    SnippetDraft,
    SnippetImport,
    TopicDraft,
    TopicImport,
    Written,
    members_of,
)
from greenroom_platform.models import Snippet, Topic, in_utc
from greenroom_platform.storage.broken import BrokenDocuments
from greenroom_platform.storage.sqlite.actions import SqliteActions
from greenroom_platform.storage.sqlite.bulk import stored_whole
from greenroom_platform.storage.sqlite.caches import SqliteCaches
from greenroom_platform.storage.sqlite.database import Database
from greenroom_platform.storage.sqlite.foreign import SqliteForeignChanges
from greenroom_platform.storage.sqlite.outbox import page_ends, pending_changes, record_change
from greenroom_platform.storage.sqlite.rows import (
    columns,
    decoded,
    read_snippet,
    read_topic,
    topic_exists,
    write_snippet,
    write_topic,
)
from greenroom_platform.storage.sqlite.search import found_by, matching
from greenroom_platform.storage.sqlite.task_control import SqliteTaskControl
from greenroom_platform.storage.sqlite.tasks import SqliteTasks
from greenroom_platform.storage.sqlite.users import SqliteUsers
from greenroom_platform.storage.whole import WholeObjects

T = TypeVar("T", bound=msgspec.Struct)

_IN_ORDER = "ORDER BY generated DESC, snippet_id"
_FURTHER = 4
"""How many times as many rows are read when some do not fit."""


class SqliteRecords:
    """`Records` in one file; several processes may have it open. Made by `SqliteRecords.open`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._logged: set[int] = set()
        self.broken = BrokenDocuments()
        """Rows of other programs that do not fit."""
        self.broken_documents: Mapping[tuple[str], int] = self.broken.counts
        """See `CountsBroken`."""
        self.users = SqliteUsers(database)
        """The users, in the same file."""
        self.tasks = SqliteTasks(database, self.broken)
        """The generation tasks, in the same file."""
        self.task_control = SqliteTaskControl(database, self.broken)
        """What operators do to these tasks."""
        self.actions = SqliteActions(database)
        """What operators have done, in the same file."""
        self.caches = SqliteCaches(database)
        """Which caches its changes are sent to, in the same file."""
        self.foreign_changes = SqliteForeignChanges(database)
        """What other programs write to the file."""

    @classmethod
    async def open(cls, path: Path) -> SqliteRecords:
        """Open the file, and make it where it is missing; raises as `Database.open`."""
        return cls(await Database.open(path))

    # Reads -----------------------------------------------------------------------------------------

    async def topic(self, topic_id: str) -> Topic | None:
        return await self._database.read(lambda connection: read_topic(connection, topic_id))

    async def topics(self) -> tuple[Topic, ...]:
        rows = await self._rows(f"SELECT {columns(Topic)} FROM topics ORDER BY display_name, topic_id")  # noqa: S608
        return tuple(one for row in rows if (one := self.broken.fitting(decoded, row, Topic)) is not None)

    async def snippet(self, snippet_id: str) -> Snippet | None:
        return await self._database.read(lambda connection: read_snippet(connection, snippet_id))

    async def page(self, topic_id: str, page_number: int) -> tuple[Snippet, ...]:
        skip = (page_number - 1) * PAGE_SIZE
        return await self._snippets("WHERE topic_id = ?", topic_id, limit=PAGE_SIZE, skip=skip)

    async def newest(self, limit: int) -> tuple[Snippet, ...]:
        return await self._snippets("", limit=limit)

    async def topics_after(self, after: str, limit: int) -> Chunk[Topic]:
        return await self._after("topics", Topic, after, limit)

    async def snippets_after(self, after: str, limit: int) -> Chunk[Snippet]:
        return await self._after("snippets", Snippet, after, limit)

    async def search_topics(self, words: Sequence[str], limit: int) -> tuple[Topic, ...]:
        query = f"SELECT {columns(Topic)} FROM {found_by('topic')} ORDER BY display_name, topic_id LIMIT ?"  # noqa: S608
        return await self._found(Topic, query, words, limit)

    async def search_snippets(self, words: Sequence[str], limit: int) -> tuple[Snippet, ...]:
        query = f"SELECT {columns(Snippet)} FROM {found_by('snippet')} {_IN_ORDER} LIMIT ?"  # noqa: S608
        return await self._found(Snippet, query, words, limit)

    async def is_empty(self) -> bool:
        rows = await self._rows("SELECT 1 FROM topics UNION ALL SELECT 1 FROM snippets LIMIT 1")
        return not rows

    async def ping(self) -> None:
        await self._rows("SELECT 1")

    @property
    def write_trouble(self) -> str | None:
        return self._database.write_trouble

    async def check_writes(self) -> str | None:
        return await self._database.check_writes()

    # Writes ----------------------------------------------------------------------------------------

    async def put_topic(
        self, topic_id: str, draft: TopicDraft, now: datetime, *, condition: Precondition = ALWAYS
    ) -> Written[Topic]:
        return await self.edit_topic(topic_id, lambda _: draft, now, condition=condition)

    async def edit_topic(
        self,
        topic_id: str,
        edit: Callable[[Topic | None], TopicDraft],
        now: datetime,
        *,
        condition: Precondition = ALWAYS,
    ) -> Written[Topic]:
        def work(connection: sqlite3.Connection) -> Written[Topic]:
            old = read_topic(connection, topic_id)
            condition.check(old)
            topic = Topic(
                topic_id=topic_id,
                created_at=old.created_at if old is not None else in_utc(now),
                updated_at=in_utc(now),
                **members_of(edit(old)),
            )
            write_topic(connection, topic)
            change = record_change(connection, time.time(), topics=[topic_id])
            return Written(topic, old is None, change)

        return await self._database.write(work)

    async def delete_topic(self, topic_id: str, *, condition: Precondition = ALWAYS) -> Change | None:
        def work(connection: sqlite3.Connection) -> Change | None:
            old = read_topic(connection, topic_id)
            if old is None:
                return None
            if connection.execute("SELECT 1 FROM snippets WHERE topic_id = ? LIMIT 1", (topic_id,)).fetchone():
                raise Conflict(f"topic {topic_id} has snippets; delete or move them first")
            condition.check(old)
            connection.execute("DELETE FROM topics WHERE topic_id = ?", (topic_id,))
            return record_change(connection, time.time(), topics=[topic_id], pages={topic_id: 1})

        return await self._database.write(work)

    async def add_snippet(self, snippet_id: str, draft: SnippetDraft, now: datetime) -> Written[Snippet]:
        def work(connection: sqlite3.Connection) -> Written[Snippet]:
            if read_snippet(connection, snippet_id) is not None:
                raise Conflict(f"snippet {snippet_id} exists already")
            snippet = Snippet(snippet_id=snippet_id, generation_timestamp=in_utc(now), **members_of(draft))
            return Written(snippet, True, _replace(connection, None, snippet))

        return await self._database.write(work)

    async def put_snippet(
        self, snippet_id: str, draft: SnippetDraft, *, condition: Precondition = ALWAYS
    ) -> Written[Snippet] | None:
        return await self.edit_snippet(snippet_id, lambda _: draft, condition=condition)

    async def edit_snippet(
        self, snippet_id: str, edit: Callable[[Snippet], SnippetDraft], *, condition: Precondition = ALWAYS
    ) -> Written[Snippet] | None:
        def work(connection: sqlite3.Connection) -> Written[Snippet] | None:
            old = read_snippet(connection, snippet_id)
            if old is None:
                return None
            condition.check(old)
            moment = old.generation_timestamp
            snippet = Snippet(snippet_id=snippet_id, generation_timestamp=moment, **members_of(edit(old)))
            return Written(snippet, False, _replace(connection, old, snippet))

        return await self._database.write(work)

    async def delete_snippet(self, snippet_id: str, *, condition: Precondition = ALWAYS) -> Change | None:
        def work(connection: sqlite3.Connection) -> Change | None:
            old = read_snippet(connection, snippet_id)
            if old is None:
                return None
            condition.check(old)
            pages = page_ends(connection, [old.topic_id])
            connection.execute("DELETE FROM snippets WHERE snippet_id = ?", (snippet_id,))
            return record_change(connection, time.time(), snippets=[snippet_id], pages=pages)

        return await self._database.write(work)

    async def store(
        self,
        topics: Sequence[Topic | TopicImport],
        snippets: Sequence[Snippet | SnippetImport],
        now: datetime | None = None,
    ) -> Change | None:
        moment = in_utc(now) if now is not None else datetime.now(UTC)
        objects = WholeObjects(topics, snippets, moment)
        return await self._database.write(lambda connection: stored_whole(connection, objects))

    # The outbox ------------------------------------------------------------------------------------

    async def pending(self, *, older_than: float = 0.0, after: int = 0, limit: int = 200) -> tuple[Change, ...]:
        now = time.time()
        # Decoded there and not in the event loop: a row of a load names 500 snippets.
        return await self._database.read(
            lambda connection: pending_changes(
                connection, now, older_than=older_than, after=after, limit=limit, logged=self._logged
            )
        )

    async def acknowledge(self, change_ids: Sequence[int]) -> None:
        def work(connection: sqlite3.Connection) -> None:
            connection.executemany("DELETE FROM outbox WHERE change_id = ?", [(number,) for number in change_ids])

        await self._database.write(work)

    async def close(self) -> None:
        await self._database.close()

    async def _snippets(self, where: str, *parameters: object, limit: int, skip: int = 0) -> tuple[Snippet, ...]:
        """As many as are asked for, whatever is left out of them: see `MongoRecords`."""
        query = f"SELECT {columns(Snippet)} FROM snippets {where} {_IN_ORDER} LIMIT ? OFFSET ?"  # noqa: S608

        def work(connection: sqlite3.Connection) -> tuple[Snippet, ...]:
            asked = limit
            while True:
                # All of them anew: between two reads others may have moved.
                rows = connection.execute(query, (*parameters, asked, skip)).fetchall()
                fitting = [one for row in rows if (one := self.broken.fitting(decoded, row, Snippet)) is not None]
                if len(fitting) >= limit or len(rows) < asked:
                    return tuple(fitting[:limit])
                asked *= _FURTHER

        return await self._database.read(work)

    async def _after(self, table: str, type_: type[T], after: str, limit: int) -> Chunk[T]:
        # Other programs may have stored ids that are no text, which sort behind all texts, or no UTF-8.
        id_ = columns(type_).split(", ")[1]
        column = id_.removeprefix("CAST(").removesuffix(" AS BLOB)")
        query = (
            f"SELECT {id_}, {columns(type_)} FROM {table} WHERE {column} > CAST(? AS TEXT)"  # noqa: S608
            f" AND typeof({column}) = 'text' ORDER BY {column} LIMIT ?"
        )
        rows = await self._rows(query, (after.encode("utf-8", "surrogateescape"), limit))
        objects = (self.broken.fitting(decoded, row[1:], type_) for row in rows)
        last = rows[-1][0].decode("utf-8", "surrogateescape") if len(rows) == limit else None
        return Chunk(tuple(one for one in objects if one is not None), last)

    async def _found(self, type_: type[T], query: str, words: Sequence[str], limit: int) -> tuple[T, ...]:
        """What has the words in its title, then what has them anywhere."""

        def work(connection: sqlite3.Connection) -> tuple[T, ...]:
            found: dict[Any, T] = {}
            for in_title in (True, False):
                # Some more: those that do not fit are left out.
                rows = connection.execute(query, (matching(words, in_title=in_title), _FURTHER * limit)).fetchall()
                for row in rows:
                    if row[1] not in found and (one := self.broken.fitting(decoded, row, type_)) is not None:
                        found[row[1]] = one
                if len(found) >= limit:
                    break
            return tuple(found.values())[:limit]

        return await self._database.read(work)

    async def _rows(self, query: str, parameters: Sequence[Any] = ()) -> list[Any]:
        return await self._database.read(lambda connection: connection.execute(query, parameters).fetchall())


def _replace(connection: sqlite3.Connection, old: Snippet | None, new: Snippet) -> Change:
    if not topic_exists(connection, new.topic_id):
        raise UnknownReference("topic_id", new.topic_id)
    topics = {new.topic_id} | ({old.topic_id} if old is not None else set())
    before = page_ends(connection, topics)
    write_snippet(connection, new)
    pages = page_ends(connection, topics, least=before)
    return record_change(connection, time.time(), snippets=[new.snippet_id], pages=pages)
