"""What a change made stale, as rows of the database that it changed; and the sending of rows that a process has left.

    a process commits a change · it is killed · nobody drops the old value · it is served for its whole lifetime

So the transaction itself writes a row that names what it makes stale. Its writer drops those keys and deletes the
row; a row that stays is sent by any process that has the outbox open. For every database; `greenroom.integrations` has
one for SQLAlchemy.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from time import monotonic
from typing import Any, NamedTuple, Protocol

import msgspec

from greenroom.caching import DropTarget
from greenroom.caching.keyspace_drops import KeyspaceDrop
from greenroom.client import Greenroom
from greenroom.errors import EngineError, InvalidInput, RoomClosed
from greenroom.keyspace import Keyspace
from greenroom.keyspace.derived_keys import is_key

log = logging.getLogger("greenroom.outbox")

NAMES = 1000
"""Names in a row at most; what makes more stale is several rows."""
_BUSY = 10
"""A look at the outbox takes one in so many of the seconds at most, however long it has become."""
_TOGETHER = 0.05
"""Seconds for which dropped rows are gathered before they are deleted by one statement."""
_CLOSING = 5.0
"""Seconds that a look may take to end when the outbox closes."""

Stale = DropTarget | Keyspace[Any]
"""What a change makes stale: what `of` and `group` of caches return, or a whole keyspace."""


class StaleNames(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is stale, by name: what stands in a row, as JSON.

    Arguments:
        keys: without the room's prefix, so that every room has its own.
        groups: with the seconds that a value of each can live at most.
        keyspaces: by their patterns.
    """

    keys: tuple[str, ...] = ()
    groups: Mapping[str, float] = {}
    keyspaces: tuple[str, ...] = ()


def rows_of(stale: Iterable[Stale], prefix: str) -> list[str]:
    """The rows of a change.

    Arguments:
        prefix: of the room whose caches the targets are of.

    Raises:
        InvalidInput: for what is nothing to drop.
    """
    keys: dict[str, None] = {}
    groups: dict[str, float] = {}
    keyspaces: dict[str, None] = {}
    for one in stale:
        match one:
            case DropTarget() if one.is_group:
                groups[one.name] = max(one.lifetime, groups.get(one.name, 0.0))
            case DropTarget():
                keys[one.name.removeprefix(prefix)] = None
            case Keyspace():
                keyspaces[one.pattern.text] = None
            case _:
                remedy = "give episode.of(…), episode.group(…) or a Keyspace"
                raise InvalidInput("stale", f"{one!r:.80} is nothing to drop", remedy)
    rows = [StaleNames(keys=tuple(together)) for together in _by_names(list(keys))]
    rows += [StaleNames(groups={one: groups[one] for one in together}) for together in _by_names(list(groups))]
    rows += [StaleNames(keyspaces=tuple(together)) for together in _by_names(list(keyspaces))]
    if len(keys) + len(groups) + len(keyspaces) <= NAMES:  # what most changes are
        rows = [StaleNames(tuple(keys), groups, tuple(keyspaces))] if rows else []
    return [msgspec.json.encode(one).decode() for one in rows]


class Rows(Protocol):
    """The rows of one room in a database."""

    async def read(self) -> Mapping[str, str]:
        """All rows by their ids, in a transaction that begins now: in an older one no new row is seen."""

    async def delete(self, ids: Collection[str]) -> None:
        """Delete rows; those that are gone are none to complain of."""


