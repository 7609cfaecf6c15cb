"""`Platform`: topics, snippets, podcasts, users and recordings, over a room and a record."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from types import TracebackType

from greenroom.client import Greenroom
from greenroom.clock import SYSTEM, Clock
from greenroom.counters import Counters
from greenroom.detached import to_the_end
from greenroom.engine import Engine
from greenroom.errors import InvalidInput
from greenroom.extras import needs_extra
from greenroom.lifecycle import Lifecycle, Opening
from greenroom.opened import Opened
from greenroom.private_files import temporary_directory
from greenroom.rate_limit import Bound, RateLimit
from greenroom.sessions import Presence, Sessions
from greenroom_platform import lazy
from greenroom_platform.domain.action_log import ActionLog, log_of
from greenroom_platform.domain.changes import Changes
from greenroom_platform.domain.domain import Domain
from greenroom_platform.domain.feeds import Feeds
from greenroom_platform.domain.foreign_changes import EVERYTHING, TellsForeignChanges
from greenroom_platform.domain.heartbeats import Heartbeats, own_name
from greenroom_platform.domain.known_caches import KnowsCaches
from greenroom_platform.domain.leadership import Leadership
from greenroom_platform.domain.listings import Histories, Listings
from greenroom_platform.domain.outbox_sender import OutboxSender
from greenroom_platform.domain.podcasts import CLAIM, Generation, Tasks
from greenroom_platform.domain.records import CountsBroken, Records, UserRecords
from greenroom_platform.domain.searching import Search
from greenroom_platform.domain.sessions import SESSION_SETTINGS
from greenroom_platform.domain.shared_caches import SharedCaches
from greenroom_platform.domain.snippets import Snippets
from greenroom_platform.domain.statuses import Statuses
from greenroom_platform.domain.task_control import ControlsTasks, QueueControl
from greenroom_platform.domain.task_records import KeepsTasks
from greenroom_platform.domain.topics import Topics
from greenroom_platform.domain.watcher import Watcher
from greenroom_platform.models import Session
from greenroom_platform.studio.recording_opening import open_recordings
from greenroom_platform.studio.recordings import Recordings
from greenroom_platform.studio.worker import Worker

DATABASE_FILE = "greenroom.sqlite3"
"""The record's file in the data directory."""
RECORDINGS = "recordings"
"""The directory of the recordings in the data directory."""


