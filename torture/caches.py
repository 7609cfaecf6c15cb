"""The caches under test: items, and pages of items, each page in the group of its show."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import msgspec

from greenroom.caching import Cache, Outcome
from greenroom.caching.declaration_checks import declared_loader
from greenroom.caching.invalidation import Backing
from greenroom.caching.threads import LoaderThreads
from greenroom.errors import LoadFailed
from greenroom.keyspace import Keyspace, Number
from torture.history import Load, now
from torture.journal import Journal
from torture.plan import LOADER_DEADLINE, Plan
from torture.record import ITEMS, PAGES, SHOWS, Record

TTL = timedelta(seconds=60)
"""Longer than any round: what is stored wrongly stays."""
_JITTER = 0.002
"""A share of TTL, which the soft lifetime loses too: at most a fifth of it."""


class Item(msgspec.Struct, frozen=True):
    """Frozen: its decoded value is shared by all who hit it near."""

    item: str
    version: int


class Page(msgspec.Struct):
    """Not frozen: near hits decode it anew."""

    version: int
    items: list[tuple[str, int]]


def item_keyspace(fresh: float) -> Keyspace[Item]:
    """The items; `fresh` in seconds."""
    return Keyspace("torture:item:{item}", Item, ttl=TTL, fresh=timedelta(seconds=fresh), jitter=_JITTER)


def page_keyspace(fresh: float) -> Keyspace[Page]:
    """The pages; `fresh` in seconds."""
    numbers = {"number": Number(1, len(PAGES))}
    pattern = "torture:show:{show}:page:{number}"
    return Keyspace(pattern, Page, ttl=TTL, fresh=timedelta(seconds=fresh), jitter=_JITTER, parts=numbers)


ITEM, PAGE = item_keyspace(1.0), page_keyspace(1.0)
"""For their keys."""

KEYS = tuple(ITEM.key(item) for item in ITEMS) + tuple(
    PAGE.key(show=show, number=number) for show in SHOWS for number in PAGES
)
"""Every key there can be."""


class RecordIsDownError(Exception):
    """What a loader raises now and then."""


class Caches:
    """Both caches, with loaders that dawdle, fail and hang, and whose loads are written down.

    Arguments:
        late: registers a page in its group after its load; for a broken build only.
    """

    def __init__(
        self,
        plan: Plan,
        backing: Backing,
        record: Record,
        chance: random.Random,
        journal: Journal,
        late: Callable[[Backing, str, str], Awaitable[None]] | None = None,
    ) -> None:
        self._backing = backing
        self._record = record
        self._chance = chance
        self._journal = journal
        self._slow = plan.slow
        self._fail = plan.fail
        self._late = late
        self.calm = False
        """Whether loaders only load."""
        item, page = item_keyspace(plan.fresh), page_keyspace(plan.fresh)
        self.items: Cache[Item] = Cache(
            item,
            declared_loader(item, self._load_item, LoaderThreads),
            backing=backing,
            load_many=self._load_items,
            loader_deadline=LOADER_DEADLINE,
        )
        self.pages: Cache[Page] = Cache(
            page, self._load_page, backing=backing, loader_deadline=LOADER_DEADLINE, groups=["torture-pages:{show}"]
        )

    # Loaders ---------------------------------------------------------------------------------------

    async def _load_item(self, item: str) -> Item | None:
        with self._told(ITEM.key(item)):
            await self._dawdle()
            state = self._record.item(item)
            await self._dawdle(self._slow)
            return Item(item, state.version) if state.present else None

    async def _load_items(self, items: Sequence[Any]) -> list[Item | None]:
        with self._told(*map(ITEM.key, items)):
            await self._dawdle()
            states = [self._record.item(item) for item in items]
            await self._dawdle(self._slow)
            return [Item(i, state.version) if state.present else None for i, state in zip(items, states, strict=True)]

    async def _load_page(self, show: str, number: int) -> Page | None:
        key = PAGE.key(show=show, number=number)
        with self._told(key):
            await self._dawdle()
            state = self._record.show(show)
            await self._dawdle(self._slow)
            if self._late is not None:
                await self._late(self._backing, f"torture-pages:{show}", key)
            items = state.page(number)
            return Page(state.version, items) if items else None

    @contextmanager
    def _told(self, *keys: str) -> Iterator[None]:
        began, error = now(), ""
        try:
            yield
        except BaseException as raised:
            error = type(raised).__name__
            raise
        finally:
            # Before anybody else learns of its end: what they are told then has a cause.
            for key in keys:
                self._journal.add(Load(self._journal.process, began, now(), key, error))

    async def _dawdle(self, slow: float = 0.0) -> None:
        """A moment, or long, or too long, or an error."""
        if self.calm:
            return
        luck = self._chance.random()
        if luck < self._fail:
            raise RecordIsDownError
        if luck < 2 * self._fail:
            await asyncio.sleep(2 * LOADER_DEADLINE)
        await asyncio.sleep(self._chance.random() * (0.3 if self._chance.random() < slow else 0.003))

    # For the end -----------------------------------------------------------------------------------

    async def idle(self) -> None:
        """Return when no load and no refresh is under way; those that come are done at once."""
        self.calm = True
        for cache in (self.items, self.pages):
            while cache._flights._tasks or cache._ladder.refreshes._tasks:
                await asyncio.sleep(0.02)

    async def last(self, key: str) -> int | None:
        """The version that a read brings when all is quiet, from the server or near."""
        cache: Cache[Any] = self.items if ITEM.pattern.parse(key) else self.pages
        parts = cache.keyspace.pattern.parse(key)
        assert parts is not None
        while True:
            try:
                read = await cache.get_result(**parts)
            except LoadFailed:
                pass  # what is left of the failure of an earlier load
            else:
                if read.outcome is not Outcome.BYPASSED:
                    return version_in(read.body)
            await asyncio.sleep(0.05)


def version_in(body: bytes | None) -> int | None:
    """The version in a stored value; None for an absence."""
    return None if body is None else int(msgspec.json.decode(body)["version"])
