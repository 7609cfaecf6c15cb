"""Connecting: what the server must be, and the collections and indexes that the record needs."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import pymongo
from pymongo import ASCENDING, DESCENDING, AsyncMongoClient, IndexModel
from pymongo.errors import (
    CollectionInvalid,
    ConfigurationError,
    DuplicateKeyError,
    InvalidURI,
    OperationFailure,
    PyMongoError,
)

from greenroom.errors import InvalidInput, RecordUnavailable
from greenroom_platform.storage.mongodb.address import mongodb_name, without_password
from greenroom_platform.storage.mongodb.database import (
    COLLECTIONS,
    OUTBOX,
    SNIPPETS,
    TASKS,
    TOPICS,
    USERS,
    MongoDatabase,
)
from greenroom_platform.storage.mongodb.documents import GENERATED
from greenroom_platform.storage.mongodb.words import WORDS

log = logging.getLogger("greenroom.storage")

SCHEMA_VERSION = 1
_OPENING = 10.0
"""Seconds to find the primary, and again to make what is missing."""
_LEAST = 17
"""The wire version of MongoDB 6.0, the first whose change streams tell what a document was before."""
WATCHED = TOPICS, SNIPPETS, TASKS
_WRONG_PASSWORD, _FORBIDDEN, _EXISTS = 18, 13, 48

INDEXES: Mapping[str, list[IndexModel]] = {
    TOPICS: [
        IndexModel([("display_name", ASCENDING), ("_id", ASCENDING)]),
        IndexModel([(WORDS, ASCENDING), ("display_name", ASCENDING), ("_id", ASCENDING)]),
    ],
    SNIPPETS: [
        IndexModel([("topic_id", ASCENDING), (GENERATED, DESCENDING), ("_id", ASCENDING)]),
        IndexModel([(GENERATED, DESCENDING), ("_id", ASCENDING)]),
        IndexModel([(WORDS, ASCENDING), (GENERATED, DESCENDING), ("_id", ASCENDING)]),
    ],
    TASKS: [
        IndexModel([("number", ASCENDING)], partialFilterExpression={"unfinished": True}),
        IndexModel([("finished", ASCENDING)], partialFilterExpression={"finished": {"$exists": True}}),
        IndexModel(
            [("topic_id", ASCENDING), ("finished", DESCENDING)],
            partialFilterExpression={"finished": {"$exists": True}},
        ),
        IndexModel(
            [("key.caller", ASCENDING), ("key.key", ASCENDING)],
            unique=True,
            partialFilterExpression={"key.key": {"$exists": True}},
        ),
        IndexModel([("key.made", ASCENDING)], partialFilterExpression={"key.made": {"$exists": True}}),
    ],
    USERS: [IndexModel([("username", ASCENDING)], unique=True)],
    OUTBOX: [],
}


async def opened(url: str, *, write_deadline: float) -> MongoDatabase:
    """A database that is ready; raises as `MongoRecords.open`."""
    name, place = mongodb_name(url), without_password(url)
    try:
        # docs/decisions/0084-unknown-driver-options-are-errors.md
        with warnings.catch_warnings():
            # Of an option that it does not understand the driver warns only. Prevents: tls=ture, and no TLS.
            warnings.simplefilter("error", UserWarning)
            client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(url, appname="greenroom")
    except (InvalidURI, ConfigurationError, OSError, ValueError, TypeError, UserWarning) as error:
        raise InvalidInput("database", f"{place} cannot be used: {error}", "correct the address") from None
    database = MongoDatabase(client, name, write_deadline=write_deadline)
    try:
        with pymongo.timeout(_OPENING):
            check_hello(place, await client.admin.command("hello"))
        with pymongo.timeout(_OPENING):
            await prepare(place, database)
    except OperationFailure as error:
        await database.close()
        raise _refused(place, error) from None
    except ConfigurationError as error:
        await database.close()
        raise InvalidInput("database", f"{place} cannot be used: {error}", "correct the address") from None
    except PyMongoError as error:
        await database.close()
        hint = "" if "tls=" in url or url.startswith("mongodb+srv:") else "; where the server wants TLS, add tls=true"
        raise RecordUnavailable(f"{place} cannot be reached: {_short(error)}{hint}") from None
    except BaseException:
        await database.close()
        raise
    return database


def check_hello(place: str, hello: Mapping[str, Any]) -> None:
    """Refuse a server that cannot keep the record's promises."""
    if "setName" not in hello and hello.get("msg") != "isdbgrid":
        reason = f"{place} is a standalone server, which has no transactions"
        remedy = "make it a replica set of one: start it with --replSet rs0, and run rs.initiate() in mongosh once"
        raise InvalidInput("database", reason, remedy)
    if not hello.get("isWritablePrimary"):
        remedy = "name all members with replicaSet=, and leave directConnection out"
        raise InvalidInput("database", f"{place} is not the primary", remedy)
    if hello.get("maxWireVersion", 0) < _LEAST:
        raise InvalidInput("database", f"{place} is older than MongoDB 6.0", "upgrade the server")