class Platform:
    """The platform of one process: `async with Platform(room, records) as platform`.

    Arguments:
        room: open, and open until the platform is closed.
        records: likewise.
        data_dir: where recordings are kept unless `recordings_url` says so; None where there are none.
        recordings_url: where recordings are kept: a directory, or `s3://BUCKET/PREFIX`.
    """

    def __init__(
        self, room: Greenroom, records: Records, *, data_dir: Path | None = None, recordings_url: str | None = None
    ) -> None:
        self.room = room
        self._records = records
        self._directory = data_dir
        self._recordings_url = recordings_url
        self.opened = Opened(begun=False)
        """Whether the platform is open; its parts ask it before each operation."""
        self._parts: Domain | None = None
        self._accounts: lazy.Accounts | None = None
        self._recordings: Recordings | None = None
        self._lifecycle = Lifecycle("platform")

    async def __aenter__(self) -> Platform:
        await self._lifecycle.open(self._open)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # As of the room: a child that was forked inside the block has nothing to close.
        if not self.opened.is_forked:
            await self._lifecycle.close()

    @property
    def records(self) -> Records:
        """The system of record."""
        self.opened.check()
        return self._records

    @property
    def topics(self) -> Topics:
        """The topics of the platform."""
        return self._domain.topics

    @property
    def snippets(self) -> Snippets:
        """The snippets of the platform."""
        return self._domain.snippets

    @property
    def search(self) -> Search:
        """Searches over topics and snippets; raises `InvalidInput` where the record cannot be searched."""
        return self._domain.search

    @property
    def statuses(self) -> Statuses:
        """How far podcasts are."""
        return self._domain.statuses

    @property
    def generation(self) -> Generation:
        """Asks for podcasts."""
        return self._with_tasks()[0]

    @property
    def tasks(self) -> Tasks:
        """What workers do for podcasts."""
        return self._with_tasks()[1]

    @property
    def listings(self) -> Listings:
        """Lists of podcasts; raises `InvalidInput` where the record keeps no tasks."""
        if self._domain.listings is None:
            raise _no_tasks()
        return self._domain.listings

    @property
    def histories(self) -> Histories:
        """What users have listened to; raises `InvalidInput` where the record keeps no users, or no tasks."""
        return Histories(self._users(), self.listings, self.room.clock)

    @property
    def feeds(self) -> Feeds:
        """Users' own feeds; raises as `histories`."""
        return Feeds(self._users(), self.listings)

    @property
    def changes(self) -> Changes:
        """Drops what a change to the record made stale."""
        return self._domain.changes

    @property
    def outbox(self) -> OutboxSender:
        """Sends what changes are in the record's outbox."""
        return self._domain.outbox

    @property
    def sessions(self) -> Sessions[Session]:
        """The sessions of listeners; raises `InvalidInput` where the room keeps none."""
        self.opened.check()
        return self.room.sessions

    @property
    def presence(self) -> Presence:
        """Presence: active sessions, and listeners per podcast; raises as `sessions`."""
        self.opened.check()
        return self.room.presence

    @property
    def accounts(self) -> lazy.Accounts:
        """The users of the platform: names, passwords, and the bound on attempts.

        Raises:
            InvalidInput: when the record keeps no users.
            MissingExtra: when the password hasher is not installed.
        """
        self.opened.check()
        if self._accounts is None:
            users = self._users()
            with needs_extra("service", "hashing passwords"):
                from greenroom_platform.accounts import Accounts, Attempts, Passwords
            attempts = Attempts(self.sessions.engine, self.room.prefix)
            self._accounts = Accounts(users, Passwords(), attempts, clock=self.room.clock)
        return self._accounts

    @property
    def recordings(self) -> Recordings:
        """The recordings, in the data directory or where the platform was told to keep them.

        Raises:
            InvalidInput: when the platform has no place for them, or it cannot be used, or the record keeps no tasks.
            MissingExtra: when the package that reaches their store is not installed.
        """
        self.opened.check()
        if self._recordings is None:
            records = self._records
            if not isinstance(records, KeepsTasks):
                raise _no_tasks()
            store = open_recordings(self._recordings_url, self._directory and self._directory / RECORDINGS)
            self._recordings = Recordings(store, records.tasks, clock=self.room.clock)
        return self._recordings

    def worker(self, *, claim: timedelta = timedelta(seconds=CLAIM)) -> Worker:
        """A worker that makes the podcasts which are asked for; see `Worker.run`.

        Arguments:
            claim: for how long a task is claimed at a time. The claim is renewed three times as often, and what a
                killed worker has begun is taken up again when it lapses.
        """
        generation, tasks = self._with_tasks()
        return Worker(
            own_name(),
            tasks,
            self.topics,
            self.snippets,
            self.recordings,
            wake=generation.asked,
            claim=claim.total_seconds(),
            clock=self.room.clock,
        )

    @property
    def heartbeats(self) -> Heartbeats:
        """Which processes are alive."""
        self.opened.check()
        return Heartbeats(self.room.engine, self.room.prefix)

    @property
    def actions(self) -> ActionLog | None:
        """What operators have done; None where the record keeps no such log."""
        self.opened.check()
        return log_of(self._records)

    @property
    def queue_control(self) -> QueueControl | None:
        """What operators do to podcasts; None where the record does not allow it."""
        generation, _ = self._with_tasks()
        if not isinstance(self._records, ControlsTasks):
            return None
        return QueueControl(self._records.task_control, self.changes, self.room.clock, generation.asked.set)

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """Inside the block, watch for changes of the record made outside, unless another process does.

        Does nothing where the record does not tell of them.
        """
        domain, records = self._domain, self._records
        if not isinstance(records, TellsForeignChanges):
            yield
            return
        room = self.room
        leadership = Leadership(room.engine, room.prefix, "changes", room.clock)
        watcher = Watcher(records.foreign_changes, records.ping, domain.changes, leadership, room.clock, room.counters)
        watching = asyncio.create_task(watcher.run(), name="greenroom-watcher")
        try:
            yield
        finally:
            watching.cancel()
            await asyncio.wait([watching])

    def rate(self, kind: str, bound: Bound) -> RateLimit:
        """Bounds how often something is done under one name, in all processes together.

        Arguments:
            kind: what is done: the same name of another kind is another.
        """
        self.opened.check()
        opened, engine = self.opened, self.sessions.engine

        def counting() -> Engine:
            opened.check()
            return engine

        return RateLimit(counting, self.room.prefix, kind, bound)

    # ------------------------------------------------------------------------------------------------

    @property
    def _domain(self) -> Domain:
        self.opened.check()
        assert self._parts is not None
        return self._parts

    def _users(self) -> UserRecords:
        users: UserRecords | None = getattr(self._records, "users", None)
        if users is None:
            raise InvalidInput("database", "the record keeps no users", "give it a member `users`: UserRecords")
        return users

    def _with_tasks(self) -> tuple[Generation, Tasks]:
        if self._domain.generation is None:
            raise _no_tasks()
        return self._domain.generation

    async def _open(self, opening: Opening) -> None:
        if isinstance(self._records, CountsBroken):
            self.room.counters.broken_documents = self._records.broken_documents
        if isinstance(self._records, KnowsCaches):
            room = self.room
            shared = SharedCaches(self._records.caches, room.engine, room.prefix, room.clock, self._drop_all)
            opening.stack.push_async_callback(to_the_end, shared.close)
            # Before the outbox is sent: what is in it is not for other caches.
            await shared.open()
        parts = await Domain.open(self._records, self.room.cache, self.room.pending_drops, self.room.clock)
        opening.stack.push_async_callback(to_the_end, partial(self._close, opening.opened, parts))
        self.opened.supersede()
        self.opened, self._parts = opening.opened, parts

    async def _drop_all(self) -> None:
        await asyncio.gather(*(self.room.drop_keyspace(keyspace) for keyspace in EVERYTHING))

    async def _close(self, opened: Opened, parts: Domain) -> None:
        opened.end()
        recordings, self._recordings = self._recordings, None
        accounts, self._accounts = self._accounts, None
        await parts.close()
        if recordings is not None:
            await recordings.close()
        if accounts is not None:
            await accounts.close()


