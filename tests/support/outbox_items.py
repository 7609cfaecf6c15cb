"""A database of two columns with an outbox, and rooms that cache it, one as each process has."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine, event, insert, select
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from greenroom import Greenroom, Keyspace
from greenroom.caching import Cache
from greenroom.integrations.sqlalchemy import SqlOutbox

ITEM = Keyspace("item:{number}", str, parts={"number": int}, ttl=timedelta(hours=1))
PAGE = Keyspace("page:{letter}:{page}", list[int], parts={"page": int}, ttl=timedelta(hours=1))
NEVER = timedelta(hours=1)
"""Between two looks, where the test looks itself."""


class Base(DeclarativeBase):
    pass


class Item(Base):
    __tablename__ = "items"
    number: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]


def plain_engine(directory: Path) -> Engine:
    """The database, for threads."""
    return _with_wal(create_engine(f"sqlite:///{directory / 'items.db'}"))


def async_engine(directory: Path) -> AsyncEngine:
    """The database, for coroutines."""
    engine = create_async_engine(f"sqlite+aiosqlite:///{directory / 'items.db'}")
    _with_wal(engine.sync_engine)
    return engine


def _with_wal(engine: Engine) -> Engine:
    @event.listens_for(engine, "connect")
    def connected(connection: Any, _: object) -> None:
        connection.execute("PRAGMA journal_mode=WAL")

    return engine


def made(directory: Path) -> None:
    """Make the tables, with one item and the outbox."""
    engine = plain_engine(directory)
    SqlOutbox(Greenroom(sessions=False), engine, Base.metadata)
    Base.metadata.create_all(engine)
    with engine.begin() as connection:
        connection.execute(insert(Item), [{"number": 1, "name": "old"}])
    engine.dispose()


@dataclass
class Process:
    """What a process has."""

    room: Greenroom
    engine: AsyncEngine
    outbox: SqlOutbox
    item: Cache[str]
    page: Cache[list[int]]

    async def rows(self) -> dict[str, Any]:
        """The rows of the outbox by their rooms."""
        async with self.engine.connect() as connection:
            found = await connection.execute(select(self.outbox.table))
            return {row.room: row.stale for row in found}


def process(address: str, directory: Path, *, prefix: str = "", **options: Any) -> Process:
    """A process that has not opened its room."""
    room, engine = Greenroom(address, sessions=False, prefix=prefix), async_engine(directory)

    async def load(number: int) -> str | None:
        async with engine.connect() as connection:
            name: str | None = await connection.scalar(select(Item.name).where(Item.number == number))
            return name

    async def numbers(letter: str, page: int) -> list[int]:
        async with engine.connect() as connection:
            found = await connection.scalars(select(Item.number).where(Item.name.startswith(letter)))
            return list(found)

    item = room.cache(ITEM, load=load)
    page = room.cache(PAGE, load=numbers, groups=["pages:{letter}"])
    outbox = SqlOutbox(room, engine, Base.metadata, **{"every": NEVER, **options})
    return Process(room, engine, outbox, item, page)


@asynccontextmanager
async def running(address: str, directory: Path, **options: Any) -> AsyncIterator[Process]:
    """A process with its room and outbox open."""
    one = process(address, directory, **options)
    try:
        async with one.room, one.outbox:
            yield one
    finally:
        await one.engine.dispose()
