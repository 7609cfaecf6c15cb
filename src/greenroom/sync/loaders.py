"""Loaders that are not async: each runs in the thread that missed, as its connection and its transaction expect.

Where no thread waits for the key, as for a refresh behind, it runs in one of a few threads of the room.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from contextvars import copy_context
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from greenroom.caching.loader import load_time
from greenroom.keyspace import Keyspace
from greenroom.sync.portal import Portal
from greenroom.sync.portal_call import PortalCall, Raised, copied

if TYPE_CHECKING:
    from greenroom.sync.client import Greenroom

log = logging.getLogger("greenroom.sync")


@dataclass(frozen=True, slots=True)
class LoaderHooks:
    """What a framework has to say about loaders that are not async.

    Arguments:
        around_load: makes the context of each loader's call, as Flask's `app.app_context`.
        after_background_load: called in the thread of a load that no thread has waited for, after it: for what the
            thread shall not keep, as connections.
    """

    around_load: Callable[[], AbstractContextManager[object]] = nullcontext
    after_background_load: Callable[[], object] | None = None


class WaitingThreads:
    """The calls that wait for each key of one cache; in the loop."""

    def __init__(self) -> None:
        self._calls: dict[str, list[PortalCall]] = {}

    def add(self, call: PortalCall, keys: Collection[str]) -> None:
        """A call waits for these keys from now on, until `remove`."""
        for key in keys:
            calls = self._calls.get(key)
            if calls is None:
                self._calls[key] = [call]
            else:
                calls.append(call)

    def remove(self, call: PortalCall, keys: Collection[str]) -> None:
        """It does not any more."""
        for key in keys:
            calls = self._calls[key]
            calls.remove(call)
            if not calls:
                del self._calls[key]

    def first(self, keys: Iterable[str]) -> PortalCall | None:
        """The call that has waited longest for one of these keys; rather one whose thread has nothing else to do."""
        busy: PortalCall | None = None
        for key in keys:
            for call in self._calls.get(key, ()):
                if not call.left and not call.works:
                    return call
                if not call.left and busy is None:
                    busy = call
        return busy


class PlainLoad:
    """A loader that is not async, as one that is: what the asynchronous cache is given.

    Arguments:
        function: the loader; or, of several keys, the batch loader.
        keyspace: whose values it loads, with the room's prefix.
        room: its portal, its hooks, and its threads for loads that no thread waits for.
        waiting: the threads that wait for keys of the cache.
        many: whether it loads several keys.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        keyspace: Keyspace[Any],
        room: Greenroom,
        waiting: WaitingThreads,
        *,
        many: bool = False,
    ) -> None:
        self.function = function
        self.room = room
        self.waiting = waiting
        self._keyspace = keyspace
        self._many = many
        with suppress(TypeError, ValueError):  # some of C have none
            self.__signature__ = inspect.signature(function)

    async def __call__(self, *args: Any, **parts: Any) -> Any:
        """Run it in the thread that waits, or else in one of the room's."""
        load = _Load(self, partial(self.here, *args, **parts), self._keys(args, parts))
        try:
            load.hand_on()
            result = await load.result
        finally:
            load.given_up()
        return await result if inspect.isawaitable(result) else result

    def here(self, *args: Any, **parts: Any) -> Any:
        """Run it in this thread."""
        with self.room.hooks.around_load():
            return self.function(*args, **parts)

    def behind(self, call: Callable[[], Any]) -> Any:
        """Run a call of it in a thread that keeps nothing of it."""
        try:
            return call()
        finally:
            if self.room.hooks.after_background_load is not None:
                try:
                    self.room.hooks.after_background_load()
                except Exception:
                    log.exception("after_background_load failed")

    def _keys(self, args: tuple[Any, ...], parts: Mapping[str, Any]) -> list[str]:
        key = self._keyspace.key
        if not self._many:
            return [key(*args, **parts)]
        return [key(**one) if isinstance(one, Mapping) else key(one) for one in args[0]]

    def __eq__(self, other: object) -> bool:
        # Declared twice, it is the same loader.
        return isinstance(other, PlainLoad) and self.function == other.function

    def __hash__(self) -> int:
        return hash(self.function)


