"""`Greenroom` for threads: what is declared in a room, and how it is, without `await`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from datetime import timedelta
from functools import partial
from inspect import isasyncgenfunction, isgeneratorfunction
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, ParamSpec, TypeVar, Unpack, cast

from greenroom.argument_types import function, instance
from greenroom.cached import check_parameters
from greenroom.caching.declaration_checks import is_async
from greenroom.caching.loader import Loader, PlainLoader
from greenroom.caching.options import NEAR_FOR, CacheOptions, check_names
from greenroom.caching.result import Loaded
from greenroom.clock import SYSTEM, Clock
from greenroom.counters import Counters
from greenroom.declarations import Declarations
from greenroom.errors import EngineError
from greenroom.keyspace import Keyspace
from greenroom.observe import Event
from greenroom.progress import Order
from greenroom.progress.jobs import Jobs as AsyncJobs
from greenroom.sessions import SessionSettings
from greenroom.sync import process
from greenroom.sync.cached import CachedFunction
from greenroom.sync.caches import Cache
from greenroom.sync.loaders import LoaderHooks, PlainLoad, WaitingThreads
from greenroom.sync.progress import Jobs
from greenroom.sync.rate_limits import RateLimit
from greenroom.sync.room_dropping import RoomDropping
from greenroom.sync.room_opening import AsyncRoom
from greenroom.sync.sessions import Presence, Sessions
from greenroom.sync.stores import Store
from greenroom.wiring import RoomHealth, RoomState

P = ParamSpec("P")
T = TypeVar("T")

_READY_WITHIN = timedelta(seconds=30)
_COUNTED_WITHIN = 1.0
"""Seconds that whoever reads the counters waits for the loop; what is not added by then is at the next look."""


class Greenroom(RoomDropping):
    """The hot-data tier of one process, for any of its threads: `room = Greenroom("valkey://cache.internal:6379")`.

    It may be made at module level. It opens itself at the first call, and is closed at the end of the process; `with
    room:` opens and closes it at once. A process that is forked from this one, before or after that, opens its own.

    What it has is what `greenroom.Greenroom` has, without `await`. A thread in which an event loop runs is refused.

    Arguments:
        address, session_address, sessions, replica_reads, data_dir, prefix, clock, counters, on_event: as of
            `greenroom.Greenroom`. `on_event` runs in the room's own thread.
        in_transaction: whether the calling thread is inside an open transaction of the database. What a loader reads
            there is given to its caller alone, and not stored.
        around_load: makes the context of each call of a loader that is not async, as Flask's `app.app_context`.
        after_background_load: called in the thread of a load that no thread has waited for, as a refresh behind, when
            it has ended: for what the thread shall not keep, as connections.

    Raises:
        InvalidInput: for an argument of another type.
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
        on_event: Callable[[Event], object] | None = None,
        in_transaction: Callable[[], bool] | None = None,
        around_load: Callable[[], AbstractContextManager[object]] = nullcontext,
        after_background_load: Callable[[], object] | None = None,
    ) -> None:
        counters = counters if counters is not None else Counters()
        self.hooks = _checked_hooks(in_transaction, around_load, after_background_load)
        """What a framework has to say about loaders."""
        self.in_transaction = in_transaction if in_transaction is not None else _never
        """Whether this thread is inside an open transaction of the database."""
        make = partial(
            AsyncRoom,
            address,
            session_address=session_address,
            sessions=sessions,
            replica_reads=replica_reads,
            data_dir=data_dir,
            prefix=prefix,
            clock=clock,
            counters=counters,
        )
        super().__init__(make, make(on_event=on_event), counters)
        self.keeps_sessions = sessions is not False
        """Whether it was made with sessions."""
        self.prefix = self.room.prefix
        """Stands before every key."""
        self.sessions: Sessions[Any] = Sessions(self)
        """The sessions of the room; each call raises `InvalidInput` where it keeps none."""
        self.presence = Presence(self)
        """Presence: active sessions, and listeners of each content."""
        process.register(self)

    # Declarations -----------------------------------------------------------------------------------

    def cache(
        self,
        keyspace: Keyspace[T],
        *,
        load: Loader[T] | PlainLoader[T],
        **options: Unpack[CacheOptions[T]],
    ) -> Cache[T]:
        """A read-through cache over a keyspace; arguments and errors are those of `greenroom.Greenroom.cache`.

        A loader that is not async runs in the thread that missed. One that is runs in the room's event loop.
        """
        instance("keyspace", keyspace, Keyspace, "give a Keyspace('episode:{id}', Episode, ttl=…)")
        waiting = WaitingThreads()
        loader = self._loader(keyspace, load, waiting)
        if options.get("load_many") is not None:
            options["load_many"] = self._loader(keyspace, options["load_many"], waiting, many=True)

        def declare() -> Any:
            return self._declare(lambda: self.room.cache(keyspace, load=loader, **options))

        with self._lock:
            declared = declare()
            plain = loader if isinstance(loader, PlainLoad) else None
            made: Cache[T] = self._part(declared, lambda: Cache(self, declare, plain, waiting))
            return made

    def cached(
        self,
        keyspace: Keyspace[T],
        **options: Unpack[CacheOptions[T]],
    ) -> Callable[[Callable[P, Awaitable[T | Loaded[T] | None] | T | Loaded[T] | None]], CachedFunction[P, T]]:
        """`cache` as a decorator of the loader: the function is called as before, and its results are cached.

        Its parameters are the parts of the key, in their order. It is called without `await`, also where it is async.

        Raises:
            InvalidInput: as `cache`, and for a function with other parameters.
        """

        check_names(options)

        def decorate(load: Callable[P, Awaitable[T | Loaded[T] | None] | T | Loaded[T] | None]) -> CachedFunction[P, T]:
            check_parameters(keyspace, load)
            return CachedFunction(self.cache(keyspace, load=cast("Loader[T]", load), **options), load)

        return decorate

    def store(self, keyspace: Keyspace[T], *, near_for: timedelta = NEAR_FOR) -> Store[T]:
        """Values of a keyspace that the program writes itself; see `greenroom.Greenroom.store`."""

        def declare() -> Any:
            return self._declare(lambda: self.room.store(keyspace, near_for=near_for))

        with self._lock:
            made: Store[T] = self._part(declare(), lambda: Store(self, declare))
            return made

    def progress(
        self,
        keyspace: Keyspace[T],
        *,
        load: Loader[T] | PlainLoader[T],
        order: Order,
        status: Callable[[T], str] | None = None,
    ) -> Jobs[T]:
        """How far jobs are: each status is read through a cache, and followed to its end.

        Arguments and errors are those of `greenroom.Greenroom.progress`.
        """
        cache = self.cache(keyspace, load=load)
        loader = self._loader(keyspace, load, WaitingThreads())  # the same: the cache has it already

        def declare() -> AsyncJobs[T]:
            return self.room.progress(keyspace, load=loader, order=order, status=status)

        self._declare(declare)
        return Jobs(self, cache, declare)

    def rate_limit(self, kind: str, limit: int, *, per: timedelta) -> RateLimit:
        """How often something may be done under one name; see `greenroom.Greenroom.rate_limit`."""
        declared = self._declare(lambda: self.room.rate_limit(kind, limit, per=per))
        return RateLimit(self, kind, declared.bound)

    # How it is --------------------------------------------------------------------------------------

    @property
    def counters(self) -> Counters:
        """Where everything is counted; near hits are added when this is asked for, by whatever thread."""
        added = SimpleQueue[None]()

        def add() -> None:
            for part in tuple(self._parts):
                for counted, number in part.take_hits():
                    self._counters.reads[counted] += number
            for calls in {self._direct, self.session_calls}:
                if calls is not None:
                    calls.count()
            added.put(None)

        portal = self._portal
        # In the loop, which counts too: two threads that add to one number lose counts.
        if portal is None or portal.is_own_thread or not portal.post(add):
            add()
        with suppress(Empty):
            added.get(timeout=_COUNTED_WITHIN)
        return self._counters

    def ready(self, timeout: timedelta = _READY_WITHIN) -> None:
        """Wait until every server of the room can be used; see `greenroom.Greenroom.ready`."""
        self.run(lambda _: self.room.ready(timeout))

    def health(self) -> RoomHealth:
        """Ask each server whether it answers, within the time of a command."""
        return self.run(lambda _: self.room.health())

    def state(self) -> RoomState:
        """What the room holds at the moment, and which of its servers can be used; asks nobody, and opens nothing.

        Raises:
            RoomClosed, RoomNotOpen: when the room is not open.
        """
        return self.room.state()

    @property
    def unavailable(self) -> EngineError | None:
        """Why the caches or sessions cannot use their server at the moment; None while all is well.

        Raises:
            RoomClosed, RoomNotOpen: when the room is not open.
        """
        return self.room.unavailable

    @property
    def declarations(self) -> Declarations:
        """What is declared here so far, for `greenroom definitions` and `greenroom acl`; opens nothing."""
        return self.room.declarations

    def _loader(self, keyspace: Keyspace[Any], load: Any, waiting: WaitingThreads, *, many: bool = False) -> Any:
        """A loader as the asynchronous room takes it; it refuses those that can never be called."""
        refused = not callable(load) or isgeneratorfunction(load) or isasyncgenfunction(load)
        if refused or is_async(load):
            return load
        return PlainLoad(load, keyspace.prefixed(self.prefix), self, waiting, many=many)


def _never() -> bool:
    return False


def _checked_hooks(in_transaction: object, around_load: Any, after_background_load: Any) -> LoaderHooks:
    for name, hook in (("in_transaction", in_transaction), ("after_background_load", after_background_load)):
        if hook is not None:
            function(name, hook, "give a plain function without arguments, or leave it out")
    function("around_load", around_load, "give a function that returns a context manager, or leave it out")
    return LoaderHooks(around_load, after_background_load)