async def prepare(place: str, database: MongoDatabase) -> None:
    """Make what is missing of collections, pre-images, schema and indexes; any number of processes at once.

    Raises:
        InvalidInput: when the schema is another program's, or a later one.
        PyMongoError: as the driver.
    """
    there = {one["name"]: one async for one in await database.database.list_collections()}
    for name in COLLECTIONS:
        # Made before the first transaction; and where another program has made one, its changes are to be told whole.
        watched: dict[str, Any] = {"changeStreamPreAndPostImages": {"enabled": True}} if name in WATCHED else {}
        if name not in there:
            try:
                await database.database.create_collection(name, **watched)
                continue
            except CollectionInvalid:
                pass  # by another process, or by another program's insert, at the same time
            except OperationFailure as error:
                if error.code != _EXISTS:
                    raise
        if watched and there.get(name, {}).get("options", {}).get("changeStreamPreAndPostImages") != {"enabled": True}:
            await database.database.command({"collMod": name} | watched)
    version = await _schema(database)
    if not isinstance(version, int) or version > SCHEMA_VERSION:
        reason = f"{place} has a schema of version {version}, and this program knows {SCHEMA_VERSION}"
        raise InvalidInput("database", reason, "use a newer Greenroom, or another database")
    for name, indexes in INDEXES.items():
        if indexes:
            await database.database[name].create_indexes(indexes)


async def _schema(database: MongoDatabase) -> object:
    """The version of the schema, which is ours where there is none yet.

    Written, then read. Prevents: two processes open a new record · each inserts the version · the second finds the
    first's, and is answered with a duplicate, or with nothing.
    """
    while True:
        with suppress(DuplicateKeyError):
            first = {"$setOnInsert": {"version": SCHEMA_VERSION}}
            await database.meta.update_one({"_id": "schema"}, first, upsert=True)
        schema = await database.meta.find_one({"_id": "schema"})
        if schema is not None:  # else it has just been dropped
            return schema.get("version")


def _refused(place: str, error: OperationFailure) -> InvalidInput:
    if error.code == _WRONG_PASSWORD:
        remedy = "correct them, or name the database of the user with authSource="
        return InvalidInput("database", f"{place} refuses this user and password", remedy)
    if error.code == _FORBIDDEN:
        reason = f"{place} forbids what the record needs: {_short(error)}"
        return InvalidInput("database", reason, "give the user the roles readWrite and dbAdmin on the database")
    return InvalidInput("database", f"{place} refuses: {_short(error)}", "correct the address, or the server")


def _short(error: PyMongoError) -> str:
    """The first line of an error; the driver adds the whole topology and, of commands, the whole reply."""
    return str(error).partition(", Timeout:")[0].partition(", full error:")[0][:300]
