"""Invalidations between the caches of a room and their engine: pushes, groups, and what a new connection carries."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from contextvars import copy_context
from time import monotonic

from greenroom.caching import drops, groups, keyspace_drops, lease
from greenroom.caching.drops import LONGEST, DropCommands, Drops
from greenroom.caching.groups import Groups
from greenroom.caching.keyspace_drops import Generations
from greenroom.caching.local import LocalCopies
from greenroom.caching.near import EntrySource, Near
from greenroom.caching.outbox_drops import OutboxDrops
from greenroom.caching.releases import Releases
from greenroom.clock import Clock
from greenroom.counters import Counters
from greenroom.detached import CLOSING
from greenroom.engine import Channel, Engine, Handover, KeyFilter, Listener, all_keys
from greenroom.engine.unacknowledged import ReplayLog
from greenroom.errors import EngineError, EngineUnavailable
from greenroom.keyspace.derived_keys import owner

log = logging.getLogger("greenroom.caching")

_LARGE_GROUP = 1_000
"""Keys from which on it is told how long the drop of a group took."""


class Backing(Listener):
    """What the caches of a room share; the listener of their engine.

    Arguments:
        engine: not started yet.
        prefix: the room's key prefix.
    """

    def __init__(self, engine: Engine, prefix: str, clock: Clock, counters: Counters, near: Near | None = None) -> None:
        self.engine = engine
        self.prefix = prefix
        self.clock = clock
        self.counters = counters
        self.context = copy_context()
        """That in which the room was opened; loaders run in copies of it."""
        self.near = near if near is not None else Near(max_staleness=engine.limits.max_staleness)
        self.local = LocalCopies(self.near)
        self._commands = DropCommands(prefix)
        self._log = ReplayLog(clock, "an invalidation")
        self.drops = Drops(engine, self.local, self._log, self._commands)
        self.releases = Releases(engine, clock)
        self._renewals: dict[str, int] = {}  # lease → pushes of renewals made here that are still to come
        self.groups = Groups(engine, prefix, clock)
        self.outbox_drops = OutboxDrops(engine, self.near, clock, forget=self.local.forget, names=self._commands)
        """Keys that the record's outbox names and that no server has dropped yet."""
        self.generations = Generations(engine, clock, self.local.forget_all)
        engine.add_listener(self, (*lease.SCRIPTS, *drops.SCRIPTS, *groups.SCRIPTS, *keyspace_drops.SCRIPTS))

    async def close(self) -> None:
        """End the loads under way, then the connections."""
        await self.local.cancel_loads()
        await self.settle()
        await self.engine.close()

    async def settle(self) -> None:
        """Let what was dropped or given back by callers who are gone be sent, for a moment."""
        await self.drops.detached.close(CLOSING)
        await self.generations.detached.close(CLOSING)
        await self.releases.settle(CLOSING)

    @property
    def unsent(self) -> int:
        """Invalidations that no server has acknowledged yet."""
        return self._log.unsent

    def may_keep(self, key: str, source: EntrySource) -> bool:
        """Whether what was read of `key` may be put near.

        Not while an invalidation made here is under way. Prevents: a GET is on its way · the invalidation is called,
        and drops the near entry · the GET's old value is put near again, and served until the DEL is answered. Nor
        where its slot has another owner by now: it would be near after the owner's part was cleared.
        """
        return key not in self.drops.pending and source.owns(key)

    def renewed(self, lease: str) -> None:
        """A lease was renewed here; in the socket's reader. The push that follows is of nobody's invalidation."""
        self._renewals[lease] = self._renewals.get(lease, 0) + 1

    async def drop_group(self, group: str, longest: float) -> None:
        """Drop every key of a group; raises as `Drops.drop`, and goes on as it when its caller is cancelled.

        Arguments:
            longest: seconds from now on that an old value of the caller's cache can live at most.
        """
        self.local.forget_unlisted()
        await self.drops.detached.finish(self._drop_group_or_keep(group, longest), "greenroom-drop")

    async def _drop_group_or_keep(self, group: str, longest: float) -> None:
        try:
            await self._drop_group(group, longest)
        except asyncio.CancelledError:  # not by a caller: whatever cancels every task may go on
            self.groups.keep(group)
            self.local.server_is_back(all_keys)
            self.engine.reset(
                Channel.TRACKED, self.groups.name(group), "it must carry the invalidation of a group first"
            )
            raise

    async def _drop_group(self, group: str, longest: float) -> None:
        began = monotonic()
        try:
            keys, members = await self.groups.members(group)
        except EngineError as error:
            if group in self.groups.pending_drops:
                self.local.server_is_back(all_keys)  # its keys are not known
            if isinstance(error, EngineUnavailable):
                reason = f"it must carry the invalidation of a group first: {error}"
                self.engine.reset(Channel.TRACKED, self.groups.name(group), reason)
            raise
        # Kept for longer than `longest`. Prevents: caches share a group, one whose values live for minutes, one whose
        # live for hours · the first's drop fails · it is forgotten after minutes · the other's old values are served.
        await self.drops.drop_many(keys)
        # Only now: were members forgotten first, a drop that then fails would leave values that no drop finds.
        await self.groups.forget(group, members, int(longest * 1000))
        if len(keys) >= _LARGE_GROUP:
            log.info("dropped the %d keys of the group %s in %.2f s", len(keys), group, monotonic() - began)

    # What the engine calls -------------------------------------------------------------------------

    def keys_invalidated(self, name: bytes | None) -> None:
        """A push: a value, lease or absence has changed; None: everything may have.

        In the socket's reader and in the order of the wire, so that nothing read before a push is served after it.
        """
        if name is None:
            self.keys_lost(all_keys)
            return
        # What is not ours is no key of an entry either.
        text = name.decode("utf-8", "replace")
        if self._renewals and text in self._renewals:
            # Our own renewal's, by the order of the wire: it follows the reply, and any other push precedes or follows.
            self._renewals[text] -= 1
            if not self._renewals[text]:
                del self._renewals[text]
            return
        self.generations.pushed(text)
        self.local.pushed(text, owner(text))

    def keys_lost(self, owns: KeyFilter) -> None:
        """A connection ended, all was flushed, or slots have a new owner: what was read of these keys before may have
        changed unseen."""
        self.local.lost(owns)
        for renewed in tuple(self._renewals):
            if owns(renewed):
                del self._renewals[renewed]  # its push went down with the connection
        self.generations.lost(owns)

    def keys_gained(self, handover: Handover) -> None:
        """A connection serves these keys from now on: what is kept of them goes there before any read.

        Prevents: a DEL is acknowledged · its server dies before its replica has it · the replica, or the node that
        the slot is given to, serves the old value. And what `Listeners.hand_over` names.
        """
        if handover.channel is not Channel.TRACKED:
            return
        owns = handover.owns
        if any(owns(self.groups.name(group)) for group in self.groups.pending_reads):
            handover.abandon("it must carry the invalidation of a group first")  # the next one carries everything first
            return
        self.generations.queue(handover)
        self._log.queue(handover)
        self.outbox_drops.repeat_at_once(handover)
        self.releases.queue(handover)
        self.local.server_is_back(owns)

    async def before_serving(self, handover: Handover) -> None:
        """A new connection carries what was kept before anyone reads on it.

        Raises:
            EngineError: when that could not be done.
        """
        if unsent := self._log.unsent:
            log.info("sending this server's share of %d kept invalidations", unsent)
        await self.generations.before_serving(handover)
        await self.outbox_drops.repeat(handover)
        await self._log.send(handover)
        await self._read_groups(handover)
        if missing := await self.groups.registered.missing(handover):
            log.info("dropping %d keys that their groups on a new server do not list", len(missing))
            await self._drop_elsewhere(missing)
        # Last, and nothing is awaited once none is left. Prevents: a connection reads the groups · a drop finds none
        # that serves, and cannot read its group · `keys_gained` ends the connection for it.
        await self._read_groups(handover)

    async def _read_groups(self, handover: Handover) -> None:
        """Read what groups of a new connection's server are unread, and drop or keep their keys."""
        while (unread := await self.groups.send(handover)) is not None:
            await self._keep_group(*unread, handover.owns)

    async def _keep_group(self, group: str, keys: list[str], owns: KeyFilter) -> None:
        """Keep the keys of a new connection's server, which are queued before it serves, and drop the others."""
        here: list[str] = []
        elsewhere: list[str] = []
        for key in keys:
            if owns(key):
                here.append(key)
            else:
                elsewhere.append(key)
        self._log.keep(here, self._commands.one, LONGEST)
        await self._drop_elsewhere(elsewhere)
        self.groups.dropped(group)

    async def _drop_elsewhere(self, keys: list[str]) -> None:
        """Drop keys of other servers; each is kept for its own where that cannot be told now."""
        with suppress(EngineError):
            await self.drops.drop_many(keys)
