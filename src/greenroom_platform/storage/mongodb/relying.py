"""Relying on topics that a transaction does not write: their `lock` is counted up, so that others meet it there."""

from __future__ import annotations

from typing import Any

from greenroom_platform.storage.mongodb.database import MongoDatabase, Session
from greenroom_platform.storage.mongodb.documents import LOCK
from greenroom_platform.storage.mongodb.unfit import STUCK, check_counted, fitting

_TOPIC = "topic"


async def rely_on(database: MongoDatabase, session: Session, *topic_ids: str) -> int:
    """Rely on topics; returns how many of them there are.

    Prevents: a snippet is added here, whose topic is there · another transaction deletes the topic, which has no
    snippet yet · both are committed, for they have written nothing in common. And: two add the 20th and the 21st
    snippet, and each counts 20.

    Raises:
        BrokenDocument: when the lock of one cannot be counted up.
    """
    named: dict[str, Any] = {"_id": {"$in": list(topic_ids)}}
    counting = database.topics.update_many(named, {"$inc": {LOCK: 1}}, session=session)
    result = await fitting(_TOPIC, counting, *topic_ids)
    if result.modified_count < result.matched_count:
        stuck = database.topics.find(named | {LOCK: STUCK}, {"_id": 1}, session=session)
        check_counted(_TOPIC, result, *[str(row["_id"]) async for row in stuck])
    return result.matched_count
