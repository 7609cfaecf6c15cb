"""SQLAlchemy, Core and ORM, sync and async: what a transaction makes stale is written in it. Extra `sqlalchemy`.

outbox = SqlOutbox(room, engine, Base.metadata)

async with room, outbox:  # in the lifespan
    async with outbox.transaction(session, product.of("eu", 1)):
        ...  # change the database
    # committed, and dropped
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import timedelta
from types import TracebackType
from typing import TYPE_CHECKING, TypeVar
from uuid import uuid4

from greenroom.argument_types import instance, span
from greenroom.client import Greenroom
from greenroom.errors import GreenroomError, InvalidInput, RoomClosed
from greenroom.extras import needs_extra
from greenroom.integrations.between_forks import between_forks
from greenroom.integrations.outbox import RowSender, Stale, rows_of
from greenroom.integrations.outbox_rooms import LoopRoom, ThreadRoom, room_of
from greenroom.integrations.sql_transaction import Async, OutboxTransaction, Plain
from greenroom.keyspace import Keyspace

with needs_extra("sqlalchemy", "an outbox in your own database"):
    from sqlalchemy import Column, DateTime, Index, MetaData, String, Table, Text, delete, func, insert, inspect, select
    from sqlalchemy.dialects.mysql import MEDIUMTEXT
    from sqlalchemy.engine import Connection, Engine
    from sqlalchemy.ext.asyncio import AsyncEngine
    from sqlalchemy.sql.dml import Insert

if TYPE_CHECKING:
    from greenroom import sync

__all__ = ["OutboxTransaction", "SqlOutbox"]

log = logging.getLogger("greenroom.outbox")

T = TypeVar("T")
TABLE = "greenroom_outbox"
_EVERY = timedelta(seconds=1)
_CHUNK = 500
"""Rows deleted by one statement."""


class SqlOutbox:
    """The outbox of one room in a database of one's own.

    It may be made at module level, before the room is open. `async with room, outbox:` in the lifespan takes over what
    killed processes have left, and sends what others leave from then on. A process that does not open it, as a worker
    or a script, writes rows all the same: those that have it open send them within two looks.

    Arguments:
        room: whose caches are dropped; of `greenroom` or of `greenroom.sync`.
        engine: of the database, async or not; looks and deletions have connections of their own from it.
        metadata: where the table is put, so that `create_all` and Alembic's autogenerate know it; one of its own
            without it. It is `outbox.table`.
        name: of this room in the table. Rooms of several programs or regions in one database have one each.
        also: the names of other rooms that must hear of what is changed here; each has a row of its own.
        every: time between two looks.
        table: the name of the table.

    Raises:
        InvalidInput: naming an argument that cannot be.
    """

    def __init__(
        self,
        room: Greenroom | sync.Greenroom,
        engine: Engine | AsyncEngine,
        metadata: MetaData | None = None,
        *,
        name: str = "main",
        also: Sequence[str] = (),
        every: timedelta = _EVERY,
        table: str = TABLE,
    ) -> None:
        self.face = room_of(room)
        """The room, as transactions need it."""
        self._engine = instance("engine", engine, Engine | AsyncEngine, "give what create_async_engine(…) returns")
        instance("metadata", metadata, MetaData | None, "give Base.metadata, or leave it out")
        self._every = span("every", every, timedelta(milliseconds=1), "use a timedelta of a millisecond or more")
        self._names = _names(name, also)
        self.table = _table(MetaData() if metadata is None else metadata, table)
        """The table, for `create_all` and migrations."""
        self._opened: tuple[int, RowSender] | None = None  # and the process that has opened it

    # What callers use -------------------------------------------------------------------------------

    def transaction(self, session: Plain | Async, /, *stale: Stale | sync.DropTarget) -> OutboxTransaction:
        """A block that commits the session's transaction and drops what it makes stale, before it ends.

        `async with` an `AsyncSession` or `AsyncConnection`; `with` the other two, in a thread. An error inside rolls
        back. The transaction may have begun before; commit and rollback are left to the block.

        Arguments:
            stale: what `of` and `group` of caches return, or a `Keyspace` as a whole; more by `add` of what the block
                is entered as.

        Raises:
            InvalidInput: for what is none of these; and at the end where the block has committed or rolled back itself:
                all that was named is dropped then.
            RecordOutcomeUnknown: when the connection was lost in the commit. What was named is dropped all the same,
                and once more if the change turns out to be stored.
            Whatever the database raises.
        """
        return OutboxTransaction(self, session, stale)

    def entry(self, *stale: Stale | sync.DropTarget) -> Insert:
        """A statement that enters what the current transaction makes stale, for who commits it himself.

        `await session.execute(outbox.entry(product.of("eu", 1)))`, or the same without `await`. It is dropped within
        two looks after the commit, by whoever has the outbox open.

        Raises:
            InvalidInput: for what is nothing to drop, or nothing at all.
        """
        rows, _ = self.rows([self.face.target(one) for one in stale])
        if not rows:
            raise InvalidInput("stale", "is empty", "name what the transaction makes stale")
        return insert(self.table).values(rows)

    async def send(self, *, everything: bool = False) -> int:
        """Look now, and send what was left; returns how many rows that were. The outbox does so by itself.

        Arguments:
            everything: also rows that are seen for the first time, whose own process may be about to drop them.

        Raises:
            RoomClosed: when the outbox is not open.
            Whatever the database raises.
        """
        if self._sender is None:
            raise RoomClosed("the outbox is not open: use it inside the block of `async with room, outbox`")
        return await self._sender.send(everything=everything)

    @property
    def unsent(self) -> int:
        """Rows that other processes have left and that no server has heard of yet, as this process knows them."""
        return 0 if self._sender is None else self._sender.unsent

    async def __aenter__(self) -> SqlOutbox:
        """Take over what was left: it counts as dropped here from now on.

        Raises:
            InvalidInput: when the table is not there, while it is open already, and for a room of `greenroom.sync`.
            RoomNotOpen, RoomElsewhere: when the room is not open here.
            Whatever the database raises.
        """
        if self.face.is_sync:
            raise InvalidInput("outbox", "is of a room of greenroom.sync", "use `with outbox`, or `outbox.open()`")
        await self._open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._close()

    def open(self) -> None:
        """As entering its block, for a room of `greenroom.sync`, which is opened too; once in each process.

        Raises:
            As the block; `InvalidInput` for an asynchronous room.
        """
        self._thread_room().run(self._open)

    def close(self) -> None:
        """Stop sending, before the room is closed; what is left stays in the database."""
        self._thread_room().run(self._close)

    def __enter__(self) -> SqlOutbox:
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # For its sender and its transactions ------------------------------------------------------------

    async def read(self) -> Mapping[str, str]:
        """The rows of this room, in a transaction of their own."""
        columns = self.table.c
        rows = select(columns.id, columns.stale).where(columns.room == self._names[0])
        found = await self._in_database(lambda connection: connection.execute(rows).all())
        return {row.id: row.stale for row in found}

    async def delete(self, ids: Collection[str]) -> None:
        """Delete rows."""
        each = list(ids)
        chunks = [each[start : start + _CHUNK] for start in range(0, len(each), _CHUNK)]

        def gone(connection: Connection) -> None:
            for chunk in chunks:
                connection.execute(delete(self.table).where(self.table.c.id.in_(chunk)))

        await self._in_database(gone)

    def rows(self, stale: Iterable[Stale]) -> tuple[list[dict[str, str]], list[str]]:
        """The rows of a change, and the ids of this room's own."""
        texts = rows_of(stale, self.face.room.prefix)
        rows = [{"id": uuid4().hex, "room": name, "stale": text} for name in self._names for text in texts]
        return rows, [row["id"] for row in rows[: len(texts)]]

    async def drop(self, stale: Sequence[Stale], ids: Sequence[str] = ()) -> None:
        """Drop what a change made stale, then its rows; never raises, since the change is made.

        Arguments:
            ids: rows that nobody needs when all is dropped; without them the rows stay for whoever looks.
        """
        room = self.face.room
        try:
            room.opened.check()
        except GreenroomError:
            return  # it is left to those that have it open
        drops = (room.drop_keyspace(one) if isinstance(one, Keyspace) else one.drop() for one in stale)
        results = await asyncio.gather(*drops, return_exceptions=True)
        failed = [result for result in results if isinstance(result, BaseException)]
        if failed:
            log.warning("the stale keys of a change will be dropped again: %s", failed[0])
        elif ids and self._sender is not None:
            self._sender.dropped(ids)
        elif ids:
            try:
                await self.delete(ids)
            except Exception as error:
                log.warning("rows of the outbox could not be deleted after their keys were dropped: %s", error)

    def drop_from_thread(self, stale: Sequence[Stale], ids: Sequence[str] = ()) -> None:
        """As `drop`, for a thread, which waits for it."""
        self.face.drop(stale, lambda: self.drop(stale, ids))

    @property
    def _sender(self) -> RowSender | None:
        """What sends in this process: that of its parent is none."""
        return self._opened[1] if self._opened is not None and self._opened[0] == os.getpid() else None

    def _thread_room(self) -> ThreadRoom:
        if not isinstance(self.face, ThreadRoom):
            raise InvalidInput("outbox", "is of an asynchronous room", "use `async with outbox`")
        return self.face

    async def _open(self) -> None:
        self._check_not_open()
        room = self.face.room
        room.opened.check()
        if not await self._in_database(lambda connection: inspect(connection).has_table(*_named(self.table))):
            remedy = "create it by metadata.create_all(…) or a migration: see docs/sqlalchemy.md"
            raise InvalidInput("table", f"{self.table.fullname} is not in the database", remedy)
        sender = RowSender(room, self, self._every.total_seconds())
        await sender.open()
        try:
            self._check_not_open()  # another thread may have opened it meanwhile
        except InvalidInput:
            await sender.close()
            raise
        self._opened = os.getpid(), sender
        if isinstance(self.face, LoopRoom):
            self.face.loop = asyncio.get_running_loop()

    def _check_not_open(self) -> None:
        if self._sender is not None:
            raise InvalidInput("outbox", "is open already", "open it once in a process, beside its room")

    async def _close(self) -> None:
        sender, self._opened = self._sender, None
        if isinstance(self.face, LoopRoom):
            self.face.loop = None
        if sender is not None:
            await sender.close()

    async def _in_database(self, work: Callable[[Connection], T]) -> T:
        """Do something in a transaction that begins now, on a connection of its own."""
        engine = self._engine
        if isinstance(engine, AsyncEngine):
            async with engine.begin() as connection:
                return await connection.run_sync(work)

        def in_thread() -> T:
            with between_forks(), engine.begin() as connection:
                return work(connection)

        return await asyncio.to_thread(in_thread)


