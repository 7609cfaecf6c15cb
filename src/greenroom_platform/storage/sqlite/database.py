"""One SQLite file, used from an event loop: reads beside a single writer, each transaction one function on a thread.

A transaction that is one function cannot be left half done. Were its statements awaited one by one, a caller cancelled
between two of them would leave the transaction open, and the next caller would commit it with its own.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from importlib.resources import files
from pathlib import Path
from typing import TypeVar

from greenroom import private_files
from greenroom.errors import InvalidInput, RecordUnavailable
from greenroom_platform.storage.sqlite import writing
from greenroom_platform.storage.sqlite.triggers import make_triggers, own_changes_left_out, restore_triggers

T = TypeVar("T")

SCHEMA_VERSION = 7
"""1: without users. 2: without tasks. 3: without triggers for changes made outside. 4: without stored recordings.
5: without the caches that its changes are sent to. 6: without search, and without what operators do."""
BUSY_DEADLINE = 4.0
"""Seconds that a write waits for another process's transaction."""
_READERS = 2
_RETRY = 0.01


class Database:
    """The connections to one file. Made by `Database.open`."""

    def __init__(self, path: Path) -> None:
        self._path = path.absolute()  # threads connect when they are first needed, wherever the process is by then
        self._local = threading.local()
        self._connections: list[_Own] = []
        self._opening = threading.Lock()
        # docs/decisions/0043-no-aiosqlite.md
        self._writer = ThreadPoolExecutor(1, "greenroom-write")
        self._readers = ThreadPoolExecutor(_READERS, "greenroom-read")
        self._write_trouble: sqlite3.Error | None = None

    @classmethod
    async def open(cls, path: Path) -> Database:
        """Open the file, and make it and its schema where they are missing.

        Raises:
            InvalidInput: when it cannot be a database of ours.
            RecordUnavailable: when it is busy.
        """
        try:
            private_files.make_directory(path.parent)
            private_files.make_file(path)  # the files that SQLite puts beside it have its mode
            version, trouble = await asyncio.to_thread(_prepare, path)
        except OSError as error:
            raise _unusable(path, error.strerror or str(error), writing.REMEDY) from None
        except sqlite3.OperationalError as error:
            if "locked" in str(error):
                raise RecordUnavailable(f"the database is busy: {error}", answer=writing.answer(error)) from None
            raise _unusable(path, str(error), _remedy(path, error)) from None
        except sqlite3.DatabaseError as error:
            raise _unusable(path, str(error)) from None
        if version > SCHEMA_VERSION:
            raise _unusable(path, f"its schema is version {version}, and this program knows {SCHEMA_VERSION}")
        database = cls(path)
        database._write_trouble = trouble
        return database

    @property
    def write_trouble(self) -> str | None:
        """Why the last write could not be made, with the remedy; None where it could. Names the file."""
        if self._write_trouble is None:
            return None
        return f"{self._path} cannot be written: {self._write_trouble}; {writing.remedy(self._write_trouble)}"

    async def check_writes(self) -> str | None:
        """Why changes cannot be stored, in the database's words; None while they can.

        Without trouble nothing is written: the next change will find out. Trouble is looked at again each time, so that
        it is over as soon as the disk has room again, without a change by anybody.
        """
        if self._write_trouble is not None:
            with suppress(RecordUnavailable):
                await self.write(_touch)
        return writing.answer(self._write_trouble) if self._write_trouble is not None else None

    async def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run a read; it sees everything committed before it began.

        Raises:
            RecordUnavailable: when the database fails.
        """
        return await self._run(self._readers, work)

    async def write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run one transaction: committed when `work` returns, undone when it raises.

        A caller that is cancelled meanwhile does not undo it: it may be committed.

        Raises:
            RecordUnavailable: when the database fails or is busy beyond its deadline.
        """

        def transaction(connection: sqlite3.Connection) -> T:
            # IMMEDIATE: a transaction that begins as a reader cannot wait its turn when it comes to write.
            connection.execute("BEGIN IMMEDIATE")
            try:
                with own_changes_left_out(connection):
                    result = work(connection)
                connection.execute("COMMIT")
            except BaseException:
                # A COMMIT that fails may leave the transaction open; an error as of a full disk has undone it already.
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
            # Prevents: a change finds the disk full · a smaller write finds room · health tells that all is well, the
            # next change fails again.
            if self._write_trouble is not None and writing.is_over(self._write_trouble, self._path):
                self._write_trouble = None
            return result

        return await self._run(self._writer, transaction)

    async def close(self) -> None:
        """Finish what is under way, and close."""
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        for pool in (self._writer, self._readers):
            pool.shutdown(wait=True)
        for own in self._connections:
            own.connection.close()

    async def _run(self, pool: ThreadPoolExecutor, work: Callable[[sqlite3.Connection], T]) -> T:
        def call() -> T:
            writes = pool is self._writer
            if writes and self._write_trouble is not None:
                self._reconnect()
            try:
                with self._connection() as connection:
                    return work(connection)
            except sqlite3.Error as error:
                if writes and writing.remedy(error) is not None:
                    self._write_trouble = error
                raise

        try:
            done = asyncio.get_running_loop().run_in_executor(pool, call)
        except RuntimeError:  # the pool is shut down
            raise RecordUnavailable("the database is closed") from None
        try:
            return await done
        except sqlite3.Error as error:
            raise RecordUnavailable(f"the database failed: {error}", answer=writing.answer(error)) from error

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        """The thread's own; made at its first call, so that one that failed is tried again by the next."""
        while True:
            own: _Own | None = getattr(self._local, "own", None)
            if own is None:
                with self._opening:
                    self._local.own = own = _Own(_connected(self._path))
                    self._connections.append(own)
            with own.lock:
                if not own.closed:
                    yield own.connection
                    return
            self._local.own = None

    def _reconnect(self) -> None:
        """Close every connection, each between two uses.

        A connection opened while the file could not be written stays read only, and so does the shared memory beside
        the file as long as one connection of this process has it open: all go before the first comes again.
        """
        with self._opening:
            for own in self._connections:
                own.lock.acquire()
            for own in self._connections:
                own.connection.close()
                own.closed = True
                own.lock.release()
            self._connections.clear()


