"""One database of MongoDB: its client, transactions with a deadline of ours, and its errors in our words.

The driver's own helper for transactions goes on for 120 seconds, and for ever on a client that was closed: a caller of
ours waits for five. What is under way when the record closes ends with `RecordUnavailable`.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from time import monotonic
from typing import Any, TypeVar, cast

import pymongo
from bson.raw_bson import RawBSONDocument
from pymongo import AsyncMongoClient, ReadPreference
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import (
    BulkWriteError,
    ConnectionFailure,
    DuplicateKeyError,
    InvalidOperation,
    OperationFailure,
    PyMongoError,
)
from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern

from greenroom.errors import RecordError, RecordOutcomeUnknown, RecordUnavailable
from greenroom_platform.storage.mongodb.documents import RAW

log = logging.getLogger("greenroom.storage")

T = TypeVar("T")

TOPICS, SNIPPETS, TASKS, USERS, OUTBOX = "topics", "snippets", "AgentTaskState", "users", "outbox"
RECORDINGS, ACTIONS, META = "recordings", "actions", "greenroom"
"""What is no object: the schema's version, the place in the change stream, the count that bounds the queue."""
QUEUE = "queue"
"""The document with that count: whoever adds a task changes it."""
COLLECTIONS = TOPICS, SNIPPETS, TASKS, USERS, OUTBOX, RECORDINGS, ACTIONS, META

WRITE_DEADLINE = 5.0
"""Seconds that a transaction may take with all its repetitions; those of a load are given more."""
READ_DEADLINE = 4.0
"""Seconds that a read may take, which is less than a loader has."""
_PAUSE_MIN, _PAUSE_MAX = 0.002, 0.1
"""Seconds between two attempts of a transaction that met another; twice as many each time."""
_ABORT = 0.5
"""Seconds that a server has to undo a transaction."""
_MAJORITY = WriteConcern("majority", j=True)
_TRANSIENT = "TransientTransactionError"
_DUPLICATE = 11000
_UNKNOWN = "UnknownTransactionCommitResult"

Session = AsyncClientSession
Work = Callable[[Session], Awaitable[T]]