class _Load:
    """One load, until a thread has brought its result."""

    def __init__(self, load: PlainLoad, call: Callable[[], Any], keys: Sequence[str]) -> None:
        self._load = load
        self._call = call
        self._keys = keys
        self._loop = asyncio.get_running_loop()
        self._portal: Portal | None = None
        self._context = copy_context()  # of the load's task: that in which the room was made
        self._holder: PortalCall | None = None
        self._untaken: list[None] = []
        """Its one item is taken by whoever runs the load."""
        time = load_time.get()
        # Not that of an async loader which calls this one.
        self._time = time if time is not None and time.is_of(keys) else None
        self._behind: asyncio.Task[None] | None = None
        self.result: asyncio.Future[Any] = self._loop.create_future()

    def hand_on(self) -> None:
        """Give it to a thread that waits; in the loop. Called again when that thread was interrupted, or hangs.

        Prevents: Ctrl-C ends the thread that loads · the load ends with KeyboardInterrupt, in all threads that wait.
        """
        self._let_go()
        if self.result.done():
            return
        self._untaken = [None]
        holder = self._holder = self._load.waiting.first(self._keys)
        if holder is None:
            self.begins()
            self._behind = self._loop.create_task(self._run_behind())
            return
        # Not the room's, which has none while it is being closed. Prevents: a read misses · another thread closes
        # the room · the load begins, and ends with an error of ours.
        self._portal = holder.portal
        holder.works.append(self)
        if holder.works[0] is self:
            self.begins()
        elif self._time is not None:
            self._time.stop()
        holder.inbox.put(self)

    def begins(self) -> None:
        """Its time counts from now on; in the loop."""
        if self._time is not None:
            self._time.begin()

    def take_back(self) -> bool:
        """Whether no thread has taken it, and now none will; in the loop."""
        return _taken(self._untaken)

    def given_up(self) -> None:
        """It has ended, or its deadline has: whoever is at it may go on, and nobody waits for him."""
        holder = self._holder
        self.result.cancel()
        hangs = holder is not None and self.result.cancelled() and not self.take_back()
        self._let_go()
        if self._behind is not None:
            self._behind.cancel()
        if hangs and holder is not None:
            # Prevents: a thread hangs in one load of many · the others wait behind it, with no deadline of their own.
            holder.give_back()

    def run(self, call: PortalCall) -> Raised | None:
        """Load, in the thread of the call that it was given to."""
        portal, untaken = self._portal, self._untaken
        # The item is looked up before the holder, and taken after. Prevents: this thread comes back from a load that
        # hung · it sees that it holds this one · the loop gives it to another thread · both run it.
        if portal is None or self._holder is not call or self.result.done() or not _taken(untaken):
            return None
        try:
            value = self._context.copy().run(self._call)
        except Exception as error:
            raised = Raised(error, copied(error))
            portal.post(partial(self._end, None, raised.shared))
            return raised
        portal.post(partial(self._end, value, None))
        return None

    async def _run_behind(self) -> None:
        try:
            value = await self._load.room.threads.run(self._load.behind, self._call)
        except BaseException as error:
            if (task := asyncio.current_task()) is not None and task.cancelling():
                raise
            # Prevents: a loader calls `sys.exit` · nobody brings its result · who reads the key waits for its deadline.
            self._end(None, error)
        else:
            self._end(value, None)

    def _end(self, value: object, error: BaseException | None) -> None:
        if self.result.done():
            return
        if isinstance(error, StopIteration) or not isinstance(error, Exception | None):
            # A future takes no StopIteration before Python 3.12; what ends a program or a task would end others here.
            self.result.set_exception(RuntimeError(f"a loader raised {type(error).__name__}"))
        elif error is not None:
            self.result.set_exception(error)
        else:
            self.result.set_result(value)

    def _let_go(self) -> None:
        if self._holder is None:
            return
        works, self._holder = self._holder.works, None
        was_first = works[0] is self
        works.remove(self)
        if was_first and works:
            works[0].begins()


def _taken(untaken: list[None]) -> bool:
    """Take the one item; False where another thread, or the loop, was first."""
    try:
        untaken.pop()
    except IndexError:
        return False
    return True
