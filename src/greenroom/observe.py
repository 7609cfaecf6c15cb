"""Events of a room, and the hooks that are called with them.

A near hit costs less than a microsecond, so no hook is told of it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import NamedTuple, Protocol

log = logging.getLogger("greenroom.observe")


@dataclass(frozen=True, slots=True)
class Event:
    """Base class of what `on_event` is called with: something has happened in a room."""


@dataclass(frozen=True, slots=True)
class LoadEnded(Event):
    """A loader has ended.

    Arguments:
        keyspace: the name of the cache's keyspace.
        keys: the loaded keys: one, or those of one call of `load_many`.
        seconds: how long it took.
        error: what it raised, or the `LoadTimeout` that ended it; None where it returned.
    """

    keyspace: str
    keys: tuple[str, ...]
    seconds: float
    error: BaseException | None


@dataclass(frozen=True, slots=True)
class CacheTrouble(Event):
    """Something went wrong in a cache; its caller may still have got an answer.

    Arguments:
        keyspace: the name of the cache's keyspace.
        kind: one of `greenroom.counters.CACHE_ERRORS`.
        key: which key, where it is one.
    """

    keyspace: str
    kind: str
    key: str | None


@dataclass(frozen=True, slots=True)
class ServerConnected(Event):
    """A connection to a server serves.

    Arguments:
        node: the server's address, without a password.
        channel: `tracked` carries cached values, `plain` everything else.
    """

    node: str
    channel: str


@dataclass(frozen=True, slots=True)
class ServerLost(Event):
    """A connection that served has ended; another is being made.

    Arguments: as `ServerConnected`.
        reason: why it ended.
    """

    node: str
    channel: str
    reason: str


class EngineBatch(NamedTuple):
    """Commands of one write that were answered, or lost with their connection.

    Arguments:
        node: the address that the server goes by, without a password.
        host: of the server itself; the path of a unix socket.
        port: of the server itself; None for a unix socket.
        commands: their names, in order.
        began: when they were written, in nanoseconds since 1970.
        seconds: from the write to the last reply.
        error: why the connection ended before that; None where all were answered.
    """

    node: str
    host: str
    port: int | None
    commands: Sequence[str]
    began: int
    seconds: float
    error: str | None


class Instrument(Protocol):
    """Traces a room: more than a hook, since it wraps a loader's call. See `EventHooks.instrument`."""

    def load(self, keyspace: str, keys: Sequence[str]) -> AbstractContextManager[object]:
        """The context of a loader's call; an exception passes through it, but for one that the cache `passes`."""

    def batch(self, batch: EngineBatch) -> None:
        """A batch was answered; in the socket's reader, which waits for this to return."""


EventHook = Callable[[Event], object]
"""A hook; its result is ignored."""


class EventHooks:
    """The hooks of a room.

    An exception of a hook is logged, once for each hook, and goes no further: a hook that fails must not end a
    connection or a load.
    """

    __slots__ = ("_hooks", "_logged", "failures", "instruments")

    def __init__(self) -> None:
        self._hooks: tuple[EventHook, ...] = ()
        self._logged: set[int] = set()
        self.failures = 0
        """Exceptions of hooks and instruments."""
        self.instruments: tuple[Instrument, ...] = ()
        """Those that trace the room: looked at for each write, of many commands."""

    def add(self, hook: EventHook) -> None:
        """Tell a hook of everything from now on."""
        self._hooks = (*self._hooks, hook)

    def instrument(self, instrument: Instrument) -> None:
        """Have loads and batches traced from now on."""
        self.instruments = (*self.instruments, instrument)

    def remove(self, one: EventHook | Instrument) -> None:
        """Tell a hook, or an instrument, no more."""
        self._hooks = tuple(hook for hook in self._hooks if hook is not one)
        self.instruments = tuple(instrument for instrument in self.instruments if instrument is not one)

    @property
    def any(self) -> bool:
        """Whether a hook is told of events: where none is, none need be made."""
        return bool(self._hooks)

    def tell(self, event: Event) -> None:
        """Call every hook."""
        for hook in self._hooks:
            with self._kept_away(hook):
                hook(event)

    def answered(self, batch: EngineBatch) -> None:
        """Call every instrument."""
        for instrument in self.instruments:
            with self._kept_away(instrument):
                instrument.batch(batch)

    def around_load(self, keyspace: str, keys: Sequence[str]) -> AbstractContextManager[object]:
        """What a loader's call runs in."""
        return self._instrumented(keyspace, keys) if self.instruments else nullcontext()

    @contextmanager
    def _instrumented(self, keyspace: str, keys: Sequence[str]) -> Iterator[None]:
        entered: list[tuple[Instrument, AbstractContextManager[object]]] = []
        for instrument in self.instruments:
            with self._kept_away(instrument):
                around = instrument.load(keyspace, keys)
                around.__enter__()
                entered.append((instrument, around))
        error: BaseException | None = None
        try:
            yield
        except BaseException as raised:
            error = raised
            raise
        finally:
            for instrument, around in reversed(entered):
                with self._kept_away(instrument, error):
                    if error is None:
                        around.__exit__(None, None, None)
                    else:
                        around.__exit__(type(error), error, error.__traceback__)

    @contextmanager
    def _kept_away(self, one: object, expected: BaseException | None = None) -> Iterator[None]:
        """Whatever is raised in this block is the hook's fault, but for what the loader raised itself."""
        try:
            yield
        except (Exception, asyncio.CancelledError) as error:
            if error is expected:
                return
            self.failures += 1
            if id(one) not in self._logged:
                self._logged.add(id(one))
                log.exception("a hook failed; this is logged once: %r", one)