def _table(metadata: MetaData, name: str) -> Table:
    instance("table", name, str, "give the name of the table")
    known = metadata.tables.get(name if metadata.schema is None else f"{metadata.schema}.{name}")
    if known is not None:
        return known
    return Table(
        name,
        metadata,
        # Made by the writer: no sequence that all transactions would meet in, and known before the commit.
        Column("id", String(32), primary_key=True),
        Column("room", String(100), nullable=False),
        Column("stale", Text().with_variant(MEDIUMTEXT(), "mysql", "mariadb"), nullable=False),
        # For operators alone: whether a row was left is not told by a clock.
        Column("created", DateTime(timezone=True), nullable=False, server_default=func.now()),
        Index(f"ix_{name}_room", "room"),
    )


def _names(name: str, also: Sequence[str]) -> tuple[str, ...]:
    remedy = "use names of 1 to 100 characters, each once"
    if not _is_name(name):
        raise InvalidInput("name", f"is {name!r:.80}", remedy)
    others = () if isinstance(also, str) else tuple(also)
    if isinstance(also, str) or not all(map(_is_name, others)) or len({name, *others}) <= len(others):
        raise InvalidInput("also", f"is {also!r:.80}", f"{remedy}, in a list")
    return name, *others


def _is_name(name: object) -> bool:
    return isinstance(name, str) and 0 < len(name) <= 100 and name.isprintable()


def _named(table: Table) -> tuple[str, str | None]:
    return table.name, table.schema
