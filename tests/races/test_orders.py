"""Reads, changes and invalidations in every order that their steps can have."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any

import pytest

from greenroom.caching import Cache
from greenroom.caching.keyspace_drops import GENERATION
from greenroom.keyspace import Keyspace, Number
from tests.support.episode_caches import Back, cache_of, settled
from tests.support.interleaving import Turns, in_every_order
from tests.support.patience import PATIENT, until
from tests.support.proxy import Proxy, proxy_of
from tests.support.real_servers import Server

pytestmark = [pytest.mark.on_cluster, pytest.mark.one_kind]

PAGE: Keyspace[tuple[int, ...]] = Keyspace(
    "cache:page:{show_id}:{number}",
    tuple[int, ...],
    ttl=timedelta(minutes=30),
    fresh=timedelta(minutes=15),
    parts={"number": Number(1, 9)},
)
PAGES = "pages:{show_id}"


async def _load_nothing(show_id: str, number: int) -> None:
    """Of a process that only invalidates."""


class Record:
    """The version of each show; what was never written is at its first."""

    def __init__(self) -> None:
        self._versions: dict[str, int] = {}

    def version(self, show_id: str) -> int:
        return self._versions.get(show_id, 1)

    def change(self, show_id: str) -> None:
        self._versions[show_id] = self.version(show_id) + 1


class Process:
    """A process whose every step waits for its turn: loads, changes, and the commands with these words."""

    def __init__(self, proxy: Proxy, record: Record, *words: bytes) -> None:
        self.turns = Turns()
        self._proxy = proxy
        self._record = record
        self._words = set(words)
        proxy.gate = self._gate

    async def open(self, back: Back) -> None:
        self.cache: Cache[Any] = cache_of(
            await back(self._proxy, limits=PATIENT), self._load, PAGE, groups=[PAGES], near_for=30
        )

    async def read(self, show_id: str) -> None:
        await self.cache.get_result(show_id=show_id, number=1)
        await until(lambda: not self.cache._ladder.refreshes._tasks)

    async def change(self, show_id: str) -> None:
        await self.turns.gate()
        self._record.change(show_id)

    async def _load(self, show_id: str, number: int) -> tuple[int, ...]:
        await self.turns.gate()
        return (self._record.version(show_id),)

    async def _gate(self, command: list[bytes]) -> None:
        # The question for the keyspace's generation is nobody's step: it waits for no turn.
        if command[0] in self._words and GENERATION.sha.encode() not in command:
            await self.turns.gate()


class Trial:
    """A process that reads, some that change, and what must hold whatever the order was."""

    def __init__(self, server: Server, proxies: Sequence[Proxy]) -> None:
        self.raw = server.raw()
        self.record = Record()
        self.reader = Process(proxies[0], self.record, b"EVALSHA")
        self.changers = [Process(proxy, self.record, b"ZRANGE", b"DEL", b"EVALSHA") for proxy in proxies[1:]]
        self.sides = [process.turns for process in (self.reader, *self.changers)]

    async def open(self, server: Server, back: Back) -> Trial:
        for process in (self.reader, *self.changers):
            await process.open(back)
        self.cache = cache_of(await back(server), _load_nothing, PAGE, groups=[PAGES])
        return self

    async def check(self, show_id: str) -> None:
        """What is stored is the newest, and the next change finds it."""
        key = PAGE.key(show_id=show_id, number=1)
        stored = self.raw("GET", key)
        assert stored in (None, b"[%d]" % self.record.version(show_id)), show_id
        assert not self.raw("EXISTS", PAGE.lease_key(key))
        await settled(self.reader.cache)
        entry = self.reader.cache._near.get(key, self.reader.cache._now())
        assert entry is None or entry.body == stored
        self.record.change(show_id)
        await self.cache.invalidate_group(show_id=show_id)
        assert self.raw("GET", key) is None


@pytest.fixture
async def proxies(server: Server) -> AsyncIterator[list[Proxy]]:
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(proxy_of(server)) for _ in range(3)]


@pytest.mark.once_on_cluster
@pytest.mark.parametrize("before", ["a registration", "nothing", "a stale page"])
async def test_a_page_filled_during_a_group_drop_is_new_or_dropped_next(
    server: Server, proxies: list[Proxy], back: Back, before: str
) -> None:
    trial = await Trial(server, proxies[:2]).open(server, back)
    (changer,) = trial.changers

    async def change(show_id: str) -> None:
        await changer.cache.invalidate_group(show_id=show_id)
        await changer.change(show_id)
        await changer.cache.invalidate_group(show_id=show_id)

    async def begin(number: int) -> None:
        show_id = f"s{number}"
        key = PAGE.key(show_id=show_id, number=1)
        if before != "nothing":
            trial.raw("ZADD", f"greenroom:group:{{pages:{show_id}}}", 10**15, key)
        if before == "a stale page":
            trial.raw("SET", key, b"[1]", "EX", 600)
        await trial.reader.turns.begin(trial.reader.read(show_id))
        await changer.turns.begin(change(show_id))

    orders = await in_every_order(trial.sides, begin, lambda number: trial.check(f"s{number}"))
    assert orders > 50


@pytest.mark.one_server
async def test_the_last_of_two_changes_is_what_is_read_whatever_the_order(
    server: Server, proxies: list[Proxy], back: Back
) -> None:
    trial = await Trial(server, proxies).open(server, back)

    async def change(process: Process, show_id: str) -> None:
        await process.change(show_id)
        await process.cache.invalidate(show_id=show_id, number=1)

    async def begin(number: int) -> None:
        show_id = f"s{number}"
        await trial.reader.turns.begin(trial.reader.read(show_id))
        for writer in trial.changers:
            await writer.turns.begin(change(writer, show_id))

    orders = await in_every_order(trial.sides, begin, lambda number: trial.check(f"s{number}"))
    assert orders > 100
