"""One transaction of SQLAlchemy that writes, commits and drops what it makes stale."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Any

from greenroom.argument_types import instance
from greenroom.errors import InvalidInput, RecordOutcomeUnknown
from greenroom.extras import needs_extra
from greenroom.integrations.outbox import Stale, rows_of

with needs_extra("sqlalchemy", "an outbox in your own database"):
    from sqlalchemy import insert
    from sqlalchemy.engine import Connection
    from sqlalchemy.exc import DBAPIError
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession
    from sqlalchemy.orm import Session

if TYPE_CHECKING:
    from greenroom import sync
    from greenroom.integrations.sqlalchemy import SqlOutbox

log = logging.getLogger("greenroom.outbox")

Plain = Session | Connection
Async = AsyncSession | AsyncConnection

_COMMITTING = 5.0
"""Seconds that a commit may still take whose caller was cancelled."""
_SESSION = "give an AsyncSession, a Session, or a connection of one of the two; of a scoped session what it returns"


class OutboxTransaction:
    """One transaction of a session; made by `SqlOutbox.transaction`."""

    def __init__(self, outbox: SqlOutbox, session: Plain | Async, stale: Iterable[Stale | sync.DropTarget]) -> None:
        self._session: Any = instance("session", session, Plain | Async, _SESSION)
        self._outbox = outbox
        self._stale: list[Stale] = []
        self._ids: list[str] = []
        self._transaction: object = None
        self._ended_inside = False
        self.add(*stale)

    def add(self, *stale: Stale | sync.DropTarget) -> None:
        """Name more that the transaction makes stale.

        Raises:
            InvalidInput: for what is nothing to drop.
        """
        targets = [self._outbox.face.target(one) for one in stale]
        rows_of(targets, "")
        self._stale += targets

    async def __aenter__(self) -> OutboxTransaction:
        if not isinstance(self._session, Async):
            raise InvalidInput("session", f"is a {type(self._session).__name__}", "use `with`, in a thread")
        if self._outbox.face.is_sync:
            raise InvalidInput("session", "is async, and the room is of greenroom.sync", "use a Session and `with`")
        await self._session.run_sync(self._begin)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        work = self._commit() if error is None else self._roll_back()
        task = asyncio.get_running_loop().create_task(work, name="greenroom-commit")
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            # The session is its caller's again only when nothing goes on with it.
            if not task.done():
                await asyncio.wait([task], timeout=_COMMITTING)
            if not task.done():
                task.cancel()
                await asyncio.wait([task])
            if not task.cancelled() and (failed := task.exception()) is not None:
                log.warning("a transaction failed after its caller was cancelled: %s", failed)
            raise

    def __enter__(self) -> OutboxTransaction:
        if isinstance(self._session, Async):
            raise InvalidInput("session", f"is an {type(self._session).__name__}", "use `async with`")
        self._outbox.face.check_thread()
        self._begin(self._session)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        session, drop = self._session, self._outbox.drop_from_thread
        if error is not None:
            self._undo(session)
            if self._ended_inside:
                drop(self._stale)
            return
        try:
            self._write(session)
        except BaseException:
            self._undo(session)
            if self._ended_inside:
                drop(self._stale)
            raise
        try:
            session.commit()
        except BaseException as failed:
            drop(self._stale)
            self._undo(session)
            _raise_if_unknown(failed)
            raise
        drop(self._stale, self._ids)

    # ------------------------------------------------------------------------------------------------

    async def _commit(self) -> None:
        session, drop = self._session, self._outbox.drop
        try:
            await session.run_sync(self._write)
        except BaseException:
            await self._roll_back()
            raise
        try:
            await session.commit()
        except BaseException as failed:
            # It may be stored: nobody knows. The rows stay. Prevents: the commit is carried out after this drop, when
            # somebody has read the old value again · nobody hears of it.
            await drop(self._stale)
            if isinstance(failed, Exception):  # after a cancellation the database may be silent
                await session.run_sync(self._undo)
            _raise_if_unknown(failed)
            raise
        await drop(self._stale, self._ids)

    async def _roll_back(self) -> None:
        await self._session.run_sync(self._undo)
        if self._ended_inside:
            await self._outbox.drop(self._stale)

    def _begin(self, session: Plain) -> None:
        if session.in_nested_transaction():
            raise InvalidInput("session", "is in a savepoint", "use the block around it: it commits the transaction")
        if not session.in_transaction():
            session.begin()
        self._transaction = session.get_transaction()

    def _write(self, session: Plain) -> None:
        """Write the rows; what fails here is not stored."""
        if session.get_transaction() is not self._transaction:
            self._ended_inside = True
            remedy = "leave both to the block, one for each transaction; what it names is dropped all the same"
            raise InvalidInput("session", "was committed or rolled back inside the block", remedy)
        if isinstance(session, Session):
            session.flush()  # so that only the commit itself can fail with an outcome that nobody knows
        rows, self._ids = self._outbox.rows(self._stale)
        if rows:
            session.execute(insert(self._outbox.table), rows)

    def _undo(self, session: Plain) -> None:
        """Roll back, whatever that meets: the error that led here says more."""
        self._ended_inside = self._ended_inside or session.get_transaction() is not self._transaction
        try:
            session.rollback()
        except (DBAPIError, OSError) as error:
            log.info("a transaction that has failed could not be rolled back: %s", error)


def _raise_if_unknown(error: BaseException) -> None:
    lost = isinstance(error, OSError) or (isinstance(error, DBAPIError) and error.connection_invalidated)
    if lost:
        raise RecordOutcomeUnknown("the connection to the database was lost in a commit") from error
