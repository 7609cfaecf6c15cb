"""Keys that the record says are stale and that no server has dropped yet: here they count as dropped at once.

What that prevents, where a service starts on an outbox of 500,000 changes:

    it drops all of them before it answers · nobody is answered for half a minute

and, where it answers meanwhile:

    it serves a value · the outbox has said, before the service began, that the value is old

So a key becomes pending, which costs no round trip, and is sent in the background. A read of a pending key drops it
first: what is asked for most is new on the server first. No reader's drop can take a value that was loaded after
another's: both are queued before either is answered, and the connection keeps their order.

These keys are not among the kept invalidations, all of which a new connection carries before it serves. What a server
has dropped less than 30 s ago is pending anew when a connection to it begins: its successor may have the old value.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Collection, Sequence
from functools import partial
from itertools import islice
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from greenroom.caching.drops import BATCH, drop_singly, drop_together
from greenroom.caching.near import Near
from greenroom.clock import Clock
from greenroom.engine import Channel, Engine, Handover, KeyFilter
from greenroom.engine.deletions import Names, refused
from greenroom.engine.unacknowledged import RECENT
from greenroom.errors import EngineError


class _Sent(NamedTuple):
    """A batch that servers have dropped."""

    number: int
    when: float
    keys: list[str]


# docs/decisions/0022-outbox-keys-are-pending.md
class OutboxDrops:
    """The pending keys of one process.

    Arguments:
        forget: drops keys in this process.
        names: what one command drops for a key: itself and its companions.
    """

    __slots__ = (
        "_clock",
        "_engine",
        "_everything",
        "_forget",
        "_keys",
        "_names",
        "_near",
        "_recent",
        "_repeated",
        "_sent",
        "_settled",
        "any",
    )

    def __init__(
        self,
        engine: Engine,
        near: Near,
        clock: Clock,
        *,
        forget: Callable[[Collection[str]], None],
        names: Names,
    ) -> None:
        self._engine = engine
        self._near = near
        self._clock = clock
        self._forget = forget
        self._names = names
        self._keys: set[str] = set()
        self._everything: set[object] = set()  # the outboxes that do not know yet which keys are stale
        self._settled: set[str] = set()
        self._sent = 0  # batches that servers have dropped
        self._recent: deque[_Sent] = deque()
        self._repeated: WeakKeyDictionary[Handover, int] = WeakKeyDictionary()  # the last batch added for each
        self.any = False
        """Whether any key is pending: what a near hit looks at, so a plain attribute."""

    def __len__(self) -> int:
        return len(self._keys)

    def __contains__(self, key: str) -> bool:
        return key in self._keys

    def add_everything(self, outbox: object) -> None:
        """Count every key as dropped from now on, until it is known which are.

        Arguments:
            outbox: which of the room's outboxes it is that does not know. Prevents: two are opened · the first knows
                all of its keys · those of the second, which nobody has read yet, are served.
        """
        self._everything.add(outbox)
        self.any = True
        self._settled.clear()

    def end_everything(self, outbox: object) -> None:
        """This outbox knows: once all do, only the keys that were added are pending."""
        self._everything.discard(outbox)
        if not self._everything:
            self._settled.clear()
            self.any = bool(self._keys)

    async def add(self, keys: Collection[str]) -> None:
        """Make keys pending; the loop is given back after each batch."""
        each = iter(keys)
        while batch := set(islice(each, BATCH)):
            new = batch - self._keys
            self._keys |= new
            self.any = True
            self._forget(new)
            await asyncio.sleep(0)

    async def settled(self, key: str) -> bool:
        """Drop a pending key now, since somebody asks for it; False while its server cannot be asked."""
        if key not in self._keys and not (self._everything and key not in self._settled):
            return True
        if self._everything:
            self._forget((key,))
        return not await self._delete((key,))

    async def send(self) -> None:
        """Drop what is pending, in batches.

        Raises:
            EngineError: when some could not be dropped; they stay pending.
        """
        failure: EngineError | None = None
        todo = list(self._keys)
        for start in range(0, len(todo), BATCH):
            batch = [key for key in todo[start : start + BATCH] if key in self._keys]
            failed = await self._delete(batch)
            if failed:
                failure = next(iter(failed.values()))
                if len(failed) == len(batch):  # no server can be asked
                    break
            await asyncio.sleep(0)
        if failure is not None:
            raise failure

    async def repeat(self, handover: Handover) -> None:
        """Make pending again what was dropped of late: the server of a new connection may have it back."""
        before = self._sent
        for batch in self._of_late():
            self._add_again(batch.keys, handover.owns)
            await asyncio.sleep(0)
        self._repeated[handover] = before

    def repeat_at_once(self, handover: Handover) -> None:
        """As `repeat`, of keys that a server in use has taken over: before anything else is read of them.

        Of a connection that is new itself only what was dropped since `repeat`. Prevents: it has added 500,000 keys,
        and given the loop back after each batch · all of them are added a second time, and nobody is served meanwhile.
        """
        before = self._repeated.pop(handover, 0)
        for batch in self._of_late():
            if batch.number > before:
                self._add_again(batch.keys, handover.owns)

    # ------------------------------------------------------------------------------------------------

    async def _delete(self, keys: Sequence[str]) -> dict[str, EngineError]:
        """Drop keys together; returns those that were not dropped, and why."""
        # Who cannot be asked is not asked again, and neither is who is overloaded: others go first.
        turned_away, failed = await drop_together(self._engine, keys, self._names, self._answered)

        async def again(key: str) -> None:
            # Another node has it, or the server cannot at the moment: found out there, and told if for good.
            hook = partial(self._answered, (key,))
            await self._engine.execute_all(Channel.TRACKED, key, (("DEL", *self._names(key)),), hook=hook)

        failed |= await drop_singly(turned_away, again)
        if done := [key for key in keys if key not in failed]:
            self._sent += 1
            self._recent.append(_Sent(self._sent, self._clock.monotonic(), done))
        self._of_late()
        return failed

    def _answered(self, keys: Sequence[str], replies: list[Any], _source: object) -> None:
        # A GET sent before the DEL has been answered since, and what it read stored.
        self._near.pop_all(keys)
        failed = refused(keys, replies)
        done = [key for key in keys if key not in failed]
        self._keys.difference_update(done)
        if self._everything:
            self._settled.update(done)
        elif not self._keys:
            self.any = False

    def _of_late(self) -> tuple[_Sent, ...]:
        since = self._clock.monotonic() - RECENT
        while self._recent and self._recent[0].when < since:
            self._recent.popleft()
        return tuple(self._recent)

    def _add_again(self, keys: list[str], owns: KeyFilter) -> None:
        # Not forgotten once more: what was read of them has been, when their connection ended or their slot moved.
        self._keys.update(key for key in keys if owns(key))
        self.any = bool(self._everything or self._keys)
