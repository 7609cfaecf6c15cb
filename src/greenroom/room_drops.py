"""What drops the values of a room's caches: a change of the record, or a whole keyspace at once."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Any

from greenroom import lazy
from greenroom.argument_types import instance
from greenroom.caching import DropTarget
from greenroom.caching.changing import changing
from greenroom.caching.declared import DeclaredCaches
from greenroom.caching.keyspace_drops import KeyspaceDrop
from greenroom.caching.outbox_drops import OutboxDrops
from greenroom.engine import Address
from greenroom.errors import InvalidInput
from greenroom.keyspace import Keyspace
from greenroom.keyspace.pattern import check_prefix
from greenroom.opened import Opened
from greenroom.wiring import Wiring


class RoomDrops:
    """The half of a room by which values are dropped; `RoomCaches` is the other, by which caches are declared.

    Arguments:
        sessions: those of the room, whose keys no cache may make.
        prefix: put before every key.
    """

    def __init__(self, sessions: lazy.SessionSettings | bool, prefix: str) -> None:
        self.prefix = check_prefix(prefix)
        """Stands before every key."""
        self.opened = Opened(begun=False)
        """Whether the room is open; its parts ask it before each operation."""
        self._sessions = sessions
        self._caches = DeclaredCaches()
        self._wiring: Wiring | None = None

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
        await self.begin_keyspace_drop(keyspace).send()

    def begin_keyspace_drop(self, keyspace: Keyspace[Any]) -> KeyspaceDrop:
        """As `drop_keyspace`, which counts in this process from this call on, and is sent by the result's `send`."""
        prefixed, generations = self._cached_keyspace(keyspace), self._wired().backing.generations
        return KeyspaceDrop(generations, generations.of(prefixed))

    def keyspace_of(self, pattern: str) -> Keyspace[Any] | None:
        """The keyspace of a cache of this room by its key format; None where there is no such cache."""
        return self._caches.keyspace_of(pattern)

    async def drop_named_group(self, group: str, lifetime: float) -> None:
        """Drop every key of a group by its name, as an outbox has it.

        Arguments:
            lifetime: seconds that a value of the group can live at most; see `DropTarget`.

        Raises:
            EngineError: as `Cache.invalidate_group`.
        """
        self.opened.check()
        await self._wired().backing.drop_group(group, lifetime)

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
        async for scanned in scan(address, pattern.glob):
            keys = [key for key in scanned if pattern.matches(key)]
            await backing.drops.drop_many(keys)
            number += len(keys)
        return number

    @property
    def pending_drops(self) -> OutboxDrops:
        """Keys that a record says are stale and that no server has dropped yet: here they count as dropped."""
        return self._wired().backing.outbox_drops

    def forget_near(self) -> None:
        """Drop every value that this process holds; the next reads ask the server."""
        self.opened.check()
        self._wired().backing.near.clear()

    # ------------------------------------------------------------------------------------------------

    def _cached_keyspace(self, keyspace: Keyspace[Any]) -> Keyspace[Any]:
        """A keyspace of caches, with the room's prefix."""
        self.opened.check()
        instance("keyspace", keyspace, Keyspace, "give the Keyspace that the cache is declared with")
        sessions = self._session_keyspace()
        if sessions is not None and keyspace.pattern.text == sessions.pattern.text:
            raise InvalidInput("keyspace", f"{keyspace.pattern.text!r} holds sessions", "end sessions by `end_all`")
        if self._caches.is_store(keyspace):
            raise InvalidInput("keyspace", f"{keyspace.pattern.text!r} is a store's", "delete its values one by one")
        return keyspace.prefixed(self.prefix)

    def _wired(self) -> Wiring:
        # Of a room that was closed its parts say so themselves, operation by operation.
        if self._wiring is None:
            self.opened.check_open()
        assert self._wiring is not None
        return self._wiring

    def _session_keyspace(self) -> Keyspace[Any] | None:
        settings = self._session_settings()
        return None if settings is None else settings.keyspace

    def _session_settings(self) -> lazy.SessionSettings | None:
        if self._sessions is not True:
            return self._sessions or None
        from greenroom.sessions import SessionSettings  # not with the package: who has caches only does without

        return SessionSettings()
