"""`Greenroom`: opens, wires and closes; the only place that knows every part."""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from greenroom import servers
from greenroom.caching import Cache, Loader
from greenroom.caching.batch import BatchLoader, PlainBatchLoader
from greenroom.caching.cache import NEAR_FOR
from greenroom.caching.declared import DeclaredCaches, check_apart, check_options
from greenroom.caching.fallback import PLACES
from greenroom.caching.invalidation import Backing
from greenroom.caching.loader import LOADER_DEADLINE, PlainLoader, declared_batch_loader, declared_loader
from greenroom.clock import SYSTEM, Clock
from greenroom.detached import to_the_end
from greenroom.errors import EngineError, InvalidInput
from greenroom.extras import needs_extra
from greenroom.keyspace import Keyspace
from greenroom.observe import Counters
from greenroom.opened import Opened
from greenroom.sessions import Presence, Sessions
from greenroom_platform import definitions
from greenroom_platform.domain.changes import Changes
from greenroom_platform.domain.podcasts import CLAIM, Generation, Tasks
from greenroom_platform.domain.records import Records
from greenroom_platform.domain.snippets import Snippets
from greenroom_platform.domain.statuses import Statuses
from greenroom_platform.domain.topics import Topics
from greenroom_platform.models import Session
from greenroom_platform.platform import Platform
from greenroom_platform.studio.recordings import Recordings
from greenroom_platform.studio.worker import Worker

if TYPE_CHECKING:
    from greenroom_platform.accounts import Accounts
    from greenroom_platform.accounts.rate_limit import Bound, Rate

T = TypeVar("T")

DATABASE_FILE = "greenroom.sqlite3"
"""The record's file in the data directory."""


