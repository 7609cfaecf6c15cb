"""What the clients of one process do, at random: read one or several, read pages, change and invalidate."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial

from greenroom.caching import Cache, Outcome
from greenroom.caching.backing import Backing
from greenroom.caching.near import Entry
from greenroom.errors import EngineError
from torture.caches import ITEM, PAGE, Caches, Item, Page
from torture.history import Drop, Failed, How, Journal, Read, Write, now
from torture.plan import Plan
from torture.record import ITEMS, PAGES, SHOWS, Record, show_of

Drops = Callable[[], Awaitable[None]]


class Before:
    """What this process has of a key the moment before a read begins; tells afterwards where the answer came from."""

    def __init__(self, backing: Backing, cache: Cache[Item] | Cache[Page], key: str) -> None:
        self.entry: Entry | None = backing.near.get(key, now())
        self.flying = cache._flights.find(key) is not None

    def how(self, outcome: Outcome, entry: Entry | None) -> How:
        """Where a read was answered from."""
        if outcome is Outcome.BYPASSED:
            return "bypassed"
        if self.entry is not None and entry is self.entry:
            return "near"
        return "joined" if self.flying else "server"


class Clients:
    """All clients of one process."""

    def __init__(self, plan: Plan, backing: Backing, record: Record, caches: Caches, journal: Journal) -> None:
        self._plan = plan
        self._process = plan.process
        self._backing = backing
        self._record = record
        self._caches = caches
        self._journal = journal
        self._finishing = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Let every client begin."""
        for number in range(self._plan.clients):
            self._tasks.append(asyncio.create_task(self._client(random.Random(f"{self._plan.seed} {number}"))))

    async def finish(self) -> None:
        """Return when every client has ended what it was doing."""
        self._finishing.set()
        await asyncio.wait(self._tasks)
        for task in self._tasks:
            task.result()  # or its error

    async def _client(self, chance: random.Random) -> None:
        operations: list[Callable[[random.Random], Awaitable[None]]] = [
            self._read_item,
            self._read_page,
            self._read_several,
            self._crowd,
            self._leave,
            self._change,
        ]
        weights = [0.5, 0.3, 0.1, 0.03, 0.02, self._plan.changes]
        while not self._finishing.is_set():
            await asyncio.sleep(chance.expovariate(1 / self._plan.pause))
            (operation,) = chance.choices(operations, weights)
            await operation(chance)

    # Reads -----------------------------------------------------------------------------------------

    async def _read_item(self, chance: random.Random) -> None:
        item = chance.choice(ITEMS)
        await self._read(self._caches.items, ITEM.key(item), item=item)

    async def _read_page(self, chance: random.Random) -> None:
        show, number = chance.choice(SHOWS), chance.choice(PAGES)
        await self._read(self._caches.pages, PAGE.key(show=show, number=number), show=show, number=number)

    async def _crowd(self, chance: random.Random) -> None:
        """Several callers of one key at once."""
        await asyncio.gather(*(self._read_item(random.Random(seed)) for seed in [chance.random()] * 5))

    async def _leave(self, chance: random.Random) -> None:
        await _left(chance, partial(self._read_item, chance))

    async def _read(self, cache: Cache[Item] | Cache[Page], key: str, **parts: object) -> None:
        began = now()
        before = Before(self._backing, cache, key)
        try:
            read = await cache.read(**parts)
        except Exception as error:
            self._journal.add(Failed(self._process, began, now(), key, type(error).__name__))
            return
        version = None if read.value is None else read.value.version
        how = before.how(read.outcome, read.entry)
        self._journal.add(Read(self._process, began, now(), key, how, version))

    async def _read_several(self, chance: random.Random) -> None:
        items = chance.sample(ITEMS, 3)
        began = now()
        before = [Before(self._backing, self._caches.items, ITEM.key(item)) for item in items]
        try:
            reads = await self._caches.items.read_many([{"item": item} for item in items])
        except Exception as error:
            self._journal.add(Failed(self._process, began, now(), ITEM.key(items[0]), type(error).__name__))
            return
        ended = now()
        for item, read, one in zip(items, reads, before, strict=True):
            version = None if read.value is None else read.value.version
            how = one.how(read.outcome, read.entry)
            self._journal.add(Read(self._process, began, ended, ITEM.key(item), how, version))

    # Changes ---------------------------------------------------------------------------------------

    async def _change(self, chance: random.Random) -> None:
        """Drop the pages, commit, then drop the item and the pages; sometimes a cancelled caller comes back."""
        item = chance.choice(ITEMS)
        show = show_of(item)
        with suppress(EngineError):
            await self._caches.pages.invalidate_group(show=show)
        present = chance.random() < (0.75 if self._record.item(item).present else 0.6)
        began = now()
        state, show_state = self._record.write(item, present=present)
        ended = now()
        self._journal.add(Write(self._process, began, ended, ITEM.key(item), state.version, present))
        pages = [PAGE.key(show=show, number=number) for number in PAGES]
        for number, key in zip(PAGES, pages, strict=True):
            shown = bool(show_state.page(number))
            self._journal.add(Write(self._process, began, ended, key, show_state.version, shown))
        await asyncio.sleep(chance.random() * 0.01)
        drop_item, drop_pages = (
            partial(self._caches.items.invalidate, item),
            partial(self._caches.pages.invalidate_group, show=show),
        )
        if chance.random() < 0.02:
            await _left(chance, drop_pages)
        drops = [
            partial(self._drop, [ITEM.key(item)], state.version, drop_item, group=False),
            partial(self._drop, pages, show_state.version, drop_pages, group=True),
        ]
        chance.shuffle(drops)
        if chance.random() < 0.5:
            await asyncio.gather(*(drop() for drop in drops))
        else:
            for drop in drops:
                await drop()

    async def _drop(self, keys: list[str], version: int, drop: Drops, *, group: bool) -> None:
        began, acknowledged = now(), True
        try:
            await drop()
        except EngineError:
            acknowledged = False  # it is kept
        for key in keys:
            self._journal.add(Drop(self._process, began, now(), key, version, acknowledged, group))


async def _left(chance: random.Random, operation: Drops) -> None:
    """A caller that is cancelled half way."""
    with suppress(TimeoutError, EngineError):
        async with asyncio.timeout(chance.random() * 0.01):
            await operation()
