"""Whole objects in one transaction: only what differs is written, and what it made stale is one change."""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Any

from pymongo import InsertOne, UpdateOne

from greenroom_platform.domain.records import Change
from greenroom_platform.storage.broken import all_decoded
from greenroom_platform.storage.mongodb.changes import ChangeNumbers, page_ends, record_change
from greenroom_platform.storage.mongodb.database import MongoDatabase, Session
from greenroom_platform.storage.mongodb.documents import LOCK, decoded, snippet_update, topic_update
from greenroom_platform.storage.whole import Wanted


async def stored_whole(
    database: MongoDatabase, session: Session, numbers: ChangeNumbers, wanted: Wanted
) -> Change | None:
    """Store within the current transaction; None where nothing differs.

    Raises:
        BrokenDocument: when what is stored under an id is another program's, and does not fit.
        UnknownReference: when a snippet's topic is neither stored nor among `topics`.
    """
    # The topics first: whoever deletes one at the same time meets this transaction, before or after.
    if wanted.named:
        named = {"_id": {"$in": sorted(wanted.named)}}
        await database.topics.update_many(named, {"$inc": {LOCK: 1}}, session=session)
        found = database.topics.find(named, {"_id": 1}, session=session)
        wanted.check({row["_id"] async for row in found})
    topics = database.topics.find({"_id": {"$in": list(wanted.topics)}}, session=session)
    snippets = database.snippets.find({"_id": {"$in": list(wanted.snippets)}}, session=session)
    new = wanted.differing(*all_decoded(decoded, await topics.to_list(), await snippets.to_list()))
    if not new:
        return None
    left = new.touched - wanted.named
    if left:
        await database.topics.update_many({"_id": {"$in": sorted(left)}}, {"$inc": {LOCK: 1}}, session=session)
    if new.topics:
        await database.topics.bulk_write(
            [_write(one.topic_id, topic_update(one), new.stored[0]) for one in new.topics],
            ordered=False,
            session=session,
        )
    if new.snippets:
        await database.snippets.bulk_write(
            [_write(one.snippet_id, snippet_update(one), new.stored[1]) for one in new.snippets],
            ordered=False,
            session=session,
        )
    return await record_change(
        database,
        session,
        numbers,
        topics=[one.topic_id for one in new.topics],
        snippets=[one.snippet_id for one in new.snippets],
        pages=await page_ends(database, session, new.touched, gone=new.gone),
    )


def _write(id_: str, update: Mapping[str, Any], stored: Set[str]) -> InsertOne[Any] | UpdateOne:
    """The update of a document, or its insertion, which costs less than half of it."""
    if id_ in stored:
        return UpdateOne({"_id": id_}, update)
    return InsertOne({"_id": id_, LOCK: 1} | update["$set"])
