"""The users on SQLite, beside the topics and snippets."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import msgspec

from greenroom.errors import Conflict
from greenroom_platform.domain.records import EditHistory
from greenroom_platform.models import User
from greenroom_platform.storage.histories import with_history
from greenroom_platform.storage.preferences import merged
from greenroom_platform.storage.sqlite.database import Database
from greenroom_platform.storage.sqlite.rows import columns, decoded


class SqliteUsers:
    """`UserRecords` in the file of a `SqliteRecords`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add_user(self, user: User) -> None:
        def work(connection: sqlite3.Connection) -> None:
            row = user.user_id, user.username, _text(user)
            try:
                connection.execute("INSERT INTO users (user_id, username, document) VALUES (?, ?, ?)", row)
            except sqlite3.IntegrityError:
                raise Conflict(f"the user name {user.username} is taken") from None

        await self._database.write(work)

    async def user_by_name(self, username: str) -> User | None:
        return await self._database.read(lambda connection: _read(connection, "username", username))

    async def user(self, user_id: str) -> User | None:
        return await self._database.read(lambda connection: _read(connection, "user_id", user_id))

    async def set_preferences(self, user_id: str, preferences: Mapping[str, Any], at: datetime) -> bool:
        return await self._change(user_id, lambda user: merged(user, preferences, at))

    async def replace_hash(self, user_id: str, old: str, new: str) -> bool:
        def change(user: User) -> User | None:
            return msgspec.structs.replace(user, password_hash=new) if user.password_hash == old else None

        return await self._change(user_id, change)

    async def edit_history(self, user_id: str, edit: EditHistory) -> bool:
        return await self._change(user_id, lambda user: with_history(user, edit))

    async def set_feed(self, user_id: str, feed_hash: str | None) -> bool:
        given = msgspec.UNSET if feed_hash is None else feed_hash
        return await self._change(user_id, lambda user: msgspec.structs.replace(user, feed_hash=given))

    async def delete_user(self, user_id: str, password_hash: str) -> bool:
        def work(connection: sqlite3.Connection) -> bool:
            user = _read(connection, "user_id", user_id)
            if user is None or user.password_hash != password_hash:
                return False
            connection.execute("DELETE FROM users WHERE user_id = ?", (user_id,))
            return True

        return await self._database.write(work)

    async def _change(self, user_id: str, change: Callable[[User], User | None]) -> bool:
        """Read and replace in one transaction. Prevents: A reads · B writes another member · A writes it away."""

        def work(connection: sqlite3.Connection) -> bool:
            user = _read(connection, "user_id", user_id)
            changed = None if user is None else change(user)
            if changed is None:
                return False
            if changed is user:
                return True
            connection.execute("UPDATE users SET document = ? WHERE user_id = ?", (_text(changed), user_id))
            return True

        return await self._database.write(work)


def _read(connection: sqlite3.Connection, column: str, value: str) -> User | None:
    query = f"SELECT {columns(User)} FROM users WHERE {column} = ?"  # noqa: S608  one of two columns, named above
    row = connection.execute(query, (value,)).fetchone()
    return decoded(row, User) if row else None


def _text(user: User) -> str:
    return msgspec.json.encode(user).decode()