class Greenroom:
    """The hot-data tier of one process. Made by `Greenroom.open`; once closed, it and its parts raise `RoomClosed`."""

    def __init__(self, backing: Backing, sessions: Sessions[Session], directory: Path | None) -> None:
        self._backing = backing
        self._engine = backing.engine
        self._prefix = backing.prefix
        self._clock = backing.clock
        self._caches = DeclaredCaches()
        self._opened = Opened()
        self._platform: Platform | None = None
        self._accounts: Accounts | None = None
        self._recordings: Recordings | None = None
        self._directory = directory
        self.counters = backing.counters
        self.sessions = sessions
        """The sessions of the platform."""
        self.presence = Presence(self.sessions)
        """Who is here: active sessions, and listeners per podcast."""

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        address: str | None = None,
        *,
        session_address: str | None = None,
        keeps_sessions: bool = True,
        replica_reads: bool = False,
        database: str | Path | Records | None = None,
        data_dir: str | Path | None = None,
        prefix: str = "",
        clock: Clock = SYSTEM,
        counters: Counters | None = None,
    ) -> AsyncIterator[Greenroom]:
        """Open a room; everything that it opened is closed when the block is left.

        Arguments:
            address: the server of the caches, as `valkey://host:6379`; without it, or as `embedded`, a Valkey is
                started, or joined, in the data directory.
            session_address: the server of the sessions, likewise; by default that of the caches.
            keeps_sessions: False for a process that uses none, as a worker: it then needs no server of theirs, and
                expects nothing of that of the caches.
            replica_reads: whether cached values are read at the replicas of a cluster: its primaries have less to do,
                and a change made elsewhere may be seen 0.75 s later. Never sessions; never what was just changed here.
            database: the record: `sqlite:PATH`, a path, or any implementation of `Records`. By default SQLite in
                the data directory; with an address and no directory there is none, and only caches with loaders of
                their own can be had.
            data_dir: where embedded parts keep their files. With neither address nor directory a temporary one.
            prefix: put before every key.
            clock: where time and randomness come from.
            counters: where everything is counted.

        Raises:
            InvalidInput: for an argument that cannot be.
            MissingExtra: when an embedded part is not installed.
            RecordUnavailable: when the record cannot be opened. An engine that cannot be reached is no error.
        """
        counters = counters if counters is not None else Counters()
        async with AsyncExitStack() as stack:
            directory = None if data_dir is None else Path(data_dir)
            if directory is None and servers.is_embedded(address, session_address):
                directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="greenroom-")))
            backing, sessions = servers.wire(
                address,
                session_address,
                directory,
                stack,
                prefix=prefix,
                keeps_sessions=keeps_sessions,
                replica_reads=replica_reads,
                clock=clock,
                counters=counters,
            )
            records = await _records(database, directory, stack)
            await servers.start(backing, sessions, keeps_sessions=keeps_sessions)
            room = cls(backing, sessions, directory)
            stack.push_async_callback(to_the_end, room._close)
            if records is not None:
                room._platform = await Platform.open(records, room._platform_cache, backing.outbox_drops, clock)
            yield room

    # Caches of one's own ---------------------------------------------------------------------------

    def cache(
        self,
        keyspace: Keyspace[T],
        *,
        load: Loader[T] | PlainLoader[T],
        load_many: BatchLoader[T] | PlainBatchLoader[T] | None = None,
        loader_deadline: float = LOADER_DEADLINE,
        near_for: float = NEAR_FOR,
        group: str | None = None,
        places: int = PLACES,
    ) -> Cache[T]:
        """A read-through cache over a keyspace.

        Arguments:
            load: reads one value, given the key's parts by keyword, or by position where there is one part; returns
                None where there is none. It must see everything committed before it is called. One that is not async
                runs on the event loop: it must not wait for anything.
            load_many: reads several for `get_many`: given a list of parts (mappings, or bare values where a key has one
                part), returns as many values in their order.
            loader_deadline: seconds after which a load is cancelled.
            near_for: seconds for which a value is served from this process; 0 keeps nothing here.
            group: keys that one change makes stale together, as `episodes:{show_id}`, made of parts of the key;
                `invalidate_group` drops them.
            places: loads at a time while the server cannot be asked.

        The same arguments give the cache that was made before.

        Raises:
            InvalidInput: for what can never work, and for a key format that can make the keys of another cache of this
                room or of the platform: the two would give each other's values.
        """
        for own in definitions.DEFINITIONS:
            check_apart(keyspace, own, "the platform")
        return self._declared(
            keyspace,
            load,
            load_many=load_many,
            loader_deadline=loader_deadline,
            near_for=near_for,
            group=group,
            places=places,
        )

    def cached(self, keyspace: Keyspace[T], **options: Any) -> Callable[[Loader[T]], Cache[T]]:
        """`cache` as a decorator of the loader, with the same options; the decorated name is the cache."""
        return lambda load: self.cache(keyspace, load=load, **options)

    # The platform's own ----------------------------------------------------------------------------

    @property
    def topics(self) -> Topics:
        """The topics of the platform."""
        return self._with_record().topics

    @property
    def snippets(self) -> Snippets:
        """The snippets of the platform."""
        return self._with_record().snippets

    @property
    def statuses(self) -> Statuses:
        """How far podcasts are."""
        return self._with_record().statuses

    @property
    def generation(self) -> Generation:
        """Asks for podcasts."""
        return self._with_tasks()[0]

    @property
    def tasks(self) -> Tasks:
        """What workers do for podcasts."""
        return self._with_tasks()[1]

    @property
    def records(self) -> Records:
        """The system of record."""
        return self._with_record().records

    @property
    def changes(self) -> Changes:
        """Drops what a change to the record made stale."""
        return self._with_record().changes

    @property
    def accounts(self) -> Accounts:
        """The users of the platform: names, passwords, and the bound on attempts.

        Raises:
            InvalidInput: when the record keeps no users.
            MissingExtra: when the password hasher is not installed.
        """
        self._opened.check()
        if self._accounts is None:
            users = getattr(self.records, "users", None)
            if users is None:
                raise InvalidInput("database", "the record keeps no users", "give it a member `users`: UserRecords")
            with needs_extra("service", "hashing passwords"):
                from greenroom_platform.accounts import Accounts, Attempts, Passwords
            attempts = Attempts(self.sessions.engine, self._prefix)
            self._accounts = Accounts(users, Passwords(), attempts, clock=self._clock)
        return self._accounts

    @property
    def recordings(self) -> Recordings:
        """The recordings in the data directory.

        Raises:
            InvalidInput: when the room has none, or it cannot be used.
        """
        self._opened.check()
        if self._recordings is None:
            if self._directory is None:
                raise InvalidInput("data_dir", "recordings need a directory", "pass data_dir=")
            self._recordings = Recordings(self._directory / "recordings", clock=self._clock)
        return self._recordings

    def worker(self, *, claim: float = CLAIM) -> Worker:
        """A worker that makes the podcasts which are asked for; see `Worker.run`.

        Arguments:
            claim: seconds for which a task is claimed at a time. The claim is renewed three times as often, and what a
                killed worker has begun is taken up again when it lapses.
        """
        generation, tasks = self._with_tasks()
        return Worker(
            f"{socket.gethostname()}-{os.getpid()}",
            tasks,
            self.topics,
            self.snippets,
            self.recordings,
            wake=generation.asked,
            claim=claim,
            clock=self._clock,
        )

    def rate(self, kind: str, bound: Bound) -> Rate:
        """Bounds how often something is done under one name, in all processes together.

        Arguments:
            kind: what is done: the same name of another kind is another.

        Raises:
            MissingExtra: when the password hasher, which lies beside it, is not installed.
        """
        self._opened.check()
        with needs_extra("service", "bounding rates"):
            from greenroom_platform.accounts.rate_limit import Rate

        return Rate(self.sessions.engine, self._prefix, kind, bound, opened=self._opened)

    def forget_near(self) -> None:
        """Drop every value that this process holds; the next reads ask the server."""
        self._opened.check()
        self._backing.near.clear()

    @property
    def engine_trouble(self) -> EngineError | None:
        """Why the caches or sessions cannot use their server at the moment; None while all is well.

        It says which of the two, and the address of the server or node, never with its password.
        """
        self._opened.check()
        return servers.trouble(self._engine, self.sessions.engine)

    # ------------------------------------------------------------------------------------------------

    def _declared(self, keyspace: Keyspace[T], load: Loader[T] | PlainLoader[T], **options: Any) -> Cache[T]:
        self._opened.check()
        check_options(options)

        def make() -> Cache[T]:
            loader = declared_loader(keyspace, load)
            many = options.get("load_many")
            batch = None if many is None else declared_batch_loader(many)
            prefixed = keyspace.prefixed(self._prefix)
            return Cache(prefixed, loader, backing=self._backing, **{**options, "load_many": batch})

        return self._caches.cache(keyspace, {"load": load, **options}, make)

    def _platform_cache(self, keyspace: Keyspace[T], *, load: Loader[T], **options: Any) -> Cache[T]:
        """As `cache`, for the platform's own formats."""
        return self._declared(keyspace, load, **options)

    def _with_record(self) -> Platform:
        self._opened.check()
        if self._platform is None:
            raise InvalidInput("database", "the room was opened without a record", "pass database= or data_dir=")
        return self._platform

    def _with_tasks(self) -> tuple[Generation, Tasks]:
        platform = self._with_record()
        if platform.generation is None:
            raise InvalidInput("database", "the record keeps no tasks", "give it a member `tasks`: TaskRecords")
        return platform.generation

    async def _close(self) -> None:
        self._opened.end()
        if self._platform is not None:
            await self._platform.close()
        await self.sessions.close()
        self.sessions.opened.end()
        if self._recordings is not None:
            await self._recordings.close()
        if self._accounts is not None:
            await self._accounts.close()
        for cache in self._caches:
            await cache.close()
        await self._backing.settle()


async def _records(
    database: str | Path | Records | None, directory: Path | None, stack: AsyncExitStack
) -> Records | None:
    if database is not None and not isinstance(database, str | Path):
        return database
    if database is None:
        if directory is None:
            return None
        database = directory / DATABASE_FILE
    from greenroom_platform.storage import open_records  # SQLite: a record of one's own does without it

    records = await open_records(database)
    stack.push_async_callback(to_the_end, records.close)
    return records
