"""The copies of values in this process, and the watchers of keys: all that one change must reach here.

A copy is a near entry, a load under way, or a value that was loaded while the server could not be asked.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from greenroom.caching.fallback import Fallback
from greenroom.caching.near import Near
from greenroom.caching.single_flight import Flights
from greenroom.engine import KeyFilter, all_keys


class LocalCopies:
    """The copies of every cache of one room."""

    def __init__(self, near: Near) -> None:
        self.near = near
        self._flights: list[Flights[Any]] = []
        self._fallbacks: list[Fallback[Any]] = []
        self._watches: dict[str, list[Callable[[], None]]] = {}

    def register(self, flights: Flights[Any], fallback: Fallback[Any] | None = None) -> None:
        """Let changes reach these too."""
        self._flights.append(flights)
        if fallback is not None:
            self._fallbacks.append(fallback)

    def watch(self, key: str, callback: Callable[[], None]) -> Callable[[], None]:
        """Have `callback` called whenever the value of `key` may have changed; returns what ends that.

        That is: at a push for it, at an invalidation made here, when the connection is lost or back, and at a flush.
        A push comes only after a read of the key, so that a watcher reads after each call. Leases say nothing.
        """
        watches = self._watches.setdefault(key, [])
        watches.append(callback)

        def stop() -> None:
            watches.remove(callback)
            if not watches and self._watches.get(key) is watches:
                del self._watches[key]

        return stop

    def forget(self, keys: Collection[str]) -> None:
        """An invalidation of these keys is made here."""
        self.near.pop_all(keys)
        for flights in self._flights:
            flights.forget_all(keys)
        for fallback in self._fallbacks:
            fallback.forget_each(keys)
        for key in self._watches.keys() & keys:
            self._notify(key)

    def forget_unlisted(self) -> None:
        """A group is invalidated here: what was loaded without the server is in no group, and may be of this one."""
        for flights in self._flights:
            flights.close_bypasses()
        for fallback in self._fallbacks:
            fallback.forget_all()

    def pushed(self, name: str, key: str) -> None:
        """The server has said that a key, or one of its companions, has changed.

        Arguments:
            name: the name that was pushed.
            key: the key whose name, lease or absence it is.
        """
        self.near.pop(key)
        for flights in self._flights:
            flights.wake(key)
        if self._watches:
            self._notify(name)

    def lost(self, owns: KeyFilter) -> None:
        """Pushes for these keys may have been missed."""
        self.near.clear(owns)
        for flights in self._flights:
            flights.wake_all(owns)
        self._notify_all(owns)

    def forget_all(self, owns: KeyFilter) -> None:
        """All these keys are dropped."""
        self.lost(owns)
        for fallback in self._fallbacks:
            fallback.forget_all(owns)

    def server_is_back(self, owns: KeyFilter = all_keys) -> None:
        """Let no load that is under way without its server be joined or kept.

        Prevents: a load begins without the server · the server is back, another process's invalidation reaches it · the
        load ends, and its old value is kept. The value of a closed flight is not.
        """
        for flights in self._flights:
            flights.wake_all(owns)
        for fallback in self._fallbacks:
            fallback.forget_all(owns)
        self._notify_all(owns)

    async def cancel_loads(self) -> None:
        """End the loads under way."""
        for flights in self._flights:
            await flights.cancel()

    def _notify(self, key: str) -> None:
        for callback in tuple(self._watches.get(key, ())):
            callback()

    def _notify_all(self, owns: KeyFilter) -> None:
        for key in tuple(self._watches):
            if owns(key):
                self._notify(key)
