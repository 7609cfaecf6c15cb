"""What the caches of a room share: the engine, the near cache, and everything that an invalidation must reach."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from greenroom.caching import drops, groups, lease
from greenroom.caching.drops import Dropped
from greenroom.caching.fallback import Fallback
from greenroom.caching.groups import Groups
from greenroom.caching.many_drops import MARKED, ManyDrops
from greenroom.caching.near import EntrySource, Near
from greenroom.caching.pending_drops import PendingDrops
from greenroom.caching.releases import Releases
from greenroom.caching.single_flight import Flights
from greenroom.clock import Clock
from greenroom.detached import Detached
from greenroom.engine import Channel, Engine, Handover, KeyFilter, Listener, NoReply, NotHere, all_keys
from greenroom.engine.deletions import refused
from greenroom.engine.replay import Kept, ReplayLog
from greenroom.errors import EngineError, EngineUnavailable
from greenroom.keyspace.derived_keys import owner
from greenroom.observe import Counters

log = logging.getLogger("greenroom.caching")

_LONGEST = 7 * 24 * 3600.0
"""Seconds for which an invalidation is kept whose value's lifetime is not known."""
_ONCE = frozenset({1})
_CLOSING = 0.5
"""Seconds that what was given back or dropped may take to be sent when a room closes."""


