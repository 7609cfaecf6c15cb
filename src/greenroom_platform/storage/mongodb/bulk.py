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
from greenroom_platform.storage.mongodb.relying import rely_on
from greenroom_platform.storage.mongodb.unfit import fitting
from greenroom_platform.storage.whole import WholeObjects


async def stored_whole(
    database: MongoDatabase, session: Session, numbers: ChangeNumbers, objects: WholeObjects
) -> Change | None:
    """Store within the current transaction; None where nothing differs.

    Raises:
        BrokenDocument: when what is stored under an id is another program's, and does not fit.
        UnknownReference: when a snippet's topic is neither stored nor among `topics`.
    """
    # The topics first: whoever deletes one at the same time meets this transaction, before or after.
    if objects.named:
        named = {"_id": {"$in": sorted(objects.named)}}
        await rely_on(database, session, *sorted(objects.named))
        known = database.topics.find(named, {"_id": 1}, session=session)
        objects.check({row["_id"] async for row in known})
    topics = database.topics.find({"_id": {"$in": list(objects.topics)}}, session=session)
    snippets = database.snippets.find({"_id": {"$in": list(objects.snippets)}}, session=session)
    new = objects.differing(*all_decoded(decoded, await topics.to_list(), await snippets.to_list()))
    if not new:
        return None
    left = new.touched - objects.named
    if left:
        await rely_on(database, session, *sorted(left))
    if new.topics:
        writes = [_write(one.topic_id, topic_update(one), new.stored[0]) for one in new.topics]
        await fitting("topic", database.topics.bulk_write(writes, ordered=False, session=session))
    if new.snippets:
        writes = [_write(one.snippet_id, snippet_update(one), new.stored[1]) for one in new.snippets]
        await fitting("snippet", database.snippets.bulk_write(writes, ordered=False, session=session))
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
