"""What a thread drops because a change has made it stale: no near hit is given of it from the call on."""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from greenroom.caching.changing import drop_after, drop_each
from greenroom.errors import InvalidInput, RoomClosed
from greenroom.keyspace import Keyspace
from greenroom.sync.caches import DropTarget
from greenroom.sync.called_drops import CalledDrop
from greenroom.sync.portal_call import PortalCall
from greenroom.sync.room_opening import RoomOpening

log = logging.getLogger("greenroom.sync")

R = TypeVar("R")


class RoomDropping(RoomOpening):
    """A room of threads, and what is dropped in it."""

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
                log.exception("the stale keys of a change were not dropped")

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
