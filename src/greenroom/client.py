"""`Greenroom`: the caches and sessions of one process, on one server together or on two."""

from __future__ import annotations

import asyncio
import logging
import tempfile
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from greenroom.caching import Cache, Loader
from greenroom.caching.batch import BatchLoader, PlainBatchLoader
from greenroom.caching.cache import NEAR_FOR
from greenroom.caching.declared import DeclaredCaches, check_apart, check_options, group_patterns
from greenroom.caching.fallback import MAX_CONCURRENT
from greenroom.caching.invalidation import Backing
from greenroom.caching.loader import LOADER_DEADLINE, PlainLoader, declared_batch_loader, declared_loader
from greenroom.caching.pending_drops import PendingDrops
from greenroom.clock import SYSTEM, Clock
from greenroom.detached import to_the_end
from greenroom.engine import EMBEDDED, Engine, eviction_warning, open_engine, start_within
from greenroom.errors import EngineError, EngineRefused, EngineUnavailable, InvalidInput
from greenroom.keyspace import Keyspace
from greenroom.keyspace.pattern import check_prefix
from greenroom.observe import Counters
from greenroom.opened import Opened

if TYPE_CHECKING:
    from greenroom.sessions import Presence, Sessions, SessionSettings

log = logging.getLogger("greenroom.client")

T = TypeVar("T")

_LOADER_DEADLINE = timedelta(seconds=LOADER_DEADLINE)
_NEAR_FOR = timedelta(seconds=NEAR_FOR)
START_DEADLINE = 2.0
"""Seconds that opening waits for the servers; a room opens all the same without them."""


