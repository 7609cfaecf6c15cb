"""Search on MongoDB: each document has its words beside its members, in arrays with an index.

Ours are written with the document. What another program writes has none, or those of what was there before: the
watcher, which reads each such change, puts them right before it tells of it. Where it has no history it looks at every
document, and otherwise, when it begins, at those without words, as of a record from before there was a search.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import bson
from bson.raw_bson import RawBSONDocument
from pymongo import UpdateOne

from greenroom_platform.storage.mongodb.database import MongoDatabase
from greenroom_platform.storage.mongodb.documents import LENIENT
from greenroom_platform.storage.mongodb.words import (
    ANYWHERE,
    OF_SNIPPETS,
    OF_TOPICS,
    TITLE,
    WORDS,
    Searched,
    entries_of,
    has_all,
    words_in,
)

T = TypeVar("T")

CANDIDATES = 500
"""Documents with one entry that are looked at, the first in order. Prevents: somebody looks for `th` again and again ·
the whole record is read each time."""
_FETCHED = 80
"""Documents that are read at a time, since they may not have what their entries promise."""
_LOOKS = 5
"""Such reads of one search at most."""
_TOGETHER = 500
"""Documents that are looked at together."""


async def mend_named(database: MongoDatabase, topics: Iterable[str], snippets: Iterable[str]) -> None:
    """Put the words of some documents right."""
    for collection, ids, searched in (
        (database.topics, sorted(topics), OF_TOPICS),
        (database.snippets, sorted(snippets), OF_SNIPPETS),
    ):
        for start in range(0, len(ids), _TOGETHER):
            await _mend(database, collection, {"_id": {"$in": ids[start : start + _TOGETHER]}}, searched)


async def mend_all(database: MongoDatabase, *, missing: bool) -> int:
    """Put the words of all documents right, or, with `missing`, of those that have none; returns how many were not."""
    mended = 0
    for collection, searched in ((database.topics, OF_TOPICS), (database.snippets, OF_SNIPPETS)):
        query: dict[str, Any] = {WORDS: {"$exists": False}} if missing else {}
        last: str | None = ""
        while last is not None:
            query["_id"] = {"$type": "string", "$gt": last}  # no object of ours has any other
            last, count = await _mend(database, collection, query, searched)
            mended += count
    return mended


async def _mend(
    database: MongoDatabase, collection: Any, query: Mapping[str, Any], searched: Searched
) -> tuple[str | None, int]:
    """Put the words of some documents right; returns the last id where there may be more, and how many were not."""
    members = dict.fromkeys((*searched.title, *searched.body, WORDS), 1)

    async def read() -> list[RawBSONDocument]:
        found = collection.find(query, members, sort=[("_id", 1)], limit=_TOGETHER)
        rows: list[RawBSONDocument] = await found.to_list()
        return rows

    rows = await database.read(read)
    updates = []
    for row in rows:
        document = bson.decode(row.raw, LENIENT)
        words = words_in(document, searched)
        if any(document.get(name) != value for name, value in words.items()):
            # If it is still what was read. Prevents: it is read · its author changes it, and the words of that are
            # written · those of what was read are written over them.
            same = {name: document.get(name) for name in ("_id", *searched.title, *searched.body)}
            updates.append(UpdateOne(same, {"$set": words}))
    if updates:
        await database.write_one(lambda: collection.bulk_write(updates, ordered=False))
    return (rows[-1]["_id"] if len(rows) == _TOGETHER else None), len(updates)


async def found_in_order(
    database: MongoDatabase,
    collection: Any,
    words: Sequence[str],
    order: Sequence[tuple[str, int]],
    fits: Callable[[RawBSONDocument], T | None],
    limit: int,
) -> tuple[T, ...]:
    """What has all words in its title, then what has them anywhere, each in an order.

    Arguments:
        fits: makes the object of a document; None where it is left out.
    """
    found: dict[object, T] = {}
    for where in (TITLE, ANYWHERE):
        candidates = await _candidates(database, collection, entries_of(words, where), order)
        left = [one for one in candidates if one not in found]
        for start in range(0, min(len(left), _LOOKS * _FETCHED), _FETCHED):
            chunk = left[start : start + _FETCHED]
            rows = await database.read_list(collection, filter={"_id": {"$in": chunk}})
            by_id = {row["_id"]: row for row in rows}
            for one in chunk:
                # Also what has changed since its entries were read.
                if one in by_id and has_all(words, where, set(by_id[one].get(WORDS, ()))):
                    fitting = fits(by_id[one])
                    if fitting is not None:
                        found[one] = fitting
            if len(found) >= limit:
                return tuple(found.values())[:limit]
    return tuple(found.values())


async def _candidates(
    database: MongoDatabase, collection: Any, entries: Sequence[str], order: Sequence[tuple[str, int]]
) -> list[Any]:
    """The ids of documents that may have all entries; of those that are in too many documents it is not known."""

    async def having(entry: str) -> list[Any]:
        query = {"filter": {WORDS: entry}, "projection": {"_id": 1}, "sort": list(order), "limit": CANDIDATES}
        return [row["_id"] for row in await database.read_list(collection, **query)]

    # Where all are in too many, the longest: fewer have it, as a rule.
    each = sorted([await having(entry) for entry in sorted(entries, key=len, reverse=True)], key=len)
    known = [set(ids) for ids in each[1:] if len(ids) < CANDIDATES]
    return [one for one in each[0] if all(one in ids for ids in known)]
