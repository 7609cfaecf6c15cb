"""Values that a caller could change: each caller has its own, wherever they come from."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import msgspec
import pydantic
import pytest

from greenroom.caching import Cache, Outcome
from greenroom.keyspace import Keyspace
from tests.support.episode_caches import Back, cache_of, settled
from tests.support.real_servers import Server

Make = Callable[[], Any]


class Loose(msgspec.Struct):
    words: tuple[str, ...] = ("a",)


class Outer(msgspec.Struct, frozen=True):
    words: list[str]


class Model(pydantic.BaseModel):
    words: tuple[str, ...] = ("a",)


def spoil(value: Any) -> None:
    """What a careless caller does."""
    if isinstance(value, Loose | Model):
        value.words = ()
    elif isinstance(value, dict):
        value.clear()
    else:
        (value.words if isinstance(value, Outer) else value).append("spoilt")


def cache(backing: Any, type_: Any, load: Any, **options: Any) -> Cache[Any]:
    keyspace: Keyspace[Any] = Keyspace("cache:mutable:{one}", type_, ttl=timedelta(minutes=30))
    return cache_of(backing, load, keyspace, near_for=30, **options)


every_type = pytest.mark.parametrize(
    ("type_", "make"),
    [
        (list[str], lambda: ["a"]),
        (dict[str, int], lambda: {"a": 1}),
        (Loose, Loose),
        (Outer, lambda: Outer(["a"])),
        (Model, Model),
    ],
    ids=["list", "dict", "struct", "list in a frozen struct", "pydantic"],
)


@every_type
async def test_near_each_caller_gets_its_own(valkey: Server, back: Back, type_: Any, make: Make) -> None:
    async def load(_: str) -> Any:
        return make()

    process = cache(await back(valkey), type_, load)
    spoil(await process.get("x"))
    await settled(process)
    for _ in range(3):
        read = await process.get_result("x")
        assert (read.value, read.outcome) == (make(), Outcome.NEAR)
        spoil(read.value)
        got = await process.get("x")
        assert got == make()
        spoil(got)
        (many,) = await process.get_many([{"one": "x"}])
        assert many == make()
        spoil(many)
    assert process._counts["cache_mutable", "near"] == 9


@every_type
async def test_of_one_load_each_caller_gets_its_own(valkey: Server, back: Back, type_: Any, make: Make) -> None:
    async def load(_: str) -> Any:
        return make()

    process = cache(await back(valkey), type_, load)
    for value in await asyncio.gather(*(process.get("x") for _ in range(3))):
        assert value == make()
        spoil(value)


@every_type
async def test_without_a_server_each_caller_gets_its_own(valkey: Server, back: Back, type_: Any, make: Make) -> None:
    async def load(_: str) -> Any:
        return make()

    process = cache(await back(valkey), type_, load)
    valkey.kill()
    for _ in range(3):
        read = await process.get_result("x")
        assert (read.value, read.outcome) == (make(), Outcome.BYPASSED)
        spoil(read.value)
        (many,) = await process.get_many([{"one": "x"}])
        assert many == make()
        spoil(many)
