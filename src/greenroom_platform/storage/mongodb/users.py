"""The users on MongoDB, beside the topics and snippets."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec
from pymongo.errors import DuplicateKeyError

from greenroom.errors import Conflict
from greenroom_platform.domain.records import EditHistory
from greenroom_platform.models import User
from greenroom_platform.storage.histories import with_history
from greenroom_platform.storage.mongodb.database import MongoDatabase, Session
from greenroom_platform.storage.mongodb.documents import LOCK, decoded
from greenroom_platform.storage.mongodb.unfit import fitting
from greenroom_platform.storage.preferences import merged


class MongoUsers:
    """`UserRecords` in the database of a `MongoRecords`."""

    def __init__(self, database: MongoDatabase) -> None:
        self._database = database

    async def add_user(self, user: User) -> None:
        document: Any = {"_id": user.user_id} | msgspec.to_builtins(user)
        try:
            await self._database.write_one(lambda: self._database.users.insert_one(document))
        except DuplicateKeyError:
            raise Conflict(f"the user name {user.username} is taken") from None

    async def user_by_name(self, username: str) -> User | None:
        raw = await self._database.read_one(self._database.users, username, member="username")
        return None if raw is None else decoded(raw, User)

    async def user(self, user_id: str) -> User | None:
        raw = await self._database.read_one(self._database.users, user_id)
        return None if raw is None else decoded(raw, User)

    async def set_preferences(self, user_id: str, preferences: Mapping[str, Any], at: datetime) -> bool:
        # One transaction, and a change of the document even where a value stays. Prevents: A reads · B writes another
        # member · A writes it away.
        async def work(session: Session) -> bool:
            raw = await self._database.users.find_one({"_id": user_id}, session=session)
            changed = None if raw is None else merged(decoded(raw, User), preferences, at)
            if changed is None:
                return False
            members = msgspec.to_builtins(changed)
            kept = {name: members[name] for name in ("preferences", "preferences_set_at")}
            update = {"$set": kept, "$inc": {LOCK: 1}}
            changing = self._database.users.update_one({"_id": user_id}, update, session=session)
            await fitting("user", changing, user_id)
            return True

        return await self._database.transaction(work)

    async def edit_history(self, user_id: str, edit: EditHistory) -> bool:
        async def work(session: Session) -> bool:
            raw = await self._database.users.find_one({"_id": user_id}, session=session)
            if raw is None:
                return False
            user = decoded(raw, User)
            changed = with_history(user, edit)
            if changed is not user:
                # The document is counted up: two edits, and an edit and a deletion, meet there.
                update = {"$set": {"history": msgspec.to_builtins(changed.history)}, "$inc": {LOCK: 1}}
                changing = self._database.users.update_one({"_id": user_id}, update, session=session)
                await fitting("user", changing, user_id)
            return True

        return await self._database.transaction(work)

    async def set_feed(self, user_id: str, feed_hash: str | None) -> bool:
        users = self._database.users
        change = {"$unset": {"feed_hash": ""}} if feed_hash is None else {"$set": {"feed_hash": feed_hash}}
        update = change | {"$inc": {LOCK: 1}}
        done = await self._database.write_one(
            lambda: fitting("user", users.update_one({"_id": user_id}, update), user_id)
        )
        return done.matched_count > 0

    async def delete_user(self, user_id: str, password_hash: str) -> bool:
        wanted = {"_id": user_id, "password_hash": password_hash}
        deleted = await self._database.write_one(lambda: self._database.users.delete_one(wanted))
        return deleted.deleted_count > 0

    async def replace_hash(self, user_id: str, old: str, new: str) -> bool:
        wanted, update = {"_id": user_id, "password_hash": old}, {"$set": {"password_hash": new}, "$inc": {LOCK: 1}}
        users = self._database.users
        replaced = await self._database.write_one(lambda: fitting("user", users.update_one(wanted, update), user_id))
        return replaced.matched_count > 0
