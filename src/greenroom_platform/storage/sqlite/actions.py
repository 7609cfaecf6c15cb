"""What operators have done, on SQLite, with the pause of the queue and a look at the outbox."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime
from typing import TypeVar

import msgspec

from greenroom_platform.domain.action_log import ACTIONS_KEPT, Action, OutboxState, QueuePause
from greenroom_platform.storage.sqlite.database import Database

T = TypeVar("T")


class SqliteActions:
    """`ActionLog` in the file of a `SqliteRecords`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def begin(self, action: Action) -> int:
        def work(connection: sqlite3.Connection) -> int:
            cursor = connection.execute("INSERT INTO actions (document) VALUES (?)", (_text(action),))
            assert cursor.lastrowid is not None
            connection.execute("DELETE FROM actions WHERE number <= ?", (cursor.lastrowid - ACTIONS_KEPT,))
            return cursor.lastrowid

        return await self._database.write(work)

    async def end(self, number: int, outcome: str) -> None:
        def work(connection: sqlite3.Connection) -> None:
            row = connection.execute(
                "SELECT CAST(document AS BLOB) FROM actions WHERE number = ?", (number,)
            ).fetchone()
            if row is not None and (action := _decoded(row[0], Action)) is not None:
                text = _text(msgspec.structs.replace(action, outcome=outcome))
                connection.execute("UPDATE actions SET document = ? WHERE number = ?", (text, number))

        await self._database.write(work)

    async def newest(self, limit: int) -> tuple[Action, ...]:
        def work(connection: sqlite3.Connection) -> tuple[Action, ...]:
            query = "SELECT number, CAST(document AS BLOB) FROM actions ORDER BY number DESC LIMIT ?"
            rows = [(number, _decoded(text, Action)) for number, text in connection.execute(query, (limit,))]
            return tuple(msgspec.structs.replace(one, number=number) for number, one in rows if one is not None)

        return await self._database.read(work)

    async def pause(self) -> QueuePause | None:
        return await self._database.read(_pause)

    async def set_pause(self, pause: QueuePause | None) -> None:
        def work(connection: sqlite3.Connection) -> None:
            if pause is None:
                connection.execute("DELETE FROM queue_pause")
            elif _pause(connection) is None:
                text = msgspec.json.encode(pause).decode()
                connection.execute("INSERT OR REPLACE INTO queue_pause (one, document) VALUES (1, ?)", (text,))

        await self._database.write(work)

    async def outbox(self) -> OutboxState:
        def work(connection: sqlite3.Connection) -> OutboxState:
            number, oldest = connection.execute("SELECT count(*), min(committed) FROM outbox").fetchone()
            return OutboxState(pending=number, oldest=datetime.fromtimestamp(oldest, UTC) if number else None)

        return await self._database.read(work)


def _pause(connection: sqlite3.Connection) -> QueuePause | None:
    row = connection.execute("SELECT CAST(document AS BLOB) FROM queue_pause").fetchone()
    return None if row is None else _decoded(row[0], QueuePause)


def _text(action: Action) -> str:
    return msgspec.json.encode(action).decode()


def _decoded(text: bytes, type_: type[T]) -> T | None:
    """What another program has written there, and does not fit, is nothing."""
    try:
        return msgspec.json.decode(text, type=type_)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
