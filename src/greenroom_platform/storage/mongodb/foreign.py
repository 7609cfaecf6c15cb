"""Changes made outside on MongoDB: a change stream tells of every commit, ours and others', in their order.

The place in the stream is kept in the record itself. It is stored after the servers of the caches have dropped what was
told, so that a watcher that is killed leaves the rest to its successor.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence, Set
from contextlib import aclosing
from datetime import UTC, datetime
from time import monotonic
from typing import Any

import msgspec
import pymongo
from bson import Timestamp
from pymongo.asynchronous.change_stream import AsyncDatabaseChangeStream
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.errors import OperationFailure, PyMongoError

from greenroom.detached import stop
from greenroom.errors import InvalidInput, RecordError, RecordUnavailable
from greenroom_platform.definitions import SNIPPET_PAGE
from greenroom_platform.domain.foreign_changes import EVERYTHING, ForeignChanges
from greenroom_platform.storage.mongodb.changes import page_ends
from greenroom_platform.storage.mongodb.database import (
    COLLECTIONS,
    META,
    OUTBOX,
    QUEUE,
    MongoDatabase,
    heeding,
    unavailable,
)
from greenroom_platform.storage.mongodb.documents import LENIENT
from greenroom_platform.storage.mongodb.event_effects import CACHED, WHOLE, EventEffects, collection_of
from greenroom_platform.storage.mongodb.left import Left
from greenroom_platform.storage.mongodb.opening import prepare
from greenroom_platform.storage.mongodb.search import mend_all, mend_named

log = logging.getLogger("greenroom.storage")

_PLACE = "stream"
_TOGETHER = 500
"""Events told at a time."""
_LEFT_MAX = 2_000
"""Snippets that have left their topics, above which all pages are dropped whole."""
_PREPARING = 10.0
"""Seconds that making collections ready again may take."""
_AHEAD = 5_000
"""Events that are read before the earlier ones are dropped."""
_WAIT = 1000
"""Milliseconds that the server waits for an event before it says that there is none."""
_IDLE = 10.0
"""Seconds after which the place is stored though nobody else has changed anything: the server forgets the history, and
with it where we were."""
_PASSING = {6, 7, 13, 18, 50, 89, 91, 189, 262, 9001, 10107, 11600, 11602, 13435, 13436}
"""Codes that say nothing of the place: the server ends, or is no primary; the user may not; it took too long."""
_FORBIDDEN = 13
_WATCHED = (
    # Not those of other collections. Prevents: a report is written anew each minute · each time every cache is emptied.
    {"operationType": {"$in": ["drop", "rename"]}, "ns.coll": {"$in": list(COLLECTIONS)}},
    {"operationType": "rename", "to.coll": {"$in": list(COLLECTIONS)}},
    {"operationType": {"$in": ["dropDatabase", "invalidate"]}},
    {"ns.coll": {"$in": list(CACHED)}},
    {"ns.coll": OUTBOX, "operationType": "insert"},
    {"ns.coll": META, "documentKey._id": QUEUE},
)


class Place(msgspec.Struct, frozen=True):
    """Where in the stream: its token, and the time by which places are put in order. A token says nothing of order."""

    token: Mapping[str, Any]
    at: Timestamp
    left: Mapping[str, Any] = {}
    """A `Left`, as it is stored."""


class MongoForeignChanges:
    """`ChangeSource` of a `MongoRecords`."""

    def __init__(self, database: MongoDatabase) -> None:
        self._database = database
        self._refused: object = None
        """The token that was refused last: its place is replaced whatever its time, which may be another history's."""

    async def changes(self) -> AsyncIterator[ForeignChanges[Place]]:
        """See `ChangeSource`."""
        kept = await self._database.read(lambda: self._database.meta.with_options(LENIENT).find_one({"_id": _PLACE}))
        stored = {} if kept is None else kept
        self._refused, token = None, stored.get("token")
        if token is not None and not isinstance(token, Mapping):
            self._refused, token = token, None
        left = Left.stored(stored) if token is not None else Left()
        while True:
            try:
                # Closed with this. Prevents: a watcher is left · its stream is read on until it is collected.
                async with (
                    self._database.client.start_session() as session,
                    aclosing(self._from(token, session, left)) as told,
                ):
                    async for changes in told:
                        yield changes
            except OperationFailure as error:
                if error.code in _PASSING or error.has_error_label("ResumableChangeStreamError") or token is None:
                    raise unavailable(error) from error
                # The history is gone, or it is another one: of a restored database, of another server.
                log.warning("the place in the change stream is refused: %s", str(error)[:300])
                self._refused, token, left = token, None, Left()
            except PyMongoError as error:
                raise unavailable(error) from error

    async def acknowledge(self, position: Place) -> None:
        """See `ChangeSource`. It never goes back: of two watchers the slower stores an earlier place."""
        no_time = {"at": {"$not": {"$type": "timestamp"}}}
        earlier = {"_id": _PLACE, "$or": [{"at": {"$lte": position.at}}, no_time, {"token": self._refused}]}
        place = {"$set": {"token": position.token, "at": position.at, "left": position.left}}

        async def work() -> None:
            await self._database.meta.update_one({"_id": _PLACE}, {"$setOnInsert": {"token": None}}, upsert=True)
            await self._database.meta.update_one(earlier, place)

        await self._database.write_one(work)

    async def _from(
        self, token: Mapping[str, Any] | None, session: AsyncClientSession, left: Left
    ) -> AsyncGenerator[ForeignChanges[Place]]:
        # Prevents: an event has text that is no UTF-8, or a date outside of Python's years · it cannot be read, nor
        # passed: nobody watches any more, whatever is restarted.
        stream = await self._database.database.with_options(LENIENT).watch(
            [{"$match": {"$or": _WATCHED}}],
            full_document_before_change="whenAvailable",
            start_after=token,
            max_await_time_ms=_WAIT,
            session=session,
        )
        async with stream:
            if token is None:
                # The stream listens now: what is changed from here on is told, and all before it is dropped. The other
                # way round, whoever writes in between would be missed.
                first = stream.resume_token
                if first is None or session.operation_time is None:
                    raise RecordUnavailable("the change stream has no beginning")
                yield ForeignChanges(position=Place(first, session.operation_time), lost=EVERYTHING)
            reader, stored = _Reader(stream, session), monotonic()
            mending = asyncio.create_task(self._mend_words(missing=token is not None), name="greenroom-words")
            try:
                while True:
                    async for events in reader.batches():
                        if (changes := await self._changes(events, left)) is not None:
                            yield changes
                            stored = monotonic()
                        elif monotonic() - stored > _IDLE:
                            await self.acknowledge(_place(events, left))
                            stored = monotonic()
                    if (idle := reader.idle) is not None:
                        await self.acknowledge(idle)
                        stored = monotonic()
            finally:
                try:
                    await stop(mending)
                finally:
                    await reader.close()

    async def _mend_words(self, *, missing: bool) -> None:
        """Put the words of a search right, where nobody was told of what others wrote; beside the watch."""
        try:
            mended = await mend_all(self._database, missing=missing)
        except (RecordError, PyMongoError) as error:
            log.warning("a search does not find some documents until they change: %s", str(error)[:300])
        else:
            if mended:
                log.info("search words of %d documents were added or corrected", mended)

    # docs/decisions/0085-own-events-are-known-by-their-outbox-row.md
    async def _changes(self, events: list[Mapping[str, Any]], left: Left) -> ForeignChanges[Place] | None:
        """What some events made stale; None where all are ours, or concern nothing that is cached."""
        own = {one for event in events if _is_sign(event) and (one := _transaction(event)) is not None}
        effects = EventEffects()
        for event in events:
            if not _is_sign(event) and _transaction(event) not in own:
                effects.add(event)
        if effects.unprepared:
            await self._prepare()
        if not effects.events:
            return None
        # Before they are told: a search that is cached after the drop must find them.
        await mend_named(self._database, effects.topics, effects.snippets)
        left.add(effects.left, events[0]["clusterTime"])
        if SNIPPET_PAGE in effects.lost:
            left.forget()
        elif left.total > _LEFT_MAX:
            effects.lost = (SNIPPET_PAGE,)
            left.forget()
        pages = await self._pages(effects.paged, left) if SNIPPET_PAGE not in effects.lost else {}
        return ForeignChanges(
            position=_place(events, left),
            events=effects.events,
            topics=tuple(sorted(effects.topics)),
            snippets=tuple(sorted(effects.snippets)),
            pages=tuple(sorted(pages.items())),
            statuses=tuple(sorted(effects.statuses)),
            lost=effects.lost,
            written=_written(effects.first),
        )

    async def _pages(self, topics: Set[str], left: Left) -> dict[str, int]:
        async def work() -> dict[str, int]:
            async with self._database.client.start_session() as session:
                pages = await page_ends(self._database, session, topics, gone=left.counts)
                if session.operation_time is not None:
                    left.counted = session.operation_time
                return pages

        return await self._database.read(work) if topics else {}

    async def _prepare(self) -> None:
        """Make again what a collection has lost that another program has dropped or made: indexes and pre-images."""
        try:
            with pymongo.timeout(_PREPARING):
                await prepare(self._database.name, self._database)
        except (OperationFailure, InvalidInput) as error:
            if isinstance(error, OperationFailure) and (error.code in _PASSING - {_FORBIDDEN} or error.timeout):
                raise unavailable(error) from error
            # As by documents that no unique index can be made over: that must not end the watch.
            log.error("a collection cannot be made ready again: %s; correct that, and restart", str(error)[:300])


