"""Changes made outside on SQLite: triggers leave rows for them, and a look finds these rows."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

from greenroom.errors import RecordError
from greenroom.keyspace import Keyspace
from greenroom_platform.definitions import PODCAST_STATUS, SNIPPET, SNIPPET_PAGE, TOPIC, TOPICS
from greenroom_platform.domain.foreign_changes import EVERYTHING, ForeignChanges
from greenroom_platform.storage.outbox import page_ends
from greenroom_platform.storage.sqlite.database import Database
from greenroom_platform.storage.sqlite.triggers import restore_triggers, triggers_missing

log = logging.getLogger("greenroom.storage")

LOOK = 0.25
"""Seconds between two looks for what others have written."""
_TOGETHER = 500
"""Rows told at a time."""
TOO_MANY = 10_000
"""Rows above which whole keyspaces are dropped instead of their keys."""
_KINDS: dict[str, tuple[Keyspace[Any], ...]] = {
    "topic": (TOPIC, TOPICS, SNIPPET_PAGE),
    "snippet": (SNIPPET, SNIPPET_PAGE),
    "status": (PODCAST_STATUS,),
}
"""What a row makes stale, by its kind; of any other kind, everything."""


class SqliteForeignChanges:
    """`ChangeSource` of a `SqliteRecords`; a position is the number of a row."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._stuck = 0  # the last row that was dropped and could not be deleted

    async def changes(self) -> AsyncIterator[ForeignChanges[int]]:
        while True:
            found = await self._database.read(lambda connection: _found(connection, self._stuck))
            if found is None:
                # Who rebuilds a table, as migrations do, takes its triggers away: nobody says what was written since.
                log.warning("the triggers for changes made outside were gone; they are made again")
                await self._database.write(restore_triggers)
            elif found.events:
                yield found
            else:
                await asyncio.sleep(LOOK)

    async def acknowledge(self, position: int) -> None:
        def work(connection: sqlite3.Connection) -> None:
            connection.execute("DELETE FROM foreign_changes WHERE number <= ?", (position,))

        try:
            await self._database.write(work)
        except RecordError:
            # Prevents: nothing can be written · each look finds the same rows, and their keys are dropped for ever.
            self._stuck = position
            raise
        self._stuck = 0


def _found(connection: sqlite3.Connection, after: int) -> ForeignChanges[int] | None:
    """What others have written after a row, of one moment; None where triggers are gone."""
    connection.execute("BEGIN")
    try:
        return None if triggers_missing(connection) else _waiting(connection, after)
    finally:
        connection.execute("COMMIT")


def _waiting(connection: sqlite3.Connection, after: int) -> ForeignChanges[int]:
    since = "FROM foreign_changes WHERE number > ?"
    rows = connection.execute(
        # As bytes: text that is no UTF-8 would make the whole query fail.
        f"SELECT number, kind, CAST(id AS BLOB), CAST(topic AS BLOB), written {since} ORDER BY number LIMIT ?",
        (after, _TOGETHER),
    ).fetchall()
    if not rows:
        return ForeignChanges(position=after)
    written = rows[0][4] if isinstance(rows[0][4], float) else None
    count, last = connection.execute(f"SELECT count(*), max(number) {since}", (after,)).fetchone()
    kinds = {kind for (kind,) in connection.execute(f"SELECT DISTINCT kind {since}", (after,))}
    if count > TOO_MANY or not kinds <= _KINDS.keys():
        lost = {one.name: one for kind in sorted(kinds) for one in _KINDS.get(kind, EVERYTHING)}
        return ForeignChanges(position=last, events=count, lost=tuple(lost.values()), written=written)
    stale: dict[str, set[str]] = {kind: set() for kind in _KINDS}
    topics: Counter[str] = Counter()
    for _, kind, of, topic, _ in rows:
        if (name := _text(of)) is not None:
            stale[kind].add(name)
        if (name := _text(topic)) is not None:
            topics[name] += 1
    return ForeignChanges(
        position=rows[-1][0],
        events=len(rows),
        topics=tuple(sorted(stale["topic"])),
        snippets=tuple(sorted(stale["snippet"])),
        # As many snippets as there are rows may have been in the topic before.
        pages=tuple(sorted(page_ends(connection, topics, gone=topics).items())),
        statuses=tuple(sorted(stale["status"])),
        written=written,
    )


def _text(value: bytes | None) -> str | None:
    """An id; None for what is none, which no key can hold either."""
    try:
        return None if value is None else value.decode()
    except UnicodeDecodeError:
        return None
