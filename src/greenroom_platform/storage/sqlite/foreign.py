"""Changes made outside on SQLite: triggers leave rows for them, and a look finds these rows."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections import Counter
from collections.abc import AsyncGenerator
from typing import Any

from greenroom.errors import RecordError
from greenroom.keyspace import Keyspace
from greenroom_platform.definitions import PODCAST_STATUS, SNIPPET, SNIPPET_PAGE, TOPIC, TOPICS
from greenroom_platform.domain.foreign_changes import EVERYTHING, ForeignChanges
from greenroom_platform.storage.sqlite.database import Database
from greenroom_platform.storage.sqlite.outbox import page_ends
from greenroom_platform.storage.sqlite.triggers import restore_triggers, triggers_missing

log = logging.getLogger("greenroom.storage")

LOOK = 0.25
"""Seconds between two looks for what others have written."""
_TOGETHER = 500
"""Rows told at a time."""
_DELETED = 10_000
"""Rows deleted by one transaction."""
TOO_MANY = 10_000
"""Rows above which whole keyspaces are dropped instead of their keys."""
_KINDS: dict[bytes, tuple[Keyspace[Any], ...]] = {
    b"topic": (TOPIC, TOPICS, SNIPPET_PAGE),
    b"snippet": (SNIPPET, SNIPPET_PAGE),
    b"status": (PODCAST_STATUS,),
}
"""What a row makes stale, by its kind; of any other kind, everything."""


class SqliteForeignChanges:
    """`ChangeSource` of a `SqliteRecords`; a position is the number of a row."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._stuck = 0  # the last row that was dropped and could not be deleted

    async def changes(self) -> AsyncGenerator[ForeignChanges[int], None]:
        while True:
            changes = await self._database.read(lambda connection: _changes(connection, self._stuck))
            if changes is None:
                # Who rebuilds a table, as migrations do, takes its triggers away: nobody says what was written since.
                log.warning(
                    "the schema was changed, or the triggers for changes made outside were gone; they are made again"
                )
                await self._database.write(restore_triggers)
                self._stuck = 0  # a log that is new has other numbers
            elif changes.events:
                yield changes
            else:
                await asyncio.sleep(LOOK)

    async def acknowledge(self, position: int) -> None:
        def work(connection: sqlite3.Connection) -> bool:
            some = "SELECT number FROM foreign_changes WHERE number <= ? ORDER BY number LIMIT ?"
            last = f"SELECT max(number) FROM ({some})"  # noqa: S608
            (end,) = connection.execute(last, (position, _DELETED)).fetchone()
            connection.execute("DELETE FROM foreign_changes WHERE number <= ?", (end,))
            return end is not None and bool(end < position)

        try:
            # Prevents: a migration has left a great many rows · one transaction deletes them · nobody else writes for
            # as long.
            while await self._database.write(work):
                pass
        except RecordError:
            # Prevents: nothing can be written · each look finds the same rows, and their keys are dropped for ever.
            self._stuck = position
            raise
        self._stuck = 0


def _changes(connection: sqlite3.Connection, after: int) -> ForeignChanges[int] | None:
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
        "SELECT number, CAST(kind AS BLOB), CAST(id AS BLOB), CAST(topic AS BLOB), written"
        f" {since} ORDER BY number LIMIT ?",
        (after, _TOGETHER),
    ).fetchall()
    if not rows:
        return ForeignChanges(position=after)
    written = rows[0][4] if isinstance(rows[0][4], float) else None
    count, last = connection.execute(f"SELECT count(*), max(number) {since}", (after,)).fetchone()
    kinds = {kind for (kind,) in connection.execute(f"SELECT DISTINCT CAST(kind AS BLOB) {since}", (after,))}
    if count > TOO_MANY or not kinds <= _KINDS.keys():
        lost = {one.name: one for kind in sorted(kinds) for one in _KINDS.get(kind, EVERYTHING)}
        return ForeignChanges(position=last, events=count, lost=tuple(lost.values()), written=written)
    stale: dict[bytes, set[str]] = {kind: set() for kind in _KINDS}
    topics: set[str] = set()
    for _, kind, of, topic, _ in rows:
        if (name := _text(of)) is not None:
            stale[kind].add(name)
        if (name := _text(topic)) is not None:
            topics.add(name)
    # Of all that wait, not of these alone. Prevents: 3,000 snippets are deleted at once · 500 rows are told · the last
    # page that is dropped is the 26th of 150.
    waiting = connection.execute(f"SELECT CAST(topic AS BLOB), count(*) {since} GROUP BY topic", (after,))
    gone = Counter({name: number for topic, number in waiting if (name := _text(topic)) in topics})
    return ForeignChanges(
        position=rows[-1][0],
        events=len(rows),
        topics=tuple(sorted(stale[b"topic"])),
        snippets=tuple(sorted(stale[b"snippet"])),
        # As many snippets as there are rows may have been in the topic before.
        pages=tuple(sorted(page_ends(connection, topics, gone=gone).items())),
        statuses=tuple(sorted(stale[b"status"])),
        written=written,
    )


def _text(value: bytes | None) -> str | None:
    """An id; None for what is none, which no key can hold either."""
    try:
        return None if value is None else value.decode()
    except UnicodeDecodeError:
        return None