def _no_tasks() -> InvalidInput:
    return InvalidInput("database", "the record keeps no tasks", "give it a member `tasks`: TaskRecords")


@asynccontextmanager
async def open_platform(
    address: str | None = None,
    *,
    session_address: str | None = None,
    sessions: bool = True,
    replica_reads: bool = False,
    database: str | Path | Records | None = None,
    data_dir: str | Path | None = None,
    recordings_url: str | None = None,
    prefix: str = "",
    clock: Clock = SYSTEM,
    counters: Counters | None = None,
) -> AsyncIterator[Platform]:
    """Open a record, a room and the platform over both; all are closed when the block is left.

    Arguments:
        sessions: False for a process that uses none, as a worker.
        database: the record: `sqlite:PATH`, a path, or any implementation of `Records`, which stays open. By default
            SQLite in the data directory.
        data_dir: where embedded parts and recordings are kept. With neither address nor directory a temporary one.
        recordings_url: where recordings are kept instead: a directory, or `s3://BUCKET/PREFIX`.

    The other arguments are those of `Greenroom`.

    Raises:
        InvalidInput: for an argument that is not valid.
        MissingExtra: when an embedded part is not installed.
        RecordUnavailable: when the record cannot be opened. An engine that cannot be reached is no error.
    """
    async with AsyncExitStack() as stack:
        directory = None if data_dir is None else Path(data_dir)
        if directory is None and address is None:
            directory = stack.enter_context(temporary_directory("greenroom-"))
        records = await _records(database, directory, stack)
        room = await stack.enter_async_context(
            Greenroom(
                address,
                session_address=session_address,
                sessions=SESSION_SETTINGS if sessions else False,
                replica_reads=replica_reads,
                data_dir=directory,
                prefix=prefix,
                clock=clock,
                counters=counters,
            )
        )
        yield await stack.enter_async_context(
            Platform(room, records, data_dir=directory, recordings_url=recordings_url)
        )


async def _records(database: str | Path | Records | None, directory: Path | None, stack: AsyncExitStack) -> Records:
    if database is not None and not isinstance(database, str | Path):
        return database
    if database is None:
        if directory is None:
            raise InvalidInput("database", "the platform needs a record", "pass database= or data_dir=")
        database = directory / DATABASE_FILE
    from greenroom_platform.storage import open_records  # SQLite: a record of one's own does without it

    records = await open_records(database)
    stack.push_async_callback(to_the_end, records.close)
    return records