class RowSender:
    """Sends the rows that processes have left; one of a room and a process.

    Rows are found by being there, never by an id above the last: a lower one can be committed later. A row that was
    there at the look before has been left, since its own process drops what it names at once.

    Arguments:
        every: seconds between two looks.
    """

    def __init__(self, room: Greenroom, rows: Rows, every: float) -> None:
        self._room = room
        self._rows = rows
        self._every = every
        self._seen: set[str] = set()
        self._left: dict[str, _Left] = {}
        self._unreadable: set[str] = set()
        self._dropped: set[str] = set()
        self._deleting: asyncio.Task[None] | None = None
        self._failing = ""
        self._turn = asyncio.Lock()
        self._closing = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def unsent(self) -> int:
        """Rows that were left and whose names no server has dropped yet, as this process knows them."""
        return len(self._left)

    async def open(self) -> None:
        """Take over what killed processes left: it counts as dropped here when this returns, and is sent behind.

        Raises:
            Whatever reading the rows raises.
        """
        await self._look(everything=True)
        if any(left.groups for left in self._left.values()):
            # The keys of a group are known to its server alone. Prevents: this returns · a page of a group that was
            # left is read · its old value is served until the group's turn comes.
            self._room.pending_drops.add_everything(self._rows)
        self._task = asyncio.get_running_loop().create_task(self._keep_sending(), name="greenroom-outbox")

    async def close(self) -> None:
        """Stop sending; what is left stays in the database."""
        self._closing.set()
        tasks = [one for one in (self._task, self._deleting) if one is not None]
        if tasks:
            # Not cancelled at once: a driver gives up the connection of a statement that is cancelled.
            _, late = await asyncio.wait(tasks, timeout=_CLOSING)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late)

    def dropped(self, ids: Iterable[str]) -> None:
        """Rows of this process whose names are dropped: they are deleted behind, together with others of the moment."""
        self._dropped.update(ids)
        if self._deleting is None or self._deleting.done():
            self._deleting = asyncio.get_running_loop().create_task(self._delete(), name="greenroom-outbox-delete")

    async def send(self, *, everything: bool = False) -> int:
        """Look once, and send what was left; returns how many rows that were.

        Arguments:
            everything: also rows that are seen for the first time.

        Raises:
            Whatever reading or deleting the rows raises; what was found stays marked.
        """
        # One at a time: another would send what is under way again.
        async with self._turn:
            await self._look(everything=everything)
            return await self._send()

    # ------------------------------------------------------------------------------------------------

    async def _keep_sending(self) -> None:
        first = True
        while not self._closing.is_set():
            began = monotonic()
            try:
                if first:
                    async with self._turn:
                        sent = await self._send()
                else:
                    sent = await self.send()
                await self._delete_now()
                if not self._left and not self._room.pending_drops.any:
                    self._failing = ""
                if sent:
                    log.info("sent %d rows that were left in the outbox", sent)
            except RoomClosed:
                log.info("the outbox ends with its room")
                return
            except Exception as error:  # nobody else may send what is left: it is tried again, whatever it was
                self._tell(error)
            first = False
            await self._pause(max(self._every, (monotonic() - began) * _BUSY))

    async def _pause(self, seconds: float) -> None:
        """Return after so many seconds, or when the outbox closes."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._closing.wait()

    def _tell(self, error: Exception) -> None:
        """Log a failure once for as long as it goes on."""
        text = f"{type(error).__name__}: {error}"
        if text != self._failing:
            self._failing = text
            log.warning("the outbox cannot be sent at the moment: %s", text)

    async def _look(self, *, everything: bool) -> None:
        rows = await self._rows.read()
        before, self._seen = self._seen, set(rows)
        # What others have sent meanwhile is forgotten; its keys stay marked until this process has dropped them too.
        self._left = {id_: left for id_, left in self._left.items() if id_ in rows}
        self._unreadable &= rows.keys()
        begun: dict[str, KeyspaceDrop] = {}
        for id_, text in rows.items():
            known = id_ in self._left or id_ in self._dropped or id_ in self._unreadable
            if known or not (everything or id_ in before):
                continue
            try:
                left = self._left[id_] = self._read(text, begun)
            except (msgspec.DecodeError, InvalidInput) as error:
                # It blocks no other; and is asked for again and again, so it is logged once.
                self._unreadable.add(id_)
                log.error("row %s of the outbox cannot be sent, mend or delete it by hand: %s", id_, error)
                continue
            await self._room.pending_drops.add(left.keys)

    def _read(self, text: str, begun: dict[str, KeyspaceDrop]) -> _Left:
        """What a row names.

        Arguments:
            begun: the drops of keyspaces for the rows of this look. Those of a later one are further ones. Prevents: a
                generation begins, and its reply is lost · a change is committed, and its value read from a cache · the
                change counts as dropped by that generation.

        Raises:
            InvalidInput, DecodeError: for what is no row, a name that can be none, and a keyspace of other rooms.
        """
        names = msgspec.json.decode(text, type=StaleNames)
        keys = [f"{self._room.prefix}{key}" for key in names.keys]
        for key in keys:
            if not is_key(key, self._room.prefix):
                raise InvalidInput("keys", f"{key!r:.80} is not a key of this room", "give a key")
        keyspaces = [(pattern, self._room.keyspace_of(pattern)) for pattern in names.keyspaces]
        for pattern, keyspace in keyspaces:
            if keyspace is None:
                remedy = "declare its cache in this program, or give the room of the other program a name of its own"
                raise InvalidInput("keyspaces", f"{pattern!r:.80} is not one of this room's caches", remedy)
            if pattern not in begun:
                begun[pattern] = self._room.begin_keyspace_drop(keyspace)
        return _Left(keys, names.groups, [begun[pattern] for pattern in names.keyspaces])

    async def _send(self) -> int:
        """Drop what is left, each thing once however many rows name it; returns how many rows are done.

        Pending keys are sent though no row is left. Prevents: a row's keys are dropped, and the row is deleted · the
        server falls back to an older state, and the keys are pending again · nobody sends them: other processes serve
        the old values, and no near read of this one is fast.
        """
        looked = dict(self._left)
        groups = {name: seconds for left in looked.values() for name, seconds in left.groups.items()}
        keyspaces = {drop for left in looked.values() for drop in left.keyspaces}
        pending = self._room.pending_drops
        # First, since keys and keyspaces count as dropped already. A group whose drop failed does so from then on.
        failed = await _failures({name: partial(self._room.drop_named_group, name, groups[name]) for name in groups})
        pending.end_everything(self._rows)
        failed |= await _failures({drop: drop.send for drop in keyspaces} | {pending: pending.send})
        done = [
            id_
            for id_, left in looked.items()
            if not any(key in pending for key in left.keys)
            and not any(name in failed for name in left.groups)
            and not any(drop in failed for drop in left.keyspaces)
        ]
        if done:
            await self._rows.delete(done)
            for id_ in done:
                self._left.pop(id_, None)
        if failed:
            self._tell(next(iter(failed.values())))
        return len(done)

    async def _delete(self) -> None:
        await self._pause(_TOGETHER)
        try:
            await self._delete_now()
        except Exception as error:
            self._tell(error)  # the next look finds them

    async def _delete_now(self) -> None:
        while ids := list(self._dropped):
            await self._rows.delete(ids)
            self._dropped.difference_update(ids)


class _Left(NamedTuple):
    """What a row names that was left."""

    keys: list[str]
    groups: Mapping[str, float]
    keyspaces: list[KeyspaceDrop]


async def _failures(drops: Mapping[object, Callable[[], Awaitable[object]]]) -> dict[object, EngineError]:
    """Make drops one after another; returns those that failed, and why."""
    failed: dict[object, EngineError] = {}
    for what, drop in drops.items():
        try:
            await drop()
        except EngineError as error:
            failed[what] = error
    return failed


def _by_names(names: list[str]) -> Iterator[list[str]]:
    return (names[start : start + NAMES] for start in range(0, len(names), NAMES))
