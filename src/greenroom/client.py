"""`Greenroom`: opens and closes the caches and sessions of one process, on one server together or on two."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import partial
from inspect import iscoroutinefunction
from pathlib import Path
from types import TracebackType
from typing import Any

from greenroom import lazy
from greenroom.argument_types import function, instance, span, type_name
from greenroom.clock import SYSTEM, Clock
from greenroom.counters import Counters
from greenroom.detached import to_the_end
from greenroom.engine import EMBEDDED, Engine
from greenroom.errors import EngineError, InvalidInput
from greenroom.lifecycle import Lifecycle, Opening
from greenroom.observe import Event
from greenroom.opened import Opened
from greenroom.room_caches import RoomCaches
from greenroom.wiring import RoomHealth, RoomState, Wiring

_READY_WITHIN = timedelta(seconds=30)
_CLOCK = ("monotonic", "now", "random", "token")
_NO_SESSIONS = "make it with sessions=SessionSettings(…)"


class Greenroom(RoomCaches):
    """The hot-data tier of one process: `async with Greenroom("valkey://cache.internal:6379") as room`.

    It connects to nothing before its block is entered, so that it may be made at module level and caches be declared
    there. When its block has been left it may be opened again, also in another event loop; while it is open it belongs
    to one event loop and one process.

    Arguments:
        address: the server of the caches, as `valkey://host:6379`; without it, or as `embedded`, a Valkey is started,
            or joined, in the data directory.
        session_address: the server of the sessions, likewise; by default that of the caches.
        sessions: the data of sessions; True for the default, False for a process that uses no sessions: it needs no
        server for them, and expects nothing of the caches' server.
        replica_reads: whether cached values are read at the replicas of a cluster: its primaries have less to do, and a
        change made elsewhere may be seen 0.75 s later. Sessions, and keys that this process has just changed, are read
        at primaries.
        data_dir: where the embedded server keeps its files. Without it the embedded server has a temporary one.
        prefix: put before every key.
        clock: where time and randomness come from.
        counters: where everything is counted.
        on_event: called with each `greenroom.observe.Event`: a load has ended, something went wrong in a cache, a
            connection was made or lost. It runs in the event loop, which waits for it, and must not block; what it
            raises is logged once and changes nothing. Never called for reads that are answered from the cache.

    Raises:
        InvalidInput: for an argument of another type; when it is opened, for an invalid argument, and while it is open
        already.
        MissingExtra: when it is opened, if the embedded server is not installed. A server that cannot be reached is no
            error.
    """

    def __init__(
        self,
        address: str | None = None,
        *,
        session_address: str | None = None,
        sessions: lazy.SessionSettings | bool = True,
        replica_reads: bool = False,
        data_dir: str | Path | None = None,
        prefix: str = "",
        clock: Clock = SYSTEM,
        counters: Counters | None = None,
        on_event: Callable[[Event], object] | None = None,
    ) -> None:
        _check(sessions=sessions, replica_reads=replica_reads, data_dir=data_dir, clock=clock, counters=counters)
        _check_hook(on_event)
        super().__init__(sessions, prefix)
        # An empty text is refused when the room opens. Prevents: a variable of the environment is set and empty ·
        # production keeps its sessions in an embedded server.
        self._address = EMBEDDED if address is None else address
        self._session_address = self._address if session_address is None else session_address
        self._replica_reads = replica_reads
        self._directory = None if data_dir is None else Path(data_dir)
        self.clock = clock
        """Where time and randomness come from."""
        self.counters = counters if counters is not None else Counters()
        """Where everything is counted."""
        if on_event is not None:
            self.counters.events.add(on_event)
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
        await self._close_caches()
        await wiring.close()

    # Sessions ---------------------------------------------------------------------------------------

    @property
    def sessions(self) -> lazy.Sessions[Any]:
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
    def presence(self) -> lazy.Presence:
        """Presence: active sessions, and listeners of each content.

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
    def engines(self) -> Mapping[str, Engine]:
        """The engines by what is kept on them, as "caches and sessions"."""
        return self._wired().engines()

    @property
    def unavailable(self) -> EngineError | None:
        """Why the caches or sessions cannot use their server at the moment; None while all is well.

        It says which of the two, and the address of the server or node, never with its password.
        """
        self.opened.check_open()
        return self._wired().unavailable

    async def ready(self, timeout: timedelta = _READY_WITHIN) -> None:
        """Wait until every server of the room can be used: for a deployment that must not begin without them.

        A room opens without its servers: that is right in an outage and hides a wrong password. When this returns, the
        server of the caches has answered on both its connections, and so has that of the sessions where they have their
        own; of a cluster every slot has an owner that is connected. Each connection is logged in, has loaded the
        scripts and sent what was kept for it, and leads to no replica. It proves nothing of a moment later, and no
        permission that was not needed until then.

        Arguments:
            timeout: how long that may take.

        Raises:
            EngineUnavailable: when a server could not be used in time; it says which, what it holds, and why.
            EngineRefused: likewise and at once, when a server refuses the room for good, as for a wrong password.
            InvalidInput: for a time that is none.
            RoomClosed, RoomNotOpen, RoomElsewhere: when the room is not open here, or is closed meanwhile.
        """
        span("timeout", timeout, timedelta(milliseconds=1), "use a timedelta of a millisecond or more")
        self.opened.check()
        await self._wired().ready(timeout.total_seconds(), self.opened.check)

    def state(self) -> RoomState:
        """What the room holds at the moment, and which of its servers can be used; asks nobody, from any thread.

        Raises:
            RoomClosed, RoomNotOpen: when the room is not open.
        """
        self.opened.check_open()
        return self._wired().state()

    async def health(self) -> RoomHealth:
        """Ask each server whether it answers, within the time of a command; see `RoomHealth`."""
        self.opened.check()
        return await self._wired().health()


def _check_hook(on_event: object) -> None:
    if on_event is None:
        return
    remedy = "give a plain function of one argument, which starts a task where it must wait"
    function("on_event", on_event, remedy)
    if iscoroutinefunction(on_event) or iscoroutinefunction(getattr(on_event, "__call__", None)):  # noqa: B004
        raise InvalidInput("on_event", "is async, and nobody would await it", remedy)


def _check(*, sessions: object, replica_reads: object, data_dir: object, clock: object, counters: object) -> None:
    """Refuse arguments of another type by their names; addresses and prefix are looked at where they are read."""
    if not isinstance(sessions, bool):
        from greenroom.sessions import SessionSettings  # as below

        instance("sessions", sessions, SessionSettings, "use True, False or SessionSettings(…)")
    instance("replica_reads", replica_reads, bool, "use True or False")
    instance("data_dir", data_dir, str | Path | None, "name a directory, or leave it out")
    instance("counters", counters, Counters | None, "give Counters(), or leave it out")
    missing = [name for name in _CLOCK if not callable(getattr(clock, name, None))]
    if missing:
        remedy = "give an object with the methods of greenroom.clock.Clock, or leave it out"
        raise InvalidInput("clock", f"is {type_name(clock)}, which has no {', '.join(missing)}", remedy)
