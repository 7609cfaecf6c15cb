"""One SQLite file, used from an event loop: reads beside a single writer, each transaction one function on a thread.

A transaction that is one function cannot be left half done. Were its statements awaited one by one, a caller cancelled
between two of them would leave the transaction open, and the next caller would commit it with its own.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files
from pathlib import Path
from typing import TypeVar

from greenroom import private_files
from greenroom.errors import InvalidInput, RecordUnavailable

T = TypeVar("T")

SCHEMA_VERSION = 3
"""1: without users. 2: without tasks."""
BUSY_DEADLINE = 4.0
"""Seconds that a write waits for another process's transaction."""
_READERS = 2
_RETRY = 0.01


class Database:
    """The connections to one file. Made by `Database.open`."""

    def __init__(self, path: Path) -> None:
        self._path = path.absolute()  # threads connect when they are first needed, wherever the process is by then
        self._local = threading.local()
        self._connections: list[sqlite3.Connection] = []
        self._writer = ThreadPoolExecutor(1, "greenroom-write")
        self._readers = ThreadPoolExecutor(_READERS, "greenroom-read")

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
            probe = await asyncio.to_thread(_prepare, path)
        except OSError as error:
            raise _unusable(path, error.strerror or str(error)) from None
        except sqlite3.OperationalError as error:
            if "locked" in str(error):
                raise RecordUnavailable(f"the database is busy: {error}") from None
            raise _unusable(path, str(error)) from None
        except sqlite3.DatabaseError as error:
            raise _unusable(path, str(error)) from None
        if probe > SCHEMA_VERSION:
            raise _unusable(path, f"its schema is version {probe}, and this program knows {SCHEMA_VERSION}")
        return cls(path)

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
                result = work(connection)
                connection.execute("COMMIT")
            except BaseException:
                # A COMMIT that fails may leave the transaction open; an error as of a full disk has undone it already.
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
            return result

        return await self._run(self._writer, transaction)

    async def close(self) -> None:
        """Finish what is under way, and close."""
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        for pool in (self._writer, self._readers):
            pool.shutdown(wait=True)
        for connection in self._connections:
            connection.close()

    async def _run(self, pool: ThreadPoolExecutor, work: Callable[[sqlite3.Connection], T]) -> T:
        def call() -> T:
            return work(self._connection())

        try:
            done = asyncio.get_running_loop().run_in_executor(pool, call)
        except RuntimeError:  # the pool is shut down
            raise RecordUnavailable("the database is closed") from None
        try:
            return await done
        except sqlite3.Error as error:
            raise RecordUnavailable(f"the database failed: {error}") from error

    def _connection(self) -> sqlite3.Connection:
        """The thread's own; made at its first call, so that one that failed is tried again by the next."""
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            self._local.connection = connection = _connected(self._path)
            self._connections.append(connection)
        return connection


def _connected(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=BUSY_DEADLINE, isolation_level=None, check_same_thread=False)
    # FULL: what was answered as stored is stored, whatever happens to the machine next.
    connection.execute("PRAGMA synchronous = FULL")
    return connection


def _prepare(path: Path) -> int:
    """The version of the file's schema, which is made where it is missing."""
    end = time.monotonic() + BUSY_DEADLINE
    while True:
        try:
            return _prepared(path)
        except sqlite3.OperationalError as error:
            # Of two processes that turn a new file to WAL together SQLite refuses one at once, without waiting.
            if "locked" not in str(error) or time.monotonic() >= end:
                raise
            time.sleep(_RETRY)


def _prepared(path: Path) -> int:
    connection = _connected(path)
    try:
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if tables and "outbox" not in tables:
            raise sqlite3.DatabaseError("it is another program's database")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("BEGIN IMMEDIATE")
        version = int(connection.execute("PRAGMA user_version").fetchone()[0])
        if version < SCHEMA_VERSION:  # what is there already is left as it is
            schema = files("greenroom.origin").joinpath("schema.sql").read_text("utf-8")
            for statement in schema.split(";\n"):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
            version = SCHEMA_VERSION
        connection.execute("COMMIT")
        return version
    finally:
        connection.close()


def _unusable(path: Path, reason: str) -> InvalidInput:
    return InvalidInput("database", f"{path} cannot be used: {reason}", "name a file of ours, or one not yet there")
