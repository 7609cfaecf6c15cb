"""`Greenroom` for threads: the asynchronous room in the one event loop of the process, opened at the first call."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from contextvars import copy_context
from datetime import timedelta
from functools import partial
from inspect import isasyncgenfunction, isgeneratorfunction
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import RLock
from types import TracebackType
from typing import Any, ParamSpec, Protocol, TypeVar, Unpack, cast

from greenroom import client
from greenroom.argument_types import function, instance
from greenroom.cached import check_parameters
from greenroom.caching.changing import drop_after, drop_each
from greenroom.caching.declaration_checks import is_async
from greenroom.caching.invalidation import Backing
from greenroom.caching.loader import Loader, PlainLoader
from greenroom.caching.options import NEAR_FOR, CacheOptions, check_names
from greenroom.caching.result import Loaded
from greenroom.caching.threads import LoaderThreads
from greenroom.clock import SYSTEM, Clock
from greenroom.declarations import Declarations
from greenroom.errors import EngineError, InvalidInput, RoomClosed
from greenroom.keyspace import Keyspace
from greenroom.observe import Counters, Event
from greenroom.progress import Order
from greenroom.progress.jobs import Jobs as AsyncJobs
from greenroom.sessions import SessionSettings
from greenroom.sync import process
from greenroom.sync.cached import CachedFunction
from greenroom.sync.caches import Cache, DropTarget
from greenroom.sync.called_drops import CalledDrop, CalledDrops
from greenroom.sync.loaders import LoaderHooks, PlainLoad, WaitingThreads
from greenroom.sync.portal import Portal, PortalCall, refuse_running_loop
from greenroom.sync.progress import Jobs
from greenroom.sync.rate_limits import RateLimit
from greenroom.sync.sessions import Presence, Sessions
from greenroom.sync.stores import Store
from greenroom.wiring import RoomHealth, RoomState

log = logging.getLogger("greenroom.sync")

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

_READY_WITHIN = timedelta(seconds=30)
_COUNTED_WITHIN = 1.0
"""Seconds that whoever reads the counters waits for the loop; what is not added by then is at the next look."""


class AsyncRoom(client.Greenroom):
    """The asynchronous room of a synchronous one."""

    @property
    def backing(self) -> Backing:
        """What its caches stand on."""
        return self._wired().backing


class RoomPart(Protocol):
    """What is declared in a room, for its threads."""

    asynchronous: Any
    """The same for coroutines of the room's own event loop."""

    def bind(self, backing: Backing, called: CalledDrops) -> None:
        """The room is open."""

    def unbind(self) -> None:
        """It is not."""

    def forked(self) -> object:
        """In a forked child; returns what is the parent's."""

    def declare_again(self) -> None:
        """It has another asynchronous room."""

    def take_hits(self) -> tuple[tuple[str, str], int]:
        """The near hits since this was last asked, and what they are counted under."""


