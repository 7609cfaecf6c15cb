"""How a room of threads opens itself, is closed, begins anew in a forked child, and how a call gets into its loop."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from contextvars import copy_context
from threading import RLock
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

from greenroom import client
from greenroom.caching.invalidation import Backing
from greenroom.caching.threads import LoaderThreads
from greenroom.counters import Counters
from greenroom.engine import Engine
from greenroom.errors import RoomClosed
from greenroom.sync import process
from greenroom.sync.called_drops import CalledDrops
from greenroom.sync.direct_calls import DirectCalls
from greenroom.sync.portal import Portal
from greenroom.sync.portal_call import PortalCall, refuse_running_loop

log = logging.getLogger("greenroom.sync")

R = TypeVar("R")


class AsyncRoom(client.Greenroom):
    """The asynchronous room of a synchronous one."""

    @property
    def backing(self) -> Backing:
        """What its caches stand on."""
        return self._wired().backing

    @property
    def session_engine(self) -> Engine | None:
        """That of its sessions, where it keeps any."""
        sessions = self._wired().sessions
        return None if sessions is None else sessions.engine


class RoomPart(Protocol):
    """What is declared in a room, for its threads."""

    asynchronous: Any
    """The same for coroutines of the room's own event loop."""

    def bind(self, backing: Backing, called: CalledDrops, direct: DirectCalls | None) -> None:
        """The room is open."""

    def unbind(self) -> None:
        """It is not."""

    def forked(self) -> object:
        """In a forked child; returns what is the parent's."""

    def declare_again(self) -> None:
        """It has another asynchronous room."""

    def take_hits(self) -> Iterable[tuple[tuple[str, str], int]]:
        """The hits that threads had by themselves since this was last asked, and what they are counted under."""


class RoomOpening:
    """A room that opens itself at the first call, in the one event loop of the process.

    Arguments:
        make: makes the asynchronous room, at first and in each forked child.
        room: the first of them.
        counters: its own.
    """

    def __init__(self, make: Callable[[], AsyncRoom], room: AsyncRoom, counters: Counters) -> None:
        self._make = make
        self.room = room
        """The asynchronous room, for coroutines of the room's own event loop."""
        self._counters = counters
        self.context = copy_context()
        """That in which the room was made: loaders run in copies of it, never in their first caller's."""
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
        self._direct: DirectCalls | None = None
        self.session_calls: DirectCalls | None = None
        """Ask the server of the sessions; None while the room is not open, and where that cannot be done."""
        self._threads = LoaderThreads()

    @property
    def threads(self) -> LoaderThreads:
        """Those of loads that no thread waits for."""
        return self._threads

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
            # Last. Prevents: a thread is interrupted in closing · the room is open all the same, and nobody knows.
            self._begun = None

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # For its parts ----------------------------------------------------------------------------------

    def run(
        self,
        make: Callable[[PortalCall], Coroutine[Any, Any, R]],
        quick: Callable[[PortalCall], bool] | None = None,
    ) -> R:
        """Run a coroutine of the asynchronous room in its loop; opens the room where that is due.

        Arguments:
            quick: see `PortalCall`.
        """
        return (self._portal or self._opened()).run(make, quick=quick)

    def run_loaded(self, loaded: Awaitable[R]) -> R:
        """What a plain loader has returned that is to be awaited; in the context in which the room was made."""

        async def awaited(_: PortalCall) -> R:
            return await loaded

        return (self._portal or self._opened()).run(awaited, context=self.context.copy())

    def post(self, make: Callable[[], object]) -> None:
        """Have something done in the loop, where the room is open; waits for nobody."""
        portal = self._portal
        if portal is not None:
            portal.post(make)

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
        inherited = self.room, self._threads, self._called, self._direct, self.session_calls, self._opening, parts
        self._lock = RLock()
        self._portal = self._begun = None
        self._opening = None
        self._called = CalledDrops()
        self._direct = self.session_calls = None
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
            self._direct = self._calls(self.room.backing.engine, portal)
            self.session_calls = self._direct
            if (sessions := self.room.session_engine) is not None and sessions is not self.room.backing.engine:
                self.session_calls = self._calls(sessions, portal)
            for part in self._parts:
                part.bind(self.room.backing, self._called, self._direct)
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
        self._threads.close()

    @staticmethod
    def _calls(engine: Engine, portal: Portal) -> DirectCalls | None:
        return None if engine.direct is None else DirectCalls(engine.direct, portal, engine.call_budget)

    def _unbind(self) -> None:
        self._direct = self.session_calls = None
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
            made.bind(self.room.backing, self._called, self._direct)
        return made