class Greenroom:
    """The hot-data tier of one process: `async with Greenroom("valkey://cache.internal:6379") as room`.

    It connects to nothing before its block is entered, and may be opened again when that has been left.

    Arguments:
        address: the server of the caches, as `valkey://host:6379`; without it, or as `embedded`, a Valkey is started,
            or joined, in the data directory.
        session_address: the server of the sessions, likewise; by default that of the caches.
        sessions: what sessions hold; True for the usual, False for a process that uses none: it then needs no server
            of theirs, and expects nothing of that of the caches.
        replica_reads: whether cached values are read at the replicas of a cluster: its primaries have less to do, and a
            change made elsewhere may be seen 0.75 s later. Never sessions; never what was just changed here.
        data_dir: where the embedded server keeps its files. Without it the embedded server has a temporary one.
        prefix: put before every key.
        clock: where time and randomness come from.
        counters: where everything is counted.

    Raises:
        InvalidInput: when it is opened, for an invalid argument, and while it is open already.
        MissingExtra: when it is opened, if the embedded server is not installed. A server that cannot be reached is no
            error.
    """

    def __init__(
        self,
        address: str | None = None,
        *,
        session_address: str | None = None,
        sessions: SessionSettings | bool = True,
        replica_reads: bool = False,
        data_dir: str | Path | None = None,
        prefix: str = "",
        clock: Clock = SYSTEM,
        counters: Counters | None = None,
    ) -> None:
        self._address = address or EMBEDDED
        self._session_address = session_address or self._address
        self._settings = sessions
        self._replica_reads = replica_reads
        self._directory = None if data_dir is None else Path(data_dir)
        self.prefix = prefix
        """Stands before every key."""
        self.clock = clock
        """Where time and randomness come from."""
        self.counters = counters if counters is not None else Counters()
        """Where everything is counted."""
        self._stack: AsyncExitStack | None = None
        self.opened = Opened()
        """Whether the room is open; its parts ask it before each operation."""
        self.opened.end()

    async def __aenter__(self) -> Greenroom:
        if self._stack is not None:
            raise InvalidInput("room", "is open already", "leave its block first, or make another")
        async with AsyncExitStack() as stack:
            await self._open(stack)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        stack, self._stack = self._stack, None
        assert stack is not None
        await stack.__aexit__(kind, error, trace)

    async def _open(self, stack: AsyncExitStack) -> None:
        address, session_address, directory = self._address, self._session_address, self._directory
        clock, counters = self.clock, self.counters
        if directory is None and EMBEDDED in (address, session_address):
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="greenroom-")))
        engine = open_engine(
            address, directory, stack, replica_reads=self._replica_reads, clock=clock, counters=counters
        )
        self._backing = Backing(engine, check_prefix(self.prefix), clock, counters)
        self._engine = engine
        self._caches = DeclaredCaches()
        self._own: SessionSettings | None = None
        self._sessions: Sessions[Any] | None = None
        self._presence: Presence | None = None
        if self._settings is not False:
            # Not with the package: a process that has caches only does without.
            from greenroom.sessions import Presence, Revocations, Sessions, SessionSettings

            own = self._own = SessionSettings() if self._settings is True else self._settings
            if session_address != address:
                engine = open_engine(session_address, directory, stack, clock=clock, counters=counters)
            self._sessions = Sessions(
                engine,
                own.keyspace.prefixed(self.prefix),
                own.limits,
                ends=Revocations(clock),
                counters=counters,
                new=own.new,
                streams=own.streams,
            )
            self._presence = Presence(self._sessions)
        await _start(self._backing, self._sessions)
        self.opened = Opened()
        stack.push_async_callback(to_the_end, self._close)

    # Caches -----------------------------------------------------------------------------------------

    def cache(
        self,
        keyspace: Keyspace[T],
        *,
        load: Loader[T] | PlainLoader[T],
        load_many: BatchLoader[T] | PlainBatchLoader[T] | None = None,
        loader_deadline: timedelta = _LOADER_DEADLINE,
        near_for: timedelta = _NEAR_FOR,
        groups: Sequence[str] = (),
        places: int = MAX_CONCURRENT,
    ) -> Cache[T]:
        """A read-through cache over a keyspace.

        Arguments:
            load: reads one value, given the key's parts by keyword, or by position where there is one part; returns
                None where there is none. It must see everything committed before it is called. One that is not async
                runs on the event loop: it must not wait for anything.
            load_many: reads several for `get_many`: given a list of parts (mappings, or bare values where a key has one
                part), returns as many values in their order.
            loader_deadline: after it a load is cancelled.
            near_for: for so long a value is served from this process; zero keeps nothing here.
            groups: keys that one change makes stale together, as `episodes:{show_id}`, made of parts of the key;
                `invalidate_group` drops them.
            places: loads at a time while the server cannot be asked.

        The same arguments give the cache that was made before.

        Raises:
            InvalidInput: for what can never work, and for a key format that can make the keys of another cache of this
                room or of its sessions: the two would give each other's values.
        """
        self.opened.check()
        if not isinstance(keyspace, Keyspace):
            raise InvalidInput("keyspace", f"is {keyspace!r:.80}", "give a Keyspace('episode:{id}', Episode, ttl=…)")
        options: dict[str, Any] = {
            "load_many": load_many,
            "loader_deadline": loader_deadline,
            "near_for": near_for,
            "groups": group_patterns(groups),
            "places": places,
        }
        if self._own is not None:
            check_apart(keyspace, self._own.keyspace, "the sessions of this room")
        check_options(options)

        def make() -> Cache[T]:
            batch = None if load_many is None else declared_batch_loader(load_many)
            return Cache(
                keyspace.prefixed(self.prefix),
                declared_loader(keyspace, load),
                backing=self._backing,
                load_many=batch,
                loader_deadline=loader_deadline.total_seconds(),
                near_for=near_for.total_seconds(),
                groups=options["groups"],
                places=places,
            )

        return self._caches.cache(keyspace, {"load": load, **options}, make)

    def cached(
        self,
        keyspace: Keyspace[T],
        *,
        load_many: BatchLoader[T] | PlainBatchLoader[T] | None = None,
        loader_deadline: timedelta = _LOADER_DEADLINE,
        near_for: timedelta = _NEAR_FOR,
        groups: Sequence[str] = (),
        places: int = MAX_CONCURRENT,
    ) -> Callable[[Loader[T] | PlainLoader[T]], Cache[T]]:
        """`cache` as a decorator of the loader, with the same arguments; the decorated name is the cache."""
        return lambda load: self.cache(
            keyspace,
            load=load,
            load_many=load_many,
            loader_deadline=loader_deadline,
            near_for=near_for,
            groups=groups,
            places=places,
        )

    @property
    def pending_drops(self) -> PendingDrops:
        """Keys that a record says are stale and that no server has dropped yet: here they count as dropped."""
        self._check_made()
        return self._backing.outbox_drops

    def forget_near(self) -> None:
        """Drop every value that this process holds; the next reads ask the server."""
        self.opened.check()
        self._backing.near.clear()

    # Sessions ---------------------------------------------------------------------------------------

    @property
    def sessions(self) -> Sessions[Any]:
        """The sessions of this room.

        Raises:
            InvalidInput: when it keeps none.
            RoomClosed: when it has not been opened.
        """
        self._check_made()
        if self._sessions is None:
            raise InvalidInput("sessions", "the room keeps no sessions", "open it with sessions=SessionSettings(…)")
        return self._sessions

    @property
    def presence(self) -> Presence:
        """Who is here: active sessions, and listeners of each content. Raises as `sessions`."""
        self._check_made()
        if self._presence is None:
            raise InvalidInput("sessions", "the room keeps no sessions", "open it with sessions=SessionSettings(…)")
        return self._presence

    # Its servers --------------------------------------------------------------------------------------

    @property
    def engine(self) -> Engine:
        """The engine of the caches."""
        self._check_made()
        return self._engine

    @property
    def unavailable(self) -> EngineError | None:
        """Why the caches or sessions cannot use their server at the moment; None while all is well.

        It says which of the two, and the address of the server or node, never with its password.
        """
        self.opened.check()
        uses = {"caches": self._engine}
        if self._sessions is not None:
            apart = self._sessions.engine is not self._engine
            uses = {**uses, "sessions": self._sessions.engine} if apart else {"caches and sessions": self._engine}
        found = {use: error for use, engine in uses.items() if (error := engine.unavailable) is not None}
        if not found:
            return None
        kind = EngineRefused if any(isinstance(one, EngineRefused) for one in found.values()) else EngineUnavailable
        return kind(" · ".join(f"{use}: {error}" for use, error in found.items()))

    def _check_made(self) -> None:
        # Of a room that was closed its parts say so themselves, operation by operation.
        if not hasattr(self, "_backing"):
            self.opened.check()

    async def _close(self) -> None:
        self.opened.end()
        if self._sessions is not None:
            self._sessions.opened.end()
            await self._sessions.close()
        for cache in self._caches:
            await cache.close()
        await self._backing.settle()


async def _start(backing: Backing, sessions: Sessions[Any] | None) -> None:
    """Wait for the servers, as long as a start may take, and warn of settings that would lose what is kept there."""
    engines: set[Engine] = {backing.engine} if sessions is None else {backing.engine, sessions.engine}
    await asyncio.gather(*(start_within(engine, START_DEADLINE) for engine in engines))
    if (advice := await backing.groups.eviction_warning()) is not None:
        log.warning("the server of the caches: %s", advice)
    if sessions is None:
        return
    remedy = "set noeviction, or give them a server of their own"
    advice = await eviction_warning(sessions.engine, "sessions", remedy, has_lifetime=True)
    if advice is not None:
        log.warning("the server of the sessions: %s", advice)