class _Reader:
    """Reads ahead: the driver gives events one by one, and does not say which of them are here already."""

    def __init__(self, stream: AsyncDatabaseChangeStream[Any], session: AsyncClientSession) -> None:
        self._stream = stream
        self._session = session
        self._events: deque[Mapping[str, Any]] = deque()
        self._some, self._room = asyncio.Event(), asyncio.Event()
        self.idle: Place | None = None
        """A later place, where there was nothing of others for a while; taken once."""
        self._reading = asyncio.create_task(self._read(), name="greenroom-change-stream")

    async def batches(self) -> AsyncIterator[list[Mapping[str, Any]]]:
        """What has come, again and again, until nothing has for a while."""
        self.idle = None
        while True:
            waiting = asyncio.create_task(self._some.wait())
            try:
                await asyncio.wait([waiting, self._reading], timeout=_IDLE, return_when=asyncio.FIRST_COMPLETED)
            finally:
                waiting.cancel()
            if not self._events:
                if self._reading.done():
                    self._reading.result()
                    raise RecordUnavailable("the change stream has ended")
                self.idle = self._place()
                return
            events = [self._events.popleft() for _ in range(min(_TOGETHER, len(self._events)))]
            if not self._events:
                self._some.clear()
            self._room.set()
            yield events

    async def close(self) -> None:
        """Stop reading."""
        await stop(self._reading)
        if not self._reading.cancelled():
            self._reading.exception()  # or it would be logged, where nobody came to ask for it

    def _place(self) -> Place | None:
        token, at = self._stream.resume_token, self._session.operation_time
        return None if token is None or at is None else Place(token, at)

    async def _read(self) -> None:
        while self._stream.alive:
            event = await heeding(self._stream.try_next())
            if event is None:
                continue
            self._events.append(event)
            self._some.set()
            if len(self._events) >= _AHEAD:
                self._room.clear()
                await self._room.wait()


def _place(events: Sequence[Mapping[str, Any]], left: Left) -> Place:
    return Place(events[-1]["_id"], events[-1]["clusterTime"], left.to_store())


def _is_sign(event: Mapping[str, Any]) -> bool:
    """Whether an event only says that its transaction is one of ours: by an outbox row, or by the queue's count."""
    return event["operationType"] not in WHOLE and collection_of(event) in (OUTBOX, META)


def _transaction(event: Mapping[str, Any]) -> tuple[bytes, int] | None:
    """The transaction in which a change was made; None where it was in none."""
    if "txnNumber" not in event or "lsid" not in event:
        return None
    return bytes(event["lsid"]["id"]), int(event["txnNumber"])


def _written(event: Mapping[str, Any]) -> float | None:
    wall = event.get("wallTime")
    return wall.replace(tzinfo=UTC).timestamp() if isinstance(wall, datetime) else None