class _Own:
    """A thread's connection; whoever uses or closes it has the lock."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection
        self.lock = threading.Lock()
        self.closed = False


def _connected(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=BUSY_DEADLINE, isolation_level=None, check_same_thread=False)
    # FULL: what was answered as stored is stored, whatever happens to the machine next.
    connection.execute("PRAGMA synchronous = FULL")
    return connection


def _prepare(path: Path) -> tuple[int, sqlite3.Error | None]:
    """The version of the file's schema, which is made where it is missing, and why the file cannot be written."""
    end = time.monotonic() + BUSY_DEADLINE
    while True:
        try:
            return _prepared(path)
        except sqlite3.OperationalError as error:
            # Of two processes that turn a new file to WAL together SQLite refuses one at once, without waiting.
            if "locked" not in str(error) or time.monotonic() >= end:
                raise
            time.sleep(_RETRY)


def _prepared(path: Path) -> tuple[int, sqlite3.Error | None]:
    connection = _connected(path)
    try:
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if tables and "outbox" not in tables:
            raise sqlite3.DatabaseError("it is another program's database")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("BEGIN IMMEDIATE")
        version = int(connection.execute("PRAGMA user_version").fetchone()[0])
        if version < SCHEMA_VERSION:  # what is there already is left as it is
            schema = files("greenroom_platform.storage.sqlite").joinpath("schema.sql").read_text("utf-8")
            for statement in schema.split(";\n"):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
            if not tables:
                make_triggers(connection)
            version = SCHEMA_VERSION
        if version == SCHEMA_VERSION:
            restore_triggers(connection)
        connection.execute("COMMIT")
        return version, _trouble(connection)
    finally:
        connection.close()


def _trouble(connection: sqlite3.Connection) -> sqlite3.Error | None:
    """Why nothing can be written. SQLite begins a write of a file that is read only without a word."""
    try:
        connection.execute("BEGIN IMMEDIATE")
        _touch(connection)
        connection.execute("COMMIT")
    except sqlite3.Error as error:
        if writing.remedy(error) is None:
            raise
        return error
    return None


def _touch(connection: sqlite3.Connection) -> None:
    """Write what is there already: a page of the file, and no change."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    connection.execute(f"PRAGMA user_version = {int(version)}")


def _remedy(path: Path, error: sqlite3.Error) -> str:
    return _OURS if path.is_dir() else writing.remedy(error) or _OURS


_OURS = "choose a Greenroom database, or a path that does not exist yet"


def _unusable(path: Path, reason: str, remedy: str = _OURS) -> InvalidInput:
    return InvalidInput("database", f"{path} cannot be used: {reason}", remedy)