class Backing(Listener):
    """What stands between caches and their engine, whose listener it is.

    Arguments:
        engine: not started yet.
        prefix: the room's key prefix.
    """

    def __init__(self, engine: Engine, prefix: str, clock: Clock, counters: Counters, near: Near | None = None) -> None:
        self.engine = engine
        self.prefix = prefix
        self.clock = clock
        self.counters = counters
        self.near = near if near is not None else Near()
        self._names = Dropped(prefix)
        self._kept = ReplayLog(clock, "an invalidation")
        self._flights: list[Flights[Any]] = []
        self._outages: list[Fallback[Any]] = []
        self._watches: dict[str, list[Callable[[], None]]] = {}
        self.releases = Releases(engine, clock)
        self._renewals: dict[str, int] = {}  # lease → pushes of renewals made here that are still to come
        self.pending_drops: dict[str, int] = {}
        """Keys whose invalidation was called here and has not ended yet: nothing of theirs is put near."""
        self.refused_drops: set[str] = set()
        """Those of them that the server has refused so far: they are not read from it."""
        self._dropping = Detached()
        self.groups = Groups(engine, prefix, clock)
        self._many = ManyDrops(engine, self._kept, names=self._names, answered=self._answered)
        self.outbox_drops = PendingDrops(engine, self.near, clock, forget=self._forget, names=self._names)
        """Keys that the record's outbox names and that no server has dropped yet."""
        engine.add_listener(self, (*lease.SCRIPTS, *drops.SCRIPTS, *groups.SCRIPTS))

    def register(self, flights: Flights[Any], outage: Fallback[Any] | None = None) -> None:
        """Let invalidations reach these too."""
        self._flights.append(flights)
        if outage is not None:
            self._outages.append(outage)

    def watch(self, key: str, told: Callable[[], None]) -> Callable[[], None]:
        """Have `told` called whenever the value of `key` may have changed; returns what ends that.

        That is: at a push for it, at an invalidation made here, when the connection is lost or back, and at a flush.
        A push comes only after a read of the key, so that whoever watches reads after each call. Leases say nothing.
        """
        watches = self._watches.setdefault(key, [])
        watches.append(told)

        def stop() -> None:
            watches.remove(told)
            if not watches and self._watches.get(key) is watches:
                del self._watches[key]

        return stop

    async def close(self) -> None:
        """End the loads under way, then the connections."""
        for flights in self._flights:
            await flights.cancel()
        await self.settle()
        await self.engine.close()

    async def settle(self) -> None:
        """Let what was dropped or given back by callers who are gone be sent, for a moment."""
        await self._dropping.close(_CLOSING)
        await self.releases.settle(_CLOSING)

    @property
    def unsent(self) -> int:
        """Invalidations that no server has acknowledged yet."""
        return self._kept.unsent

    def may_keep(self, key: str, source: EntrySource) -> bool:
        """Whether what was read of `key` may be put near.

        Not while an invalidation made here is under way. Prevents: a GET is on its way · the invalidation is called,
        and drops the near entry · the GET's old value is put near again, and served until the DEL is answered. Nor
        where its slot has another owner by now: it would be near after the owner's part was cleared.
        """
        return key not in self.pending_drops and source.owns(key)

    def renewed(self, lease: str) -> None:
        """A lease was renewed here; in the socket's reader. The push that follows is of nobody's invalidation."""
        self._renewals[lease] = self._renewals.get(lease, 0) + 1

    # Invalidations made here -----------------------------------------------------------------------

    # docs/decisions/0031-invalidations-are-sent-by-their-caller.md
    async def drop(self, key: str, lifetime: float = _LONGEST) -> None:
        """Drop a value, its lease and its absence, in this process at once.

        A caller who is cancelled changes nothing: it is sent all the same.

        Arguments:
            lifetime: seconds that the value can live at most.

        Raises:
            EngineError: when the server did not acknowledge; it is then sent before this process reads again.
        """
        # Before anything is sent: a load begun before this moment may have read the old record.
        self._begin((key,))
        kept = self._kept.keep((key,), self._names.alone, lifetime)
        try:
            # By the caller himself, and at once: what he reads after the call is then sent after the DEL.
            await self._deliver(key, kept)
        except asyncio.CancelledError:
            self._dropping.begin(self._go_on(key, kept), "greenroom-drop")
            raise
        except BaseException:
            self._ended((key,))
            raise
        self._ended((key,))

    async def _go_on(self, key: str, kept: Kept) -> None:
        """Send an invalidation whose caller is gone, unless the server has carried it out since."""
        try:
            if kept.owed:
                await self._deliver(key, kept)
        finally:
            self._ended((key,))

    async def _deliver(self, key: str, kept: Kept) -> None:
        try:
            hook = partial(self._answered, kept, (key,))
            await self.engine.execute_all(Channel.TRACKED, key, (self._names.alone(key),), hook=hook, urgent=True)
        except EngineError as error:
            # What is late on a connection that lives goes before all that is read there later.
            if kept.owed and not isinstance(error, NoReply):
                # The server may answer and refuse (read-only, short of replicas): it must then not be read from.
                self.engine.reset(Channel.TRACKED, key, f"it owes an invalidation: {error}")
            raise

    def _answered(self, kept: Kept, keys: Sequence[str], replies: list[Any], _source: object) -> None:
        # A GET sent before the DEL has been answered since, and what it read stored.
        self.near.pop_all(keys)
        failed = refused(keys, replies)
        done = [key for key in keys if key not in failed] if failed else keys
        self._kept.acknowledged(kept, done)  # here: the caller may have been cancelled
        if self.refused_drops:
            self.refused_drops.difference_update(done)
        for key, error in failed.items():
            if key in self.pending_drops and not isinstance(error, NotHere):
                self.refused_drops.add(key)

    def _begin(self, keys: Collection[str]) -> None:
        """Drop keys in this process."""
        self._forget(keys)
        pending = self.pending_drops
        if pending.keys().isdisjoint(keys):
            pending.update(dict.fromkeys(keys, 1))
        else:
            for key in keys:
                pending[key] = pending.get(key, 0) + 1

    def _ended(self, keys: Sequence[str]) -> None:
        pending = self.pending_drops
        counts = list(map(pending.pop, keys))  # without a step of Python for each: there may be 10,000
        if not _ONCE.issuperset(counts):
            pending.update((key, count - 1) for key, count in zip(keys, counts, strict=True) if count > 1)
        if self.refused_drops:
            # Carried out by now, or the connection that refused it has been ended.
            self.refused_drops.difference_update(key for key in keys if key not in pending)

    async def drop_many(self, keys: Iterable[str], lifetime: float = _LONGEST) -> None:
        """Drop many keys, each as `drop`; raises as it does, after all were tried or kept."""
        each = list(dict.fromkeys(keys))
        # At once, as `drop` does; of more than can be dropped in a few milliseconds the others soon after.
        first = self._begin_many(each[:MARKED], lifetime)
        await self._dropping.finish(self._drop_rest(first, each[MARKED:], lifetime), "greenroom-drop")

    def _begin_many(self, keys: Sequence[str], lifetime: float) -> list[tuple[Sequence[str], Kept]]:
        self._begin(keys)
        return self._many.keep(keys, lifetime)

    async def _drop_rest(self, batches: list[tuple[Sequence[str], Kept]], rest: Sequence[str], lifetime: float) -> None:
        try:
            # All are kept before any is sent: whatever ends this between two batches leaves none behind.
            for start in range(0, len(rest), MARKED):
                await asyncio.sleep(0)
                batches += self._begin_many(rest[start : start + MARKED], lifetime)
            failure = await self._many.send(batches)
        finally:
            for keys, _ in batches:
                self._ended(keys)
        if failure is not None:
            raise failure

    async def drop_group(self, group: str, longest_ms: int) -> None:
        """Drop every key of a group; raises as `drop`, and goes on as it when its caller is cancelled.

        Arguments:
            longest_ms: milliseconds that a value of the group can live at most.
        """
        # What was loaded here without the server is in no group: it may be one of these keys.
        for flights in self._flights:
            flights.close_bypasses()
        for outage in self._outages:
            outage.forget_all()
        await self._dropping.finish(self._all_of(group, longest_ms), "greenroom-drop")

    async def _all_of(self, group: str, longest_ms: int) -> None:
        try:
            await self._drop_group(group, longest_ms)
        except asyncio.CancelledError:  # not by a caller: whatever cancels every task may go on
            self.groups.keep(group)
            self._look_again(all_keys)
            self.engine.reset(Channel.TRACKED, self.groups.name(group), "it owes the invalidation of a group")
            raise

    async def _drop_group(self, group: str, longest_ms: int) -> None:
        try:
            keys, members = await self.groups.members(group)
        except EngineError as error:
            if group in self.groups.pending_drops:
                self._look_again(all_keys)  # its keys are not known
            if isinstance(error, EngineUnavailable):
                reason = f"it owes the invalidation of a group: {error}"
                self.engine.reset(Channel.TRACKED, self.groups.name(group), reason)
            raise
        await self.drop_many(keys, longest_ms / 1000)
        # Only now: were members forgotten first, a drop that then fails would leave values that no drop finds.
        await self.groups.forget(group, members, longest_ms)

    def _forget(self, keys: Iterable[str]) -> None:
        self.near.pop_all(keys)
        for flights in self._flights:
            flights.forget_all(keys)
        for outage in self._outages:
            outage.forget_each(keys)
        for key in self._watches.keys() & keys:
            self._tell(key)

    def _tell(self, key: str) -> None:
        for told in tuple(self._watches.get(key, ())):
            told()

    def _tell_all(self, owns: KeyFilter) -> None:
        for key in tuple(self._watches):
            if owns(key):
                self._tell(key)

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
        key = owner(text)
        self.near.pop(key)
        for flights in self._flights:
            flights.wake(key)
        if self._watches:
            self._tell(text)

    def keys_lost(self, owns: KeyFilter) -> None:
        """A connection ended, all was flushed, or slots have a new owner: what was read of these keys before may have
        changed unseen."""
        self.near.clear(owns)
        for flights in self._flights:
            flights.wake_all(owns)
        for renewed in tuple(self._renewals):
            if owns(renewed):
                del self._renewals[renewed]  # its push went down with the connection
        self._tell_all(owns)

    def keys_gained(self, handover: Handover) -> None:
        """A server that is connected to has these keys from now on: what is kept of them goes there before any read.

        Prevents: a DEL is acknowledged · its server dies before its replica has it · the replica, or whoever the slot
        is given to, serves the old value.
        """
        if handover.channel is not Channel.TRACKED:
            return
        owns = handover.owns
        if any(owns(self.groups.name(group)) for group in self.groups.pending_reads):
            handover.abandon("it owes the invalidation of a group")  # the next one carries everything first
        else:
            self._kept.queue(handover)
            self.outbox_drops.repeat_at_once(owns)

    async def before_serving(self, handover: Handover) -> None:
        """A new connection carries what was kept before anyone reads on it.

        Raises:
            EngineError: when that could not be done.
        """
        owns = handover.owns
        if unsent := self._kept.unsent:
            log.info("sending those of %d kept invalidations that are this server's", unsent)
        await self.outbox_drops.repeat(owns)
        await self._kept.send(handover)
        await self._read_groups(handover)
        if missing := await self.groups.registered.missing(handover):
            log.info("dropping %d keys that a new server has not heard of in their groups", len(missing))
            await self._drop_elsewhere(missing)
        # Last, and nothing is awaited once none is left. Prevents: a connection reads the groups · a drop finds none
        # that serves, and cannot read its group · the connection serves, and nobody reads the group until it ends.
        await self._read_groups(handover)
        self._kept.queue(handover)
        self.releases.queue(handover)
        self._look_again(owns)

    async def _read_groups(self, handover: Handover) -> None:
        """Read what groups of a new connection's server are unread, and drop or keep their keys."""
        while (found := await self.groups.send(handover)) is not None:
            await self._keep_group(*found, handover.owns)

    async def _keep_group(self, group: str, keys: list[str], owns: KeyFilter) -> None:
        """Keep the keys of a new connection's server, which are queued before it serves, and drop the others."""
        here: list[str] = []
        elsewhere: list[str] = []
        for key in keys:
            if owns(key):
                here.append(key)
            else:
                elsewhere.append(key)
        self._kept.keep(here, self._names.alone, _LONGEST)
        await self._drop_elsewhere(elsewhere)
        self.groups.dropped(group)

    async def _drop_elsewhere(self, keys: list[str]) -> None:
        """Drop keys of other servers; each is kept for its own where that cannot be told now."""
        with suppress(EngineError):
            await self.drop_many(keys)

    def _look_again(self, owns: KeyFilter) -> None:
        """Let no load that is under way without its server be joined or kept.

        Prevents: a load begins without the server · the server is back, another process's invalidation reaches it · the
        load ends, and its old value is kept. That of a closed flight is not.
        """
        for flights in self._flights:
            flights.wake_all(owns)
        for outage in self._outages:
            outage.forget_all(owns)
        self._tell_all(owns)
