"""`Greenroom`: the caches and sessions of one process, on one server together or on two."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast

from greenroom.caching import Cache, DropTarget, Loader
from greenroom.caching.batch import BatchLoader, PlainBatchLoader
from greenroom.caching.cache import NEAR_FOR
from greenroom.caching.declared import (
    DeclaredCaches,
    check_options,
    declared_batch_loader,
    declared_loader,
    group_patterns,
)
from greenroom.caching.drops import changing
from greenroom.caching.fallback import MAX_CONCURRENT
from greenroom.caching.generation import KeyspaceDrop
from greenroom.caching.loader import LOADER_DEADLINE, PlainLoader
from greenroom.caching.pending_drops import PendingDrops
from greenroom.clock import SYSTEM, Clock
from greenroom.detached import to_the_end
from greenroom.engine import EMBEDDED, Address, Engine
from greenroom.errors import EngineError, InvalidInput
from greenroom.keyspace import Keyspace
from greenroom.keyspace.pattern import check_prefix
from greenroom.lifecycle import Lifecycle, Opening
from greenroom.observe import Counters
from greenroom.opened import Opened
from greenroom.wiring import RoomHealth, Wiring

if TYPE_CHECKING:
    from greenroom.cached import CachedFunction
    from greenroom.caching.threads import LoaderThreads
    from greenroom.progress import Order
    from greenroom.progress.jobs import Jobs
    from greenroom.sessions import Presence, Sessions, SessionSettings

P = ParamSpec("P")
T = TypeVar("T")

_LOADER_DEADLINE = timedelta(seconds=LOADER_DEADLINE)
_NEAR_FOR = timedelta(seconds=NEAR_FOR)
_CLOCK = ("monotonic", "now", "random", "token")
_NO_SESSIONS = "make it with sessions=SessionSettings(…)"


class Greenroom:
    """The hot-data tier of one process: `async with Greenroom("valkey://cache.internal:6379") as room`.

    It connects to nothing before its block is entered, so that it may be made at module level and caches be declared
    there. When its block has been left it may be opened again, also in another event loop; while it is open it belongs
    to one event loop and one process.

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
        InvalidInput: for an argument of another type; when it is opened, for one that cannot be, and while it is open
            already.
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
        _check(sessions=sessions, replica_reads=replica_reads, data_dir=data_dir, clock=clock, counters=counters)
        self._address = address or EMBEDDED
        self._session_address = session_address or self._address
        self._sessions = sessions
        self._replica_reads = replica_reads
        self._directory = None if data_dir is None else Path(data_dir)
        self.prefix = check_prefix(prefix)
        """Stands before every key."""
        self.clock = clock
        """Where time and randomness come from."""
        self.counters = counters if counters is not None else Counters()
        """Where everything is counted."""
        self.opened = Opened(begun=False)
        """Whether the room is open; its parts ask it before each operation."""
        self._caches = DeclaredCaches()
        self._jobs: dict[str, Jobs[Any]] = {}
        self._wiring: Wiring | None = None
        self._lifecycle = Lifecycle("room")

    async def __aenter__(self) -> Greenroom:
        await self._lifecycle.open(self._open)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # A child that was forked inside the block leaves it too, with whatever it ends by: it has nothing to close.
        if not self.opened.is_forked:
            await self.close()

    async def close(self) -> None:
        """Close the room before the end of its block; of several calls all return when it is closed.

        Raises:
            RoomElsewhere: in another event loop, and in a child that was forked while the room was open: its
                connections are the parent's. Nothing is closed.
        """
        await self._lifecycle.close()

    async def _open(self, opening: Opening) -> None:
        opened = opening.opened
        wiring = await Wiring.open(
            opening.stack,
            opened,
            address=self._address,
            session_address=self._session_address,
            settings=self._session_settings(),
            replica_reads=self._replica_reads,
            directory=self._directory,
            prefix=self.prefix,
            clock=self.clock,
            counters=self.counters,
        )
        self._caches.open(wiring.backing, opened)
        opening.stack.push_async_callback(to_the_end, partial(self._close, opened, wiring))
        self.opened.supersede()
        self.opened, self._wiring = opened, wiring

    async def _close(self, opened: Opened, wiring: Wiring) -> None:
        opened.end()
        for jobs in self._jobs.values():
            await jobs.close()
        await self._caches.close()
        await wiring.close()

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
        max_concurrent: int = MAX_CONCURRENT,
    ) -> Cache[T]:
        """A read-through cache over a keyspace, which answers while the room is open.

        Arguments:
            load: reads one value, given the key's parts by keyword, or by position where there is one part; returns
                None where there is none. It must see everything committed before it is called. One that is not async
                runs in a thread, of which a room has 16.
            load_many: reads several for `get_many`: given a list of parts (mappings, or bare values where a key has one
                part), returns as many values in their order.
            loader_deadline: after it a load is cancelled.
            near_for: how long a value is served from this process; zero keeps nothing here.
            groups: keys that one change makes stale together, as `episodes:{show_id}`, made of parts of the key;
                `invalidate_group` drops them.
            max_concurrent: loads at a time while the server cannot be asked.

        The same arguments give the cache that was made before.

        Raises:
            InvalidInput: for what can never work, and for a key format that can make the keys of another cache of this
                room or of its sessions: the two would give each other's values.
        """
        if not isinstance(keyspace, Keyspace):
            raise InvalidInput("keyspace", f"is {keyspace!r:.80}", "give a Keyspace('episode:{id}', Episode, ttl=…)")
        options: dict[str, Any] = {
            "load_many": load_many,
            "loader_deadline": loader_deadline,
            "near_for": near_for,
            "groups": group_patterns(groups),
            "max_concurrent": max_concurrent,
        }
        check_options(options)
        settings = self._session_settings()

        def threads() -> LoaderThreads:
            return self._caches.threads

        def make() -> Cache[T]:
            batch = None if load_many is None else declared_batch_loader(load_many, threads)
            return Cache(
                keyspace.prefixed(self.prefix),
                declared_loader(keyspace, load, threads),
                load_many=batch,
                loader_deadline=loader_deadline.total_seconds(),
                near_for=near_for.total_seconds(),
                groups=options["groups"],
                max_concurrent=max_concurrent,
            )

        sessions = None if settings is None else settings.keyspace
        return self._caches.cache(keyspace, {"load": load, **options}, make, sessions=sessions)

    def cached(
        self,
        keyspace: Keyspace[T],
        *,
        load_many: BatchLoader[T] | PlainBatchLoader[T] | None = None,
        loader_deadline: timedelta = _LOADER_DEADLINE,
        near_for: timedelta = _NEAR_FOR,
        groups: Sequence[str] = (),
        max_concurrent: int = MAX_CONCURRENT,
    ) -> Callable[[Callable[P, Awaitable[T | None] | T | None]], CachedFunction[P, T]]:
        """`cache` as a decorator of the loader: the function is called as before, and its results are cached.

        Its parameters are the parts of the key, in their order. The other arguments are those of `cache`.

        Raises:
            InvalidInput: as `cache`, and for a function with other parameters.
        """
        from greenroom.cached import CachedFunction, check_parameters

        def decorate(load: Callable[P, Awaitable[T | None] | T | None]) -> CachedFunction[P, T]:
            check_parameters(keyspace, load)
            cache = self.cache(
                keyspace,
                load=cast("Loader[T]", load),
                load_many=load_many,
                loader_deadline=loader_deadline,
                near_for=near_for,
                groups=groups,
                max_concurrent=max_concurrent,
            )
            return CachedFunction(cache, load)

        return decorate

    def changing(self, *stale: DropTarget) -> AbstractAsyncContextManager[None]:
        """Around a change of the record: drops what it makes stale before and after.

        `async with room.changing(episode.of("s1", 7), episode.group("s1")): ...`. It never raises for the server, which
        may be away: what could not be dropped is kept, and sent before this process reads again. The drop afterwards
        runs on every way out of the block, and to its end when the caller is cancelled.

        Arguments:
            stale: what `of` and `group` of caches return.

        Raises:
            InvalidInput: at the call, for what `of` and `group` have not returned; nothing is dropped.
            RoomClosed, RoomNotOpen, RoomElsewhere: before the block is entered.
        """
        return changing(stale)

    async def drop_keyspace(self, keyspace: Keyspace[Any]) -> None:
        """Drop every value of a keyspace, whichever process has stored it; without a look for its keys.

        For when nobody can say which values are stale: a restored database, a migration, a history that is lost. In
        this process it counts from the call on, in all others when it returns, with the bounds of an invalidation. For
        the keyspace's `ttl` and a minute each read then asks for one more small key.

        Arguments:
            keyspace: of a cache of this or of another process, as it was declared.

        Raises:
            InvalidInput: for what is no keyspace, and for that of the sessions.
            EngineError: when a server did not acknowledge. It is kept, and sent before this process reads there again;
                other processes may serve old values until then.
        """
        prefixed, generations = self._cached_keyspace(keyspace), self._wired().backing.generations
        await KeyspaceDrop(generations, generations.of(prefixed)).send()

    async def delete_keyspace(self, keyspace: Keyspace[Any], *, viewer: str | None = None) -> int:
        """Delete what is stored of a keyspace, with its companions; returns how many keys there were.

        Not what a program does, but an operator after `drop_keyspace`: services in other languages, which know of no
        generations, then see the drop too. The keys are looked for, a thousand places of the server at a time.

        Arguments:
            viewer: the address of the server with a user who may SCAN; by default the room's own.

        Raises:
            InvalidInput: as `drop_keyspace`, and for an address that cannot be.
            EngineError: when a server cannot be asked, or refuses.
        """
        from greenroom.engine.scan import scan  # as sessions

        pattern = self._cached_keyspace(keyspace).pattern
        backing = self._wired().backing
        address = Address.parse(viewer) if viewer is not None else backing.engine.address
        number = 0
        async for found in scan(address, pattern.glob):
            keys = [key for key in found if pattern.matches(key)]
            await backing.drops.drop_many(keys)
            number += len(keys)
        return number

    def _cached_keyspace(self, keyspace: Keyspace[Any]) -> Keyspace[Any]:
        """A keyspace of caches, with the room's prefix."""
        self.opened.check()
        if not isinstance(keyspace, Keyspace):
            raise InvalidInput("keyspace", f"is {keyspace!r:.80}", "give the Keyspace that the cache is declared with")
        settings = self._session_settings()
        if settings is not None and keyspace.pattern.text == settings.keyspace.pattern.text:
            raise InvalidInput("keyspace", f"{keyspace.pattern.text!r} holds sessions", "end sessions by `end_all`")
        return keyspace.prefixed(self.prefix)

    @property
    def pending_drops(self) -> PendingDrops:
        """Keys that a record says are stale and that no server has dropped yet: here they count as dropped."""
        return self._wired().backing.outbox_drops

    def forget_near(self) -> None:
        """Drop every value that this process holds; the next reads ask the server."""
        self.opened.check()
        self._wired().backing.near.clear()

    # Progress ---------------------------------------------------------------------------------------

    def progress(
        self,
        keyspace: Keyspace[T],
        *,
        load: Loader[T] | PlainLoader[T],
        order: Order,
        status: Callable[[T], str] | None = None,
    ) -> Jobs[T]:
        """How far jobs are: each status is read through a cache, and followed to its end.

        Arguments:
            keyspace: of the jobs' statuses, with one part: the job's id.
            load: reads the status of a job from the record; None where there is no such job.
            order: the steps of a job.
            status: the step of a value; by default its member `status`.

        Raises:
            InvalidInput: as `cache`; for a keyspace of several parts, an order that is no `Order`, and a type without
                the member `status` where `status` is not given; for another order or status than before.
        """
        from greenroom.progress.jobs import Jobs, check_jobs  # as sessions

        if isinstance(keyspace, Keyspace):
            check_jobs(keyspace, order, status)
        cache, text = self.cache(keyspace, load=load), keyspace.pattern.text
        jobs = self._jobs.get(text)
        if jobs is None or jobs.cache is not cache:
            jobs = self._jobs[text] = Jobs(cache, order, status)
        else:
            jobs.check_same(order, status)
        return jobs

    # Sessions ---------------------------------------------------------------------------------------

    @property
    def sessions(self) -> Sessions[Any]:
        """The sessions of this room.

        Raises:
            InvalidInput: when it keeps none.
            RoomNotOpen: when it has not been opened.
        """
        sessions = self._wired().sessions
        if sessions is None:
            raise InvalidInput("sessions", "the room keeps no sessions", _NO_SESSIONS)
        return sessions

    @property
    def presence(self) -> Presence:
        """Who is here: active sessions, and listeners of each content.

        Raises:
            As `sessions`.
        """
        presence = self._wired().presence
        if presence is None:
            raise InvalidInput("sessions", "the room keeps no sessions", _NO_SESSIONS)
        return presence

    # Its servers --------------------------------------------------------------------------------------

    @property
    def engine(self) -> Engine:
        """The engine of the caches."""
        return self._wired().backing.engine

    @property
    def unavailable(self) -> EngineError | None:
        """Why the caches or sessions cannot use their server at the moment; None while all is well.

        It says which of the two, and the address of the server or node, never with its password.
        """
        self.opened.check_open()
        return self._wired().unavailable

    async def health(self) -> RoomHealth:
        """Ask each server whether it answers, within the time of a command; see `RoomHealth`."""
        self.opened.check()
        return await self._wired().health()

    # ------------------------------------------------------------------------------------------------

    def _wired(self) -> Wiring:
        # Of a room that was closed its parts say so themselves, operation by operation.
        if self._wiring is None:
            self.opened.check_open()
        assert self._wiring is not None
        return self._wiring

    def _session_settings(self) -> SessionSettings | None:
        if self._sessions is not True:
            return self._sessions or None
        from greenroom.sessions import SessionSettings  # not with the package: who has caches only does without

        return SessionSettings()


def _check(*, sessions: object, replica_reads: object, data_dir: object, clock: object, counters: object) -> None:
    """Refuse arguments of another type by their names; addresses and prefix are looked at where they are read."""
    if not isinstance(sessions, bool):
        from greenroom.sessions import SessionSettings  # as below

        _check_type("sessions", sessions, SessionSettings, "use True, False or SessionSettings(…)")
    _check_type("replica_reads", replica_reads, bool, "use True or False")
    _check_type("data_dir", data_dir, str | Path | None, "name a directory, or leave it out")
    _check_type("counters", counters, Counters | None, "give Counters(), or leave it out")
    missing = [name for name in _CLOCK if not callable(getattr(clock, name, None))]
    if missing:
        remedy = "give an object with the methods of greenroom.clock.Clock, or leave it out"
        raise InvalidInput("clock", f"is {clock!r:.80}, which has no {', '.join(missing)}", remedy)


def _check_type(name: str, value: object, kind: Any, remedy: str) -> None:
    if not isinstance(value, kind):
        raise InvalidInput(name, f"is {value!r:.80}", remedy)
