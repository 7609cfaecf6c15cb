"""Everybody gets what is stored, decoded: on every way to a value, the first caller too; never the loader's object."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from pydantic import BaseModel

from greenroom.caching import Cache, Outcome
from greenroom.caching.invalidation import Backing
from greenroom.errors import BrokenValue
from greenroom.keyspace import Keyspace
from tests.support.episode_caches import Back, cache_of
from tests.support.patience import until
from tests.support.real_servers import Server


class Episode(msgspec.Struct, frozen=True):
    title: str
    tags: tuple[str, ...] = ()


class Mutable(msgspec.Struct):
    tags: list[str]


class Model(BaseModel):
    stars: int | None = 5


class Kept:
    """A loader that keeps what it returns."""

    def __init__(self, value: Any) -> None:
        self.value = value

    async def __call__(self, _: str) -> Any:
        await asyncio.sleep(0)
        return self.value

    async def many(self, parts: list[str]) -> list[Any]:
        return [self.value for _ in parts]


VALUES: list[tuple[Any, Any, Any]] = [
    (Episode, {"title": "T", "tags": ["a"]}, Episode("T", ("a",))),
    (tuple[str, ...], ["a"], ("a",)),
    (float, 1, 1.0),
    (Mutable, Mutable(["a"]), Mutable(["a"])),
    (list[str], ["a"], ["a"]),
    (dict[str, list[int]], {"a": [1]}, {"a": [1]}),
    (Model, Model(stars=None), Model(stars=None)),
]
each = pytest.mark.parametrize(("type_", "given", "stored"), VALUES, ids=lambda one: str(one)[:30])


def spoil(value: Any) -> None:
    if isinstance(value, list):
        value.append("spoilt")
    elif isinstance(value, dict):
        value["spoilt"] = [1]
    elif isinstance(value, Mutable):
        value.tags.append("spoilt")
    elif isinstance(value, Model):
        value.stars = 1


class Seen:
    """What callers were given: all equal to what is stored, of its type, nobody's the loader's, each spoilt at once."""

    def __init__(self, given: Any, stored: Any) -> None:
        self.given = given
        self.stored = stored
        self.before = repr(given)

    def __call__(self, *values: Any) -> None:
        for value in values:
            assert type(value) is type(self.stored)
            assert value == self.stored
            spoil(value)
        assert repr(self.given) == self.before


def of(backing: Backing, type_: Any, load: Kept, **options: Any) -> Cache[Any]:
    keyspace: Keyspace[Any] = Keyspace("cache:one:{one}", type_, ttl=timedelta(minutes=30), fresh=timedelta(minutes=15))
    return cache_of(backing, load, keyspace, near_for=30, **options)


@each
async def test_loaded_shared_near_and_hit(valkey: Server, back: Back, type_: Any, given: Any, stored: Any) -> None:
    load, seen = Kept(given), Seen(given, stored)
    process, other = of(await back(valkey), type_, load), of(await back(valkey), type_, load)
    seen(*await asyncio.gather(*(process.get("x") for _ in range(3)), *(other.get("x") for _ in range(3))))
    for _ in range(2):
        seen(await process.get("x"), (await process.get_result("x")).value, await other.get("x"))
    process._near.clear()
    read = await process.get_result("x")
    assert read.outcome is Outcome.HIT
    seen(read.value)


@each
async def test_of_a_batch(valkey: Server, back: Back, type_: Any, given: Any, stored: Any) -> None:
    load, seen = Kept(given), Seen(given, stored)
    for options in ({"load_many": load.many}, {}):
        process = of(await back(valkey), type_, load, **options)
        server = valkey.raw()
        server("FLUSHALL")
        for _ in range(2):
            seen(*await process.get_many([{"one": name} for name in ("x", "y", "x", "x")]))


@each
async def test_without_the_server(valkey: Server, back: Back, type_: Any, given: Any, stored: Any) -> None:
    load, seen = Kept(given), Seen(given, stored)
    process = of(await back(valkey), type_, load)
    batch = of(await back(valkey), type_, load, load_many=load.many)
    valkey.kill()
    for _ in range(2):
        reads = await asyncio.gather(*(process.get_result("x") for _ in range(3)))
        assert {read.outcome for read in reads} == {Outcome.BYPASSED}
        seen(*(read.value for read in reads))
        seen(*await batch.get_many([{"one": "x"}, {"one": "y"}, {"one": "x"}]))


@each
async def test_out_of_memory(valkey: Server, back: Back, type_: Any, given: Any, stored: Any) -> None:
    load, seen = Kept(given), Seen(given, stored)
    process = of(await back(valkey), type_, load)
    batch = of(await back(valkey), type_, load, load_many=load.many)
    valkey.raw()("CONFIG", "SET", "maxmemory", "1")
    seen(*await asyncio.gather(*(process.get("x") for _ in range(3))))
    seen(*await batch.get_many([{"one": "x"}, {"one": "y"}, {"one": "x"}]))


@each
async def test_too_large_to_be_stored(valkey: Server, back: Back, type_: Any, given: Any, stored: Any) -> None:
    load, seen = Kept(given), Seen(given, stored)
    keyspace: Keyspace[Any] = Keyspace("cache:one:{one}", type_, ttl=timedelta(minutes=30), limit=1)
    process = cache_of(await back(valkey), load, keyspace, near_for=30)
    seen(*await asyncio.gather(*(process.get("x") for _ in range(3))))


@each
async def test_refreshed(valkey: Server, back: Back, type_: Any, given: Any, stored: Any) -> None:
    load, seen = Kept(given), Seen(given, stored)
    process = of(await back(valkey), type_, load)
    seen(await process.get("x"))
    valkey.raw()("PEXPIRE", "cache:one:x", 600_000)  # past its soft lifetime
    process._near.clear()
    read = await process.get_result("x")
    assert read.outcome is Outcome.STALE
    seen(read.value)
    await until(lambda: not process._ladder.refreshes._tasks)
    seen(await process.get("x"), (await process.get_result("x")).value)


WRONG: list[Callable[[], Any]] = [lambda: {"title": 7}, lambda: {"title": "T", "more": 1}, lambda: object()]


@pytest.mark.parametrize("make", WRONG)
@pytest.mark.parametrize("way", ["load", "batch", "bypass"])
async def test_what_cannot_be_stored_is_given_to_nobody(
    valkey: Server, back: Back, way: str, make: Callable[[], Any]
) -> None:
    load = Kept(make())
    process = of(await back(valkey), Episode, load, load_many=load.many)
    if way == "bypass":
        valkey.kill()
    reads = [process.get_many([{"one": "x"}]) if way == "batch" else process.get("x") for _ in range(2)]
    found = await asyncio.gather(*reads, return_exceptions=True)
    assert [type(one) for one in found] == [BrokenValue, BrokenValue]
