"""What a transaction made stale, written in the transaction itself; and the rows of others, read."""

from __future__ import annotations

import random
import time
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

import bson
import msgspec
from bson.raw_bson import RawBSONDocument

from greenroom_platform.definitions import PAGE_NUMBERS, PAGE_SIZE
from greenroom_platform.domain.records import Change
from greenroom_platform.storage.broken import log_unreadable
from greenroom_platform.storage.mongodb.database import MongoDatabase, Session
from greenroom_platform.storage.mongodb.documents import LENIENT

_RANDOM_BITS = 10


class ChangeNumbers:
    """Numbers that grow with time and are never used twice: 53 bits of microseconds, then some of chance.

    A counter in the database would make every transaction meet every other.
    """

    def __init__(self) -> None:
        self._last = 0

    def next(self) -> bson.Int64:
        """The next number."""
        now = (time.time_ns() // 1000 << _RANDOM_BITS) + random.getrandbits(_RANDOM_BITS)
        self._last = max(now, self._last + 1)
        return bson.Int64(self._last)


async def record_change(
    database: MongoDatabase,
    session: Session,
    numbers: ChangeNumbers,
    *,
    topics: Iterable[str] = (),
    snippets: Iterable[str] = (),
    pages: Mapping[str, int] | None = None,
    statuses: Iterable[str] = (),
) -> Change:
    """Write the outbox row of the current transaction."""
    change = Change(
        change_id=int(numbers.next()),
        topics=tuple(topics),
        snippets=tuple(snippets),
        pages=tuple(sorted((pages or {}).items())),
        statuses=tuple(statuses),
    )
    row: Any = {
        "_id": bson.Int64(change.change_id),
        "committed": time.time(),
        "change": msgspec.json.encode(change).decode(),
    }
    await database.outbox.insert_one(row, session=session)
    return change


async def pending_changes(
    database: MongoDatabase, *, older_than: float, after: int, limit: int, logged: set[int]
) -> tuple[Change, ...]:
    """Changes not yet acknowledged, by their ids; see `Records.pending`.

    Arguments:
        logged: rows that the log has said cannot be read; they are asked for every second.
    """
    now = time.time()

    async def some(after: int) -> list[RawBSONDocument]:
        # A row from the future is one from before a machine's clock was set back: it has waited long enough.
        old = {"$not": {"$gt": now - older_than, "$lte": now}}
        query = {"_id": {"$gt": bson.Int64(after), "$type": "long"}, "committed": old}
        return await database.outbox.find(query, sort=[("_id", 1)], limit=limit).to_list()

    changes: list[Change] = []
    while not changes:
        rows = await database.read(partial(some, after))
        if not rows:
            break
        for row in rows:
            # Prevents: one row is text that is no UTF-8 · nobody can read even its number, and all behind it wait.
            members = bson.decode(row.raw, LENIENT)
            number = int(members["_id"])
            try:
                changes.append(
                    msgspec.structs.replace(msgspec.json.decode(members["change"], type=Change), change_id=number)
                )
            except (msgspec.DecodeError, KeyError, TypeError) as error:
                log_unreadable(number, error, logged)
            after = number
    return tuple(changes)


async def page_ends(
    database: MongoDatabase,
    session: Session | None,
    topics: Iterable[str],
    *,
    gone: Mapping[str, int] | None = None,
) -> dict[str, int]:
    """For each topic the number up to which its pages are to be dropped: its last page plus one.

    The count is exact for who has touched the topic in the transaction: all that add or remove snippets do.

    Arguments:
        gone: how many snippets were in a topic before, and are not now, at most.
    """
    topic_ids = sorted(topics)
    steps: list[dict[str, Any]] = [
        {"$match": {"topic_id": {"$in": topic_ids}}},
        {"$group": {"_id": "$topic_id", "count": {"$sum": 1}}},
    ]
    counts = dict.fromkeys(topic_ids, 0)
    if topic_ids:
        async for row in await database.snippets.aggregate(steps, session=session):
            # Another program's array is in the pages of each topic that it names, where it is left out.
            named = row["_id"] if isinstance(row["_id"], list) else [row["_id"]]
            for one in {one for one in named if isinstance(one, str)} & counts.keys():
                counts[one] += row["count"]
    whole = {one: count + (gone or {}).get(one, 0) for one, count in counts.items()}
    return {one: min(-(-count // PAGE_SIZE) + 1, PAGE_NUMBERS.max) for one, count in whole.items()}
