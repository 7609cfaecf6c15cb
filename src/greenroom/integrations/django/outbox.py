"""The outbox's rows: written in a transaction, sent when it commits, and looked for by all processes now and then.

A row is deleted when its key was dropped, and never before. Prevents: a change is committed · its process dies before
it drops what is stale · nobody knows. To drop twice is as good as once.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Iterable, Sequence
from datetime import timedelta
from functools import partial
from secrets import randbits
from threading import Event, Lock, Thread
from typing import TYPE_CHECKING, Any

from django.conf import settings as django_settings
from django.db import DatabaseError, connections, router, transaction
from django.utils import timezone

from greenroom.errors import EngineError, GreenroomError, RoomClosed
from greenroom.integrations.between_forks import between_forks
from greenroom.integrations.django import rooms, settings
from greenroom.sync import Greenroom
from greenroom.sync.called_drops import CalledDrop

if TYPE_CHECKING:
    from greenroom.integrations.django.invalidation import StaleKey

log = logging.getLogger("greenroom.django")

_LEFT = timedelta(seconds=2)
"""Age of a row that its own process would have sent by now."""
_BATCH = 500
_ID_BITS = 62
"""Of 63 that there are: a database that counts on from the largest id still can."""


class Pending:
    """What one transaction has written of late, until one of its `on_commit` functions sends all of it at once."""

    def __init__(self) -> None:
        self.rows: list[Any] = []


def enter(stale: Iterable[StaleKey], using: str) -> None:
    """Write rows in the open transaction of a database, and send them when it commits."""
    pending = write(stale, using)
    connection = connections[using]
    # After `set_autocommit(False)` nobody tells of a commit: the rows are sent by those who look for them.
    if connection.in_atomic_block or connection.get_autocommit():
        transaction.on_commit(partial(send, pending, using), using=using, robust=True)


def write(stale: Iterable[StaleKey], using: str) -> Pending:
    """Write rows in the open transaction of a database; returns all that it has written."""
    from greenroom.integrations.django.models import OutboxRow  # not before the applications are ready

    connection = connections[using]
    pending: Pending | None = getattr(connection, "_greenroom_pending", None)
    if pending is None or not connection.run_on_commit:
        # Without functions to be called the rows were rolled back with their transaction, or were sent.
        pending = connection._greenroom_pending = Pending()
    # Ids that nobody uses twice. Prevents, on SQLite: a savepoint is rolled back, and its rows' ids are free again ·
    # the transaction commits, and drops · another process writes a row, which has one of them · the rows of the first
    # are deleted, and that one with them · the other process dies before it drops.
    rows = [
        OutboxRow(pk=randbits(_ID_BITS), key=one.key, is_group=one.is_group, lifetime_ms=one.lifetime_ms)
        for one in stale
    ]
    OutboxRow.objects.using(using).bulk_create(rows)
    pending.rows += rows
    return pending


def send(pending: Pending, using: str) -> None:
    """Drop what a transaction has made stale, after its commit; it is kept where the server is away."""
    rows, pending.rows = pending.rows, []
    if rows:
        try:
            _send(rooms.room(), rows, using)
        except (DatabaseError, GreenroomError) as error:
            log.warning("drops of a change are left in the outbox: %s", error)


def send_left(*, older_than: timedelta = _LEFT) -> int:
    """Send what processes have left that died, or to which the server was away; returns how many drops were sent.

    For a program without requests, as a worker, which may call it now and then.

    Raises:
        EngineError: when the server cannot be asked.
        django.db.DatabaseError: when a database cannot, or has no such table; those of all others are sent.
    """
    from greenroom.integrations.django.models import OutboxRow

    number, before, failed = 0, timezone.now() - older_than, list[Exception]()
    for using in django_settings.DATABASES:
        if not router.allow_migrate_model(using, OutboxRow):
            continue
        left = OutboxRow.objects.using(using).filter(written_at__lt=before).order_by("written_at")
        try:
            while rows := list(left[:_BATCH]):
                _send(rooms.room(), rows, using)
                number += len(rows)
        except (DatabaseError, EngineError) as error:
            # Prevents: a database has no such table, or takes no writes · no row of those after it is ever sent.
            failed.append(error)
    if failed:
        raise failed[0]
    return number


def _send(room: Greenroom, rows: Sequence[Any], using: str) -> None:
    """Drop what rows name, then delete those that were dropped.

    Raises:
        EngineError: when the server did not acknowledge one; its rows stay.
    """
    from greenroom.integrations.django.models import OutboxRow

    keys = [row for row in rows if not row.is_group]
    groups = {row.key: row for row in rows if row.is_group}
    names = list({room.prefix + row.key for row in keys})

    async def drop() -> list[BaseException | None]:
        backing = room.room.backing
        calls = [backing.drops.drop_many(names)] if names else []
        calls += [backing.drop_group(group, row.lifetime_ms / 1000) for group, row in groups.items()]
        return await asyncio.gather(*calls, return_exceptions=True)

    failures = [one for one in room.drop(CalledDrop(names, wide=bool(groups)), drop) if one is not None]
    if failures:
        raise failures[0]
    OutboxRow.objects.using(using).filter(pk__in=[row.pk for row in rows]).delete()


class _Sender:
    """The thread of this process that looks for what is left."""

    def __init__(self) -> None:
        self.lock = Lock()
        self.pid: int | None = None


_sender = _Sender()


def begin_sending(**_: object) -> None:
    """Look for what is left from now on, in a thread of this process; at each request, which costs a comparison."""
    global _sender
    if _sender.pid == os.getpid():
        return
    if _sender.pid is not None:
        _sender = _Sender()  # forked: a thread of the parent may have held the lock
    every = settings.read().outbox_every.total_seconds()
    with _sender.lock:
        if _sender.pid is None:
            _sender.pid = os.getpid()
            if every:
                Thread(target=_look, args=(every,), name="greenroom-outbox", daemon=True).start()


def _look(every: float) -> None:
    told: str | None = None
    while True:
        Event().wait(every)
        try:
            with between_forks():
                try:
                    send_left()
                finally:
                    connections.close_all()
        except RoomClosed:
            return  # the process ends
        except (DatabaseError, EngineError) as error:
            if str(error) != told:
                log.warning("drops that are left in the outbox were not sent: %s", error)
            told = str(error)
        except Exception:
            log.exception("the outbox was not read")
        else:
            told = None