class MongoDatabase:
    """The database of a record.

    Arguments:
        client: open; closed with this.
        name: of the database.
        write_deadline: seconds that a transaction may take with all its repetitions.
    """

    def __init__(
        self, client: AsyncMongoClient[dict[str, Any]], name: str, *, write_deadline: float = WRITE_DEADLINE
    ) -> None:
        self.client = client
        self.name = name
        self._write_deadline = write_deadline
        self._closed = False
        database = client.get_database(name, read_concern=ReadConcern("majority"), write_concern=_MAJORITY)
        self.topics, self.snippets, self.tasks, self.users, self.outbox, self.recordings = (
            cast("AsyncCollection[RawBSONDocument]", database.get_collection(one, codec_options=RAW))
            for one in (TOPICS, SNIPPETS, TASKS, USERS, OUTBOX, RECORDINGS)
        )
        self.meta = database.get_collection(META)
        self.actions = database.get_collection(ACTIONS)
        self._confirming = self.meta.with_options(read_concern=ReadConcern("linearizable"))
        self.database = database

    async def read_one(
        self, collection: AsyncCollection[RawBSONDocument], id_: str, *, member: str = "_id"
    ) -> RawBSONDocument | None:
        """One document as it is at a moment of this call, on whatever primary; None where there is none.

        Prevents: a primary is cut off, and another is elected · a change is made there, and dropped here · the old one,
        which has not noticed, answers this read with the old document · it is cached. A linearizable read waits for the
        majority, which the old one does not have.
        """

        async def work() -> RawBSONDocument | None:
            linear = collection.with_options(read_concern=ReadConcern("linearizable"))
            return await linear.find_one({member: id_})

        return await self.read(work)

    # docs/decisions/0082-lists-are-confirmed-by-a-linearizable-read.md
    async def read_list(self, collection: AsyncCollection[RawBSONDocument], **query: Any) -> list[RawBSONDocument]:
        """The documents of a query, read from what was the primary still afterwards.

        Prevents: as `read_one`. No list can be read linearizably. So one document is, from the same server and after
        the list: one that has been replaced by then does not get the majority for it.
        """

        async def work() -> list[RawBSONDocument]:
            while True:
                cursor = collection.find(**query)
                rows = await cursor.to_list()
                probe = self._confirming.find({"_id": "schema"}, limit=1)
                await probe.to_list()
                if cursor.address == probe.address:
                    return rows

        return await self.read(work)

    async def read(self, work: Callable[[], Awaitable[T]], *, deadline: float = READ_DEADLINE) -> T:
        """Run reads on the primary.

        Raises:
            RecordUnavailable: when they fail.
        """
        self._check()
        try:
            with pymongo.timeout(deadline):
                return await heeding(work())
        except PyMongoError as error:
            raise unavailable(error) from error

    async def write_one(self, work: Callable[[], Awaitable[T]]) -> T:
        """Run one write of one document, which the driver repeats where that is safe.

        Raises:
            RecordUnavailable: when it was not made.
            RecordOutcomeUnknown: when it may have been made.
            DuplicateKeyError: as the driver.
        """
        self._check()
        try:
            with pymongo.timeout(self._write_deadline):
                return await heeding(work())
        except DuplicateKeyError:
            raise
        except PyMongoError as error:
            if _may_have_been_made(error):
                raise RecordOutcomeUnknown(f"the database may have made the change or not: {error}") from error
            raise unavailable(error) from error

    async def tidy(self, work: Callable[[], Awaitable[object]]) -> None:
        """Run a clean-up behind a write that is made; where it fails, the next one does it.

        Prevents: a podcast is queued · the primary steps down in the clean-up · the client is told 503, asks again, and
        a second podcast is queued.
        """
        try:
            await self.write_one(work)
        except RecordError as error:
            log.debug("a clean-up is left for the next one: %s", error)

    # docs/decisions/0080-mongodb-transactions-are-our-own.md
    async def transaction(self, work: Work[T], *, deadline: float | None = None) -> T:
        """Run one transaction: committed when `work` returns, undone when it raises. `work` may run more than once.

        Raises:
            RecordUnavailable: when it was not committed: the database fails, or is busy beyond the deadline.
            RecordOutcomeUnknown: when it may have been committed; its `result` is what `work` returned last.
        """
        end, pause = monotonic() + (deadline or self._write_deadline), _PAUSE_MIN
        while True:
            self._check()
            try:
                async with self._session(end) as session:
                    return await heeding(self._attempt(session, work, end))
            except _Again as again:
                left = end - monotonic()
                if left <= pause or self._closed:
                    raise unavailable(again.error) from again.error
            # Two that met would meet again: each waits for another while.
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(_PAUSE_MAX, pause * 2)

    async def close(self) -> None:
        """Close the connections; what is under way fails, and so does every further call."""
        self._closed = True
        await self.client.close()

    @asynccontextmanager
    async def _session(self, end: float) -> AsyncIterator[Session]:
        try:
            with pymongo.timeout(max(0.001, end - monotonic())):
                async with self.client.start_session() as session:
                    yield session
        except PyMongoError as error:
            raise unavailable(error) from error

    async def _attempt(self, session: Session, work: Work[T], end: float) -> T:
        await session.start_transaction(ReadConcern("snapshot"), _MAJORITY, ReadPreference.PRIMARY)
        try:
            result = await work(session)
        except PyMongoError as error:
            await _abort(session)
            if error.has_error_label(_TRANSIENT) or _is_duplicate(error):
                # Of two that insert one id the second finds a duplicate: it reads what the first has made.
                raise _Again(error) from error
            raise unavailable(error) from error
        except BaseException:
            await _abort(session)
            raise
        await self._commit(session, result, end)
        return result

    async def _commit(self, session: Session, result: object, end: float) -> None:
        """Commit, again and again as long as it is not known whether it is done: a commit that is repeated is one."""
        while True:
            try:
                await session.commit_transaction()
                return
            except PyMongoError as error:
                if error.has_error_label(_TRANSIENT):
                    raise _Again(error) from error
                known = isinstance(error, OperationFailure) and not error.has_error_label(_UNKNOWN)
                if known and not error.timeout:
                    raise unavailable(error) from error
                if monotonic() >= end - _PAUSE_MAX or self._closed:
                    message = f"the database may have made the change or not: {error}"
                    raise RecordOutcomeUnknown(message, result=result) from error
            await asyncio.sleep(_PAUSE_MAX / 2)

    def _check(self) -> None:
        if self._closed:
            raise RecordUnavailable("the database is closed")


async def heeding(call: Awaitable[T]) -> T:
    """What a call of the driver gives; a cancellation that the driver has passed over is raised in its place.

    Prevents: a task is cancelled in the moment in which the driver has written its message · `asyncio.wait_for` of
    Python before 3.12 gives the driver its result, and nobody the cancellation · the task goes on for good, and whoever
    has cancelled it waits for its end as long.
    """
    task = asyncio.current_task()
    assert task is not None, "the driver is called in tasks"
    before = task.cancelling()
    result = await call
    if task.cancelling() > before:
        raise asyncio.CancelledError
    return result


class _Again(Exception):
    """An attempt that was undone and may succeed."""

    def __init__(self, error: PyMongoError) -> None:
        super().__init__()
        self.error = error


async def _abort(session: Session) -> None:
    if session.in_transaction:
        # The driver would repeat it for as long as the transaction had left. The server ends it in time.
        with suppress(PyMongoError), pymongo.timeout(_ABORT):
            await session.abort_transaction()


def _is_duplicate(error: PyMongoError) -> bool:
    if isinstance(error, BulkWriteError):
        return any(one.get("code") == _DUPLICATE for one in error.details.get("writeErrors", []))
    return isinstance(error, DuplicateKeyError)


def _may_have_been_made(error: PyMongoError) -> bool:
    if isinstance(error, InvalidOperation):
        return False
    # No primary was found in time: nothing was sent.
    unsent = isinstance(error, pymongo.errors.ServerSelectionTimeoutError)
    return (isinstance(error, ConnectionFailure) or error.timeout) and not unsent


def unavailable(error: PyMongoError) -> RecordUnavailable:
    """An error of the driver in our words."""
    return RecordUnavailable(f"the database failed: {error}")