class Greenroom:
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
        self._counters = counters if counters is not None else Counters()
        self._make = partial(
            AsyncRoom,
            address,
            session_address=session_address,
            sessions=sessions,
            replica_reads=replica_reads,
            data_dir=data_dir,
            prefix=prefix,
            clock=clock,
            counters=self._counters,
        )
        self.hooks = _checked_hooks(in_transaction, around_load, after_background_load)
        """What a framework has to say about loaders."""
        self.in_transaction = in_transaction if in_transaction is not None else _never
        """Whether this thread is inside an open transaction of the database."""
        self.context = copy_context()
        """That in which the room was made: loaders run in copies of it, never in their first caller's."""
        self.room = self._make(on_event=on_event)
        """The asynchronous room, for coroutines of the room's own event loop."""
        self.prefix = self.room.prefix
        """Stands before every key."""
        self._lock = RLock()
        self._parts: list[RoomPart] = []
        self._portal: Portal | None = None
        self._begun: Portal | None = None
        """Where it was begun to be opened, perhaps by a thread that was interrupted."""
        self._opening: asyncio.Task[Any] | None = None
        self._closed = False
        self._inherited = False
        """Whether the asynchronous room is the parent's."""
        self._called = CalledDrops()
        self._threads = LoaderThreads()
        self.sessions: Sessions[Any] = Sessions(self)
        """The sessions of the room; each call raises `InvalidInput` where it keeps none."""
        self.presence = Presence(self)
        """Who is here: active sessions, and listeners of each content."""
        process.register(self)

    # Opening and closing ------------------------------------------------------------------------------

    def open(self) -> None:
        """Open the room now, and not at the first call; also anew, after `close`.

        Raises:
            RoomElsewhere: in a thread where an event loop runs, and under the patches of gevent or eventlet.
            MissingExtra: if the embedded server is not installed. A server that cannot be reached is no error.
        """
        refuse_running_loop()  # or the room would open itself later, which was closed
        with self._lock:
            self._closed = False
            self._opened()

    def close(self) -> None:
        """Close the room: what is called later raises `RoomClosed`, until it is opened again by `open` or `with`.

        Raises:
            RoomElsewhere: in a thread where an event loop runs, of a room that was opened. It stays open.
        """
        if self._begun is not None:
            refuse_running_loop()
        with self._lock:
            self._closed = True
            portal, self._portal = self._begun, None
            if portal is None:
                return
            self._unbind()
            portal.run(self._close_once)
            self._threads.close()
            # Last. Prevents: a thread is interrupted in closing · the room is open all the same, and nobody knows.
            self._begun = None

    def __enter__(self) -> Greenroom:
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

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

    # Drops ------------------------------------------------------------------------------------------

    @contextmanager
    def changing(self, *stale: DropTarget) -> Iterator[None]:
        """Around a change of the record: drops what it makes stale before and after.

        `with room.changing(episode.of("s1", 7), episode.group("s1")): ...`. It never raises for the server, which may
        be away: what could not be dropped is kept, and sent before this process reads again. The drop afterwards is
        made on every way out of the block.

        Arguments:
            stale: what `of` and `group` of caches return.

        Raises:
            InvalidInput: for what `of` and `group` have not returned; nothing is dropped.
            RoomClosed: before the block is entered.
        """
        for one in stale:
            if not isinstance(one, DropTarget):
                raise InvalidInput("stale", f"{one!r:.80} is nothing to drop", "give episode.of(…) or episode.group(…)")
        keys = [one.key for one in stale if one.key is not None]
        targets, wide = [one.target for one in stale], len(keys) < len(stale)
        self.drop(CalledDrop(keys, wide=wide), lambda: drop_each(targets))
        try:
            yield
        finally:
            try:
                self.drop(CalledDrop(keys, wide=wide), lambda: drop_after(targets))
            except RoomClosed:
                log.exception("what a change made stale was not dropped")

    def drop_keyspace(self, keyspace: Keyspace[Any]) -> None:
        """Drop every value of a keyspace, whichever process has stored it; see `greenroom.Greenroom.drop_keyspace`."""
        self.drop(CalledDrop(wide=True), lambda: self.room.drop_keyspace(keyspace))

    def delete_keyspace(self, keyspace: Keyspace[Any], *, viewer: str | None = None) -> int:
        """Delete what is stored of a keyspace; see `greenroom.Greenroom.delete_keyspace`."""
        return self.drop(CalledDrop(wide=True), lambda: self.room.delete_keyspace(keyspace, viewer=viewer))

    def forget_near(self) -> None:
        """Drop every value that this process holds; the next reads ask the server."""

        async def forget() -> None:
            self.room.forget_near()

        self.drop(CalledDrop(wide=True), forget)

    # How it is --------------------------------------------------------------------------------------

    @property
    def counters(self) -> Counters:
        """Where everything is counted; near hits are added when this is asked for, by whatever thread."""
        added = SimpleQueue[None]()

        def add() -> None:
            for part in tuple(self._parts):
                counted, number = part.take_hits()
                self._counters.reads[counted] += number
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

    # For its parts ----------------------------------------------------------------------------------

    def run(self, make: Callable[[PortalCall], Coroutine[Any, Any, R]]) -> R:
        """Run a coroutine of the asynchronous room in its loop; opens the room where that is due."""
        return (self._portal or self._opened()).run(make)

    def run_loaded(self, loaded: Awaitable[R]) -> R:
        """What a plain loader has returned that is to be awaited; in the context in which the room was made."""

        async def awaited(_: PortalCall) -> R:
            return await loaded

        return (self._portal or self._opened()).run(awaited, context=self.context.copy())

    def post(self, make: Callable[[], object]) -> None:
        """Have something done in the loop, where the room is open; waits for nobody."""
        if self._portal is not None:
            self._portal.post(make)

    def drop(self, drop: CalledDrop, make: Callable[[], Coroutine[Any, Any, R]]) -> R:
        """As `run`, of what drops or replaces something: from now on no near hit is given of it."""
        portal = self._portal or self._opened()
        called = self._called

        async def dropped(_: PortalCall) -> R:
            try:
                return await make()
            finally:
                called.end(drop)

        return portal.run(dropped, begin=lambda: called.begin(drop))

    async def awaited(self, make: Callable[[], Coroutine[Any, Any, R]]) -> R:
        """As `run`, for a coroutine of another event loop, which goes on meanwhile.

        What was begun goes on when its caller is cancelled.
        """
        portal = self._portal
        if portal is None:
            portal = await asyncio.to_thread(self._opened)
        return await portal.awaited(make)

    def close_at_exit(self, seconds: float) -> None:
        """Close the room at the end of the process, within so many seconds."""
        if not self._lock.acquire(timeout=seconds):
            return  # a thread is opening it, or hangs
        try:
            portal, self._begun, self._portal = self._begun, None, None
            if portal is not None:
                self._unbind()
                portal.run(lambda _: self.room.close(), seconds=seconds)
        except TimeoutError:
            log.debug("a room was not closed within %s s, and ends with its process", seconds)
        finally:
            self._lock.release()

    def forked(self) -> object:
        """In a forked child: begin anew; returns what belongs to the parent and must be left alone."""
        parts = [part.forked() for part in self._parts]
        inherited = self.room, self._threads, self._called, self._opening, parts
        self._lock = RLock()
        self._portal = self._begun = None
        self._opening = None
        self._called = CalledDrops()
        self._threads = LoaderThreads()
        self._inherited = True
        self._counters.begin_anew()
        return inherited

    # ------------------------------------------------------------------------------------------------

    def _opened(self) -> Portal:
        refuse_running_loop()  # before the lock: its holder may wait for this loop
        with self._lock:
            if self._portal is not None:
                return self._portal
            if self._closed:
                raise RoomClosed("the room was closed: open it again by `with room:` or `room.open()`")
            portal = process.portal()
            self._declare_again()
            self._begun = portal
            portal.run(self._open_once)
            self._called = CalledDrops()
            for part in self._parts:
                part.bind(self.room.backing, self._called)
            self._portal = portal
            return portal

    async def _open_once(self, _: PortalCall) -> None:
        """Open it, or go on with an opening whose thread was interrupted."""
        opening = self._opening
        if opening is None or (opening.done() and (opening.cancelled() or opening.exception() is not None)):
            open_room = self.room.__aenter__()
            opening = asyncio.get_running_loop().create_task(open_room, context=self.context.copy())
            self._opening = opening
        await asyncio.shield(opening)

    async def _close_once(self, _: PortalCall) -> None:
        self._opening = None
        await self.room.close()

    def _unbind(self) -> None:
        for part in self._parts:
            part.unbind()

    def _declare_again(self) -> None:
        if self._inherited:
            self._inherited = False
            self.room = self._make()
            for part in self._parts:
                part.declare_again()

    def _declare(self, declare: Callable[[], R]) -> R:
        """Declare something in the asynchronous room: in its loop while it is open."""
        with self._lock:
            self._declare_again()
            portal = self._portal
            if portal is None:
                return declare()

            async def declared(_: PortalCall) -> R:
                return declare()

            return portal.run(declared)

    def _part(self, declared: object, make: Callable[[], Any]) -> Any:
        """What stands for something that is declared: what there is, or else a new one."""
        for part in self._parts:
            if part.asynchronous is declared:
                return part
        made = make()
        self._parts.append(made)
        if self._portal is not None:
            made.bind(self.room.backing, self._called)
        return made

    def _loader(self, keyspace: Keyspace[Any], load: Any, waiting: WaitingThreads, *, many: bool = False) -> Any:
        """A loader as the asynchronous room takes it; it refuses those that can never be called."""
        refused = not callable(load) or isgeneratorfunction(load) or isasyncgenfunction(load)
        if refused or is_async(load):
            return load
        return PlainLoad(load, keyspace.prefixed(self.prefix), self, waiting, many=many)

    @property
    def threads(self) -> LoaderThreads:
        """Those of loads that no thread waits for."""
        return self._threads


def _never() -> bool:
    return False


def _checked_hooks(in_transaction: object, around_load: Any, after_background_load: Any) -> LoaderHooks:
    for name, hook in (("in_transaction", in_transaction), ("after_background_load", after_background_load)):
        if hook is not None:
            function(name, hook, "give a plain function without arguments, or leave it out")
    function("around_load", around_load, "give a function that returns a context manager, or leave it out")
    return LoaderHooks(around_load, after_background_load)
