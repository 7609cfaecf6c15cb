"""What the clients of one process do, at random: read one or several, also over HTTP, change and invalidate."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any

from greenroom.caching import Cache
from greenroom.caching.invalidation import Backing
from greenroom.errors import EngineError
from torture.caches import ITEM, PAGE, Caches, Item, Page
from torture.history import Drop, Failed, Read, Write, now
from torture.http_reads import HttpReads
from torture.journal import Journal
from torture.plan import Plan
from torture.reads import Before
from torture.record import ITEMS, PAGES, SHOWS, Record, ShowState, State, show_of

Drops = Callable[[], Awaitable[None]]

_AGAIN = 0.05
"""Seconds before a drop of a keyspace that was not acknowledged is sent again."""


class Clients:
    """All clients of one process."""

    def __init__(self, plan: Plan, backing: Backing, record: Record, caches: Caches, journal: Journal) -> None:
        self._plan = plan
        self._process = plan.process
        self._backing = backing
        self._record = record
        self._caches = caches
        self._journal = journal
        self._http = HttpReads()
        self._finishing = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Let every client begin."""
        for number in range(self._plan.clients):
            self._tasks.append(asyncio.create_task(self._client(random.Random(f"{self._plan.seed} {number}"))))

    async def finish(self) -> None:
        """Return when every client has ended what it was doing."""
        self._finishing.set()
        await asyncio.gather(*self._tasks)

    async def _client(self, chance: random.Random) -> None:
        operations: list[Callable[[random.Random], Awaitable[None]]] = [
            self._read_item,
            self._read_page,
            self._read_over_http,
            self._read_items,
            self._read_pages,
            self._crowd,
            self._leave,
            self._change,
        ]
        changes = self._plan.changes if self._process < self._plan.writers else 0.0
        weights = [0.4, 0.2, 0.15, 0.1, 0.05, 0.03, 0.02, changes]
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
            read = await cache.get_result(**parts)
        except Exception as error:
            self._journal.add(Failed(self._process, began, now(), key, type(error).__name__))
            return
        version = None if read.value is None else read.value.version
        how = before.how(read.outcome, read.entry)
        self._journal.add(Read(self._process, began, now(), key, how, version))

    async def _read_over_http(self, chance: random.Random) -> None:
        """An item, or a page, as the service's HTTP answers it."""
        cache: Cache[Any]
        parts: dict[str, object]
        if chance.random() < 0.5:
            cache, parts = self._caches.items, {"item": chance.choice(ITEMS)}
        else:
            cache, parts = self._caches.pages, {"show": chance.choice(SHOWS), "number": chance.choice(PAGES)}
        key = cache.keyspace.key(**parts)
        began = now()
        before = Before(self._backing, cache, key)
        try:
            body, read = await self._http.get(cache, key, parts)
        except Exception as error:
            self._journal.add(Failed(self._process, began, now(), key, type(error).__name__))
            return
        value = None if body is None else cache.keyspace.decode(key, body)
        how = "near" if read is None else before.how(read.outcome, read.entry)
        self._journal.add(Read(self._process, began, now(), key, how, None if value is None else value.version))

    async def _read_items(self, chance: random.Random) -> None:
        items = chance.sample(ITEMS, 3)
        keys = {ITEM.key(item): {"item": item} for item in items}
        await self._read_several(self._caches.items, keys)

    async def _read_pages(self, chance: random.Random) -> None:
        pages = chance.sample([(show, number) for show in SHOWS for number in PAGES], 3)
        keys = {PAGE.key(show=show, number=n): {"show": show, "number": n} for show, n in pages}
        await self._read_several(self._caches.pages, keys)

    async def _read_several(self, cache: Cache[Any], keys: Mapping[str, Mapping[str, object]]) -> None:
        began = now()
        before = [Before(self._backing, cache, key) for key in keys]
        try:
            reads = await cache.get_results(list(keys.values()))
        except Exception as error:
            first, *rest = keys
            self._journal.add(Failed(self._process, began, now(), first, type(error).__name__, tuple(rest)))
            return
        ended = now()
        for key, read, one in zip(keys, reads, before, strict=True):
            version = None if read.value is None else read.value.version
            how, others = one.how(read.outcome, read.entry), tuple(other for other in keys if other != key)
            self._journal.add(Read(self._process, began, ended, key, how, version, others))

    # Changes ---------------------------------------------------------------------------------------

    async def _change(self, chance: random.Random) -> None:
        """Drop the pages, commit, then drop the item and the pages; sometimes whoever does so is cancelled."""
        item = chance.choice(ITEMS)
        show = show_of(item)
        pages = [PAGE.key(show=show, number=number) for number in PAGES]
        drop_item = partial(self._caches.items.invalidate, item)
        drop_pages = partial(self._caches.pages.invalidate_group, show=show)
        await self._drop(pages, 0, drop_pages, group=True)
        present = chance.random() < (0.75 if self._record.item(item).present else 0.6)
        state, show_state = self._record.write(item, present=present, told=partial(self._wrote, item, pages))
        await asyncio.sleep(chance.random() * 0.01)
        leaves = chance.random() < self._plan.leave
        soon = chance.random() * chance.choice((0.001, 0.01)) if leaves or chance.random() < 0.02 else None
        if soon is not None:
            await self._drop(pages, show_state.version, drop_pages, group=True, soon=soon)
        if leaves:
            await self._drop([ITEM.key(item)], state.version, drop_item, group=False, soon=chance.random() * 0.001)
            return
        whole = chance.random() < self._plan.whole
        of_item = partial(self._drop, [ITEM.key(item)], state.version, drop_item, group=False)
        drops: list[Drops] = [
            self._drop_whole if whole else of_item,
            partial(self._drop, pages, show_state.version, drop_pages, group=True),
        ]
        chance.shuffle(drops)
        if chance.random() < 0.5:
            await asyncio.gather(*(drop() for drop in drops))
        else:
            for drop in drops:
                await drop()

    def _wrote(self, item: str, pages: list[str], state: State, show_state: ShowState) -> None:
        at = now()
        self._journal.add(Write(self._process, at, at, ITEM.key(item), state.version, state.present))
        for number, key in zip(PAGES, pages, strict=True):
            self._journal.add(Write(self._process, at, at, key, show_state.version, bool(show_state.page(number))))

    async def _drop(
        self, keys: list[str], version: int, drop: Drops, *, group: bool, soon: float | None = None
    ) -> None:
        """Drop keys, and write that down; the caller is cancelled `soon`, in seconds, where that is given."""
        began, acknowledged, cancelled = now(), True, False
        try:
            async with asyncio.timeout(soon):
                await drop()
        except EngineError:
            acknowledged = False  # it is kept
        except TimeoutError:
            acknowledged, cancelled = False, True
        for key in keys:
            self._journal.add(Drop(self._process, began, now(), key, version, acknowledged, group, cancelled))

    async def _drop_whole(self) -> None:
        """Drop the keyspace of the items, however often that has to be sent."""
        began = now()
        versions = {ITEM.key(item): self._record.item(item).version for item in ITEMS}
        drop, acknowledged = self._caches.items.begin_drop(), False
        while not acknowledged:
            with suppress(EngineError):
                await drop.send()
                acknowledged = True
            await asyncio.sleep(0.0 if acknowledged else _AGAIN)
        for key, version in versions.items():
            self._journal.add(
                Drop(self._process, began, now(), key, version, acknowledged=True, group=False, whole=True)
            )


async def _left(chance: random.Random, operation: Drops) -> None:
    """A caller that is cancelled half way."""
    with suppress(TimeoutError, EngineError):
        async with asyncio.timeout(chance.random() * 0.01):
            await operation()
